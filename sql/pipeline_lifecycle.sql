-- regression test: the built-in pipeline, refusals, history
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA life;
CREATE TABLE life.lead (
	lead_id bigint PRIMARY KEY,
	stage leadscore.stage NOT NULL DEFAULT 'lead',
	interest bool,
	est_budget numeric,
	authority text,
	need bool,
	timeline date,
	order_no text
);
INSERT INTO life.lead (lead_id, stage) VALUES (1, 'lead'), (2, 'mql'), (3, 'client');

-- adopting what is there
SELECT enforce('life.lead', 'stage', fields => '{"budget": "est_budget"}', adopt => true);
SELECT lead, kind, from_stage, to_stage FROM stage_history WHERE relation = 'life.lead'::regclass ORDER BY id;

-- the whole way, with everything that is missing each time
UPDATE life.lead SET stage = 'mql' WHERE lead_id = 1;
UPDATE life.lead SET stage = 'client' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'sql' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'lead' WHERE lead_id = 3;
SELECT stage, allowed, missing FROM next_stages('life.lead', '2');
SELECT would_refuse('life.lead', '2', 'sql');
SELECT would_refuse('life.lead', '2', 'client');
SELECT would_refuse('life.lead', '2', 'mql') AS none;
-- filled: not null; not blank; greater than 0; true
UPDATE life.lead SET est_budget = 0, authority = '  ', need = false, stage = 'sql' WHERE lead_id = 2;
UPDATE life.lead SET est_budget = 'NaN', authority = 'CFO', need = false WHERE lead_id = 2;
UPDATE life.lead SET stage = 'sql' WHERE lead_id = 2;
UPDATE life.lead SET est_budget = 10, need = true, timeline = '2026-12-24', stage = 'sql' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'prospect' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'client' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'client', order_no = 'A-17' WHERE lead_id = 2;
UPDATE life.lead SET stage = 'client' WHERE lead_id = 2;
-- new leads
INSERT INTO life.lead VALUES (4);
INSERT INTO life.lead (lead_id, stage) VALUES (5, 'sql');
-- exits and recycling
UPDATE life.lead SET stage = 'lost' WHERE lead_id = 4;
UPDATE life.lead SET stage = 'lead' WHERE lead_id = 4;
BEGIN;
SET LOCAL leadscore.reason = 'new contact person';
UPDATE life.lead SET stage = 'lead' WHERE lead_id = 4;
COMMIT;
UPDATE life.lead SET stage = 'lost' WHERE lead_id = 4;
-- keys, deletion
UPDATE life.lead SET lead_id = 44 WHERE lead_id = 4;
DELETE FROM life.lead WHERE lead_id = 44;
SELECT lead, from_stage, to_stage, by = CURRENT_USER AS by_me, why, version FROM history WHERE relation = 'life.lead'::regclass;
-- the fields of the error, for drivers
DO $$
DECLARE
	state text; sch text; tab text; col text; con text;
BEGIN
	UPDATE life.lead SET stage = 'mql' WHERE lead_id = 1;
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME;
	RAISE NOTICE '% % % % %', state, sch, tab, col, con;
END
$$;
-- nobody writes history, not even its owner
INSERT INTO stage_history (at, xact_at, relation, lead, kind, session_name, user_name) VALUES (now(), now(), 'life.lead'::regclass, '1', 'move', 'x', 'x');
UPDATE stage_history SET reason = 'x';
DELETE FROM stage_history;
TRUNCATE stage_history;
TRUNCATE life.lead;
SELECT lead, kind, from_stage, to_stage FROM stage_history WHERE relation = 'life.lead'::regclass AND kind = 'truncated' ORDER BY lead;
SELECT unenforce('life.lead');
INSERT INTO life.lead (lead_id, stage) VALUES (5, 'sql');
SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
