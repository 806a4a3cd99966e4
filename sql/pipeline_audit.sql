-- regression test: overrides, true dates, the past, seals, audits, service levels
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA aud;
SET client_min_messages = warning;
CREATE ROLE aud_boss; CREATE ROLE aud_seller; CREATE ROLE aud_importer; CREATE ROLE aud_sales;
RESET client_min_messages;
GRANT USAGE ON SCHEMA aud TO PUBLIC;
SELECT create_pipeline('aud', override_role => 'aud_boss', import_role => 'aud_importer');
SELECT add_stage('aud', 'a', service_level => '2 days'), add_stage('aud', 'b', service_level => '1 hour'), add_stage('aud', 'c', 'won');
SELECT add_transition('aud', 'a', 'b', role => 'aud_sales'), add_transition('aud', 'b', 'c', guard => 'paid', label => 'payment');
SELECT publish_pipeline('aud');
CREATE TABLE aud.lead (id int PRIMARY KEY, stage text DEFAULT 'a', paid bool);
GRANT ALL ON aud.lead TO PUBLIC;
SELECT enforce('aud.lead', 'stage', 'aud');
INSERT INTO aud.lead SELECT g FROM generate_series(1, 6) g;

-- a transition's role is that of the current user at the move
SET ROLE aud_seller;
UPDATE aud.lead SET stage = 'b' WHERE id = 1;
RESET ROLE;
GRANT aud_sales TO aud_seller;
SET ROLE aud_seller;
UPDATE aud.lead SET stage = 'b' WHERE id = 1;
-- overrides: only members of the role, only with a reason, for one transaction
SELECT override('because');
SET leadscore.override = 'because';
SET LOCAL leadscore.backdate = '0';
SET leadscore.reasn = 'a slip of the pen';
RESET ROLE; SET ROLE aud_boss;
SELECT override(' ');
SELECT override(NULL);
UPDATE aud.lead SET stage = 'c' WHERE id = 2;
BEGIN;
SELECT override('signed on paper');
UPDATE aud.lead SET stage = 'c' WHERE id = 2;
UPDATE aud.lead SET stage = 'nowhere' WHERE id = 3;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT override('tried');
ROLLBACK TO s;
UPDATE aud.lead SET stage = 'c' WHERE id = 2;
ROLLBACK;
BEGIN;
SELECT override('signed on paper');
UPDATE aud.lead SET stage = 'c' WHERE id = 2;
INSERT INTO aud.lead (id, stage) VALUES (7, 'c');
COMMIT;
UPDATE aud.lead SET stage = 'a' WHERE id = 2;
-- handed to somebody else, an override is worth nothing
BEGIN; SELECT override('for a friend'); SET LOCAL ROLE aud_seller; UPDATE aud.lead SET stage = 'c' WHERE id = 3; ROLLBACK;
-- a superuser is recorded as everybody else
RESET ROLE;
BEGIN; SELECT override('migration'); UPDATE aud.lead SET stage = 'c' WHERE id = 3; COMMIT;

-- true dates
SET ROLE aud_seller;
BEGIN; SELECT backdate('2025-01-01'); UPDATE aud.lead SET stage = 'b' WHERE id = 4; ROLLBACK;
SELECT import_history('aud.lead', '4', 'x', 'a', '2020-01-01');
RESET ROLE; GRANT aud_sales TO aud_importer; SET ROLE aud_importer;
SELECT backdate('2999-01-01');
SELECT backdate('infinity');
BEGIN; SELECT backdate('2025-01-01'); UPDATE aud.lead SET stage = 'b' WHERE id = 4; COMMIT;
SELECT import_history('aud.lead', '4', NULL, 'enquiry', '2020-01-01', 'from the old system'), import_history('aud.lead', '4', 'enquiry', 'a', '2020-02-01');
SELECT import_history('aud.lead', '4', 'x', 'a', '2999-01-01');
SELECT import_history('aud.lead', NULL, 'x', 'a', '2020-01-01');
RESET ROLE;
SELECT lead, kind, from_stage, to_stage, nullif(user_name, session_user) AS other_user, session_name = session_user AS by_session, reason,
       CASE WHEN at < '2026-01-01' THEN at::date END AS true_date
FROM stage_history WHERE relation = 'aud.lead'::regclass AND kind <> 'entry' ORDER BY id;

-- service levels
SELECT lead, stage, days > 30 AS long FROM time_in_stage('aud.lead') ORDER BY 1;
SELECT lead, stage, since::date, service_level FROM overdue('aud.lead');
-- a table under no pipeline is an error
CREATE TABLE aud.none (id int PRIMARY KEY, stage text);
SELECT * FROM time_in_stage('aud.none');
SELECT * FROM overdue('aud.none');
SELECT pipeline_of('aud.none'), 'not reached';
SELECT pipeline_of('aud.lead');

-- the chain
SELECT attest() = attest() AS nothing_new, attest() ~ '^\d+:[0-9a-f]{64}$' AS form;
SELECT * FROM audit() WHERE relation IS NULL OR relation = 'aud.lead';
-- tampering: a superuser who disables the trigger, changes, deletes and slips in a row
CREATE TABLE aud.ids AS SELECT min(id) AS first, max(id) AS last FROM stage_history WHERE relation = 'aud.lead'::regclass;
BEGIN;
ALTER TABLE stage_history DISABLE TRIGGER protect;
UPDATE stage_history SET to_stage = 'b' WHERE id = (SELECT first FROM aud.ids);
DELETE FROM stage_history WHERE id = (SELECT first + 1 FROM aud.ids);
UPDATE stage_history SET at = at + '1 microsecond' WHERE id = (SELECT last FROM aud.ids);
INSERT INTO stage_history OVERRIDING SYSTEM VALUE SELECT (h).* FROM (SELECT h FROM stage_history h WHERE id = (SELECT last FROM aud.ids)) x;
SELECT relation, id - first AS row, finding FROM audit(), aud.ids WHERE relation IS NULL OR relation = 'aud.lead';
ROLLBACK;
SELECT * FROM audit() WHERE relation IS NULL OR relation = 'aud.lead';
-- a table owner who switches our trigger off is seen, and so is what he did
BEGIN;
ALTER TABLE aud.lead DISABLE TRIGGER "!leadscore_stage";
UPDATE aud.lead SET stage = 'c' WHERE id = 6;
SELECT relation, finding FROM audit() WHERE relation = 'aud.lead';
ROLLBACK;
-- a table whose rules cannot be made out is a finding, and hides no other
BEGIN;
CREATE TABLE aud.b_lead (id int PRIMARY KEY, stage text DEFAULT 'a', paid bool);
SELECT enforce('aud.b_lead', 'stage', 'aud');
INSERT INTO aud.b_lead VALUES (1);
CREATE TRIGGER " early" AFTER UPDATE ON aud.lead FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE aud.b_lead DISABLE TRIGGER "!leadscore_stage";
UPDATE aud.b_lead SET stage = 'c';
SELECT relation, finding FROM audit() WHERE relation IN ('aud.lead', 'aud.b_lead') ORDER BY relation;
ROLLBACK;
-- renames do not break the chain
ALTER TABLE aud.lead RENAME TO lead2;
SELECT * FROM audit() WHERE relation IS NULL OR relation = 'aud.lead2';
SET ROLE aud_boss;
SELECT audit();
SELECT attest();
RESET ROLE;

-- our event triggers are in nobody's way, even where our schema is gone
BEGIN;
ALTER SCHEMA leadscore RENAME TO aud_away;
CREATE TABLE aud.x (a int); ALTER TABLE aud.x ADD b int; DROP TABLE aud.x;
ROLLBACK;

SET client_min_messages = warning;
DROP TABLE aud.lead2;
SELECT count(*) AS still_enforced FROM enforced e WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.relation);
SELECT drop_pipeline('aud');
DROP SCHEMA aud CASCADE;
DROP ROLE aud_boss; DROP ROLE aud_seller; DROP ROLE aud_importer; DROP ROLE aud_sales;
