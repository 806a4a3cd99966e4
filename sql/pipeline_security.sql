-- regression test: who may do what to pipelines and history; hostile names, paths and objects
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

SET client_min_messages = warning;
CREATE ROLE sec_owner; CREATE ROLE sec_writer; CREATE ROLE sec_reader; CREATE ROLE sec_nobody;
RESET client_min_messages;
CREATE SCHEMA sec AUTHORIZATION sec_owner;
GRANT USAGE ON SCHEMA sec TO PUBLIC;
GRANT CREATE ON SCHEMA sec TO sec_writer;

-- an ordinary user makes a pipeline, with hostile names, and enforces it on his own table
SET ROLE sec_owner;
SELECT create_pipeline('p"''; DROP TABLE x; --');
SELECT add_stage('p"''; DROP TABLE x; --', 'é''"); --'), add_stage('p"''; DROP TABLE x; --', '目标' || repeat('x', 57), 'won');
SELECT add_transition('p"''; DROP TABLE x; --', 'é''"); --', '目标' || repeat('x', 57), guard => $$"no""te';--" = E'\'' OR 'x' = 'y'$$, label => $$a "quote'$$, fields => ARRAY['no"te'';--']);
SELECT publish_pipeline('p"''; DROP TABLE x; --');
CREATE TABLE sec."t""'; DROP TABLE x; --" ("i""d'" text PRIMARY KEY, "st""age'" text, "no""te';--" text);
SELECT enforce('sec."t""''; DROP TABLE x; --"', 'st"age''', 'p"''; DROP TABLE x; --');
INSERT INTO sec."t""'; DROP TABLE x; --" VALUES (E'k"\'; --', 'é''"); --');
UPDATE sec."t""'; DROP TABLE x; --" SET "st""age'" = '目标' || repeat('x', 57);
UPDATE sec."t""'; DROP TABLE x; --" SET "st""age'" = '目标' || repeat('x', 57), "no""te';--" = '''';
SELECT * FROM next_stages('sec."t""''; DROP TABLE x; --"', E'k"\'; --');
SELECT diagram('p"''; DROP TABLE x; --', 'dot');
SELECT diagram('p"''; DROP TABLE x; --');

CREATE TABLE sec.lead (id int PRIMARY KEY, stage stage DEFAULT 'lead', interest bool);
SELECT enforce('sec.lead', 'stage', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
INSERT INTO sec.lead VALUES (1), (2);
GRANT SELECT, UPDATE ON sec.lead TO sec_writer;
GRANT SELECT ON sec.lead TO sec_reader;

-- reading history needs the right to read the table
SELECT count(*) FROM history WHERE relation = 'sec.lead'::regclass;
SET ROLE sec_reader;
SELECT lead, to_stage, by FROM history WHERE relation = 'sec.lead'::regclass;
SET ROLE sec_nobody;
SELECT count(*) AS hidden FROM history WHERE relation = 'sec.lead'::regclass;
SELECT count(*) AS hidden FROM stage_history WHERE relation = 'sec.lead'::regclass;
SELECT next_stages('sec.lead', '1');
SELECT would_refuse('sec.lead', '1', 'mql');
SELECT count(*) AS hidden FROM time_in_stage('sec.lead');

-- what others may not do
\set VERBOSITY terse
SELECT enforce('sec.lead', 'stage');
SELECT unenforce('sec.lead');
SELECT add_stage('p"''; DROP TABLE x; --', 'mine');
SELECT publish_pipeline('p"''; DROP TABLE x; --');
SELECT drop_pipeline('p"''; DROP TABLE x; --');
SELECT import_pipeline(export_pipeline('lifecycle'), 'p"''; DROP TABLE x; --');
SELECT revert_pipeline('p"''; DROP TABLE x; --', 1);
SELECT override('I can');
SELECT import_history('sec.lead', '1', 'a', 'b', '2020-01-01');
INSERT INTO pipeline (pipeline, owner) VALUES ('x', 'sec_nobody');
UPDATE pipeline_guard SET condition = 'true';
DELETE FROM pipeline_transition;
INSERT INTO enforced SELECT * FROM enforced;
TRUNCATE stage_history;
INSERT INTO stage_history OVERRIDING SYSTEM VALUE SELECT * FROM stage_history;
UPDATE stage_history SET reason = 'x';
DELETE FROM stage_history;
DELETE FROM history_seal;
ALTER TABLE stage_history DISABLE TRIGGER protect;
SELECT nextval('stage_history_id_seq');
SELECT attest();
SELECT audit();
SET ROLE sec_owner;
UPDATE stage_history SET reason = 'x';
INSERT INTO stage_history OVERRIDING SYSTEM VALUE SELECT * FROM stage_history;

-- a writer with a hostile path, planted functions, operators and temporary tables changes nothing
SET ROLE sec_writer;
CREATE FUNCTION sec.filled(anyelement) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION sec.filled(bool) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION sec.ge(float8, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR sec.>= (FUNCTION = sec.ge, LEFTARG = float8, RIGHTARG = int);
CREATE FUNCTION sec.yes(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR sec.= (FUNCTION = sec.yes, LEFTARG = text, RIGHTARG = text);
CREATE TEMP TABLE pipeline_transition AS SELECT 'lifecycle'::text AS pipeline, 1 AS version, 'lead'::text AS from_stage, 'client'::text AS to_stage;
CREATE TEMP TABLE enforced (relation regclass);
CREATE TEMP TABLE stage_history (id int);
SET search_path = pg_temp, sec, public, leadscore, pg_catalog;
\c -
SET ROLE sec_writer;
CREATE TEMP TABLE pipeline_transition AS SELECT 'lifecycle'::text AS pipeline, 1 AS version, 'lead'::text AS from_stage, 'client'::text AS to_stage;
CREATE TEMP TABLE enforced (relation regclass);
CREATE TEMP TABLE stage_history (id int);
SET search_path = pg_temp, sec, public, leadscore, pg_catalog;
\set VERBOSITY default
UPDATE sec.lead SET stage = 'mql' WHERE id = 1;
UPDATE sec.lead SET stage = 'client' WHERE id = 1;
SELECT leadscore.can_move('lifecycle', 'lead', 'client');
SELECT * FROM leadscore.next_stages('sec.lead', '1');
SET search_path = '';
UPDATE sec.lead SET stage = 'mql', interest = true WHERE id = 1;
SELECT from_stage, to_stage, by FROM leadscore.history WHERE relation = 'sec.lead'::pg_catalog.regclass AND lead = '1';
RESET ROLE;
SET search_path = public, leadscore;

-- row security: who sees a part of the table sees none of its history, and no hidden lead
SET ROLE sec_owner;
ALTER TABLE sec.lead ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON sec.lead USING (id = 1);
SET ROLE sec_writer;
SELECT count(*) AS hidden FROM history WHERE relation = 'sec.lead'::regclass;
SELECT count(*) AS visible FROM next_stages('sec.lead', '1');
SELECT next_stages('sec.lead', '2');
UPDATE sec.lead SET stage = 'lost';
UPDATE sec.lead SET stage = 'mql';
SET ROLE sec_owner;
SELECT lead, from_stage, to_stage, by FROM history WHERE relation = 'sec.lead'::regclass;
RESET ROLE;

-- what PUBLIC may do with our objects, in short
SELECT c.relname, array_agg(DISTINCT a.privilege_type ORDER BY a.privilege_type) AS public_may
FROM pg_class c, LATERAL aclexplode(c.relacl) a
WHERE c.relnamespace = 'leadscore'::regnamespace AND a.grantee = 0 AND (c.relname LIKE 'pipeline%' OR c.relname IN ('enforced', 'stage_history', 'history', 'history_seal', 'history_relation'))
GROUP BY 1 ORDER BY 1;

SET client_min_messages = warning;
DROP TABLE sec.lead, sec."t""'; DROP TABLE x; --";
DROP SCHEMA sec CASCADE;
DROP OWNED BY sec_writer;
SELECT drop_pipeline('p"''; DROP TABLE x; --');
DROP ROLE sec_owner; DROP ROLE sec_writer; DROP ROLE sec_reader; DROP ROLE sec_nobody;
