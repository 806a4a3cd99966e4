-- regression test: leads whose keys can be written in several ways, depend on settings, or are long
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC';
CREATE SCHEMA lk;

-- 1 and 1.000 are one lead: it goes by the form that its own row has, whatever events say
CREATE TABLE lk.lead (id numeric PRIMARY KEY, sector text);
CREATE TABLE lk.event (lead_id numeric, kind text, at timestamptz);
INSERT INTO lk.lead VALUES (1, 'saas'), (2.50, NULL);
SELECT create_model('lk', 'lk.lead', 'lk.event', event_lead => 'lead_id'), add_component('lk', 'fit'), add_component('lk', 'engagement', half_life => '10 days') \g /dev/null
SELECT add_rule('lk', 'fit', 'saas', $$sector = 'saas'$$, 10), add_rule('lk', 'engagement', 'demo', $$kind = 'demo'$$, 40) \g /dev/null
SELECT add_band('lk', 'warm', 30), add_band('lk', 'hot', 80), publish('lk') \g /dev/null
CREATE VIEW lk.crossed AS SELECT lead, from_band, to_band, cause FROM leadscore.crossing WHERE model = 'lk' ORDER BY id;
INSERT INTO lk.event VALUES (1.000, 'demo', now());
INSERT INTO lk.event VALUES (1.00, 'demo', now()), (2.5, 'demo', now());
SELECT lead, band FROM score_lk ORDER BY lead;
SELECT * FROM lk.crossed;
SELECT lead FROM due WHERE model = 'lk' ORDER BY lead;
SELECT publish('lk');
SELECT * FROM lk.crossed OFFSET 3;
-- an event of one to come, under another name; a lead that comes after its events
INSERT INTO lk.event VALUES (1.0, 'demo', now() + interval '1 hour'), (3.0, 'demo', now());
INSERT INTO lk.lead VALUES (3.00, 'saas');
SELECT publish('lk');
SELECT lead, band, later IS NOT NULL AS to_come FROM score_lk ORDER BY lead;
SELECT * FROM verify('lk');
-- the lead's own row takes another form: by name it is another
UPDATE lk.lead SET id = 1.0 WHERE id = 1;
SELECT lead, band FROM score_lk ORDER BY lead;
SELECT * FROM lk.crossed OFFSET 4;
SELECT lead FROM due WHERE model = 'lk' ORDER BY lead;
SELECT * FROM verify('lk');
SELECT drop_model('lk') \g /dev/null

-- letters without case
CREATE COLLATION lk.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE lk.person (email text COLLATE lk.caseless PRIMARY KEY);
CREATE TABLE lk.visit (email text COLLATE lk.caseless, at timestamptz);
INSERT INTO lk.person VALUES ('Ada@x.org');
SELECT create_model('lk', 'lk.person', 'lk.visit'), add_component('lk', 'c'), add_rule('lk', 'c', 'visit', 'at IS NOT NULL', 20), add_band('lk', 'b', 30), publish('lk') \g /dev/null
INSERT INTO lk.visit VALUES ('ADA@x.org', now()), ('ada@X.org', now());
SELECT publish('lk');
SELECT lead, score, band FROM score_lk;
SELECT * FROM lk.crossed;
SELECT * FROM verify('lk');
SELECT drop_model('lk') \g /dev/null

-- keys whose text depends on settings: cool() finds them, whoever wrote
CREATE TABLE lk.day (d date PRIMARY KEY);
CREATE TABLE lk.note (d date, at timestamptz);
INSERT INTO lk.day VALUES ('2026-01-13'), ('2026-02-03');
SELECT create_model('lk', 'lk.day', 'lk.note'), add_component('lk', 'c', half_life => '1 day'), add_rule('lk', 'c', 'note', 'at IS NOT NULL', 50), add_band('lk', 'b', 25), publish('lk') \g /dev/null
SET datestyle = 'SQL, DMY';
INSERT INTO lk.note SELECT d, now() - interval '23:59:59.8' FROM lk.day;
RESET datestyle;
SELECT lead FROM due WHERE model = 'lk' ORDER BY lead;
-- one under a name that nobody writes any more does not keep cool() from its end
INSERT INTO leadscore.due VALUES ('lk', '2026-2-3', '2026-01-01'), ('lk', '2031-01-01', '2026-01-01');
SELECT pg_sleep(0.3);
SET datestyle = 'German';
SELECT cool('lk');
RESET datestyle;
SELECT * FROM lk.crossed;
SELECT count(*) FROM due WHERE model = 'lk';
SELECT drop_model('lk') \g /dev/null
CREATE TABLE lk.number (f float8 PRIMARY KEY);
CREATE TABLE lk.look (f float8, at timestamptz);
INSERT INTO lk.number VALUES (0.1), (0.1::float8 + 1e-17), (0.30000000000000004), (0.3), (0);
SELECT create_model('lk', 'lk.number', 'lk.look', event_lead => 'f'), add_component('lk', 'c', half_life => '1 day'), add_rule('lk', 'c', 'look', 'at IS NOT NULL', 50), add_band('lk', 'b', 30), publish('lk') \g /dev/null
SET extra_float_digits = 0;
INSERT INTO lk.look VALUES (0.30000000000000004, now()), (0.3, now()), ('-0', now());
RESET extra_float_digits;
SELECT lead, to_band FROM lk.crossed ORDER BY lead;
SELECT count(*) FROM due WHERE model = 'lk';
SELECT drop_model('lk') \g /dev/null

-- a key as long as an index takes
CREATE TABLE lk.long (k text PRIMARY KEY);
CREATE TABLE lk.sign (k text, at timestamptz);
INSERT INTO lk.long SELECT string_agg(md5(g::text), '') FROM generate_series(1, 84) g;
SELECT create_model('lk', 'lk.long', 'lk.sign'), add_component('lk', 'c', half_life => '1 day'), add_rule('lk', 'c', 'sign', 'at IS NOT NULL', 10), add_band('lk', 'b', 15), publish('lk') \g /dev/null
INSERT INTO lk.sign SELECT k, now() FROM lk.long, generate_series(1, 2);
INSERT INTO lk.sign SELECT k, now() FROM lk.long;
SELECT length(lead), from_band, to_band FROM crossing WHERE model = 'lk';
SELECT length(lead) FROM due WHERE model = 'lk';
UPDATE lk.sign SET at = at - interval '10 days';
SELECT count(*) FROM due WHERE model = 'lk';
SELECT publish('lk');
SELECT * FROM verify('lk');

SET client_min_messages = warning;
SELECT drop_model('lk');
DROP SCHEMA lk CASCADE;
