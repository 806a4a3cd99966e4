-- regression test: columns that get another type, other values, or change places under a live model: scores and old values follow
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC';
CREATE SCHEMA la;
CREATE TABLE la.lead (id int PRIMARY KEY, sector text, staff int, rank int, pad text);
CREATE TABLE la.event (id int PRIMARY KEY, lead_id int, kind text, minutes int, at timestamptz NOT NULL);
INSERT INTO la.lead SELECT g, (ARRAY['saas', 'retail', NULL])[1 + g % 3], 100 + g * 7, g, 'x' FROM generate_series(1, 30) g;
INSERT INTO la.event SELECT g, 1 + g % 33, (ARRAY['call', 'open', NULL])[1 + g % 3], g % 47, '2026-01-01'::timestamptz + g * interval '7 hours' FROM generate_series(1, 300) g;
DO $$ BEGIN
	PERFORM create_model('la', 'la.lead', 'la.event', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('la', 'fit');
	PERFORM add_component('la', 'engagement', half_life => '30 days');
	PERFORM add_rule('la', 'fit', 'size', 'staff >= 100', 'staff / 100');
	PERFORM add_rule('la', 'fit', 'saas', $r$sector = 'saas'$r$, 10);
	PERFORM add_rule('la', 'fit', 'talk', $r$kind = 'call'$r$, 'minutes / 10');
	PERFORM add_rule('la', 'engagement', 'late', 'minutes > 40', 5, at_most => 1, per => '1 day');
	PERFORM add_band('la', 'warm', 15);
END $$;
SELECT publish('la');
-- stored is plain SQL; and no lead is wrong
CREATE FUNCTION la.wrong() RETURNS TABLE (lead text, problem text) LANGUAGE plpgsql AS $f$
BEGIN
	RETURN QUERY SELECT v.lead, v.problem FROM verify('la') v;
	RETURN QUERY EXECUTE $q$
		SELECT coalesce(s.lead::text, o.id::text), 'fit ' || s.fit || ' is not ' || o.fit FROM
			(SELECT lead, (parts(score, now()))[1] AS fit FROM score_la) s FULL JOIN
			(SELECT l.id, CASE WHEN staff >= 100 THEN staff / 100 ELSE 0 END::float8 + CASE WHEN sector = 'saas' THEN 10 ELSE 0 END
				+ coalesce((SELECT sum(minutes / 10) FROM la.event e WHERE e.lead_id::text = l.id::text AND kind = 'call'), 0)::float8 AS fit FROM la.lead l) o
			ON o.id::text = s.lead::text
		WHERE abs(s.fit - o.fit) > 1e-9 OR s.fit IS NULL OR o.fit IS NULL$q$;
END $f$;
CREATE FUNCTION la.file() RETURNS oid LANGUAGE sql AS $$ SELECT pg_relation_filenode('score_la') $$;
SELECT * FROM la.wrong();
SELECT clock_timestamp() AS t0 \gset
UPDATE la.lead SET staff = 99, rank = 7 WHERE id = 2;
UPDATE la.lead SET staff = 950 WHERE id = 3;
SELECT clock_timestamp() AS t1 \gset
UPDATE la.lead SET staff = 555, sector = 'saas' WHERE id IN (2, 3);
SELECT id, round((score_at('la', id::text, :'t0') - score_at('la', id::text, :'t1'))::numeric, 1) AS t0_t1, round((score_at('la', id::text, :'t1') - score_at('la', id::text, now()))::numeric, 1) AS t1_now FROM generate_series(1, 3) id;

-- other values: of leads, of events; another meaning
ALTER TABLE la.lead ALTER staff TYPE bigint USING staff * 10;
SELECT * FROM la.wrong();
-- what was 99 until then is 990 now, what was 950 is 9500
SELECT g AS id, round((score_at('la', g::text, :'t0') - score_at('la', g::text, :'t1'))::numeric, 1) AS t0_t1, round((score_at('la', g::text, :'t1') - score_at('la', g::text, now()))::numeric, 1) AS t1_now FROM generate_series(1, 3) g;
SELECT lead, old ->> 'staff' AS staff FROM past_la ORDER BY id;
ALTER TABLE la.lead ALTER staff TYPE numeric;
SELECT * FROM la.wrong();
ALTER TABLE la.event ALTER minutes TYPE int USING minutes + 2;
SELECT * FROM la.wrong();
ALTER TABLE la.event ALTER minutes TYPE float8, ALTER kind TYPE varchar(10) USING CASE kind WHEN 'open' THEN 'call' ELSE 'open' END;
SELECT * FROM la.wrong();
-- the columns that name lead and instant; both in one transaction, rolled back in part
BEGIN;
ALTER TABLE la.event ALTER lead_id TYPE bigint USING 1 + lead_id % 30, ALTER at TYPE timestamptz USING at + interval '12 hours';
SELECT * FROM la.wrong();
SAVEPOINT s;
ALTER TABLE la.lead ALTER staff TYPE int USING 0;
SELECT * FROM la.wrong();
ROLLBACK TO s;
SELECT * FROM la.wrong();
COMMIT;
INSERT INTO la.event VALUES (1000, 2, 'call', 43, '2026-02-01');
UPDATE la.lead SET staff = staff + 1 WHERE id = 4;
SELECT * FROM la.wrong();

-- nothing is computed for what changes no value that rules read
SELECT la.file() AS file \gset
ALTER TABLE la.lead ADD COLUMN token float8 DEFAULT random(), ALTER pad TYPE int USING 1;
ALTER TABLE la.lead SET UNLOGGED;
ALTER TABLE la.lead SET LOGGED;
ALTER TABLE la.event ALTER kind TYPE varchar(20);
ALTER TABLE la.event ALTER kind TYPE text;
ALTER TABLE la.event ALTER id TYPE bigint;
ALTER TABLE la.lead RENAME pad TO padding;
SELECT la.file() = :file AS untouched;
SELECT * FROM la.wrong();
-- but for a shorter one, and where rules compare by another collation
ALTER TABLE la.event ALTER kind TYPE varchar(4);
SELECT la.file() = :file AS untouched;
SELECT la.file() AS file \gset
ALTER TABLE la.event ALTER kind TYPE varchar(4) COLLATE "C";
SELECT la.file() = :file AS untouched;
SELECT * FROM la.wrong();

-- columns change places: in between the model does not fit, and whoever alters is told
SELECT old ->> 'staff' AS staff, old ->> 'rank' AS rank FROM past_la WHERE lead = 2 ORDER BY id;
ALTER TABLE la.lead RENAME staff TO other;
SELECT score_at('la', '1', now());
ALTER TABLE la.lead RENAME rank TO staff;
SELECT * FROM la.wrong();
UPDATE la.lead SET staff = staff + 200;
SELECT * FROM la.wrong();
SELECT old ->> 'staff' AS staff, old ->> 'other' AS other FROM past_la WHERE lead = 2 ORDER BY id;
-- another column under the name
ALTER TABLE la.lead DROP COLUMN staff;
ALTER TABLE la.lead ADD COLUMN staff int DEFAULT 450;
SELECT * FROM la.wrong();
ALTER TABLE la.lead DROP COLUMN staff, ADD COLUMN staff int GENERATED ALWAYS AS (other::int / 2) STORED;
SELECT * FROM la.wrong();
-- a type that a rule does not suit, and one that it does again
ALTER TABLE la.lead ALTER sector TYPE int USING length(sector);
UPDATE la.lead SET sector = 4 WHERE id = 5;
SELECT score_at('la', '5', now());
ALTER TABLE la.lead ALTER sector TYPE text USING CASE sector WHEN 4 THEN 'saas' END;
SELECT * FROM la.wrong();
SELECT score_at('la', '5', :'t1') IS NOT NULL AS answers;
-- old values that cannot be converted are not known
UPDATE la.lead SET sector = '12' WHERE id IN (6, 7);
UPDATE la.lead SET sector = NULL;
ALTER TABLE la.lead ALTER sector TYPE int USING sector::int;
SELECT lead, old ->> 'sector' AS sector FROM past_la WHERE lead IN (6, 7) ORDER BY id;
ALTER TABLE la.lead ALTER sector TYPE text;
SELECT * FROM la.wrong();

-- the key
ALTER TABLE la.lead ALTER id TYPE bigint;
INSERT INTO la.lead (id, sector, other) VALUES (30000000000, 'saas', 5000);
SELECT * FROM la.wrong();
ALTER TABLE la.event ALTER lead_id TYPE text;
ALTER TABLE la.lead ALTER id TYPE text;
SELECT * FROM la.wrong();

-- by the owner of the events alone, who may not see leads; with a path of his own; by others not at all
CREATE ROLE la_owner;
CREATE ROLE la_events;
CREATE ROLE la_other;
GRANT USAGE, CREATE ON SCHEMA la TO la_owner, la_events, la_other;
GRANT USAGE ON SCHEMA leadscore TO la_owner;
ALTER TABLE la.lead OWNER TO la_owner;
ALTER TABLE la.event OWNER TO la_events;
GRANT SELECT, TRIGGER ON la.event TO la_owner;
SET ROLE la_events;
CREATE FUNCTION la.int4div(float8, float8) RETURNS float8 LANGUAGE sql AS 'SELECT 666';
CREATE OPERATOR la./ (LEFTARG = float8, RIGHTARG = float8, FUNCTION = la.int4div);
SET search_path = la, pg_catalog;
ALTER TABLE event ALTER minutes TYPE int USING minutes + 1;
SELECT FROM la.lead;
SET ROLE la_other;
ALTER TABLE event ALTER minutes TYPE int USING 0;
RESET ROLE;
SET search_path = public, leadscore;
SELECT * FROM la.wrong();
-- what the owner of the leads may not read cannot be followed: an error, and nothing is altered
REVOKE SELECT ON la.event FROM la_owner;
SET ROLE la_events;
\set VERBOSITY terse
ALTER TABLE la.event ALTER minutes TYPE int USING 0;
\set VERBOSITY default
RESET ROLE;
GRANT SELECT ON la.event TO la_owner;
SELECT * FROM la.wrong();
ALTER TABLE la.lead OWNER TO CURRENT_USER;
ALTER TABLE la.event OWNER TO CURRENT_USER;
-- from within a trigger, whose statement's own rows are yet to be added
CREATE FUNCTION la.alters() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE la.lead ALTER sector TYPE text USING 'saas'; RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON la.event FOR EACH ROW EXECUTE FUNCTION la.alters();
INSERT INTO la.event (id, lead_id, kind, minutes, at) VALUES (1001, '3', 'call', 30, '2026-03-01');
DROP TRIGGER a ON la.event;
SELECT * FROM la.wrong();
SET client_min_messages = warning;
SELECT drop_model('la');
DROP SCHEMA la CASCADE;
RESET client_min_messages;

-- partitions and children, altered by their parent; a typed table; the row as a whole
CREATE SCHEMA la;
CREATE TABLE la.lead (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE la.lead_1 PARTITION OF la.lead FOR VALUES FROM (0) TO (10);
CREATE TABLE la.lead_2 PARTITION OF la.lead FOR VALUES FROM (10) TO (20);
CREATE TABLE la.base (lead_id int, n int, at timestamptz);
CREATE TABLE la.child () INHERITS (la.base);
CREATE TYPE la.row AS (id int, n int);
CREATE TABLE la.typed OF la.row (id PRIMARY KEY);
INSERT INTO la.lead SELECT g, g FROM generate_series(1, 19) g;
INSERT INTO la.child SELECT g, g, '2026-01-01' FROM generate_series(1, 19) g;
INSERT INTO la.typed SELECT g, g * 3 FROM generate_series(1, 9) g;
DO $$ BEGIN
	PERFORM create_model('la whole', 'la.lead', 'la.base', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('la whole', 'all'), add_rule('la whole', 'all', 'v', 'true', 'v / 2'), add_rule('la whole', 'all', 'n', 'n > 0', 'n / 3');
	PERFORM create_model('la part', 'la.lead_2', 'la.child', lead_key => 'id', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('la part', 'all'), add_rule('la part', 'all', 'v', 'true', 'v / 2'), add_rule('la part', 'all', 'n', 'n > 0', 'n / 3');
	PERFORM create_model('la typed', 'la.typed', lead_key => 'id');
	PERFORM add_component('la typed', 'all'), add_rule('la typed', 'all', 'n', 'true', 'n / 2'), add_rule('la typed', 'all', 'whole', 'length(typed::text) > 5', 100);
	PERFORM publish('la whole'), publish('la part'), publish('la typed');
END $$;
UPDATE la.typed SET n = 0 WHERE id = 1;
CREATE FUNCTION la.wrong() RETURNS TABLE (model text, lead text, problem text) LANGUAGE sql AS $$
	SELECT m, v.lead, v.problem FROM unnest(ARRAY['la whole', 'la part', 'la typed']) m, verify(m) v
	UNION ALL
	SELECT 'la whole', l.id::text, 'wrong' FROM la.lead l LEFT JOIN "score_la whole" s ON s.lead = l.id
	WHERE abs((s.score @ now()) - (l.v / 2 + (SELECT coalesce(sum(n / 3), 0) FROM la.base WHERE lead_id = l.id AND n > 0))::float8) < 1e-9 IS NOT TRUE
	UNION ALL
	SELECT 'la part', l.id::text, 'wrong' FROM la.lead_2 l LEFT JOIN "score_la part" s ON s.lead = l.id
	WHERE abs((s.score @ now()) - (l.v / 2 + (SELECT coalesce(sum(n / 3), 0) FROM la.child WHERE lead_id = l.id AND n > 0))::float8) < 1e-9 IS NOT TRUE
	UNION ALL
	SELECT 'la typed', l.id::text, 'wrong' FROM la.typed l LEFT JOIN "score_la typed" s ON s.lead = l.id
	WHERE abs((s.score @ now()) - (l.n / 2 + CASE WHEN length(l::text) > 5 THEN 100 ELSE 0 END)::float8) < 1e-9 IS NOT TRUE
$$;
SELECT * FROM la.wrong();
ALTER TABLE la.lead ALTER v TYPE numeric;
SELECT * FROM la.wrong();
ALTER TABLE la.lead ALTER v TYPE int USING v * 4 + 1;
SELECT * FROM la.wrong();
ALTER TABLE la.base ALTER n TYPE numeric;
SELECT * FROM la.wrong();
ALTER TABLE la.base RENAME n TO m;
ALTER TABLE la.base RENAME m TO n;
SELECT * FROM la.wrong();
ALTER TYPE la.row ALTER ATTRIBUTE n TYPE numeric CASCADE;
SELECT * FROM la.wrong();
ALTER TYPE la.row ADD ATTRIBUTE more text CASCADE;
ALTER TYPE la.row DROP ATTRIBUTE more CASCADE;
SELECT * FROM la.wrong();
SET client_min_messages = warning;
SELECT drop_model('la whole'), drop_model('la part'), drop_model('la typed');
DROP SCHEMA la CASCADE;
DROP OWNED BY la_owner, la_events, la_other;
DROP ROLE la_owner, la_events, la_other;
