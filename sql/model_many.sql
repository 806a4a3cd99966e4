-- regression test: as many rules as a model can have, with all that is asked of it
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA mm;
CREATE TABLE mm.lead (id int PRIMARY KEY, n int, said text);
CREATE TABLE mm.event (lead_id int REFERENCES mm.lead, k int, said text, at timestamptz);
CREATE TABLE mm.outcome (lead_id int, at timestamptz, won bool);
INSERT INTO mm.lead SELECT g, g, g FROM generate_series(1, 4) g;
INSERT INTO mm.event SELECT 1 + g % 4, g % 300, g, '2026-01-01'::timestamptz + g * interval '1 hour' FROM generate_series(1, 100) g;
INSERT INTO mm.outcome SELECT g, '2026-03-01', g > 2 FROM generate_series(1, 4) g;
-- all about events, each with a window of its own, which takes the most columns; all about leads
SELECT import_model(jsonb_build_object('leadscore_model', 1, 'model', kind, 'leads', 'mm.lead', 'events', 'mm.event',
	'components', '[{"component": "c", "half_life": "7 days"}, {"component": "s"}]'::jsonb,
	'rules', (SELECT jsonb_agg(CASE kind
		WHEN 'mm_event' THEN jsonb_build_object('rule', 'r' || g, 'component', 'c', 'condition', 'k % 300 = ' || g % 300, 'points', 'k', 'at_most', 2, 'per', g || ' hours')
		ELSE jsonb_build_object('rule', 'r' || g, 'component', 's', 'source', 'lead', 'condition', 'n >= ' || g % 30, 'points', 'said::int') END)
		FROM generate_series(1, 300) g)))
FROM unnest(ARRAY['mm_event', 'mm_lead']) kind;
SELECT add_rule('mm_event', 'c', 'one more', 'k = 1', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT m.model, publish(m.model) FROM unnest(ARRAY['mm_event', 'mm_lead']) m(model);
-- the widest queries: verify, changes and the like have fewer columns
SELECT m.model, (SELECT count(*) FROM explain(m.model, '3')) AS explained,
	(SELECT count(*) > 0 FROM backtest(m.model, 'SELECT * FROM mm.outcome')) AS tested
FROM unnest(ARRAY['mm_event', 'mm_lead']) m(model);
SELECT count(*) AS wrong FROM verify('mm_lead');
SELECT count(fit('mm_lead', l)) FROM mm.lead l;
SET client_min_messages = warning;
SELECT count(drop_model(m)) FROM unnest(ARRAY['mm_event', 'mm_lead']) m;
DROP SCHEMA mm CASCADE;
