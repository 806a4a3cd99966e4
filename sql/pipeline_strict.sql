-- regression test: what used to go through: forged and lost history, guards that run code, documents with typing errors
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA st; GRANT USAGE ON SCHEMA st TO PUBLIC;
SELECT create_pipeline('st'), add_stage('st', 'a'), add_stage('st', 'b', 'won'), add_transition('st', 'a', 'b') \g /dev/null
SELECT publish_pipeline('st');
CREATE TABLE st.t (id int PRIMARY KEY, stage text DEFAULT 'a');
SELECT enforce('st.t', 'stage', 'st');

-- a partition of history for a time to come: found by lead, barred, not to be emptied; audit() names one that was made without its guard
SELECT add_history_partition('2021-01-01 UTC', '2022-01-01 UTC', 'stage_history_2021');
BEGIN; SELECT backdate('2021-06-01 UTC'); INSERT INTO st.t VALUES (70); COMMIT;
SELECT tableoid::regclass, lead, kind FROM stage_history WHERE relation = 'st.t'::regclass;
TRUNCATE leadscore.stage_history_2021;
DELETE FROM leadscore.stage_history_2021;
SELECT indexdef FROM pg_indexes WHERE tablename = 'stage_history_2021';
CREATE TABLE leadscore.stage_history_2022 PARTITION OF leadscore.stage_history FOR VALUES FROM ('2022-01-01 UTC') TO ('2023-01-01 UTC');
SELECT finding FROM audit() WHERE relation IS NULL;
DROP TABLE leadscore.stage_history_2022;
SELECT add_history_partition('2021-03-01 UTC', '2021-04-01 UTC', 'overlaps');
CREATE ROLE st_mallory;
SET ROLE st_mallory;
SELECT add_history_partition('2030-01-01 UTC', '2031-01-01 UTC', 'mine');
RESET ROLE;

-- leads that came in by the back door, in a table that was empty when it was enforced
ALTER TABLE st.t DISABLE TRIGGER "!leadscore_stage";
INSERT INTO st.t VALUES (71, 'b');
ALTER TABLE st.t ENABLE ALWAYS TRIGGER "!leadscore_stage";
CREATE TABLE st.child () INHERITS (st.t);
SELECT relation, finding FROM audit() WHERE relation LIKE 'st.%';
DROP TABLE st.child; DELETE FROM st.t;
ALTER TABLE st.t SET UNLOGGED;
SELECT relation, finding FROM audit() WHERE relation = 'st.t' AND finding LIKE '%unlogged%';
ALTER TABLE st.t SET LOGGED;

-- a function in a guard runs as whoever moves a lead: only where the pipeline's owner has the rights of the table's
GRANT CREATE ON SCHEMA st TO st_mallory;
SET ROLE st_mallory;
CREATE FUNCTION st.evil() RETURNS bool STABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
SELECT create_pipeline('shared'), add_stage('shared', 'a'), add_stage('shared', 'b', 'won'), add_transition('shared', 'a', 'b') \g /dev/null
SELECT publish_pipeline('shared');
CREATE TABLE st.own (id int PRIMARY KEY, stage text DEFAULT 'a');
SELECT enforce('st.own', 'stage', 'shared');
RESET ROLE;
CREATE TABLE st.victim (id int PRIMARY KEY, stage text DEFAULT 'a');
SELECT enforce('st.victim', 'stage', 'shared');
SET ROLE st_mallory;
SELECT add_guard('shared', 'a', 'b', 'st.evil()', 'evil'); SELECT publish_pipeline('shared');
RESET ROLE;
SELECT unenforce('st.victim');
SET ROLE st_mallory;
SELECT publish_pipeline('shared');
CREATE DOMAIN st.trap AS int CHECK (st.evil());
INSERT INTO st.own VALUES (1); UPDATE st.own SET stage = 'b';
RESET ROLE;
SELECT enforce('st.victim', 'stage', 'shared');
SET ROLE st_mallory;
SELECT drop_guard('shared', 'a', 'b', 'nix');
SELECT drop_guard('shared', 'a', 'b', 'evil'), add_guard('shared', 'a', 'b', 'id::st.trap IS NOT NULL', 'trap') \g /dev/null
SELECT publish_pipeline('shared');
RESET ROLE;
SELECT enforce('st.victim', 'stage', 'shared');

-- documents
SELECT import_pipeline('{"stages": [{"stage": "a", "knd": "open"}, {"stage": "b", "kind": "wun"}, 7], "transitions": [{"from": "a", "to": "b", "gaurds": [{"label": "x", "condition": "false"}]}, {"to": "a", "guards": ["1=1", {"label": "y"}]}], "feilds": []}', 'st broken');
SELECT import_pipeline('{"stages": 5}', 'st broken');
SELECT import_pipeline(export_pipeline('lifecycle'), 'st copy'); SELECT drop_pipeline('st copy');

-- names of stages and versions that are not there, synonyms, subqueries, models that are missing
SELECT can_move('st', 'xx', 'xx'), can_move('st', 'a', 'a');
SELECT diagram('st', 'mermaid', 99);
SELECT export_pipeline('nope');
CREATE TABLE st.crm (id int PRIMARY KEY, stage stage DEFAULT 'lead', interest bool);
SELECT enforce('st.crm', 'stage', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
INSERT INTO st.crm VALUES (1);
SELECT would_refuse('st.crm', '1', 'Marketing Qualified Lead');
SELECT would_refuse('st.crm', '1', 'nix');
SELECT add_guard('st', 'a', 'b', '(SELECT true)', 'sub');
SELECT add_stage('st', 'c'), add_transition('st', 'a', 'c', model => 'no such model', min_score => 3) \g /dev/null
SELECT check_pipeline('st');
SELECT import_history('st.t', '', NULL, 'a', '2001-01-01');

SET client_min_messages = warning;
DROP TABLE leadscore.stage_history_2021;
DROP SCHEMA st CASCADE;
SELECT drop_pipeline('st'), drop_pipeline('shared');
DROP ROLE st_mallory;
