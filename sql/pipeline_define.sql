-- regression test: making, publishing, exporting and drawing pipelines
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA def;
SELECT create_pipeline('def deal', note => 'for tests');
SELECT add_stage('def deal', 'new'), add_stage('def deal', 'talking', service_level => '3 days'),
       add_stage('def deal', 'signed', 'won'), add_stage('def deal', 'gone', 'lost'), add_stage('def deal', 'orphan');

-- all findings at once
SELECT add_transition('def deal', 'new', 'talking', guard => 'phone IS NOT NULL AND', label => 'a phone number');
SELECT add_transition('def deal', 'new', 'talking', guard => 'phone IS NOT NULL', label => 'a phone number');
SELECT add_guard('def deal', 'new', 'talking', 'amount > 0');
SELECT add_transition('def deal', 'talking', 'signed', fields => '{amount,signer}', reason_required => true);
SELECT check_pipeline('def deal');
SELECT publish_pipeline('def deal');
SELECT drop_stage('def deal', 'orphan');
SELECT add_transition('def deal', 'talking', 'gone'), add_transition('def deal', 'gone', 'new', reason_required => true);
SELECT check_pipeline('def deal') AS none;
SELECT publish_pipeline('def deal', note => 'first');
SELECT stage, ordinal, kind, entry, service_level FROM pipeline_stage WHERE pipeline = 'def deal' AND version = 1 ORDER BY ordinal;
SELECT can_move('no such', 'new', 'new');
SELECT can_move('def deal', 'new', 'talking') AS yes, can_move('def deal', 'new', 'signed') AS no, can_move('def deal', 'new', 'new') AS stay;

-- on a table: an enum, text, and a domain over text; a guard that fits none of the columns is refused by name
CREATE TYPE def.deal_stage AS ENUM ('new', 'talking', 'signed', 'gone');
CREATE DOMAIN def.stage_name AS text CHECK (VALUE <> 'nonsense');
CREATE TABLE def.deal (id uuid PRIMARY KEY, st def.deal_stage DEFAULT 'new', phone text, amount numeric, signer text);
CREATE TABLE def.deal_text (id text PRIMARY KEY, st text DEFAULT 'new', phone text, amount numeric, signer text);
CREATE TABLE def.deal_domain (id int PRIMARY KEY, st def.stage_name DEFAULT 'new', phone text, amount numeric, signer text);
SELECT enforce('def.deal', 'st', 'def deal'), enforce('def.deal_text', 'st', 'def deal'), enforce('def.deal_domain', 'st', 'def deal');
INSERT INTO def.deal VALUES ('00000000-0000-0000-0000-000000000001');
INSERT INTO def.deal_text VALUES ('a"b''; DROP TABLE x; --');
INSERT INTO def.deal_domain VALUES (1);
UPDATE def.deal SET st = 'talking';
UPDATE def.deal_text SET st = 'talking', phone = '1';
UPDATE def.deal_domain SET st = 'talking', phone = '1', amount = 7;
UPDATE def.deal_domain SET st = 'signed';
UPDATE def.deal_text SET st = 'nowhere';
UPDATE def.deal SET st = NULL;
SELECT would_refuse('def.deal_domain', '1', 'signed');
SELECT * FROM next_stages('def.deal_text', 'a"b''; DROP TABLE x; --');

-- guards are analysed against the tables when they are added and published
SELECT add_guard('def deal', 'talking', 'signed', 'nosuch > 3');
SELECT add_guard('def deal', 'talking', 'signed', 'amount');
SELECT add_guard('def deal', 'talking', 'signed', 'random() < 0.5');
SELECT add_guard('def deal', 'talking', 'signed', 'EXISTS (SELECT)');
SELECT add_guard('def deal', 'talking', 'signed', 'max(amount) > 1');
SELECT add_guard('def deal', 'talking', 'signed', 'true; DROP TABLE def.deal');
SELECT add_guard('def deal', 'talking', 'signed', 'true FROM def.deal');
SELECT add_guard('def deal', 'talking', 'signed', 'true, false');
SELECT add_guard('def deal', 'talking', 'signed', '');
SELECT add_guard('def deal', 'talking', 'signed', 'xmin IS NULL');
SELECT add_guard('def deal', 'talking', 'signed', '$1');
SELECT add_guard('def deal', 'talking', 'signed', 'generate_series(1, 2) = 1');
SELECT add_guard('def deal', 'talking', 'signed', 'old.amount IS NULL OR new.amount >= old.amount', 'no discount');
SELECT publish_pipeline('def deal', note => 'second');
UPDATE def.deal_domain SET st = 'signed', signer = 'me', amount = 6;
BEGIN; SET LOCAL leadscore.reason = 'contract 12'; UPDATE def.deal_domain SET st = 'signed', signer = 'me', amount = 8; COMMIT;
SELECT lead, from_stage, to_stage, why, version FROM history WHERE relation = 'def.deal_domain'::regclass;
-- back to the first version, as a third
SELECT revert_pipeline('def deal', 1);
SELECT version, note FROM pipeline_version WHERE pipeline = 'def deal' ORDER BY 1;
SELECT count(*) AS guards FROM pipeline_guard WHERE pipeline = 'def deal' AND version = 3;
-- leads in a stage that the new version drops: named with all else, each table; moved away, or overridden, they are no hindrance
BEGIN;
INSERT INTO def.deal SELECT ('00000000-0000-0000-0000-00000000000' || g)::uuid FROM generate_series(2, 4) g;
UPDATE def.deal SET st = 'talking', phone = '1', amount = 3 WHERE phone IS NULL;
SELECT drop_stage('def deal', 'talking'), add_stage('def deal', 'lonely');
SELECT check_pipeline('def deal');
SET ROLE pg_monitor;
SELECT count(*) AS not_told FROM check_pipeline('def deal') f WHERE f ~ 'leads';
RESET ROLE;
SAVEPOINT s;
SELECT publish_pipeline('def deal');
ROLLBACK TO s;
SELECT drop_stage('def deal', 'lonely'), add_transition('def deal', 'new', 'signed'), add_transition('def deal', 'new', 'gone');
SELECT override('talking is no stage any more');
UPDATE def.deal SET st = 'new' WHERE st = 'talking';
UPDATE def.deal_text SET st = 'new' WHERE st = 'talking';
UPDATE def.deal_domain SET st = 'new' WHERE st = 'talking';
SELECT publish_pipeline('def deal', note => 'without talking');
SAVEPOINT s;
UPDATE def.deal SET st = 'talking';
ROLLBACK;
-- a column that a field needs is renamed: followed; dropped: refused
ALTER TABLE def.deal_domain RENAME amount TO price;
ALTER TABLE def.deal_domain RENAME st TO "Stage of Deal";
INSERT INTO def.deal_domain VALUES (2, 'new', '1', 5);
UPDATE def.deal_domain SET "Stage of Deal" = 'talking' WHERE id = 2;
ALTER TABLE def.deal_domain DROP COLUMN signer;

-- export, import, copies
SELECT jsonb_pretty(export_pipeline('def deal', 1));
SELECT import_pipeline(export_pipeline('def deal', 2), 'def copy');
SELECT export_pipeline('def copy', 0) - 'pipeline' = export_pipeline('def deal', 2) - 'pipeline' AS same;
SELECT copy_pipeline('lifecycle', 'def life');
SELECT publish_pipeline('def life');
SELECT export_pipeline('def life') - 'pipeline' = export_pipeline('lifecycle') - 'pipeline' AS same;
SELECT export_pipeline('no such') IS NULL AS unknown;

-- pictures
SELECT diagram('lifecycle');
SELECT diagram('def deal', 'dot', 2);

-- malformed
\set VERBOSITY sqlstate
SELECT create_pipeline(NULL);
SELECT create_pipeline('');
SELECT create_pipeline(repeat('x', 64));
SELECT create_pipeline('def deal');
SELECT create_pipeline('def x', override_role => 'no such role');
SELECT copy_pipeline('no such', 'def y');
SELECT add_stage('no such', 'a');
SELECT add_stage('lifecycle', 'a');
SELECT add_stage('def deal', '');
SELECT add_stage('def deal', NULL);
SELECT add_stage('def deal', 'new');
SELECT add_stage('def deal', 'b', 'half open');
SELECT add_stage('def deal', 'b', service_level => '-1 day');
SELECT add_stage('def deal', 'b', service_level => '0');
SELECT drop_stage('def deal', 'no such');
SELECT add_transition('def deal', 'new', 'new');
SELECT add_transition('def deal', 'new', 'no such');
SELECT add_transition('def deal', 'no such', 'new');
SELECT add_transition('def deal', 'new', 'talking');
SELECT add_transition('def deal', 'new', 'signed', min_score => 'NaN');
SELECT add_transition('def deal', 'new', 'signed', min_score => 'Infinity');
SELECT add_transition('def deal', 'new', 'signed', role => 'no such role');
SELECT add_transition('def deal', 'new', 'signed', fields => '{a,NULL}');
SELECT drop_transition('def deal', 'new', 'gone');
SELECT add_guard('def deal', 'new', 'gone', 'true');
SELECT add_guard('def deal', 'new', 'talking', NULL);
SELECT revert_pipeline('def deal', 9);
SELECT revert_pipeline('def deal', 0);
SELECT revert_pipeline('def deal', NULL);
SELECT publish_pipeline('lifecycle');
SELECT drop_pipeline('lifecycle');
SELECT drop_pipeline('def deal');
SELECT import_pipeline('[]');
SELECT import_pipeline('{}');
SELECT import_pipeline('{"stages": [{"stage": null}]}', 'def broken');
SELECT import_pipeline('{"stages": 7}', 'def broken');
SELECT import_pipeline('{"stages": [{"stage": "a"}], "transitions": [{"from": "a", "to": "b"}]}', 'def broken');
SELECT enforce(NULL, 'st');
SELECT enforce('def.deal', NULL);
SELECT enforce('def.deal', 'no such');
SELECT enforce('def.deal', 'st', 'no such');
SELECT enforce('def.deal', 'st', 'def deal', key => 'no such');
SELECT enforce('def.deal', 'st', 'def deal', fields => '[]');
SELECT enforce('def.deal', 'st', 'def deal', fields => '{"nosuch": "phone"}');
SELECT enforce('def.deal', 'st', 'def deal', fields => '{"amount": "nosuch"}');
SELECT enforce('def.deal', 'st', 'def deal', fields => '{"amount": 7}');
SELECT enforce('def.deal', 'amount', 'def deal');
SELECT enforce('def.deal', 'st', 'lifecycle');
SELECT enforce('pg_class', 'relname');
SELECT enforce('leadscore.history', 'to_stage');
SELECT enforce('leadscore.stage_history', 'to_stage', key => 'id');
SELECT unenforce('pg_class');
SELECT next_stages('def.deal', 'not a uuid');
SELECT next_stages('def.deal', '00000000-0000-0000-0000-000000000009');
SELECT next_stages('pg_class', '1');
SELECT would_refuse('def.deal', '00000000-0000-0000-0000-000000000001', 'nowhere');
SELECT enforce_stage();
SELECT pipeline_changed();
SELECT protect_history();
\set VERBOSITY default

-- what enforce says when columns are missing
CREATE TABLE def.bare (id int PRIMARY KEY, stage stage, budget numeric);
SELECT enforce('def.bare', 'stage');
SELECT enforce('def.bare', 'stage', fields => '{"authority": null, "need": null, "timeline": null, "order": null}');
CREATE TABLE def.nokey (stage stage);
SELECT enforce('def.nokey', 'stage');

SET client_min_messages = warning;
SELECT unenforce('def.deal'), unenforce('def.deal_text'), unenforce('def.deal_domain');
SELECT drop_pipeline('def deal'), drop_pipeline('def copy'), drop_pipeline('def life');
DROP SCHEMA def CASCADE;
