-- regression test: scoring in a query, and what makes a backend forget a model
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA fit;
SET search_path = fit, public, leadscore;
CREATE TABLE l (id bigint PRIMARY KEY, sector text, n int, junk text, tags text[]);
INSERT INTO l SELECT g, (ARRAY['saas', 'fintech', 'x', NULL])[1 + g % 4], nullif(g % 100, 7), repeat('x', g % 10), ARRAY['t' || g % 3]
FROM generate_series(1, 1000) g;
ANALYZE l;
SELECT create_model('fit', 'fit.l');
SELECT add_component('fit', 'who', hi => 20);
SELECT add_component('fit', 'size', lo => -5, hi => 30);
SELECT set_bounds('fit', 0, 45);
SELECT add_rule('fit', 'who', 'target sector', $$sector IN ('saas', 'fintech')$$, 15);
SELECT add_rule('fit', 'size', 'large', $$n > 50$$, 10);
SELECT add_rule('fit', 'size', 'unknown', $$n IS NULL$$, -8);
SELECT add_rule('fit', 'size', 'by size', $$n BETWEEN 20 AND 60$$, 'n / 4.0');
SELECT fit('fit', l) FROM l LIMIT 1;
SELECT publish('fit');

-- the planner passes columns, not rows; the plan says which version they are for
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM l WHERE fit('fit', l) > 30;
CREATE FUNCTION by_hand(l) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT greatest(0, least(45, least(20, CASE WHEN $1.sector IN ('saas', 'fintech') THEN 15 ELSE 0 END)
		+ greatest(-5, least(30, CASE WHEN $1.n > 50 THEN 10 ELSE 0 END + CASE WHEN $1.n IS NULL THEN -8 ELSE 0 END
			+ CASE WHEN $1.n BETWEEN 20 AND 60 THEN $1.n / 4.0 ELSE 0 END))))::float8 $$;
SELECT count(*), count(*) FILTER (WHERE fit('fit', l) <> by_hand(l)) AS differ, count(DISTINCT fit('fit', l)) > 10 AS varied FROM l;
SELECT count(*) AS differ FROM l JOIN leadscore.score_fit s ON s.lead = l.id WHERE fit('fit', l) <> (s.score @ now());
-- rows that are values: no columns to pass
SELECT count(*), count(*) FILTER (WHERE fit('fit', x.l) <> by_hand(x.l)) AS differ FROM (SELECT l FROM l OFFSET 0) x;
SELECT fit('fit', ROW(1, 'saas', 80, '', NULL)::l), fit('fit', NULL::l), fit('fit', ROW(NULL, 'saas', 80, '', NULL)::l);
-- the empty side of an outer join is not a lead
SELECT v.id, fit('fit', l) FROM (VALUES (1), (2000)) v(id) LEFT JOIN l USING (id) ORDER BY 1;
CREATE VIEW seen AS SELECT l, id FROM l;
SELECT count(*) FILTER (WHERE fit('fit', seen.l) <> by_hand(seen.l)) AS differ FROM seen;

-- errors
\set VERBOSITY default
SELECT fit('nothing', l) FROM l;
SELECT fit('fit', ROW(1, 2));
SELECT fit('fit', x) FROM (SELECT * FROM l OFFSET 0) x;
SELECT fit_columns('fit', 1, '{2}', 1::bigint, 'saas'::text);
SELECT fit_columns('fit', 1, '{2,3}', 1::bigint, 'saas'::text, 5::bigint);
SELECT fit_columns('fit', 1, NULL, 1::bigint, 'saas'::text);
SELECT model_changed();

-- parallel plans give the same
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT sum(fit('fit', l)) FROM l;
SELECT sum(fit('fit', l)) = (SELECT sum(by_hand(l)) FROM l) AS same FROM l;
CREATE TABLE kept AS SELECT id, fit('fit', x.l) FROM (SELECT l, id FROM l) x;
SELECT count(*) FROM kept JOIN l USING (id) WHERE fit <> by_hand(l);
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;

-- a plan that was kept follows the model, the table and the functions
SET plan_cache_mode = force_generic_plan;
PREPARE total AS SELECT sum(fit('fit', l)) FROM l;
EXECUTE total;
SELECT add_rule('fit', 'size', 'junk', $$junk LIKE 'xx%'$$, -3);
EXECUTE total;
SELECT publish('fit');
EXECUTE total;
BEGIN;
SELECT drop_rule('fit', 'junk');
SELECT publish('fit');
EXECUTE total;
ROLLBACK;
EXECUTE total;
ALTER TABLE l ADD COLUMN later text DEFAULT 'saas';
EXECUTE total;
ALTER TABLE l ALTER COLUMN n TYPE numeric;
EXECUTE total;
ALTER TABLE l RENAME COLUMN junk TO rubbish;
EXECUTE total;
ALTER TABLE l RENAME COLUMN rubbish TO junk;
EXECUTE total;
ALTER TABLE l DROP COLUMN junk;
EXECUTE total;
ALTER TABLE l ADD COLUMN junk text DEFAULT 'xxx';
EXECUTE total;
CREATE FUNCTION lucky(bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 0';
SELECT add_rule('fit', 'who', 'lucky', 'fit.lucky(id)', 1);
SELECT publish('fit');
SELECT sum(fit('fit', l)) FROM l WHERE sector IS NULL AND n < 20;
EXECUTE total;
CREATE OR REPLACE FUNCTION lucky(bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
EXECUTE total;
-- whoever writes to the tables of models, everybody notices
SET client_min_messages = warning;
UPDATE leadscore.rule SET points_sql = '100', points = '100' WHERE model = 'fit' AND rule = 'large';
EXECUTE total;
RESET client_min_messages;

-- a condition over the whole row needs the row
CREATE FUNCTION any_null(l) RETURNS bool LANGUAGE sql STABLE AS 'SELECT num_nulls($1.sector, $1.n) > 0';
SELECT add_rule('fit', 'who', 'gaps', 'fit.any_null(l)', -1);
SELECT add_rule('fit', 'who', 'whole', 'l IS NOT NULL', 2);
SELECT publish('fit');
EXPLAIN (VERBOSE, COSTS OFF) SELECT fit('fit', l) FROM l;
SELECT count(*), sum(fit('fit', l)) = (SELECT sum(score @ now()) FROM leadscore.score_fit) AS same FROM l;

-- the session's settings change nothing
CREATE TABLE z (id int PRIMARY KEY, at timestamptz, span interval);
INSERT INTO z SELECT g, timestamptz '2026-01-01 00:00+00' + g * interval '1 hour', g * interval '7 hours' FROM generate_series(1, 48) g;
SELECT create_model('fit_z', 'fit.z');
SELECT add_component('fit_z', 'c');
SELECT add_rule('fit_z', 'c', 'afternoon', $$extract(hour FROM at) >= 12$$, 1);
SELECT add_rule('fit_z', 'c', 'first', $$at::date = '2026-01-01'$$, 'extract(hour FROM at)');
SELECT add_rule('fit_z', 'c', 'text', $$at::text LIKE '2026-01-02%'$$, 100);
SELECT add_rule('fit_z', 'c', 'span', $$span::text = '1 day 11:00:00' OR span::text = '35:00:00'$$, 1000);
SELECT publish('fit_z');
SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601;
SELECT sum(fit('fit_z', z)) AS fit, sum(score @ now()) AS stored, count(*) FILTER (WHERE fit('fit_z', z) <> (score @ now())) AS differ
FROM z JOIN leadscore.score_fit_z s ON s.lead = z.id;
SELECT fit('fit_z', z), timestamptz '2026-01-01 12:00+00' FROM z WHERE id = 12;
SELECT fit('fit_z', z), span FROM z WHERE id = 5;
RESET TimeZone; RESET DateStyle; RESET IntervalStyle;
SELECT drop_model('fit_z');

-- functions that rules call are called with the rights of who asks
CREATE ROLE fit_reader;
GRANT USAGE ON SCHEMA fit TO fit_reader;
GRANT SELECT ON l TO fit_reader;
REVOKE EXECUTE ON FUNCTION any_null(l), lucky(bigint) FROM PUBLIC;
SELECT fit('fit', l) IS NOT NULL AS allowed FROM l WHERE id = 1;
SET ROLE fit_reader;
SELECT fit('fit', l) IS NOT NULL AS allowed FROM l WHERE id = 1;
RESET ROLE;
SELECT fit('fit', l) IS NOT NULL AS allowed FROM l WHERE id = 1;

DEALLOCATE total;
SELECT drop_model('fit');
SELECT fit('fit', l) FROM l;
SET client_min_messages = warning;
DROP SCHEMA fit CASCADE;
DROP ROLE fit_reader;

-- the extension made anew in one session
CREATE DATABASE leadscore_fit;
\c leadscore_fit
CREATE TABLE l (id int PRIMARY KEY, n int);
INSERT INTO l VALUES (1, 1), (2, 20);
CREATE EXTENSION leadscore;
SELECT leadscore.create_model('m', 'l');
SELECT leadscore.add_component('m', 'c');
SELECT leadscore.add_rule('m', 'c', 'r', 'n > 10', 5);
SELECT leadscore.publish('m');
PREPARE total AS SELECT sum(leadscore.fit('m', l)) FROM l;
EXECUTE total;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION leadscore CASCADE;
ROLLBACK;
EXECUTE total;
SET client_min_messages = warning;
DROP EXTENSION leadscore CASCADE;
RESET client_min_messages;
EXECUTE total;
CREATE EXTENSION leadscore;
SELECT leadscore.fit('m', l) FROM l;
SELECT leadscore.create_model('m', 'l');
SELECT leadscore.add_component('m', 'c');
SELECT leadscore.add_rule('m', 'c', 'r', 'n > 0', 7);
SELECT leadscore.publish('m');
SELECT sum(leadscore.fit('m', l)) FROM l;
\c contrib_regression
DROP DATABASE leadscore_fit;
