-- regression test: tables on which whole statements cannot be seen, keys of other types, tables that change under the model
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC';
CREATE SCHEMA lt;

-- partitioned events and leads: rows move, partitions come and go
CREATE TABLE lt.lead (id uuid, sector text, region int, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE lt.lead_0 PARTITION OF lt.lead FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE lt.lead_1 PARTITION OF lt.lead FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE lt.event (lead_id uuid, kind text, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE lt.event_1 PARTITION OF lt.event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
-- a partition whose columns stand in another order
CREATE TABLE lt.event_2 (dropped int, at timestamptz NOT NULL, kind text, lead_id uuid);
ALTER TABLE lt.event_2 DROP COLUMN dropped;
ALTER TABLE lt.event ATTACH PARTITION lt.event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO lt.lead SELECT ('00000000-0000-0000-0000-00000000000' || g)::uuid, 'saas', g FROM generate_series(1, 4) g;
DO $$ BEGIN
	PERFORM create_model('lt', 'lt.lead', 'lt.event', event_lead => 'lead_id');
	PERFORM add_component('lt', 'fit');
	PERFORM add_component('lt', 'engagement', half_life => '30 days');
	PERFORM add_rule('lt', 'fit', 'saas', $r$sector = 'saas'$r$, 10);
	PERFORM add_rule('lt', 'engagement', 'demo', $r$kind = 'demo'$r$, 40, at_most => 1, per => '1 day');
	PERFORM add_rule('lt', 'engagement', 'open', $r$kind = 'open'$r$, 1);
END $$;
SELECT publish('lt');
SELECT role, relation, trigger, form FROM live_trigger WHERE model = 'lt' ORDER BY 1, 2, 3;
INSERT INTO lt.event SELECT id, 'open', '2026-01-15' FROM lt.lead;
INSERT INTO lt.event SELECT id, 'demo', '2026-02-15'::timestamptz + region * interval '7 hours' FROM lt.lead, generate_series(1, 2);
INSERT INTO lt.event_2 (lead_id, kind, at) SELECT id, 'demo', '2026-02-15 01:00+00' FROM lt.lead;
SELECT * FROM verify('lt');
UPDATE lt.event SET at = at + interval '20 days' WHERE at < '2026-02-01';
UPDATE lt.event_2 SET kind = 'open' WHERE at = '2026-02-15 01:00+00';
DELETE FROM lt.event WHERE lead_id = '00000000-0000-0000-0000-000000000003' AND kind = 'demo';
UPDATE lt.lead SET id = '00000000-0000-0000-0000-000000000009' WHERE region = 1;
UPDATE lt.lead SET sector = NULL WHERE region = 2;
SELECT * FROM verify('lt');
MERGE INTO lt.event e USING (VALUES ('00000000-0000-0000-0000-000000000002'::uuid)) v (id) ON e.lead_id = v.id AND e.kind = 'demo'
	WHEN MATCHED THEN UPDATE SET at = '2026-01-20' WHEN NOT MATCHED THEN DO NOTHING;
SELECT * FROM verify('lt');
-- a partition that comes with rows, and one that goes (more in live_partition)
CREATE TABLE lt.event_3 (LIKE lt.event);
INSERT INTO lt.event_3 SELECT id, 'open', '2026-03-05' FROM lt.lead;
ALTER TABLE lt.event ATTACH PARTITION lt.event_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
SELECT * FROM verify('lt');
INSERT INTO lt.event_3 SELECT id, 'open', '2026-03-06' FROM lt.lead;
INSERT INTO lt.event SELECT id, 'demo', '2026-03-06' FROM lt.lead;
SELECT * FROM verify('lt');
ALTER TABLE lt.event DETACH PARTITION lt.event_3;
SELECT * FROM verify('lt');
TRUNCATE lt.event_2;
SELECT * FROM verify('lt');
TRUNCATE lt.event;
SELECT * FROM verify('lt');

-- text keys, events that name their lead by another type, the row form asked for
CREATE TABLE lt.account (code text PRIMARY KEY, plan text);
CREATE TABLE lt.touch (id serial PRIMARY KEY, account varchar(20), kind text, at timestamptz);
INSERT INTO lt.account VALUES ('a"b''c', 'pro'), ('ümlaut', NULL), ('', 'pro');
DO $$ BEGIN
	PERFORM create_model('a "b" c', 'lt.account', 'lt.touch', event_lead => 'account');
	PERFORM add_component('a "b" c', 'all', half_life => '1 day');
	PERFORM add_rule('a "b" c', 'all', 'one', $r$kind = 'x'$r$, 1);
	PERFORM add_rule('a "b" c', 'all', 'twice', 'true', 2, at_most => 2);
	PERFORM add_band('a "b" c', 'band "x"', 1);
END $$;
SELECT publish('a "b" c'), live_options('a "b" c', 'row', always => true);
SELECT role, trigger, form, fires FROM live_trigger WHERE model = 'a "b" c' ORDER BY 1, 2;
INSERT INTO lt.touch (account, kind, at) SELECT c, k, now() - g * interval '1 minute' FROM unnest(ARRAY['a"b''c', 'ümlaut', '', 'nobody', NULL]) c, unnest(ARRAY['x', 'y', NULL]) k, generate_series(1, 3) g;
SELECT * FROM verify('a "b" c');
UPDATE lt.touch SET at = at - interval '1 hour' WHERE id % 2 = 0;
DELETE FROM lt.touch WHERE id % 5 = 0;
INSERT INTO lt.touch (id, account, kind, at) SELECT id, account, 'x', at FROM lt.touch WHERE id < 20 ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, account = 'ümlaut';
SELECT * FROM verify('a "b" c');
SET session_replication_role = replica;
INSERT INTO lt.touch (account, kind, at) VALUES ('', 'x', now());
RESET session_replication_role;
SELECT * FROM verify('a "b" c');
SELECT live_options('a "b" c');
SELECT DISTINCT form, fires FROM live_trigger WHERE model = 'a "b" c';
SELECT drop_model('a "b" c');

-- more rows than work_mem holds, in one statement; and the same lead in two models
SET work_mem = '64kB';
CREATE TABLE lt.big_lead (id bigint PRIMARY KEY, size int);
CREATE TABLE lt.big_event (id bigint, lead_id int, worth numeric, at timestamptz, pad text);
CREATE INDEX ON lt.big_event (lead_id);
DO $$ BEGIN
	FOR i IN 1..2 LOOP
		PERFORM create_model('big ' || i, 'lt.big_lead', 'lt.big_event', event_lead => 'lead_id');
		PERFORM add_component('big ' || i, 'worth', half_life => '10 days');
		PERFORM add_rule('big ' || i, 'worth', 'worth', 'worth > 3', 'worth * ' || i);
	END LOOP;
END $$;
SELECT publish('big 1'), publish('big 2');
INSERT INTO lt.big_lead SELECT g, g FROM generate_series(1, 2000) g;
INSERT INTO lt.big_event SELECT g, g * 7919 % 2003, g % 10, '2026-01-01'::timestamptz + g * interval '1 minute', repeat('x', 50) FROM generate_series(1, 20000) g;
UPDATE lt.big_event SET worth = worth + 1 WHERE id % 3 = 0;
DELETE FROM lt.big_event WHERE id % 7 = 0;
UPDATE lt.big_lead SET id = id + 10 WHERE id > 1990;
SELECT count(*) FROM verify('big 1') UNION ALL SELECT count(*) FROM verify('big 2');
RESET work_mem;

-- the key gets another type, the leads another owner: scores follow
CREATE TABLE lt.firm (id int PRIMARY KEY, size int);
CREATE TABLE lt.visit (firm int, at timestamptz);
INSERT INTO lt.firm VALUES (1, 10), (2, 20);
DO $$ BEGIN
	PERFORM create_model('lt firm', 'lt.firm', 'lt.visit', event_lead => 'firm');
	PERFORM add_component('lt firm', 'visits', half_life => '10 days'), add_component('lt firm', 'fit');
	PERFORM add_rule('lt firm', 'visits', 'visit', 'at IS NOT NULL', 5), add_rule('lt firm', 'fit', 'size', 'size > 5', 'size / 5.0');
	PERFORM publish('lt firm');
END $$;
UPDATE lt.firm SET size = 25 WHERE id = 1;
ALTER TABLE lt.firm ALTER id TYPE bigint;
INSERT INTO lt.firm VALUES (30000000000, 7);
INSERT INTO lt.visit VALUES (1, '2026-01-01');
UPDATE lt.firm SET size = 26 WHERE id = 1;
SELECT lead, problem FROM verify('lt firm') ORDER BY lead;
SELECT rescore('lt firm');
SELECT * FROM verify('lt firm');
ALTER TABLE lt.firm ALTER id TYPE text;
ALTER TABLE lt.visit ALTER firm TYPE text;
INSERT INTO lt.visit VALUES ('2', '2026-01-02');
UPDATE lt.firm SET size = 21 WHERE id = '2';
SELECT rescore('lt firm');
INSERT INTO lt.firm VALUES ('x', 7);
INSERT INTO lt.visit VALUES ('x', '2026-01-02');
UPDATE lt.firm SET size = 22 WHERE id = '2';
SELECT * FROM verify('lt firm');
CREATE ROLE lt_owner;
GRANT USAGE ON SCHEMA lt, leadscore TO lt_owner;
ALTER TABLE lt.firm OWNER TO lt_owner;
ALTER TABLE lt.visit OWNER TO lt_owner;
SET ROLE lt_owner;
SELECT rescore('lt firm');
SELECT lead FROM hottest('lt firm', 1, at => '2027-01-01');
RESET ROLE;
SET client_min_messages = warning;
SELECT drop_model('lt firm');
DROP TABLE lt.firm, lt.visit;
DROP OWNED BY lt_owner;
DROP ROLE lt_owner;
RESET client_min_messages;

-- the leads' key ceases to be unique
CREATE TABLE lt.twice (id int PRIMARY KEY, n int);
SELECT create_model('lt twice', 'lt.twice'), add_component('lt twice', 'c'), add_rule('lt twice', 'c', 'n', 'n > 0', 1), publish('lt twice') \gset
ALTER TABLE lt.twice DROP CONSTRAINT twice_pkey;
INSERT INTO lt.twice VALUES (1, 1), (1, 2);
SELECT rescore('lt twice');
SELECT drop_model('lt twice');
DROP TABLE lt.twice;

-- what a crash or the end of a session empties cannot be under a model
CREATE TABLE lt.stays (id int PRIMARY KEY, n int);
CREATE UNLOGGED TABLE lt.goes (id int, at timestamptz);
CREATE TEMP TABLE lt_temp (id int PRIMARY KEY, at timestamptz);
SELECT create_model('lt goes', 'lt.stays', 'lt.goes', event_lead => 'id');
SELECT create_model('lt goes', 'lt_temp');
SELECT create_model('lt goes', 'lt.stays', 'lt_temp', event_lead => 'id');
ALTER TABLE lt.goes SET LOGGED;
SELECT create_model('lt goes', 'lt.stays', 'lt.goes', event_lead => 'id'), add_component('lt goes', 'c'), add_rule('lt goes', 'c', 'any', 'at IS NOT NULL', 1) \g /dev/null
ALTER TABLE lt.goes SET UNLOGGED;
SELECT publish('lt goes');
SELECT drop_model('lt goes');
DROP TABLE lt.stays, lt.goes, lt_temp;

-- a column that a rule reads changes its name, its type; is dropped
INSERT INTO lt.lead VALUES ('00000000-0000-0000-0000-0000000000aa', 'saas', 7);
ALTER TABLE lt.lead ADD COLUMN note text DEFAULT 'n';
INSERT INTO lt.lead VALUES ('00000000-0000-0000-0000-0000000000bb', 'saas', 8);
INSERT INTO lt.event VALUES ('00000000-0000-0000-0000-0000000000bb', 'open', '2026-01-10');
SELECT * FROM verify('lt');
ALTER TABLE lt.event DROP COLUMN kind;
INSERT INTO lt.event VALUES ('00000000-0000-0000-0000-0000000000bb', '2026-01-11');
SELECT count(*) FROM lt.event WHERE at = '2026-01-11';
SET client_min_messages = warning;
SELECT drop_model('lt'), drop_model('big 1'), drop_model('big 2');
DROP SCHEMA lt CASCADE;
