-- regression test: velocity, survival and kaplan_meier; path and time_in_state
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
CREATE SCHEMA vel;

-- published: weeks in remission, 21 patients on 6-MP (Freireich et al., Blood 21, 1963; Gehan 1965);
-- survival and Greenwood error as printed in Kleinbaum & Klein, Survival Analysis, and by R's survfit
SELECT km.at_days AS weeks, km.at_risk, km.n_ended, round(survival::numeric, 3) AS survival, round(std_error::numeric, 4) AS std_error,
	round(survival::numeric, 3) = p.s AND round(std_error::numeric, 4) = p.se AS as_published
FROM kaplan_meier('{6,6,6,6,7,9,10,10,11,13,16,17,19,20,22,23,25,32,32,34,35}', '{t,t,t,f,t,f,t,f,f,t,t,f,f,f,t,t,f,f,f,f,f}') km
JOIN (VALUES (6, 0.857, 0.0764), (7, 0.807, 0.0869), (10, 0.753, 0.0963), (13, 0.690, 0.1068), (16, 0.627, 0.1141), (22, 0.538, 0.1282), (23, 0.448, 0.1346)) p(weeks, s, se)
ON p.weeks = km.at_days;
-- published: acute myelogenous leukaemia, maintained group (Miller 1981; R's survfit(Surv(time, status) ~ x, aml)),
-- with the 95 % interval on the log scale
SELECT km.at_days AS weeks, km.at_risk, round(survival::numeric, 3) AS survival, round(std_error::numeric, 4) AS std_error,
	round(low::numeric, 4) AS low, round(high::numeric, 3) AS high,
	(round(survival::numeric, 3), round(std_error::numeric, 4), round(low::numeric, 4), round(high::numeric, 3)) = (p.s, p.se, p.lo, p.hi) AS as_published
FROM kaplan_meier('{9,13,13,18,23,28,31,34,45,48,161}', '{t,t,f,t,t,f,t,t,f,t,f}') km
JOIN (VALUES (9, 0.909, 0.0867, 0.7541, 1.000), (13, 0.818, 0.1163, 0.6192, 1.000), (18, 0.716, 0.1397, 0.4884, 1.000), (23, 0.614, 0.1526, 0.3769, 0.999),
	(31, 0.491, 0.1642, 0.2549, 0.946), (34, 0.368, 0.1627, 0.1549, 0.875), (48, 0.184, 0.1535, 0.0359, 0.944)) p(weeks, s, se, lo, hi) ON p.weeks = km.at_days;

-- all ended: the curve is what is left; all open: there is none; nothing: nothing
SELECT at_days, at_risk, n_ended, survival, std_error, low, high FROM kaplan_meier('{3,1,2,2}', '{t,t,t,t}');
SELECT count(*) FROM kaplan_meier('{3,1}', '{f,f}');
SELECT count(*) FROM kaplan_meier('{}', '{}');
SELECT * FROM kaplan_meier('{1,2}', '{t}');
SELECT * FROM kaplan_meier('{1,NULL}', '{t,t}');
SELECT * FROM kaplan_meier('{1,-2}', '{t,t}');
SELECT * FROM kaplan_meier('{1,2}', '{t,NULL}');

-- by hand: four leads watched until 31 January (day 30 from the 1st)
CREATE TABLE vel.h (lead int, stage text, at timestamptz);
INSERT INTO vel.h VALUES
	(1, 'lead', '2026-01-01'), (1, 'mql', '2026-01-03'), (1, 'client', '2026-01-11'),	-- won after 10 days
	(2, 'lead', '2026-01-01'), (2, 'lost', '2026-01-06'),					-- lost after 5
	(3, 'lead', '2026-01-01'), (3, 'mql', '2026-01-02'), (3, 'lead', '2026-01-05'), (3, 'client', '2026-01-21'),	-- two visits to lead; won after 20
	(4, 'lead', '2026-01-11');							-- open, for 20 days
SELECT span, n, ended, censored, q1_days, median_days, median_low, median_high, q3_days, going_on_pct
FROM velocity(history => 'vel.h', stages => '{lead,mql,client}', as_of => '2026-01-31', at_days => '{0,5,15,40}');
SELECT of_span, days, at_risk, ended, censored, round(survival::numeric, 4) AS survival FROM survival(history => 'vel.h', stages => '{lead,mql,client}', as_of => '2026-01-31');
SELECT days, at_risk, ended FROM survival(history => 'vel.h', stages => '{lead,mql,client}', as_of => '2026-01-31', span => 'entry to won');
SELECT * FROM survival(history => 'vel.h', span => 'in love');
SELECT * FROM velocity(history => 'vel.h', at_days => '{1,NULL}');
-- none, and all open
SELECT span, n, ended, median_days, going_on_pct FROM velocity(history => 'vel.h', stages => '{lead,client}', until => '2025-01-01');
SELECT span, n, ended, censored, median_days, going_on_pct FROM velocity(history => 'vel.h', stages => '{lead,client}', since => '2026-01-10', as_of => '2026-01-31', at_days => '{5,25}');
-- a move dated before the one it follows is counted apart, not in the curve
CREATE TABLE vel.back (lead int, stage text, at timestamptz, no int);
INSERT INTO vel.back VALUES (1, 'lead', '2026-01-05', 1), (1, 'client', '2026-01-02', 2), (2, 'lead', '2026-01-01', 1), (2, 'client', '2026-01-03', 2);
SELECT span, n, ended, negative, median_days FROM velocity(history => 'vel.back', stages => '{lead,client}', columns => '{"seq": "no"}', as_of => '2026-02-01');

-- against plain SQL, on random histories: the curve as a product over the ends
SELECT setseed(0.5);
CREATE TABLE vel.r AS SELECT i AS lead, s AS stage, timestamptz '2026-01-01' + (random() * 30 + o * 10) * interval '1 day' AS at
FROM generate_series(1, 300) i, (VALUES ('lead', 0), ('mql', 4), ('client', 8)) v(s, o) WHERE o = 0 OR random() + 0 * i < 0.6;
CREATE VIEW vel.spans AS
SELECT lead, extract(epoch FROM coalesce(out_at, '2026-05-15') - at)::float8 / 86400 AS days, out_at IS NOT NULL AS ended
FROM (SELECT *, lead(at) OVER (PARTITION BY lead ORDER BY at, stage) AS out_at FROM vel.r WHERE at <= '2026-05-15') x WHERE stage = 'mql';
WITH d AS (SELECT days, count(*) FILTER (WHERE ended) AS ended FROM vel.spans GROUP BY days),
n AS (SELECT days, ended, (SELECT count(*) FROM vel.spans s WHERE s.days >= d.days) AS at_risk FROM d WHERE ended > 0),
o AS (SELECT row_number() OVER (ORDER BY days) AS no, days, at_risk, ended, exp(sum(ln(1 - ended::float8 / at_risk)) OVER (ORDER BY days)) AS survival,
	sum(ended::float8 / (at_risk * (at_risk - ended))) OVER (ORDER BY days) AS g FROM n WHERE at_risk > ended)
SELECT count(*) > 60 AS enough, count(*) FILTER (WHERE abs(s.days - o.days) > 1e-9 OR o.at_risk <> s.at_risk OR abs(o.survival - s.survival) > 1e-12 OR abs(o.survival * sqrt(o.g) - s.std_error) > 1e-12) AS wrong,
	count(*) FILTER (WHERE s.days IS NULL OR o.days IS NULL) AS unmatched
FROM o FULL JOIN (SELECT *, row_number() OVER (ORDER BY days) AS no FROM survival(history => 'vel.r', stages => '{lead,mql,client}', as_of => '2026-05-15', span => 'in mql') WHERE survival > 0) s USING (no);

-- path: in order of time, at one instant by name; the stage type by the lifecycle
SELECT lead, path(stage, at) FROM vel.h GROUP BY lead ORDER BY lead;
SELECT path(stage::leadscore.stage, at), pg_typeof(path(stage::leadscore.stage, at)) FROM vel.h WHERE lead = 3;
SELECT path(s, at) AS by_name, path(s::leadscore.stage, at) AS by_stage FROM unnest('{sql,mql,lead,client}'::text[]) s, (SELECT timestamptz '2026-01-01' AS at) t;
SELECT path(s, now()) AS nothing FROM (SELECT NULL::text AS s) x;
SELECT lead, time_in_state(stage, at, '2026-01-31') FROM vel.h GROUP BY lead ORDER BY lead;
SELECT lead, time_in_state(stage, at, '2026-01-04') FROM vel.h GROUP BY lead ORDER BY lead;
SELECT time_in_state(stage, at, NULL) FROM vel.h WHERE lead = 3;
SELECT time_in_state(stage, at, at) FROM vel.h WHERE lead = 3;
SELECT time_in_state('a', '-infinity', '2026-01-31');
SELECT leadscore.path_final('\x00');
CREATE AGGREGATE vel.fake(text, timestamptz) (SFUNC = leadscore.timeline_add, STYPE = bytea, FINALFUNC = leadscore.path_final, INITCOND = '\x0100544c');
SELECT vel.fake('a', now());
-- days add up to the time watched; parallel is the same
SELECT count(*) AS wrong FROM (SELECT lead, time_in_state(stage, at, '2026-05-15') AS t, min(at) AS entered FROM vel.r WHERE at <= '2026-05-15' GROUP BY lead) x,
LATERAL (SELECT sum(value::numeric) AS days FROM jsonb_each_text(t)) d WHERE abs(days - extract(epoch FROM timestamptz '2026-05-15' - entered) / 86400) > 1e-5;
CREATE TABLE vel.serial AS SELECT lead, path(stage, at) AS p, time_in_state(stage, at, '2026-05-15') AS t FROM vel.r GROUP BY lead;
ALTER TABLE vel.r SET (parallel_workers = 2);
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT lead, path(stage, at) FROM vel.r GROUP BY lead;
SELECT count(*) AS differ FROM vel.serial s JOIN (SELECT lead, path(stage, at) AS p, time_in_state(stage, at, '2026-05-15') AS t FROM vel.r GROUP BY lead) x USING (lead) WHERE s.p <> x.p OR s.t <> x.t;

SET client_min_messages = warning;
DROP SCHEMA vel CASCADE;
