-- regression test: rules that fail on some rows: passed over alike wherever scores are computed
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA mf;
-- columns that could be taken for those of generated queries
CREATE TABLE mf.lead (id int PRIMARY KEY, employees int, budget text, ratio float8, c0 int, b0 int, k int, p int, at timestamptz);
CREATE TABLE mf.event (lead_id int, at timestamptz NOT NULL, amount text, n int, k int, p int, r0 int, b0 int);
INSERT INTO mf.lead SELECT i, nullif(i % 5, 4), CASE i % 4 WHEN 0 THEN 'none' WHEN 1 THEN '' ELSE (i * 100)::text END,
	CASE i % 7 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE i::float8 END, i FROM generate_series(1, 40) i;
INSERT INTO mf.event SELECT 1 + i % 40, timestamptz '2026-01-01 00:00+00' + i * interval '7 hours',
	CASE i % 3 WHEN 0 THEN 'x' ELSE (i % 11)::text END, nullif(i % 6, 5) FROM generate_series(1, 400) i;
-- functions in SQL and PL/pgSQL, which an error leaves half done; not inlined
CREATE FUNCTION mf.per_head(int, int) RETURNS float8 LANGUAGE sql STABLE STRICT BEGIN ATOMIC SELECT 1; SELECT $1::float8 / $2; END;
CREATE FUNCTION mf.checked(int) RETURNS bool LANGUAGE plpgsql STABLE AS
	$$BEGIN PERFORM 1; IF $1 = 3 THEN RAISE EXCEPTION 'three is not allowed'; END IF; RETURN $1 > 1; END$$;

-- the oracle: for each row and rule what it gives, found by trying in PL/pgSQL
CREATE FUNCTION mf.try(condition text, points text, source text, row_in anyelement) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE matched bool; given float8;
BEGIN
	EXECUTE format('SELECT (%s) FROM (SELECT ($1::%s).*) r', condition, source) INTO matched USING row_in;
	IF matched IS NOT TRUE THEN RETURN 0; END IF;
	EXECUTE format('SELECT (%s)::float8 FROM (SELECT ($1::%s).*) r', points, source) INTO given USING row_in;
	RETURN CASE WHEN given = 'NaN' OR abs(given) = 'Infinity' THEN 0 ELSE coalesce(given, 0) END;
EXCEPTION WHEN OTHERS THEN RETURN 0;
END$$;
CREATE TABLE mf.rules (kind text, name text, component text, condition text, points text, at_most int, per interval);
INSERT INTO mf.rules VALUES
	('plain', 'share', 'fit', '100 / employees > 40', '3', NULL, NULL),
	('plain', 'budget', 'fit', 'budget::int > 1000', '5', NULL, NULL),
	('plain', 'points fail', 'fit', 'employees >= 0', '10 / employees', NULL, NULL),
	('plain', 'not finite', 'fit', 'id > 0', 'ratio', NULL, NULL),
	('plain', 'size', 'fit', 'employees IN (1, 2)', '7', NULL, NULL),
	('plain', 'log', 'both', 'ln(employees) >= 0', '2', NULL, NULL),
	('plain', 'amount', 'eng', 'amount::int > 4', '1', NULL, NULL),
	('plain', 'limited', 'eng', '12 / n > 2', 'amount::int', 2, '1 day'),
	('plain', 'in both', 'both', '1 / n = 1', '1', NULL, NULL),
	('plain', 'first', 'both', 'sqrt(n - 1) >= 0', '3', 2, NULL),
	('any', 'per head', 'fit', 'mf.per_head(id, employees) > 10', '4', NULL, NULL),
	('any', 'checked', 'fit', 'mf.checked(employees)', '8', NULL, NULL),
	('any', 'event per head', 'eng', 'mf.per_head(12, n) > 3', '6', NULL, NULL),
	('any', 'event checked', 'eng', 'mf.checked(n)', '2', 1, NULL);

-- one model of each: errors of PostgreSQL's own functions, and of any
SELECT create_model('mf_plain', 'mf.lead', 'mf.event', 'lead_id', 'at'), create_model('mf_any', 'mf.lead', 'mf.event', 'lead_id', 'at') \gset
SELECT count(add_component(m, 'fit') || add_component(m, 'eng', half_life => '10 days') || add_component(m, 'both') || add_band(m, 'hot', 30))
FROM unnest(ARRAY['mf_plain', 'mf_any']) m;
SELECT count(add_rule('mf_plain', component, name, condition, points, at_most, per)) FROM mf.rules WHERE kind = 'plain';
SELECT count(add_rule('mf_any', component, name, condition, points, at_most, per)) FROM mf.rules;

-- by the scan; told with the name and counted
SELECT publish('mf_plain');
\set VERBOSITY terse
SELECT publish('mf_any');
\set VERBOSITY default
SELECT model, rule, failures, last_message FROM rule_errors WHERE model LIKE 'mf%' ORDER BY model, rule COLLATE "C";
-- how often the oracle's rules fail
CREATE FUNCTION mf.fails(condition text, points text, source text, row_in anyelement) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE matched bool; given float8;
BEGIN
	EXECUTE format('SELECT (%s) FROM (SELECT ($1::%s).*) r', condition, source) INTO matched USING row_in;
	IF matched IS NOT TRUE THEN RETURN false; END IF;
	EXECUTE format('SELECT (%s)::float8 FROM (SELECT ($1::%s).*) r', points, source) INTO given USING row_in;
	RETURN given = 'NaN' OR abs(given) = 'Infinity';
EXCEPTION WHEN OTHERS THEN RETURN true;
END$$;
WITH counted AS (
	SELECT name, CASE WHEN EXISTS (SELECT FROM leadscore.rule r WHERE r.model = 'mf_any' AND version = 0 AND rule = name AND source = 'lead')
		THEN (SELECT count(*) FROM mf.lead l WHERE mf.fails(condition, points, 'mf.lead', l))
		ELSE (SELECT count(*) FROM mf.event e WHERE mf.fails(condition, points, 'mf.event', e)) END AS n
	FROM mf.rules)
SELECT count(*) AS rules, count(*) FILTER (WHERE n IS DISTINCT FROM coalesce(failures, 0)) AS wrong
FROM counted LEFT JOIN (SELECT * FROM rule_errors WHERE model = 'mf_any') e ON rule = name;

-- from here on the warnings were seen
SET client_min_messages = error;
CREATE VIEW mf.expected AS
WITH given AS (
	SELECT l.id, r.kind, r.component, NULL::timestamptz AS at, mf.try(r.condition, r.points, 'mf.lead', l) AS points
	FROM mf.lead l, mf.rules r JOIN leadscore.rule d ON d.model = 'mf_any' AND d.version = 0 AND d.rule = r.name AND d.source = 'lead'
	UNION ALL
	SELECT lead_id, kind, component, at, given FROM (
		SELECT *, CASE WHEN per IS NOT NULL THEN row_number() OVER (PARTITION BY lead_id, name, given = 0, date_bin(per, at, '2000-01-03 UTC') ORDER BY at)
			ELSE row_number() OVER (PARTITION BY lead_id, name, given = 0 ORDER BY at, given DESC) END AS n
		FROM (SELECT e.lead_id, r.*, e.at, mf.try(r.condition, r.points, 'mf.event', e) AS given
			FROM mf.event e, mf.rules r JOIN leadscore.rule d ON d.model = 'mf_any' AND d.version = 0 AND d.rule = r.name AND d.source = 'event') t) u
	WHERE n <= coalesce(at_most, 1000000))
SELECT m.model, g.id, sum(CASE WHEN g.component = 'eng' THEN g.points * 0.5 ^ (extract(epoch FROM timestamptz '2026-06-01 00:00+00' - g.at) / 864000)
	ELSE g.points END) AS score
FROM (VALUES ('mf_plain'), ('mf_any')) m(model), given g WHERE m.model = 'mf_any' OR g.kind = 'plain' GROUP BY 1, 2;
-- every way to a score: wrong ones
SELECT model, count(*) FILTER (WHERE abs(stored - score) > 1e-9) AS stored, count(*) FILTER (WHERE abs(score_at - score) > 1e-9) AS score_at,
	count(*) FILTER (WHERE abs(explained - score) > 1e-9) AS explained, count(*) FILTER (WHERE abs(summed - score) > 1e-9) AS summed,
	count(*) FILTER (WHERE abs(draft - score) > 1e-9) AS draft, count(*) AS leads
FROM (SELECT e.*, current_score(model, id::text) @ '2026-06-01 00:00+00' AS stored, score_at(model, id::text, '2026-06-01 00:00+00') AS score_at,
		score_of(model, id::text, '2026-06-01 00:00+00') AS draft, x.*
	FROM mf.expected e, LATERAL (SELECT sum(points) FILTER (WHERE source = 'total') AS explained, sum(points) FILTER (WHERE source <> 'total') AS summed
		FROM explain(e.model, e.id::text, '2026-06-01 00:00+00')) x) s GROUP BY model;
SELECT count(*) FROM verify('mf_plain') UNION ALL SELECT count(*) FROM verify('mf_any');
SELECT count(*), count(*) FILTER (WHERE live_score <> new_score) AS wrong FROM compare_scores('mf_any', 0, '2026-06-01');
SELECT rescore('mf_any');
SELECT count(*) FROM changes('mf_any', '7', '2026-02-01', '2026-03-01');
SELECT count(*) > 0 FROM backtest('mf_any', 'SELECT id, timestamptz ''2026-06-01'', id % 3 = 0 FROM mf.lead');
-- fit: leads alone, with columns and with the row; serial and parallel
CREATE VIEW mf.fit_expected AS SELECT l.id, m.model, sum(mf.try(r.condition, r.points, 'mf.lead', l)) AS score
FROM (VALUES ('mf_plain'), ('mf_any')) m(model), mf.lead l, mf.rules r
	JOIN leadscore.rule d ON d.model = 'mf_any' AND d.version = 0 AND d.rule = r.name AND d.source = 'lead'
WHERE m.model = 'mf_any' OR r.kind = 'plain' GROUP BY 1, 2;
SELECT count(*), count(*) FILTER (WHERE abs(s - score) > 1e-9) AS wrong FROM (SELECT id, fit('mf_plain', l) AS s FROM mf.lead l) f JOIN mf.fit_expected e USING (id) WHERE model = 'mf_plain';
SELECT count(*), count(*) FILTER (WHERE abs(s - score) > 1e-9) AS wrong FROM (SELECT id, fit('mf_any', l) AS s FROM mf.lead l) f JOIN mf.fit_expected e USING (id) WHERE model = 'mf_any';
SELECT count(*), count(*) FILTER (WHERE abs(s - score) > 1e-9) AS wrong FROM (SELECT id, fit(model, l) AS s, score FROM mf.lead l JOIN mf.fit_expected e USING (id) WHERE model = 'mf_any' OFFSET 0) f;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT sum(fit('mf_plain', l)) FROM mf.lead l;
SELECT count(*), round(sum(fit('mf_plain', l))::numeric, 6) AS sum FROM mf.lead l;
-- where failures need subtransactions, PostgreSQL before 17 makes no parallel plan
SELECT count(*), round(sum(fit('mf_any', l))::numeric, 6) AS sum FROM mf.lead l;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
SELECT model, round(sum(score)::numeric, 6) AS sum FROM mf.fit_expected GROUP BY model ORDER BY model;

-- the note of explain
SELECT component, rule, source, occurrences, round(points::numeric, 3) AS points, note FROM explain('mf_plain', '5', '2026-06-01') WHERE note IS NOT NULL;
-- triggers agree: all events again, and some leads
CREATE TABLE mf.saved AS SELECT * FROM mf.event;
DELETE FROM mf.event;
INSERT INTO mf.event SELECT * FROM mf.saved WHERE lead_id < 20;
INSERT INTO mf.event SELECT * FROM mf.saved WHERE lead_id >= 20 ORDER BY at DESC;
UPDATE mf.lead SET employees = 0 WHERE id % 3 = 0;
SELECT count(*), count(*) FILTER (WHERE abs((current_score(model, id::text) @ '2026-06-01 00:00+00') - score) > 1e-9) AS wrong FROM mf.expected;
SELECT count(*) FROM verify('mf_plain') UNION ALL SELECT count(*) FROM verify('mf_any');
-- as of an earlier instant, from the old values
SELECT count(*) FILTER (WHERE score_at('mf_any', id::text, '2026-06-01') IS NULL) AS missing FROM mf.lead;
-- keys and tables that the scan does not take: by query
CREATE TABLE mf.tlead (id text PRIMARY KEY, employees int); INSERT INTO mf.tlead SELECT id::text, employees FROM mf.lead;
SELECT create_model('mf_text', 'mf.tlead'), add_component('mf_text', 'fit'), add_rule('mf_text', 'fit', 'share', '100 / employees > 40', 3),
	add_rule('mf_text', 'fit', 'known', 'employees IS NOT NULL', 1) \gset
RESET client_min_messages;
-- (by a plan that could take equal rows for one)
ANALYZE mf.tlead; SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT publish('mf_text');
RESET enable_hashjoin; RESET enable_mergejoin;
SELECT sum(score @ now()) FROM score_mf_text;
SELECT sum(CASE WHEN employees > 0 AND 100 / nullif(employees, 0) > 40 THEN 4 WHEN employees IS NOT NULL THEN 1 ELSE 0 END) FROM mf.tlead;
-- where nothing can be written it is told, once a session
BEGIN READ ONLY;
SELECT count(*) FROM verify('mf_text');
SELECT count(*) FROM verify('mf_text');
COMMIT;
-- once a session and rule, not once a value that fails
CREATE TABLE mf.said (id int PRIMARY KEY, what text); INSERT INTO mf.said SELECT g, 'x' || g FROM generate_series(1, 20) g;
SELECT create_model('mf_said', 'mf.said'), add_component('mf_said', 'c'), add_rule('mf_said', 'c', 'number', 'what::int > 5', 3) \gset
SET client_min_messages = error;
SELECT publish('mf_said');
RESET client_min_messages;
\c -
SET search_path = public, leadscore;
SELECT sum(fit('mf_said', s)) FROM mf.said s;
SELECT sum(score_at('mf_said', id::text)) FROM mf.said;
UPDATE mf.said SET what = 'y' || id;
-- what is not about the rule is not passed over
SET statement_timeout = '200ms';
CREATE FUNCTION mf.slow(int) RETURNS bool LANGUAGE plpgsql STABLE AS $$BEGIN PERFORM pg_sleep(10); RETURN true; END$$;
SELECT add_rule('mf_text', 'fit', 'slow', 'mf.slow(employees)', 3) \gset
\set VERBOSITY sqlstate
SELECT publish('mf_text');
\set VERBOSITY default
RESET statement_timeout;
-- points that are fine one by one, and too large to add up: which model, which lead; explain shows them
CREATE TABLE mf.sum (id int PRIMARY KEY); INSERT INTO mf.sum VALUES (1), (2);
CREATE TABLE mf.term (sum_id int REFERENCES mf.sum, p float8, at timestamptz DEFAULT '2026-01-01');
SELECT create_model('mf_sum', 'mf.sum', 'mf.term'), add_component('mf_sum', 'c', hi => 100), add_rule('mf_sum', 'c', 'p', 'true', 'p', source => 'event'),
	publish('mf_sum') \gset
INSERT INTO mf.term VALUES (1, 1e308), (1, 1e308), (2, 5);
SELECT * FROM verify('mf_sum');
SELECT score_at('mf_sum', '1'), 'not reached';
SELECT publish('mf_sum');
SELECT component, rule, source, points FROM explain('mf_sum', '1');
SELECT score_at('mf_sum', '2');
-- nobody else calls what the queries call
SELECT judge(1, true, ROW());
SET client_min_messages = warning;
SELECT count(drop_model(m)) FROM unnest(ARRAY['mf_plain', 'mf_any', 'mf_text', 'mf_sum', 'mf_said']) m;
DROP SCHEMA mf CASCADE;

