-- regression test: stage rules under every form of DML; what counts is what is stored
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA dml;
SELECT create_pipeline('dml');
SELECT add_stage('dml', 'a'), add_stage('dml', 'b'), add_stage('dml', 'c'), add_stage('dml', 'd', 'won');
SELECT add_transition('dml', 'a', 'b'), add_transition('dml', 'b', 'c'), add_transition('dml', 'c', 'd'), add_transition('dml', 'c', 'a');
SELECT publish_pipeline('dml');
CREATE TABLE dml.t (id int PRIMARY KEY, stage text DEFAULT 'a', note text);
SELECT enforce('dml.t', 'stage', 'dml');
-- the oracle: history, replayed, gives the stages, and each of its steps is a transition
CREATE FUNCTION dml.check(rel regclass DEFAULT 'dml.t') RETURNS TABLE (lead text, path text, wrong text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
	WITH h AS (SELECT h.*, lag(h.to_stage) OVER w AS before, last_value(h.to_stage) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS ends
			   FROM leadscore.stage_history h WHERE h.relation = %s::oid WINDOW w AS (PARTITION BY h.lead ORDER BY h.id))
	SELECT coalesce(h.lead, t.id::text), string_agg(coalesce(h.to_stage, ''-''), ''>'' ORDER BY h.id),
		   CASE WHEN bool_or(h.from_stage IS DISTINCT FROM h.before) THEN ''broken ''
				WHEN bool_or(h.kind = ''move'' AND NOT leadscore.can_move(h.pipeline, h.from_stage, h.to_stage)) THEN ''illegal ''
				WHEN max(h.ends) IS DISTINCT FROM max(t.stage::text) THEN ''ends elsewhere '' END
	FROM h FULL JOIN %s t ON t.id::text = h.lead GROUP BY 1 ORDER BY 1', rel::oid, rel);
END
$$;

-- INSERT in all forms
INSERT INTO dml.t (id) VALUES (1), (2), (3);
INSERT INTO dml.t (id) VALUES (5);
INSERT INTO dml.t SELECT 4, 'b';
INSERT INTO dml.t SELECT g, CASE g WHEN 22 THEN 'c' ELSE 'a' END FROM generate_series(20, 22) g;
COPY dml.t (id, stage) FROM stdin;
8	a
9	a
\.
COPY dml.t (id, stage) FROM stdin;
10	a
11	d
\.
SELECT count(*) FROM dml.t;
-- UPDATE: one bad row undoes the statement; self-moves are no moves; other columns are free
UPDATE dml.t SET stage = 'b' WHERE id IN (1, 2);
UPDATE dml.t SET stage = CASE id WHEN 1 THEN 'c' ELSE 'd' END WHERE id IN (1, 2);
UPDATE dml.t SET stage = stage, note = 'x';
UPDATE dml.t SET stage = 'c' WHERE id = 1 RETURNING id, stage;
UPDATE dml.t SET stage = 'b' FROM (VALUES (3), (3)) v(id) WHERE v.id = t.id;
-- ON CONFLICT, both arms
INSERT INTO dml.t VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET stage = 'd';
INSERT INTO dml.t VALUES (2, 'a') ON CONFLICT (id) DO UPDATE SET stage = 'd';
INSERT INTO dml.t VALUES (12, 'a') ON CONFLICT (id) DO UPDATE SET stage = 'd';
INSERT INTO dml.t VALUES (13, 'd') ON CONFLICT (id) DO UPDATE SET stage = 'd';
INSERT INTO dml.t VALUES (2, 'd') ON CONFLICT DO NOTHING;
-- MERGE, all arms
MERGE INTO dml.t USING (VALUES (2, 'c'), (14, 'a'), (9, 'gone')) v(id, s) ON v.id = t.id
WHEN MATCHED AND v.s = 'gone' THEN DELETE WHEN MATCHED THEN UPDATE SET stage = v.s WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.s);
MERGE INTO dml.t USING (VALUES (8, 'd')) v(id, s) ON v.id = t.id WHEN MATCHED THEN UPDATE SET stage = v.s;
MERGE INTO dml.t USING (VALUES (15, 'd')) v(id, s) ON v.id = t.id WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.s);
-- data-modifying CTEs
WITH moved AS (UPDATE dml.t SET stage = 'b' WHERE id = 8 RETURNING id), made AS (INSERT INTO dml.t VALUES (16) RETURNING id)
SELECT * FROM moved UNION ALL SELECT * FROM made ORDER BY 1;
WITH moved AS (UPDATE dml.t SET stage = 'd' WHERE id = 8 RETURNING id) SELECT 1;
-- several steps in one transaction, savepoints
BEGIN;
UPDATE dml.t SET stage = 'c' WHERE id = 8;
SAVEPOINT s;
UPDATE dml.t SET stage = 'd' WHERE id = 8;
ROLLBACK TO s;
UPDATE dml.t SET stage = 'a' WHERE id = 8;
SAVEPOINT s2;
UPDATE dml.t SET stage = 'd' WHERE id = 8;
ROLLBACK TO s2;
COMMIT;
-- views: auto-updatable and INSTEAD OF
CREATE VIEW dml.v AS SELECT id AS lead, stage AS where_is FROM dml.t WHERE id < 100;
UPDATE dml.v SET where_is = 'd' WHERE lead = 8;
UPDATE dml.v SET where_is = 'b' WHERE lead = 8;
CREATE FUNCTION dml.instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE dml.t SET stage = NEW.s WHERE id = OLD.id; RETURN NEW; END $$;
CREATE VIEW dml.w AS SELECT id, max(stage) AS s FROM dml.t GROUP BY id;
CREATE TRIGGER i INSTEAD OF UPDATE ON dml.w FOR EACH ROW EXECUTE FUNCTION dml.instead();
UPDATE dml.w SET s = 'd' WHERE id = 8;
UPDATE dml.w SET s = 'c' WHERE id = 8;
SELECT * FROM dml.check();

-- other triggers: BEFORE, by name before and after ours, change the stage; AFTER ones move it on
CREATE FUNCTION dml.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stage := TG_ARGV[0]; RETURN NEW; END $$;
CREATE TRIGGER " first" BEFORE UPDATE ON dml.t FOR EACH ROW WHEN (NEW.note = 'first') EXECUTE FUNCTION dml.meddle('d');
CREATE TRIGGER zz_last BEFORE UPDATE ON dml.t FOR EACH ROW WHEN (NEW.note = 'last') EXECUTE FUNCTION dml.meddle('d');
UPDATE dml.t SET note = 'first' WHERE id = 5;
UPDATE dml.t SET note = 'last', stage = 'b' WHERE id = 14;
UPDATE dml.t SET note = 'last' WHERE id = 2;
CREATE FUNCTION dml.push_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE dml.t SET stage = 'c' WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER "0_push" AFTER UPDATE ON dml.t FOR EACH ROW WHEN (NEW.note = 'push' AND NEW.stage = 'b') EXECUTE FUNCTION dml.push_on();
UPDATE dml.t SET stage = 'b', note = 'push' WHERE id = 16;
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON dml.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.note = 'later' AND NEW.stage = 'b') EXECUTE FUNCTION dml.push_on();
BEGIN; UPDATE dml.t SET stage = 'b', note = 'later' WHERE id = 12; UPDATE dml.t SET note = 'later' WHERE id = 12; COMMIT;
BEGIN; UPDATE dml.t SET stage = 'b' WHERE id = 14; UPDATE dml.t SET note = 'later' WHERE id = 14; UPDATE dml.t SET stage = 'c', note = '' WHERE id = 14; UPDATE dml.t SET stage = 'a' WHERE id = 14; COMMIT;
SELECT * FROM dml.check() WHERE lead IN ('2', '5', '12', '14', '16');
-- one that would run before ours after the row is stored is refused by name
CREATE TRIGGER " early" AFTER UPDATE ON dml.t FOR EACH ROW WHEN (NEW.note = 'push') EXECUTE FUNCTION dml.push_on();
UPDATE dml.t SET stage = 'c' WHERE id = 3;
DROP TRIGGER " early" ON dml.t;

-- session_replication_role is no way around
SET session_replication_role = replica;
UPDATE dml.t SET stage = 'd' WHERE id = 3;
RESET session_replication_role;

-- a foreign key that cascades into the stage, and into the key
CREATE TABLE dml.stage_name (name text PRIMARY KEY);
INSERT INTO dml.stage_name VALUES ('a'), ('b'), ('c'), ('x');
CREATE TABLE dml.owner (id int PRIMARY KEY);
INSERT INTO dml.owner VALUES (1), (2);
CREATE TABLE dml.f (id int PRIMARY KEY REFERENCES dml.owner ON UPDATE CASCADE ON DELETE CASCADE,
					stage text REFERENCES dml.stage_name ON UPDATE CASCADE);
INSERT INTO dml.f VALUES (1, 'a'), (2, 'a');
SELECT enforce('dml.f', 'stage', 'dml', adopt => true);
UPDATE dml.stage_name SET name = 'd' WHERE name = 'a';
DELETE FROM dml.stage_name WHERE name = 'b';
UPDATE dml.stage_name SET name = 'b' WHERE name = 'a';
UPDATE dml.owner SET id = 11 WHERE id = 1;
DELETE FROM dml.owner WHERE id = 2;
SELECT * FROM dml.check('dml.f');

-- partitions: by key, and by the stage itself (a move is then DELETE and INSERT)
CREATE TABLE dml.p (junk int, id int, stage text DEFAULT 'a', note text, PRIMARY KEY (id, stage)) PARTITION BY LIST (stage);
ALTER TABLE dml.p DROP COLUMN junk;
CREATE TABLE dml.p_ab PARTITION OF dml.p FOR VALUES IN ('a', 'b');
CREATE TABLE dml.p_c (stage text NOT NULL, note text, extra int, id int NOT NULL);
ALTER TABLE dml.p_c DROP COLUMN extra;
ALTER TABLE dml.p ATTACH PARTITION dml.p_c FOR VALUES IN ('c');
SELECT enforce('dml.p', 'stage', 'dml', key => 'id');
CREATE TABLE dml.p_d PARTITION OF dml.p DEFAULT;
SELECT enforce('dml.p_c', 'stage', 'dml', key => 'id');
INSERT INTO dml.p (id) SELECT g FROM generate_series(1, 4) g;
INSERT INTO dml.p_c (id, stage) VALUES (9, 'c');
UPDATE dml.p SET stage = 'c' WHERE id = 1;
UPDATE dml.p SET stage = 'b';
UPDATE dml.p SET stage = 'c', note = 'moved' WHERE id < 4;
UPDATE dml.p SET stage = 'd' WHERE id = 4;
UPDATE dml.p SET stage = 'd', id = 33 WHERE id = 3;
DELETE FROM dml.p WHERE id = 2;
UPDATE dml.p_c SET stage = 'a' WHERE id = 1;
UPDATE dml.p SET stage = 'a' WHERE id = 1;
-- nested moves between the two halves, with a failure caught
CREATE FUNCTION dml.nested() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		UPDATE dml.p SET stage = 'd' WHERE id = 4;
	EXCEPTION WHEN check_violation THEN NULL;
	END;
	UPDATE dml.p SET stage = 'c' WHERE id = 4 AND stage = 'b';
	RETURN NULL;
END
$$;
CREATE TRIGGER nested AFTER DELETE ON dml.p FOR EACH ROW WHEN (OLD.note = 'nest') EXECUTE FUNCTION dml.nested();
UPDATE dml.p SET stage = 'b', note = 'nest' WHERE id = 1;
UPDATE dml.p SET stage = 'c' WHERE id = 1;
-- a row that gets lost between the partitions was deleted
CREATE FUNCTION dml.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON dml.p_d FOR EACH ROW EXECUTE FUNCTION dml.swallow();
UPDATE dml.p SET stage = 'd' WHERE id = 1;
SELECT * FROM dml.check('dml.p');
SELECT lead, kind, from_stage, to_stage FROM stage_history WHERE relation = 'dml.p'::regclass AND kind NOT IN ('entry', 'move') ORDER BY id;
-- TRUNCATE of one partition, of one made or attached later, of one that was detached, of all
INSERT INTO dml.p (id) VALUES (41), (42);
CREATE TABLE dml.p_sub (LIKE dml.p) PARTITION BY LIST (id);
CREATE TABLE dml.p_sub1 PARTITION OF dml.p_sub FOR VALUES IN (1, 2, 3);
DELETE FROM dml.p_d;
ALTER TABLE dml.p DETACH PARTITION dml.p_d;
ALTER TABLE dml.p ATTACH PARTITION dml.p_sub FOR VALUES IN ('d');
CREATE TABLE dml.p_sub2 PARTITION OF dml.p_sub DEFAULT;
SELECT tgrelid::regclass AS has, tgenabled FROM pg_trigger WHERE tgname = '!leadscore_truncate' AND tgrelid::regclass::text LIKE 'dml.p%' ORDER BY 1;
UPDATE dml.p SET stage = 'b' WHERE id = 41;
UPDATE dml.p SET stage = 'c' WHERE id = 41;
UPDATE dml.p SET stage = 'd' WHERE id = 41;
TRUNCATE dml.p_sub2;
SELECT kind, from_stage, to_stage FROM stage_history WHERE relation = 'dml.p'::regclass AND lead = '41' ORDER BY id DESC LIMIT 1;
BEGIN; DROP TRIGGER "!leadscore_truncate" ON dml.p_c; SELECT relation, finding FROM audit() WHERE relation LIKE 'dml.p%'; ROLLBACK;
BEGIN; TRUNCATE dml.p_ab; ROLLBACK;
TRUNCATE dml.p_ab;
TRUNCATE dml.p_d;
SELECT * FROM dml.check('dml.p') WHERE wrong IS NOT NULL;
INSERT INTO dml.p (id) VALUES (51);
TRUNCATE dml.p;
SELECT * FROM dml.check('dml.p') WHERE wrong IS NOT NULL OR lead = '51';
SELECT lead, kind FROM stage_history WHERE relation = 'dml.p'::regclass AND kind = 'truncated' ORDER BY id;
SELECT unenforce('dml.p');
SELECT count(*) AS left_on_partitions FROM pg_trigger t WHERE tgname = '!leadscore_truncate' AND tgrelid IN (SELECT relid FROM pg_partition_tree('dml.p'));

-- DDL under a live session: the next statement follows
ALTER TABLE dml.t RENAME COLUMN stage TO "the stage"; ALTER TABLE dml.t RENAME TO t2; ALTER SCHEMA dml RENAME TO dml2;
UPDATE dml2.t2 SET "the stage" = 'd' WHERE id = 3;
UPDATE dml2.t2 SET "the stage" = 'c' WHERE id = 3;
ALTER SCHEMA dml2 RENAME TO dml; ALTER TABLE dml.t2 RENAME TO t; ALTER TABLE dml.t RENAME COLUMN "the stage" TO stage;
ALTER TABLE dml.t ADD COLUMN more int DEFAULT 7; ALTER TABLE dml.t DROP COLUMN note CASCADE;
UPDATE dml.t SET stage = 'b' WHERE id = 3;
-- (which of the dependent objects PostgreSQL's message names is not fixed)
\set VERBOSITY sqlstate
ALTER TABLE dml.t ALTER stage TYPE varchar(20);
\set VERBOSITY default
UPDATE dml.t SET stage = 'd' WHERE id = 3;
BEGIN; DELETE FROM dml.t WHERE stage = 'd'; SELECT drop_transition('dml', 'c', 'd'); SELECT add_transition('dml', 'c', 'b'); SELECT drop_stage('dml', 'd'); SELECT publish_pipeline('dml'); UPDATE dml.t SET stage = 'd' WHERE id = 3; ROLLBACK;
UPDATE dml.t SET stage = 'd' WHERE id = 3;
PREPARE move AS UPDATE dml.t SET stage = $1 WHERE id = $2;
EXECUTE move('d', 1); EXECUTE move('d', 5);
DELETE FROM dml.t WHERE id = 3;
TRUNCATE dml.t;
SELECT * FROM dml.check() WHERE wrong IS NOT NULL;

-- misuse of the trigger function, kinds of tables that cannot be enforced
CREATE TRIGGER x BEFORE UPDATE ON dml.t FOR EACH ROW EXECUTE FUNCTION enforce_stage();
INSERT INTO dml.t (id) VALUES (1); UPDATE dml.t SET more = 1;
DROP TRIGGER x ON dml.t;
CREATE TRIGGER x AFTER UPDATE ON dml.t FOR EACH STATEMENT EXECUTE FUNCTION enforce_stage();
UPDATE dml.t SET more = 1;
DROP TRIGGER x ON dml.t;
CREATE CONSTRAINT TRIGGER x AFTER UPDATE ON dml.t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION enforce_stage();
UPDATE dml.t SET more = 1;
DROP TRIGGER x ON dml.t;
CREATE TABLE dml.other (id int PRIMARY KEY, stage text);
CREATE TRIGGER x AFTER INSERT ON dml.other FOR EACH ROW EXECUTE FUNCTION enforce_stage();
INSERT INTO dml.other VALUES (1, 'a');
DROP TRIGGER "!leadscore_delete" ON dml.t;
UPDATE dml.t SET stage = 'b';
CREATE TEMP TABLE dml_temp (id int PRIMARY KEY, stage text);
SELECT enforce('dml_temp', 'stage', 'dml');
CREATE UNLOGGED TABLE dml.unlogged (id int PRIMARY KEY, stage text);
SELECT enforce('dml.unlogged', 'stage', 'dml');
CREATE TABLE dml.child () INHERITS (dml.other);
SELECT enforce('dml.other', 'stage', 'dml');
SELECT enforce('dml.v', 'where_is', 'dml', key => 'lead');

SET client_min_messages = warning;
DROP SCHEMA dml CASCADE;
SELECT drop_pipeline('dml');
