-- ---------- the reports that are SQL over journeys ----------
--
-- Bodies are BEGIN ATOMIC: bound when the extension is created, whatever the
-- caller's search_path. They never pay to be compiled (jit): their rows are few, but
-- the planner cannot know that. $1 .. $10 are the arguments that all reports share.

CREATE FUNCTION leadscore.funnel_stages(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL)
RETURNS TABLE (ordinal integer, stage text, kind text)
AS 'MODULE_PATHNAME', 'leadscore_funnel_stages' LANGUAGE C STABLE ROWS 8 COST 1000;
COMMENT ON FUNCTION leadscore.funnel_stages(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb) IS
'the stages that a report with these arguments uses: those of the funnel (kind open or won) in order, as in journeys.reached, then those of kind lost';

CREATE FUNCTION leadscore.stage_numbers(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL, stage text DEFAULT NULL)
RETURNS integer[] AS 'MODULE_PATHNAME', 'leadscore_stage_numbers' LANGUAGE C STABLE COST 1000;
COMMENT ON FUNCTION leadscore.stage_numbers(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text) IS
'places in journeys.reached of a stage, or of the won stages when none is named; an error for a stage that is not in the funnel';

CREATE FUNCTION leadscore.cost_days(costs regclass, cost_columns jsonb DEFAULT NULL)
RETURNS TABLE (source text, campaign text, day date, amount numeric, currency text)
AS 'MODULE_PATHNAME', 'leadscore_cost_days' LANGUAGE C STABLE ROWS 1000 COST 100000;
COMMENT ON FUNCTION leadscore.cost_days(regclass, jsonb) IS
'every cost spread evenly over the days of its period, to the cent: the days of a cost add up to its amount exactly; NULL amounts are left out; an error for a cost without a bounded period';

CREATE FUNCTION leadscore.touches(touches regclass, touch_columns jsonb DEFAULT NULL)
RETURNS TABLE (lead text, at timestamptz, channel text)
AS 'MODULE_PATHNAME', 'leadscore_touches' LANGUAGE C STABLE ROWS 10000 COST 100000;
COMMENT ON FUNCTION leadscore.touches(regclass, jsonb) IS
'the touches of leads in a table of any shape; those without a lead or an instant are left out, a channel of NULL is (unknown)';

CREATE FUNCTION leadscore.touch_credits(model text, at timestamptz[], entered timestamptz DEFAULT NULL,
	opportunity timestamptz DEFAULT NULL, half_life interval DEFAULT '7 days', weights float8[] DEFAULT NULL)
RETURNS numeric[] AS 'MODULE_PATHNAME', 'leadscore_touch_credits' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION leadscore.touch_credits(text, timestamptz[], timestamptz, timestamptz, interval, float8[]) IS
'credits of the touches of one client, given in order of time; they add up to exactly 1; models first, last, linear, u, w, decay (by half_life) and weights';

CREATE FUNCTION leadscore.markov_removal(from_channel text[], to_channel text[], converts boolean[], times bigint[])
RETURNS TABLE (channel text, removal_effect float8, conversion float8, conversion_without float8)
AS 'MODULE_PATHNAME', 'leadscore_markov_removal' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20 COST 1000;
COMMENT ON FUNCTION leadscore.markov_removal(text[], text[], boolean[], bigint[]) IS
'removal effect of each channel (0 to 1) in the Markov chain of these transitions: from NULL is the start, to NULL is the end of a path, converts says whether that end is a client';


CREATE FUNCTION leadscore.cohorts(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	to_stage text DEFAULT NULL, months integer DEFAULT 12)
RETURNS TABLE (by_value text, cohort date, leads_in bigint, month integer, reached bigint, pct numeric,
	low numeric, high numeric, state text, cell text)
LANGUAGE sql STABLE SET jit = off ROWS 200 COST 100000
BEGIN ATOMIC
	WITH n AS MATERIALIZED (
		SELECT leadscore.stage_numbers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS numbers, coalesce($5, now()) AS as_of
	), j AS MATERIALIZED (
		SELECT y.by_value, date_trunc('month', y.entered) AS cohort,
			(SELECT min(y.reached[i]) FROM unnest(n.numbers) i) AS hit
		FROM n, leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) y
	), c AS (
		SELECT j.by_value, j.cohort, count(*) AS leads_in FROM j GROUP BY 1, 2
	), h AS (
		SELECT j.by_value, j.cohort, count(*) AS reached,
			(12 * (extract(year FROM j.hit) - extract(year FROM j.cohort))
			 + extract(month FROM j.hit) - extract(month FROM j.cohort))::integer AS month
		FROM j WHERE j.hit IS NOT NULL GROUP BY j.by_value, j.cohort, 4
	), cells AS (
		SELECT c.by_value, c.cohort, c.leads_in, m.month,
			coalesce((SELECT sum(h.reached)::bigint FROM h
					  WHERE h.by_value IS NOT DISTINCT FROM c.by_value AND h.cohort = c.cohort AND h.month <= m.month), 0) AS reached,
			CASE WHEN c.cohort + make_interval(months => m.month + 1) <= n.as_of THEN 'complete'
				 WHEN c.cohort + make_interval(months => m.month) <= n.as_of THEN 'partial'
				 ELSE 'censored' END AS state
		FROM c, n, generate_series(0, $12 - 1) m(month)
	)
	SELECT x.by_value, x.cohort::date, x.leads_in, x.month,
		CASE WHEN x.state <> 'censored' THEN x.reached END,
		CASE WHEN x.state <> 'censored' THEN round(100.0 * x.reached / x.leads_in, 2) END,
		CASE WHEN x.state = 'complete' THEN round((100 * w.low)::numeric, 2) END,
		CASE WHEN x.state = 'complete' THEN round((100 * w.high)::numeric, 2) END,
		x.state,
		CASE x.state WHEN 'complete' THEN round(100.0 * x.reached / x.leads_in, 1)::text
			WHEN 'partial' THEN round(100.0 * x.reached / x.leads_in, 1)::text || '+'
			ELSE '.' END
	FROM cells x, leadscore.wilson(x.reached, x.leads_in) w
	ORDER BY x.by_value COLLATE "C" NULLS LAST, x.cohort, x.month;
END;
COMMENT ON FUNCTION leadscore.cohorts(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text, integer) IS
'by month of entry and months since: how many leads of the month had reached to_stage (default: won) by the end of that calendar month; state says whether the month is complete, partial (still running at as_of: a lower bound, cell with +) or censored (not begun: NULL, cell .)';


CREATE FUNCTION leadscore.cost_per_stage(
	leads regclass DEFAULT NULL, by text DEFAULT 'source',
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	costs regclass DEFAULT NULL, cost_columns jsonb DEFAULT NULL, value text DEFAULT NULL,
	grain text DEFAULT 'month', cost_by text DEFAULT 'source')
RETURNS TABLE (by_value text, period date, currency text, stage text, spent numeric, reached bigint, cost_per numeric,
	revenue numeric, roi_pct numeric)
LANGUAGE sql STABLE SET jit = off ROWS 200 COST 100000
BEGIN ATOMIC
	WITH s AS MATERIALIZED (
		SELECT f.ordinal, f.stage, f.kind FROM leadscore.funnel_stages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) f WHERE f.kind IN ('open', 'won')
		UNION ALL SELECT 0, '(entered)', 'all'
	), j AS MATERIALIZED (
		SELECT y.by_value, CASE WHEN $14 <> 'all' THEN date_trunc($14, y.entered)::date END AS period, y.reached, y.lead_value
		FROM leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $13) y
	), d AS MATERIALIZED (
		SELECT CASE $15 WHEN 'source' THEN c.source WHEN 'campaign' THEN c.campaign
				ELSE coalesce(c.source, '-') || ', ' || coalesce(c.campaign, '-') END AS by_value,
			CASE WHEN $14 <> 'all' THEN date_trunc($14, c.day::timestamp)::date END AS period,
			c.currency, sum(c.amount) AS spent
		FROM leadscore.cost_days($11, $12) c
		WHERE ($3 IS NULL OR c.day >= $3::date) AND ($4 IS NULL OR c.day < $4::date) AND c.day <= coalesce($5, now())::date
		GROUP BY 1, 2, 3
	), k AS (
		SELECT d.by_value, d.period, d.currency, d.spent FROM d
		UNION ALL
		SELECT DISTINCT j.by_value, j.period, NULL, NULL::numeric FROM j
		WHERE NOT EXISTS (SELECT FROM d WHERE d.by_value IS NOT DISTINCT FROM j.by_value AND d.period IS NOT DISTINCT FROM j.period)
	), g AS (
		SELECT j.by_value, j.period, s.ordinal,
			count(*) FILTER (WHERE s.ordinal = 0 OR j.reached[s.ordinal] IS NOT NULL) AS reached,
			sum(j.lead_value::numeric) FILTER (WHERE s.kind = 'won' AND j.reached[s.ordinal] IS NOT NULL) AS revenue
		FROM j, s GROUP BY 1, 2, 3
	)
	SELECT k.by_value, k.period, k.currency, s.stage, k.spent, coalesce(g.reached, 0),
		round(k.spent / nullif(g.reached, 0), 2),
		CASE WHEN s.kind = 'won' AND $13 IS NOT NULL THEN round(coalesce(g.revenue, 0), 2) END,
		CASE WHEN s.kind = 'won' AND $13 IS NOT NULL THEN round(100 * (coalesce(g.revenue, 0) - k.spent) / nullif(k.spent, 0), 1) END
	FROM k CROSS JOIN s
		LEFT JOIN g ON g.by_value IS NOT DISTINCT FROM k.by_value AND g.period IS NOT DISTINCT FROM k.period AND g.ordinal = s.ordinal
	ORDER BY k.by_value COLLATE "C" NULLS LAST, k.period, k.currency COLLATE "C", s.ordinal;
END;
COMMENT ON FUNCTION leadscore.cost_per_stage(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, regclass, jsonb, text, text, text) IS
'what was spent (cost table, spread over its days) in each period on each source, per lead that entered then (CPL: stage (entered)) and per lead of these that reached each stage (client: CAC); revenue (value, summed over the clients) and return on the money spent in per cent';


CREATE FUNCTION leadscore.sources(
	leads regclass DEFAULT NULL, by text DEFAULT 'source',
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	costs regclass DEFAULT NULL, cost_columns jsonb DEFAULT NULL, score text DEFAULT NULL)
RETURNS TABLE (by_value text, leads_in bigint, mql bigint, sql bigint, clients bigint, client_pct numeric, low numeric, high numeric,
	spent numeric, cpl numeric, cac numeric, median_days numeric, avg_score numeric)
LANGUAGE sql STABLE SET jit = off ROWS 20 COST 100000
BEGIN ATOMIC
	WITH s AS MATERIALIZED (
		SELECT (SELECT f.ordinal FROM leadscore.funnel_stages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) f WHERE f.stage = 'mql') AS mql,
			(SELECT f.ordinal FROM leadscore.funnel_stages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) f WHERE f.stage = 'sql') AS sql,
			leadscore.stage_numbers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS won
	), j AS MATERIALIZED (
		SELECT y.by_value, y.entered, y.reached[s.mql] AS mql, y.reached[s.sql] AS sql,
			(SELECT min(y.reached[i]) FROM unnest(s.won) i) AS won
		FROM s, leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) y
	), g AS (
		SELECT j.by_value, count(*) AS leads_in, count(j.mql) AS mql, count(j.sql) AS sql, count(j.won) AS clients,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM j.won - j.entered)::float8 / 86400) FILTER (WHERE j.won IS NOT NULL) AS days
		FROM j GROUP BY 1
	), d AS (
		SELECT c.source AS by_value, CASE WHEN count(DISTINCT coalesce(c.currency, '')) = 1 THEN sum(c.amount) END AS spent
		FROM leadscore.cost_days($11, $12) c
		WHERE ($3 IS NULL OR c.day >= $3::date) AND ($4 IS NULL OR c.day < $4::date) AND c.day <= coalesce($5, now())::date
		GROUP BY 1
	), p AS (
		SELECT y.by_value, avg(y.lead_value) AS score FROM leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $13) y WHERE $13 IS NOT NULL GROUP BY 1
	), k AS (
		SELECT g.by_value FROM g UNION SELECT d.by_value FROM d
	)
	SELECT k.by_value, coalesce(g.leads_in, 0), CASE WHEN s.mql IS NOT NULL THEN coalesce(g.mql, 0) END,
		CASE WHEN s.sql IS NOT NULL THEN coalesce(g.sql, 0) END, coalesce(g.clients, 0),
		round(100.0 * g.clients / nullif(g.leads_in, 0), 1), round((100 * w.low)::numeric, 1), round((100 * w.high)::numeric, 1),
		d.spent, round(d.spent / nullif(g.leads_in, 0), 2), round(d.spent / nullif(g.clients, 0), 2),
		round(g.days::numeric, 1), round(p.score::numeric, 1)
	FROM k CROSS JOIN s
		LEFT JOIN g ON g.by_value IS NOT DISTINCT FROM k.by_value
		LEFT JOIN d ON d.by_value IS NOT DISTINCT FROM k.by_value
		LEFT JOIN p ON p.by_value IS NOT DISTINCT FROM k.by_value
		LEFT JOIN LATERAL leadscore.wilson(coalesce(g.clients, 0), coalesce(g.leads_in, 0)) w ON true
	ORDER BY coalesce(g.clients, 0) DESC, coalesce(g.leads_in, 0) DESC, k.by_value COLLATE "C" NULLS LAST;
END;
COMMENT ON FUNCTION leadscore.sources(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, regclass, jsonb, text) IS
'one row per source (by): leads, MQL, SQL and clients of those that entered, share of clients in per cent with its Wilson 95 % interval, cost per lead and per client (NULL where costs are in several currencies), median days of the clients, average of the expression score over the lead table';

CREATE FUNCTION leadscore.sales_velocity(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL, value text DEFAULT NULL)
RETURNS TABLE (by_value text, opportunities bigint, won_leads bigint, lost_leads bigint, win_rate_pct numeric, low numeric, high numeric,
	avg_value numeric, avg_cycle_days numeric, per_day numeric)
LANGUAGE sql STABLE SET jit = off ROWS 20 COST 100000
BEGIN ATOMIC
	WITH n AS MATERIALIZED (
		SELECT leadscore.stage_numbers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS won
	), g AS (
		SELECT y.by_value, count(*) FILTER (WHERE y.outcome = 'open') AS open,
			count(x.won) AS won, count(*) FILTER (WHERE y.outcome = 'lost' AND x.won IS NULL) AS lost,
			avg(y.lead_value) FILTER (WHERE x.won IS NOT NULL) AS value,
			avg(extract(epoch FROM x.won - y.entered)::float8 / 86400) FILTER (WHERE x.won IS NOT NULL) AS days
		FROM n, leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) y, LATERAL (SELECT min(y.reached[i]) AS won FROM unnest(n.won) i) x
		GROUP BY 1
	)
	SELECT g.by_value, g.open, g.won, g.lost, round(100.0 * g.won / nullif(g.won + g.lost, 0), 2),
		round((100 * w.low)::numeric, 2), round((100 * w.high)::numeric, 2),
		round(g.value::numeric, 2), round(g.days::numeric, 2),
		round((g.open * g.value * (g.won::float8 / nullif(g.won + g.lost, 0)) / nullif(g.days, 0))::numeric, 2)
	FROM g, leadscore.wilson(g.won, g.won + g.lost) w
	ORDER BY g.by_value COLLATE "C" NULLS LAST;
END;
COMMENT ON FUNCTION leadscore.sales_velocity(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, text) IS
'sales velocity: open leads x average value of a client x win rate (won of won and lost; open leads are in neither) / average days from entry to client, in value per day';


CREATE FUNCTION leadscore.attribution_credits(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	touches regclass DEFAULT NULL, touch_columns jsonb DEFAULT NULL,
	models text[] DEFAULT '{first,last,linear,u,w,decay,markov}', half_life interval DEFAULT '7 days',
	opportunity_stage text DEFAULT NULL, value text DEFAULT NULL)
RETURNS TABLE (model text, by_value text, lead text, touch bigint, n_touches integer, channel text, at timestamptz,
	credit numeric, client_value float8, removal_effect float8)
LANGUAGE sql STABLE SET jit = off ROWS 10000 COST 100000
BEGIN ATOMIC
	WITH n AS MATERIALIZED (
		SELECT leadscore.stage_numbers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS won,
			CASE WHEN $15 IS NOT NULL THEN (leadscore.stage_numbers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $15))[1]
				ELSE (SELECT f.ordinal FROM leadscore.funnel_stages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) f WHERE f.stage = 'sql') END AS opportunity
	), j AS MATERIALIZED (
		SELECT y.lead, y.by_value, y.entered, y.stage_since, y.lead_value, y.reached[n.opportunity] AS opportunity, x.won
		FROM n, leadscore.journeys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $16) y, LATERAL (SELECT min(y.reached[i]) AS won FROM unnest(n.won) i) x
		WHERE x.won IS NOT NULL OR y.outcome = 'lost'
	), p AS MATERIALIZED (
		SELECT j.lead, array_agg(t.at ORDER BY t.at, t.channel COLLATE "C") AS ats,
			array_agg(t.channel ORDER BY t.at, t.channel COLLATE "C") AS channels
		FROM j JOIN leadscore.touches($11, $12) t ON t.lead = j.lead AND t.at <= coalesce(j.won, j.stage_since)
		GROUP BY j.lead
	), steps AS (
		SELECT u.from_channel, u.to_channel, u.to_channel IS NULL AND j.won IS NOT NULL AS converts, count(*) AS times
		FROM p JOIN j ON j.lead = p.lead,
			unnest(NULL::text || p.channels, p.channels || NULL::text) u(from_channel, to_channel)
		WHERE 'markov' = ANY ($13)
		GROUP BY 1, 2, 3
	), removal AS MATERIALIZED (
		SELECT r.channel, r.removal_effect
		FROM (SELECT array_agg(s.from_channel ORDER BY s.from_channel COLLATE "C", s.to_channel COLLATE "C", s.converts) AS f,
				array_agg(s.to_channel ORDER BY s.from_channel COLLATE "C", s.to_channel COLLATE "C", s.converts) AS t,
				array_agg(s.converts ORDER BY s.from_channel COLLATE "C", s.to_channel COLLATE "C", s.converts) AS c,
				array_agg(s.times ORDER BY s.from_channel COLLATE "C", s.to_channel COLLATE "C", s.converts) AS k FROM steps s) a,
			leadscore.markov_removal(a.f, a.t, a.c, a.k) r
	)
	SELECT m.model, j.by_value, j.lead, u.touch, cardinality(p.channels), u.channel, u.at, u.credit, j.lead_value,
		CASE WHEN m.model = 'markov' THEN r.removal_effect END
	FROM unnest($13) m(model) CROSS JOIN j JOIN p ON p.lead = j.lead,
		LATERAL (SELECT array_agg(coalesce(v.removal_effect, 0) ORDER BY c.o) AS weights
				 FROM unnest(p.channels) WITH ORDINALITY c(channel, o) LEFT JOIN removal v ON v.channel = c.channel
				 WHERE m.model = 'markov') w,
		LATERAL unnest(p.channels, p.ats, leadscore.touch_credits(CASE m.model WHEN 'markov' THEN 'weights' ELSE m.model END,
				p.ats, j.entered, j.opportunity, $14, w.weights)) WITH ORDINALITY u(channel, at, credit, touch)
		LEFT JOIN removal r ON r.channel = u.channel
	WHERE j.won IS NOT NULL
	UNION ALL
	SELECT m.model, j.by_value, j.lead, 1, 0, '(none)', NULL, 1, j.lead_value, NULL
	FROM unnest($13) m(model) CROSS JOIN j
	WHERE j.won IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p.lead = j.lead);
END;
COMMENT ON FUNCTION leadscore.attribution_credits(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, regclass, jsonb, text[], interval, text, text) IS
'one row per model, client and touch up to the win: the share of the client that the touch gets; the credits of a client add up to exactly 1 in each model; a client without touches is credited to (none)';

CREATE FUNCTION leadscore.attribution(
	leads regclass DEFAULT NULL, by text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, as_of timestamptz DEFAULT NULL,
	history regclass DEFAULT NULL, stages text[] DEFAULT NULL, won text[] DEFAULT NULL, lost text[] DEFAULT NULL,
	columns jsonb DEFAULT NULL,
	touches regclass DEFAULT NULL, touch_columns jsonb DEFAULT NULL,
	models text[] DEFAULT '{first,last,linear,u,w,decay,markov}', half_life interval DEFAULT '7 days',
	opportunity_stage text DEFAULT NULL, value text DEFAULT NULL)
RETURNS TABLE (by_value text, model text, channel text, touched bigint, credit numeric, share_pct numeric, credited_value numeric,
	removal_effect numeric, bar text)
LANGUAGE sql STABLE SET jit = off ROWS 50 COST 100000
BEGIN ATOMIC
	SELECT x.by_value, x.model, x.channel, x.touched, round(x.credit, 3), round(100 * x.credit / x.total, 1),
		round(x.credited_value, 2), round(x.removal_effect::numeric, 4), repeat('#', round(20 * x.credit / x.total)::integer)
	FROM (SELECT c.by_value, c.model, c.channel, count(DISTINCT c.lead) AS touched, sum(c.credit) AS credit,
			sum(sum(c.credit)) OVER (PARTITION BY c.by_value, c.model) AS total,
			sum(c.credit * c.client_value::numeric) AS credited_value, max(c.removal_effect) AS removal_effect
		FROM leadscore.attribution_credits($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) c
		GROUP BY 1, 2, 3) x
	ORDER BY x.by_value COLLATE "C" NULLS LAST, array_position($13, x.model), x.credit DESC, x.channel COLLATE "C";
END;
COMMENT ON FUNCTION leadscore.attribution(regclass, text, timestamptz, timestamptz, timestamptz, regclass, text[], text[], text[], jsonb, regclass, jsonb, text[], interval, text, text) IS
'clients by the channel that gets the credit for them, under each model: first, last, linear, u (40/20/40), w (30/30/30/10), decay (half_life), markov (removal effect, over leads that are won or lost); credits add up to the number of clients';
