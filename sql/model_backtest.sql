-- regression test: backtest against the definitions of its measures in plain SQL
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET extra_float_digits = 0;
CREATE SCHEMA mb;
SELECT setseed(0.271828) IS NOT NULL AS seeded;
CREATE TABLE mb.lead (lead_id int PRIMARY KEY, staff int, sector text, status text);
CREATE TABLE mb.event (lead_id bigint, kind text, at timestamptz);
CREATE TABLE mb.outcome (lead_id int, at timestamptz, won bool);
INSERT INTO mb.lead SELECT g, floor(random() * 300)::int, (array['saas', 'retail'])[1 + floor(random() * 2)::int], NULL FROM generate_series(1, 400) g;
INSERT INTO mb.event SELECT 1 + floor(random() * 400)::int, (array['mail', 'webinar'])[1 + floor(random() * 2)::int], timestamptz '2026-01-01' + random() * interval '60 days' FROM generate_series(1, 3000);
INSERT INTO mb.outcome SELECT lead_id, timestamptz '2026-02-01' + random() * interval '20 days',
	random() < 0.05 + CASE WHEN sector = 'saas' THEN 0.25 ELSE 0 END + staff / 1500.0 FROM mb.lead;
INSERT INTO mb.outcome VALUES (1000, '2026-02-01', true), (5, NULL, true), (6, '2026-02-01', NULL);
UPDATE mb.lead l SET status = CASE WHEN o.won THEN 'signed' ELSE 'open' END FROM mb.outcome o WHERE o.lead_id = l.lead_id;

SELECT create_model('back', 'mb.lead', 'mb.event');
SELECT add_component('back', 'fit'), add_component('back', 'engagement', half_life => '10 days', hi => 60);
SELECT add_rule('back', 'fit', 'saas', $$sector = 'saas'$$, 10), add_rule('back', 'fit', 'size', 'staff > 50', 'staff / 100'),
	   add_rule('back', 'engagement', 'webinar', $$kind = 'webinar'$$, 2, at_most => 2, per => '7 days');
SELECT add_band('back', 'A', 12), add_band('back', 'B', 5);
SELECT publish('back');
SELECT drop_rule('back', 'saas');

-- what was known at the instant, one lead at a time
CREATE TABLE mb.known AS
SELECT o.*, score_of('back', o.lead_id::text, at - interval '1 day', 1) AS score, score_of('back', o.lead_id::text, at - interval '1 day', 0) AS draft
FROM mb.outcome o JOIN mb.lead USING (lead_id) WHERE at IS NOT NULL AND won IS NOT NULL;
CREATE TABLE mb.back AS
SELECT * FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', against => 0, before => '1 day');

-- AUC by counting pairs, its interval by DeLong's placements
CREATE FUNCTION mb.auc(OUT auc float8, OUT auc_draft float8, OUT spread float8, OUT spread_difference float8) LANGUAGE sql AS $$
	WITH pair AS (
		SELECT w.lead_id AS w, l.lead_id AS l,
			   CASE WHEN w.score > l.score THEN 1 WHEN w.score = l.score THEN 0.5 ELSE 0 END AS a,
			   CASE WHEN w.draft > l.draft THEN 1 WHEN w.draft = l.draft THEN 0.5 ELSE 0 END AS b
		FROM mb.known w, mb.known l WHERE w.won AND NOT l.won),
	won AS (SELECT avg(a) AS a, avg(b) AS b FROM pair GROUP BY w),
	lost AS (SELECT avg(a) AS a, avg(b) AS b FROM pair GROUP BY l)
	SELECT (SELECT avg(a) FROM pair), (SELECT avg(b) FROM pair),
		   1.959963984540054 * sqrt((SELECT var_samp(a) / count(*) FROM won) + (SELECT var_samp(a) / count(*) FROM lost)),
		   1.959963984540054 * sqrt((SELECT var_samp(a - b) / count(*) FROM won) + (SELECT var_samp(a - b) / count(*) FROM lost))
$$;
SELECT abs(b.value - a.auc) < 1e-9 AS auc, abs(b.low - (a.auc - a.spread)) < 1e-9 AS low, abs(b.high - (a.auc + a.spread)) < 1e-9 AS high, b.note
FROM mb.auc() a, mb.back b WHERE b.measure = 'AUC' AND b.part = 'version 1';
SELECT abs(b.value - a.auc_draft) < 1e-9 AS auc FROM mb.auc() a, mb.back b WHERE b.measure = 'AUC' AND b.part = 'version 0';
SELECT abs(b.value - (a.auc - a.auc_draft)) < 1e-9 AS difference, abs(b.high - b.value - a.spread_difference) < 1e-9 AS spread, b.note
FROM mb.auc() a, mb.back b WHERE b.measure = 'AUC difference';

-- shares, each with Wilson's interval
SELECT measure, part, leads, won, round(value::numeric, 4) AS value, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high, note
FROM mb.back WHERE measure NOT LIKE 'AUC%';
WITH share AS (
	SELECT 'conversion' AS measure, NULL AS part, count(*) FILTER (WHERE won) AS hits, count(*) AS n FROM mb.known
	UNION ALL SELECT 'precision from band', band, count(*) FILTER (WHERE won), count(*) FROM mb.known, (VALUES ('A', 12), ('B', 5)) b(band, least) WHERE score >= least GROUP BY band
	UNION ALL SELECT 'recall from band', band, count(*) FILTER (WHERE won AND score >= least), count(*) FILTER (WHERE won) FROM mb.known, (VALUES ('A', 12), ('B', 5)) b(band, least) GROUP BY band
	UNION ALL SELECT 'conversion of tenth', d::text, count(*) FILTER (WHERE won), count(*) FROM (SELECT *, 1 + ceil(row_number() OVER (ORDER BY score DESC, ctid) * 10.0 / count(*) OVER ())::int - 1 AS d FROM mb.known) x GROUP BY d
	UNION ALL SELECT 'conversion where rule matched', 'saas', count(*) FILTER (WHERE won), count(*) FROM mb.known JOIN mb.lead USING (lead_id) WHERE sector = 'saas'
	UNION ALL SELECT 'conversion where rule matched', 'size', count(*) FILTER (WHERE won), count(*) FROM mb.known JOIN mb.lead USING (lead_id) WHERE staff > 50
	UNION ALL SELECT 'conversion where rule matched', 'webinar', count(*) FILTER (WHERE won), count(*) FROM mb.known k WHERE EXISTS (SELECT FROM mb.event e WHERE e.lead_id = k.lead_id AND kind = 'webinar' AND e.at <= k.at - interval '1 day'))
SELECT count(*) AS shares, count(*) FILTER (WHERE b.measure IS NULL OR s.measure IS NULL OR abs(b.value - hits::float8 / n) > 1e-9
		OR abs(b.low - (hits + 1.9207294104 - 1.959963984540054 * sqrt(hits * (n - hits)::float8 / n + 0.9603647052)) / (n + 3.8414588207)) > 1e-6
		OR abs(b.high - (hits + 1.9207294104 + 1.959963984540054 * sqrt(hits * (n - hits)::float8 / n + 0.9603647052)) / (n + 3.8414588207)) > 1e-6) AS wrong
FROM share s FULL JOIN (SELECT * FROM mb.back WHERE measure NOT LIKE 'AUC%' AND measure <> 'oldest known columns') b ON b.measure = s.measure AND b.part IS NOT DISTINCT FROM s.part;

-- a model against itself, and against noise, is not called different
SELECT measure, part, value, note FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', against => 1) WHERE measure = 'AUC difference';
SELECT measure, note FROM backtest('back', 'SELECT lead_id, at, hashint4(lead_id) % 5 = 0 FROM mb.outcome') WHERE measure = 'AUC';
-- a rule that knows the outcome is called suspicious
SELECT add_rule('back', 'fit', 'leak', $$status = 'signed'$$, 50);
SELECT measure, part, note FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', version => 0) WHERE note LIKE 'susp%';

-- what happens at the instant of the outcome is not known before it: neither an event nor a column that the same transaction changed
BEGIN;
INSERT INTO mb.event SELECT lead_id, 'order mail', at FROM mb.outcome WHERE won;
SELECT add_rule('back', 'engagement', 'order mail', $$kind = 'order mail'$$, 50) IS NOT NULL AS added;
SET LOCAL client_min_messages = error;
SELECT leads, note FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', version => 0) WHERE part = 'order mail';
ROLLBACK;
CREATE TABLE mb.signed (lead_id int, at timestamptz, won bool);
BEGIN;
UPDATE mb.lead SET staff = 100000 WHERE lead_id % 2 = 0;
INSERT INTO mb.signed SELECT lead_id, now(), lead_id % 2 = 0 FROM mb.lead;
COMMIT;
SELECT value > 0.9 AS told FROM backtest('back', 'SELECT * FROM mb.signed') WHERE measure = 'AUC';
UPDATE mb.lead SET staff = 100 WHERE staff = 100000;
-- outcomes from before old values were kept are counted: none of these, since they are all from after publishing, but of a column that the draft is first to read
SELECT measure, leads, note FROM backtest('back', 'SELECT * FROM mb.signed') WHERE measure = 'oldest known columns';
SELECT measure, leads, note FROM backtest('back', 'SELECT * FROM mb.signed', version => 0) WHERE measure = 'oldest known columns';

-- values of leads that changed later do not count
UPDATE mb.lead SET sector = CASE sector WHEN 'saas' THEN 'retail' ELSE 'saas' END, staff = 300 - staff;
SELECT count(*) AS measures, count(*) FILTER (WHERE a.value IS DISTINCT FROM b.value) AS differ
FROM mb.back a JOIN backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', before => '1 day') b
	USING (measure, part) WHERE measure <> 'AUC difference';

-- what is refused
\set SHOW_CONTEXT never
SELECT * FROM backtest('back', 'SELECT lead_id, at FROM mb.outcome');
SELECT * FROM backtest('back', 'SELECT lead_id, won, at FROM mb.outcome');
SELECT * FROM backtest('back', 'DELETE FROM mb.outcome');
SELECT * FROM backtest('back', 'SELECT lead_id, at, true FROM mb.outcome');
SELECT * FROM backtest('back', 'SELECT 1, now(), false WHERE false');
SELECT * FROM backtest('back', 'SELECT ''x'', now(), false UNION ALL SELECT ''1'', now(), true');
SELECT * FROM backtest('back', 'nonsense');
SELECT * FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', before => '-1 hour');
SELECT * FROM backtest('back', NULL);
SELECT * FROM backtest('back', 'SELECT lead_id, at, won FROM mb.outcome', 9);
SELECT count(*) AS outcomes FROM mb.outcome;

SET client_min_messages = warning;
SELECT drop_model('back');
DROP SCHEMA mb CASCADE;
