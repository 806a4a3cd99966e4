-- regression test: scores in guards and in history
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA psc;
CREATE TABLE psc.lead (lead_id int PRIMARY KEY, stage stage DEFAULT 'lead', points int);
INSERT INTO psc.lead VALUES (1, 'lead', 10), (2, 'lead', 60), (3, 'lead', NULL);
SELECT create_model('psc', 'psc.lead');
SELECT add_component('psc', 'fit');
SELECT add_rule('psc', 'fit', 'points', 'points IS NOT NULL', 'points');
SELECT publish('psc') AS version;
-- a model that does not exist; then a table without interest: the score alone decides
SELECT enforce('psc.lead', 'stage', model => 'no such', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
SELECT enforce('psc.lead', 'stage', model => 'psc', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}', adopt => true) AS adopted;
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 1;
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 2;
SELECT stage, allowed, missing FROM next_stages('psc.lead', '3');
SELECT lead, from_stage, to_stage, score, model, model_version FROM stage_history WHERE relation = 'psc.lead'::regclass AND kind = 'move';
-- who may write leads, and nothing else, moves them with their scores
CREATE ROLE psc_writer;
GRANT USAGE ON SCHEMA psc, leadscore TO psc_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON psc.lead TO psc_writer;
SET ROLE psc_writer;
INSERT INTO psc.lead VALUES (4, 'lead', 70);
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 4;
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 1;
SELECT from_stage, to_stage, score FROM history WHERE relation = 'psc.lead'::regclass AND lead = '4';
SELECT current_score('psc', '4');
DELETE FROM psc.lead WHERE lead_id = 4;
RESET ROLE;
-- a broken model keeps no lead from coming, moving and going; a dropped one is forgotten
CREATE TABLE psc.event (lead_id int, at timestamptz);
SELECT create_model('psc broken', 'psc.lead', 'psc.event'), add_component('psc broken', 'c'), add_rule('psc broken', 'c', 'r', 'at IS NOT NULL', 1) \g /dev/null
SELECT publish('psc broken') \g /dev/null
SELECT enforce('psc.lead', 'stage', model => 'psc broken', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
DROP TABLE psc.event;
SET client_min_messages = error;	-- live scores warn, too
INSERT INTO psc.lead VALUES (5, 'lead', 70), (6, 'lead', 70);
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 5;
UPDATE psc.lead SET stage = 'lost' WHERE lead_id = 5;
DELETE FROM psc.lead WHERE lead_id = 6;
RESET client_min_messages;
SELECT would_refuse('psc.lead', '3', 'mql');
SELECT lead, kind, to_stage, score FROM stage_history WHERE relation = 'psc.lead'::regclass AND lead IN ('5', '6') ORDER BY id;
\set VERBOSITY terse
SELECT drop_model('psc broken');
\set VERBOSITY default
SELECT enforce('psc.lead', 'stage', model => 'psc', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
-- nor does one whose scores are not kept: what is stored is no score
ALTER TABLE psc.lead RENAME points TO pts;
UPDATE psc.lead SET stage = 'mql', pts = 90 WHERE lead_id = 3;
ALTER TABLE psc.lead RENAME pts TO points;
UPDATE psc.lead SET points = NULL WHERE lead_id = 3;
CREATE TABLE psc.lead2 (lead_id int PRIMARY KEY, stage stage DEFAULT 'lead', interest bool);
SELECT enforce('psc.lead2', 'stage', model => 'psc broken', fields => '{"budget": null, "authority": null, "need": null, "timeline": null, "order": null}');
SELECT drop_model('psc broken');
SELECT relation, model FROM enforced WHERE relation IN ('psc.lead'::regclass, 'psc.lead2'::regclass) ORDER BY 1;
INSERT INTO psc.lead2 VALUES (1);
SELECT would_refuse('psc.lead2', '1', 'mql');
DELETE FROM psc.lead WHERE lead_id = 5;
-- a minimum score, in a named model
SELECT create_pipeline('psc');
SELECT add_stage('psc', 'lead'), add_stage('psc', 'mql', 'won');
SELECT add_transition('psc', 'lead', 'mql', min_score => 20, model => 'psc');
SELECT publish_pipeline('psc');
SELECT unenforce('psc.lead');
DELETE FROM psc.lead WHERE lead_id = 2;
ALTER TABLE psc.lead ALTER stage DROP DEFAULT, ALTER stage TYPE text;
SELECT enforce('psc.lead', 'stage', 'psc');
UPDATE psc.lead SET stage = 'mql' WHERE lead_id = 1;
SELECT would_refuse('psc.lead', '3', 'mql');
\set VERBOSITY terse
SELECT drop_model('psc');
\set VERBOSITY default
SET client_min_messages = warning;
SELECT unenforce('psc.lead');
SELECT drop_pipeline('psc');
SELECT drop_model('psc');
DROP SCHEMA psc CASCADE;
REVOKE USAGE ON SCHEMA leadscore FROM psc_writer;
DROP ROLE psc_writer;
