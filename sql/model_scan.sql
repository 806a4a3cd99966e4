-- regression test: the scores of all leads by scans in C equal those of the query
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA sc;
SET search_path = sc, public, leadscore;
SET client_min_messages = warning;

-- verify() computes with the query; what is stored came from the scans
\set seed 0.505
SELECT setseed(:seed);
CREATE TABLE lead (id int PRIMARY KEY, sector text, size int);
INSERT INTO lead SELECT g, (ARRAY['saas', 'bank', NULL])[1 + floor(random() * 3)::int], nullif(floor(random() * 100)::int, 50)
FROM generate_series(-2000, 12000) g;
CREATE TABLE event (lead_id bigint, kind text, at timestamptz, weight numeric);
ALTER TABLE event ALTER lead_id TYPE int;
INSERT INTO event
SELECT CASE WHEN random() < 0.98 THEN floor(power(random(), 2) * 16000 - 2000)::int END,
	(ARRAY['open', 'click', 'webinar', 'form', 'unsubscribe', 'noise', NULL])[1 + floor(random() * 7)::int],
	CASE WHEN random() < 0.99 THEN timestamptz '2026-01-01' + random() * interval '300 days'
		WHEN random() < 0.5 THEN NULL ELSE (ARRAY['infinity', '-infinity', '0044-01-01 BC', '0007-01-01', '9999-12-01', '2026-03-01']::timestamptz[])[1 + floor(random() * 6)::int] END,
	CASE WHEN random() < 0.9 THEN round((random() * 30)::numeric, 1) END
FROM generate_series(1, 40000);
-- bursts at one instant, for limits
INSERT INTO event SELECT g % 50, 'click', timestamptz '2026-05-05 12:00+00', g % 7 FROM generate_series(1, 2000) g;
ANALYZE lead; ANALYZE event;

CREATE FUNCTION agree(model text) RETURNS TABLE (scored bigint, not_zero bool, differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT (SELECT count(*) FROM leadscore.%1$I), (SELECT count(*) > 1000 FROM leadscore.%1$I WHERE (score @ timestamptz ''2026-11-01'') <> 0),
		(SELECT count(*) FROM leadscore.verify(%2$L))', 'score_' || model, model);
END $$;

SELECT create_model('sc', 'sc.lead', 'sc.event', 'lead_id', 'at');
SELECT add_component('sc', 'fit', lo => 0, hi => 40);
SELECT add_component('sc', 'slow', half_life => '60 days', hi => 100);
SELECT add_component('sc', 'fast', half_life => '1 second');
SELECT add_component('sc', 'ever');
SELECT add_rule('sc', 'fit', 'saas', $$sector = 'saas'$$, 15);
SELECT add_rule('sc', 'fit', 'size', $$size > 10$$, 'size / 10.0');
SELECT add_rule('sc', 'slow', 'webinar', $$kind = 'webinar'$$, 20);
SELECT add_rule('sc', 'slow', 'click', $$kind IN ('click', 'form')$$, 'weight');
SELECT add_rule('sc', 'slow', 'unsubscribe', $$kind = 'unsubscribe'$$, -15);
SELECT add_rule('sc', 'fast', 'open', $$kind = 'open'$$, 3);
SELECT add_rule('sc', 'ever', 'heavy', $$weight > 20 AND kind <> 'noise'$$, 1);
SELECT add_rule('sc', 'slow', 'spring', $$kind = 'form'$$, 5, valid_from => '2026-03-01+00', valid_until => '2026-06-01+00');
SELECT publish('sc');
SELECT * FROM agree('sc');
-- one lead far away: its key is no place in an array any more
INSERT INTO lead VALUES (2000000000, 'saas', 20);
INSERT INTO event VALUES (2000000000, 'webinar', '2026-10-01', 1);
SELECT rescore('sc');
SELECT * FROM agree('sc');
DELETE FROM lead WHERE id = 2000000000;

-- limits: a day, a week, ever; with points that differ
SELECT add_rule('sc', 'slow', 'daily', $$kind = 'click'$$, 'weight', at_most => 2, per => '1 day');
SELECT add_rule('sc', 'ever', 'weekly', $$kind IN ('open', 'click')$$, 1, at_most => 3, per => '7 days');
SELECT add_rule('sc', 'ever', 'once', $$kind = 'form'$$, 90, at_most => 1);
SELECT add_rule('sc', 'ever', 'early', $$kind = 'form' AND length(kind) = 4$$, 7, at_most => 1, valid_from => '2026-02-01+00');
SELECT publish('sc');
SELECT * FROM agree('sc');

-- too little memory for all leads at once: by ranges of keys
SET maintenance_work_mem = '1MB';
SELECT rescore('sc');
SELECT * FROM agree('sc');
RESET maintenance_work_mem;

-- keys of two words, keys narrower than the lead's, and those only the query takes
CREATE TABLE by_uuid (id uuid PRIMARY KEY, size int);
INSERT INTO by_uuid SELECT md5(g::text)::uuid, g FROM generate_series(1, 3000) g;
CREATE TABLE uuid_event (lead uuid, at timestamptz);
INSERT INTO uuid_event SELECT md5((g % 3500)::text)::uuid, timestamptz '2026-10-01' - g * interval '1 minute' FROM generate_series(1, 20000) g;
SELECT create_model('sc_uuid', 'sc.by_uuid', 'sc.uuid_event', 'lead', 'at');
SELECT add_component('sc_uuid', 'c', half_life => '30 days');
SELECT add_rule('sc_uuid', 'c', 'any', 'true', 1, source => 'event');
SELECT publish('sc_uuid');
SELECT * FROM agree('sc_uuid');
CREATE TABLE by_text (id text PRIMARY KEY, size int);
INSERT INTO by_text SELECT id::text, size FROM by_uuid;
CREATE TABLE text_event AS SELECT lead::text, at FROM uuid_event;
SELECT create_model('sc_text', 'sc.by_text', 'sc.text_event', 'lead', 'at');
SELECT add_component('sc_text', 'c', half_life => '30 days');
SELECT add_rule('sc_text', 'c', 'any', 'true', 1, source => 'event');
SELECT publish('sc_text');
SELECT * FROM agree('sc_text');
SELECT count(*) AS differ FROM leadscore.score_sc_uuid u JOIN leadscore.score_sc_text t ON u.lead::text = t.lead
WHERE abs((u.score @ '2026-11-01') - (t.score @ '2026-11-01')) > 1e-9 * (u.score @ '2026-11-01');

-- rows of every physical form: narrow and wide columns, short, long and compressed text, dropped columns, ones added later
CREATE TABLE odd (a bool, gone int, b "char", c smallint, d text, e name, f text, id smallint PRIMARY KEY, g real, h text, i date);
INSERT INTO odd SELECT random() < 0.5, CASE WHEN g % 3 > 0 THEN g END, chr(65 + g % 3)::"char", CASE WHEN g % 5 > 0 THEN g % 100 END,
	repeat('x', g % 300), 'n' || g % 3, CASE WHEN g % 7 > 0 THEN repeat('y', (g % 4) * 4000) END, g, CASE WHEN g % 2 > 0 THEN g % 10 END,
	(ARRAY['one', repeat('two', 100)])[1 + g % 2], CASE WHEN g % 4 > 0 THEN date '2026-01-01' + g % 30 END
FROM generate_series(1, 3000) g;
ALTER TABLE odd DROP gone, ADD j text DEFAULT 'later', ADD k int DEFAULT 7, ADD l int;
INSERT INTO odd (id, j, k, l) SELECT g, CASE WHEN g % 2 > 0 THEN 'now' END, g % 10, g FROM generate_series(3001, 3500) g;
CREATE TABLE odd_event (pad "char", kind text, more text, lead smallint, at timestamptz, size smallint);
INSERT INTO odd_event SELECT chr(65 + g % 26)::"char", (ARRAY['open', 'an unusually long kind of event', 'click', NULL])[1 + g % 4],
	CASE WHEN g % 3 > 0 THEN repeat('z', g % 200) END, g % 3600, timestamptz '2026-10-01' - g * interval '1 minute', CASE WHEN g % 9 > 0 THEN g % 7 END
FROM generate_series(1, 20000) g;
SELECT create_model('sc_odd', 'sc.odd', 'sc.odd_event', 'lead', 'at');
SELECT add_component('sc_odd', 'row'), add_component('sc_odd', 'c', half_life => '30 days');
SELECT add_rule('sc_odd', 'row', r.rule, r.condition, 2 ^ r.n) FROM (VALUES (0, 'bool', 'a'), (1, 'int2', 'c BETWEEN 10 AND 50'),
	(2, 'text', $$d LIKE 'xxxxx%'$$), (3, 'long', $$h = 'one'$$), (4, 'float', 'g >= 5'), (5, 'date', $$i < '2026-01-10'$$), (6, 'added', $$j = 'later'$$),
	(7, 'added int', 'k = 7'), (8, 'added null', 'l IS NULL'), (9, 'compressed', $$f LIKE '%yyyy'$$)) r (n, rule, condition);
SELECT add_rule('sc_odd', 'c', 'kind', $$kind IN ('open', 'an unusually long kind of event')$$, 3), add_rule('sc_odd', 'c', 'size', $$size = 3$$, 5);
SELECT publish('sc_odd');
SELECT * FROM agree('sc_odd');
SELECT sum(parts[1]::int) AS stored, (SELECT sum(CASE WHEN a THEN 1 ELSE 0 END + CASE WHEN c BETWEEN 10 AND 50 THEN 2 ELSE 0 END
	+ CASE WHEN d LIKE 'xxxxx%' THEN 4 ELSE 0 END + CASE WHEN h = 'one' THEN 8 ELSE 0 END + CASE WHEN g >= 5 THEN 16 ELSE 0 END
	+ CASE WHEN i < '2026-01-10' THEN 32 ELSE 0 END + CASE WHEN j = 'later' THEN 64 ELSE 0 END + CASE WHEN k = 7 THEN 128 ELSE 0 END
	+ CASE WHEN l IS NULL THEN 256 ELSE 0 END + CASE WHEN f LIKE '%yyyy' THEN 512 ELSE 0 END) FROM odd) AS by_hand
FROM (SELECT parts(score, '2026-11-01') FROM leadscore.score_sc_odd) s;

-- what only the query sees rightly: children of the table of events, row security
CREATE TABLE event_2027 () INHERITS (event);
INSERT INTO event_2027 VALUES (1, 'webinar', '2026-09-01', 1);
SELECT rescore('sc');
SELECT * FROM agree('sc');
DROP TABLE event_2027;
SELECT rescore('sc');
SELECT * FROM agree('sc');

-- a rule that fails counts as not matched, for the query too
SELECT add_rule('sc', 'ever', 'bad', $$1 / (weight - 5) > 0$$, 1, source => 'event');
RESET client_min_messages;
SELECT publish('sc');
SELECT * FROM agree('sc');
SET client_min_messages = warning;
SELECT drop_model('sc'), drop_model('sc_uuid'), drop_model('sc_text'), drop_model('sc_odd');
DROP SCHEMA sc CASCADE;
