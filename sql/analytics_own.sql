-- regression test: the reports over the extension's own history
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA own;
CREATE TABLE own.lead (lead_id bigint PRIMARY KEY, stage leadscore.stage NOT NULL DEFAULT 'lead', source text, budget numeric, authority text, need text, timeline date, interest bool, order_no text);
-- number 1 and 2 were there before the pipeline was: adopted, so that when they entered is not known
INSERT INTO own.lead (lead_id, stage, source) VALUES (1, 'mql', 'web'), (2, 'lost', 'web');
SELECT enforce('own.lead', 'stage', adopt => true);
INSERT INTO own.lead (lead_id, source) VALUES (3, 'web'), (4, 'fair'), (5, NULL);
UPDATE own.lead SET interest = true, budget = 1, authority = 'CFO', need = 'it', timeline = '2027-01-01', order_no = 'A';
UPDATE own.lead SET stage = 'mql' WHERE lead_id IN (3, 4);
UPDATE own.lead SET stage = 'sql' WHERE lead_id IN (1, 3);
UPDATE own.lead SET stage = 'prospect' WHERE lead_id = 3;
UPDATE own.lead SET stage = 'client' WHERE lead_id = 3;
UPDATE own.lead SET stage = 'lost' WHERE lead_id = 4;
DELETE FROM own.lead WHERE lead_id = 5;

-- stages, their order and kinds are those of the pipeline; the key is text there, bigint here
SELECT * FROM funnel_stages('own.lead');
SELECT stage, leads_in, reached, moved_on, here_now, lost_here, elsewhere, step_pct, median_days IS NULL AS no_days FROM funnel('own.lead', as_of => clock_timestamp());
SELECT by_value, stage, reached FROM funnel('own.lead', 'source', as_of => clock_timestamp()) WHERE stage IN ('mql', 'client');
SELECT lead, stage, outcome, furthest, moves FROM journeys('own.lead', as_of => clock_timestamp()) ORDER BY lead::int;
-- time in stages from adoption on is not counted; a deleted lead was watched until then
SELECT span, n, ended, censored FROM velocity('own.lead', as_of => clock_timestamp());
SELECT by_value, leads_in, mql, sql, clients, client_pct FROM sources('own.lead', as_of => clock_timestamp());
-- arguments overrule the pipeline
SELECT stage, reached, here_now, lost_here FROM funnel('own.lead', stages => '{mql,sql}', as_of => clock_timestamp());
-- a table that is under no pipeline has no history here
CREATE TABLE own.other (id int PRIMARY KEY);
SELECT stage, leads_in FROM funnel('own.other') LIMIT 1;

-- if there is just one table under a pipeline, it need not be named
BEGIN;
DELETE FROM leadscore.enforced WHERE relation <> 'own.lead'::regclass;
SELECT stage, reached FROM funnel(as_of => clock_timestamp()) LIMIT 2;
DELETE FROM leadscore.enforced;
SELECT stage, reached FROM funnel();
ROLLBACK;

-- one who may not read the leads learns nothing of them
CREATE ROLE regress_own;
SET ROLE regress_own;
SELECT stage, leads_in, reached FROM funnel('own.lead'::regclass::oid::regclass) LIMIT 1;
RESET ROLE;
GRANT USAGE ON SCHEMA own TO regress_own;
GRANT SELECT ON own.lead TO regress_own;
SET ROLE regress_own;
SELECT stage, leads_in, reached FROM funnel('own.lead', as_of => clock_timestamp()) LIMIT 1;
RESET ROLE;

SET client_min_messages = warning;
SELECT unenforce('own.lead');
DROP SCHEMA own CASCADE;
DROP ROLE regress_own;
