-- regression test: scores of random models against an oracle in plain SQL (laws L1, L2, L4)
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC';	-- rules are always evaluated under UTC; so is the oracle's SQL
CREATE SCHEMA ms;
SET search_path = ms, public, leadscore;
\set seed 0.20261123
SELECT :seed AS seed, setseed(:seed) IS NOT NULL AS set;

CREATE TABLE lead (lead_id bigint PRIMARY KEY, sector text, employees int, budget numeric, authority bool);
CREATE TABLE event (event_id bigint PRIMARY KEY, lead_id int, kind text, value float8, at timestamptz);
INSERT INTO lead
SELECT g, (array['saas', 'fintech', 'retail', '', NULL])[1 + floor(random() * 5)::int],
	   CASE WHEN random() < 0.8 THEN floor(random() * 2000)::int END,
	   CASE WHEN random() < 0.6 THEN round((random() * 100000)::numeric, 2) END,
	   CASE WHEN random() < 0.7 THEN random() < 0.5 END
FROM generate_series(1, 40) g;
-- many events at the same instant, some without lead, instant, kind or value, some of no lead at all
INSERT INTO event
SELECT g, CASE WHEN random() < 0.97 THEN 1 + floor(random() * 42)::int END,
	   (array['mail', 'webinar', 'demo', 'unsubscribe', NULL])[1 + floor(random() * 5)::int],
	   CASE WHEN random() < 0.8 THEN round((random() * 20 - 5)::numeric, 1) END,
	   CASE WHEN random() < 0.97 THEN timestamptz '2025-01-01 00:00+00' + floor(random() * 120) * interval '3 hours' END
FROM generate_series(1, 1200) g;
INSERT INTO event VALUES (2001, 1, 'mail', 1, 'infinity'), (2002, 1, 'mail', 1, '-infinity'), (2003, 2, 'mail', 1, '0044-03-15 BC');

-- the oracle: what each rule gives, by the definition in docs/models.md, one step at a time
CREATE TABLE o_component (component text, half_life float8, lo float8, hi float8);
CREATE TABLE o_rule (rule text, component text, source text, condition text, points text, at_most int, per float8, valid_from timestamptz, valid_until timestamptz);
CREATE TABLE o_total (lo float8, hi float8);
CREATE TABLE o_match (rule text, lead_id bigint, event_id bigint, at timestamptz, points float8);
CREATE INDEX ON o_match (lead_id, rule, at);
CREATE FUNCTION o_matches() RETURNS void LANGUAGE plpgsql AS $$
DECLARE r o_rule;
BEGIN
	DELETE FROM o_match;
	FOR r IN SELECT * FROM o_rule LOOP
		IF r.source = 'lead' THEN
			EXECUTE format('INSERT INTO o_match SELECT %L, lead_id, NULL, NULL, %s FROM lead WHERE %s', r.rule, r.points, r.condition);
		ELSE
			EXECUTE format('INSERT INTO o_match SELECT %L, lead_id, event_id, at, %s FROM event WHERE (%s)
							AND extract(year FROM at) BETWEEN 1 AND 9999 AND ($1 IS NULL OR at >= $1) AND ($2 IS NULL OR at < $2)',
						   r.rule, r.points, r.condition) USING r.valid_from, r.valid_until;
		END IF;
	END LOOP;
	DELETE FROM o_match WHERE points IS NULL OR lead_id IS NULL;
END $$;
-- score of a lead as of t (NULL: of everything, seen from t0)
CREATE FUNCTION o_score(lead bigint, t timestamptz, t0 timestamptz DEFAULT NULL) RETURNS float8 LANGUAGE sql AS $$
	WITH counted AS (
		SELECT r.component, m.points, m.at
		FROM o_match m JOIN o_rule r USING (rule)
		WHERE m.lead_id = lead AND (m.at IS NULL OR t IS NULL OR m.at <= t)
		  AND (r.at_most IS NULL OR r.at_most > (
				SELECT count(*) FROM o_match w
				WHERE w.rule = m.rule AND w.lead_id = lead
				  AND (r.per IS NULL OR floor((extract(epoch FROM w.at) - 946857600) / r.per) = floor((extract(epoch FROM m.at) - 946857600) / r.per))
				  AND (w.at, -w.points, w.event_id) < (m.at, -m.points, m.event_id)))),
	aged AS (
		SELECT c.component, greatest(c.lo, least(c.hi, sum(
			   CASE WHEN x.points IS NULL THEN 0
					WHEN c.half_life IS NULL THEN x.points
					ELSE x.points * exp(greatest(-700, -ln(2) * extract(epoch FROM coalesce(t, t0) - x.at)::float8 / c.half_life)) END))) AS points
		FROM o_component c LEFT JOIN counted x USING (component)
		GROUP BY c.component, c.lo, c.hi)
	SELECT greatest((SELECT lo FROM o_total), least((SELECT hi FROM o_total), sum(points))) FROM aged
$$;

-- a random model, given to both
CREATE FUNCTION random_model(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	lead_conditions text[] := array['sector = ''saas''', 'sector IN (''saas'', ''fintech'')', 'employees > 500', 'employees BETWEEN 10 AND 200',
									'sector IS NULL', 'authority', 'NOT authority AND budget > 1000', 'budget / 2 > employees OR sector = ''''', 'true'];
	event_conditions text[] := array['kind = ''mail''', 'kind = ''webinar''', 'kind IN (''demo'', ''webinar'')', 'kind IS NOT NULL AND value > 3',
									 'value IS NULL', 'length(kind) > 4', 'extract(hour FROM at) < 12', 'kind <> ''mail'' AND value < 10', 'true'];
	n int := 1 + floor(random() * 4)::int;
	c o_component; r o_rule;
BEGIN
	DELETE FROM o_component; DELETE FROM o_rule; DELETE FROM o_total;
	PERFORM create_model(name, 'lead', 'event');
	FOR i IN 1 .. n LOOP
		c.component := 'c' || i;
		c.half_life := CASE WHEN random() < 0.6 THEN (array[3600, 86400, 7 * 86400, 100000.5])[1 + floor(random() * 4)::int] END;
		c.lo := CASE WHEN random() < 0.3 THEN floor(random() * 20) - 10 END;
		c.hi := CASE WHEN random() < 0.5 THEN coalesce(c.lo, 0) + floor(random() * 60) END;
		INSERT INTO o_component VALUES (c.*);
		PERFORM add_component(name, c.component, make_interval(secs => c.half_life), c.lo, c.hi);
		FOR j IN 1 .. 1 + floor(random() * 4)::int LOOP
			r := NULL;
			r.rule := c.component || ' rule ' || j;
			r.component := c.component;
			r.source := CASE WHEN c.half_life IS NOT NULL OR random() < 0.4 THEN 'event' ELSE 'lead' END;
			IF r.source = 'event' THEN
				r.condition := event_conditions[1 + floor(random() * 9)::int];
				r.points := (array['10', '-3.5', 'value', 'least(value * 2, 15)'])[1 + floor(random() * 4)::int];
				r.at_most := CASE WHEN random() < 0.5 THEN 1 + floor(random() * 3)::int END;
				r.per := CASE WHEN r.at_most IS NOT NULL AND random() < 0.7 THEN (array[3600, 86400, 7 * 86400])[1 + floor(random() * 3)::int] END;
				r.valid_from := CASE WHEN random() < 0.2 THEN timestamptz '2025-01-03' END;
				r.valid_until := CASE WHEN random() < 0.2 THEN timestamptz '2025-01-12' END;
			ELSE
				r.condition := lead_conditions[1 + floor(random() * 9)::int];
				r.points := (array['10', '-3.5', 'employees / 100', 'least(budget / 1000, 20)'])[1 + floor(random() * 4)::int];
			END IF;
			INSERT INTO o_rule VALUES (r.*);
			PERFORM add_rule(name, r.component, r.rule, r.condition, r.points, r.at_most, make_interval(secs => r.per),
							 r.source, r.valid_from, r.valid_until);
		END LOOP;
	END LOOP;
	INSERT INTO o_total VALUES (CASE WHEN random() < 0.3 THEN 0 END, CASE WHEN random() < 0.3 THEN 60 END);
	PERFORM set_bounds(name, lo, hi) FROM o_total;
	RETURN name;
END $$;
CREATE FUNCTION differs(a float8, b float8) RETURNS bool LANGUAGE sql AS
	$$ SELECT a IS NULL OR b IS NULL OR abs(a - b) > 1e-9 * greatest(1, abs(a), abs(b)) $$;

-- random models; for each: score_at and the rows of explain at instants between
-- and after events, the stored score at instants after all of them
CREATE TABLE instant AS
SELECT timestamptz '2024-12-31' + floor(random() * 420) * interval '1 hour' AS t FROM generate_series(1, 4)
UNION ALL VALUES (timestamptz '2025-01-16'), ('2025-02-20 12:34:56.789'), ('2027-01-01');
CREATE TABLE outcome (law text, cases bigint, wrong bigint);
DO $$
DECLARE name text;
BEGIN
	FOR m IN 1 .. 8 LOOP
		name := random_model('random ' || m);
		PERFORM publish(name);
		PERFORM o_matches();
		INSERT INTO outcome
		SELECT 'score_at', count(*), count(*) FILTER (WHERE differs(o_score(lead_id, t), score_at(name, lead_id::text, t)))
		FROM lead, instant;
		INSERT INTO outcome
		SELECT 'explain', count(*), count(*) FILTER (WHERE differs(o_score(lead_id, t), total) OR differs(coalesce(parts, 0), total))
		FROM lead, instant,
			 LATERAL (SELECT sum(points) FILTER (WHERE source = 'total') AS total,
							 sum(points) FILTER (WHERE source <> 'total') AS parts
					  FROM explain(name, lead_id::text, t)) x;
		EXECUTE format('INSERT INTO outcome SELECT ''stored @'', count(*), count(*) FILTER (WHERE differs(o_score(lead_id, NULL, t), score @ t))
						FROM leadscore.%I s RIGHT JOIN lead l ON s.lead = l.lead_id, instant WHERE t > ''2025-01-15 21:00''', 'score_' || name);
		INSERT INTO outcome SELECT 'verify', 40, count(*) FROM verify(name);
	END LOOP;
END $$;
SELECT law, sum(cases) AS cases, sum(wrong) AS wrong FROM outcome GROUP BY law ORDER BY law;

-- events arrive late, change and go; leads too: scored again, serially and in
-- parallel, all models agree with the oracle and with what they would be from scratch
UPDATE event SET kind = 'demo', value = 7.5, at = at - interval '100 hours' WHERE event_id % 13 = 0;
DELETE FROM event WHERE event_id % 17 = 0;
INSERT INTO event SELECT 5000 + g, 1 + g % 40, 'webinar', 4, '2024-12-20'::timestamptz + g * interval '1 hour' FROM generate_series(1, 100) g;
UPDATE lead SET sector = 'saas', employees = NULL WHERE lead_id % 5 = 0;
DELETE FROM lead WHERE lead_id % 11 = 0;
INSERT INTO lead VALUES (41, 'retail', 50, 5000, true);
SELECT m.model, v.* FROM leadscore.model m, verify(m.model) v WHERE m.model LIKE 'random _'; -- live triggers kept up
SELECT m.model, rescore(m.model) FROM leadscore.model m WHERE m.model LIKE 'random _' ORDER BY 1;
SELECT o_matches();
SELECT count(*) AS cases, count(*) FILTER (WHERE differs(o_score(lead_id, NULL, t), score @ t)) AS wrong
FROM leadscore."score_random 8" s RIGHT JOIN lead l ON s.lead = l.lead_id, instant WHERE t > '2025-01-15 21:00';
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
ALTER TABLE event SET (parallel_workers = 2);
ALTER TABLE lead SET (parallel_workers = 2);
SELECT m.model, v.* FROM leadscore.model m, verify(m.model) v WHERE m.model LIKE 'random _';
SELECT rescore('random 8'), rescore('random 7');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;
SELECT m.model, v.* FROM leadscore.model m, verify(m.model) v WHERE m.model LIKE 'random _';

-- hottest is the ranking of the stored scores
SELECT count(*) AS ranked, count(*) FILTER (WHERE differs(h.score, o.score)) AS wrong
FROM (SELECT row_number() OVER () AS i, score FROM hottest('random 8', 1000, '2025-03-01')) h
FULL JOIN (SELECT row_number() OVER (ORDER BY o_score(lead_id, NULL, '2025-03-01') DESC) AS i,
				  o_score(lead_id, NULL, '2025-03-01') AS score FROM lead) o USING (i);

SET client_min_messages = warning;
SELECT drop_model(model) FROM leadscore.model WHERE model LIKE 'random _' ORDER BY model;
DROP SCHEMA ms CASCADE;
