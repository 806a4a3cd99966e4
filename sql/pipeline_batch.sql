-- regression test: history of statements that move many leads at once: whole, in order, seen by whoever may look in between
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA bat;
SELECT create_pipeline('bat');
SELECT add_stage('bat', 'a'), add_stage('bat', 'b'), add_stage('bat', 'c', 'won');
SELECT add_transition('bat', 'a', 'b'), add_transition('bat', 'b', 'c', guard => 'NOT barred'), add_transition('bat', 'b', 'a');
SELECT publish_pipeline('bat');
CREATE TABLE bat.t (id int PRIMARY KEY, stage text DEFAULT 'a', barred bool DEFAULT false, note text);
SELECT enforce('bat.t', 'stage', 'bat');
-- the oracle: what history says of every lead, against the table
CREATE VIEW bat.wrong AS
WITH h AS (SELECT h.*, lag(to_stage) OVER (PARTITION BY lead ORDER BY id) AS before, row_number() OVER (PARTITION BY lead ORDER BY id DESC) AS back
		   FROM stage_history h WHERE relation = 'bat.t'::regclass)
SELECT lead, 'broken' AS why FROM h WHERE from_stage IS DISTINCT FROM before
UNION ALL SELECT lead, 'illegal' FROM h WHERE kind = 'move' AND NOT can_move('bat', from_stage, to_stage)
UNION ALL SELECT coalesce(h.lead, t.id::text), 'ends elsewhere' FROM (SELECT * FROM h WHERE back = 1) h FULL JOIN bat.t ON t.id::text = h.lead WHERE to_stage IS DISTINCT FROM stage
UNION ALL SELECT NULL, 'one number twice' FROM h GROUP BY id HAVING count(*) > 1;
CREATE FUNCTION bat.rows() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM leadscore.stage_history WHERE relation = ''bat.t''::regclass';

-- more rows than are put aside at a time, in each kind of statement; found by the index too
INSERT INTO bat.t SELECT g FROM generate_series(1, 2000) g;
UPDATE bat.t SET stage = 'b';
WITH u AS (UPDATE bat.t SET stage = 'c' WHERE id > 600 RETURNING id) SELECT count(*) FROM u;
DELETE FROM bat.t WHERE id > 1300;
SELECT bat.rows(), count(*) AS wrong FROM bat.wrong;
SET enable_seqscan = off;
SELECT lead, string_agg(coalesce(to_stage, '-'), '>' ORDER BY id) FROM stage_history WHERE lead IN ('1', '599', '601', '2000') AND relation = 'bat.t'::regclass GROUP BY 1 ORDER BY 1;
RESET enable_seqscan;
-- a refusal in the last row leaves no row of history behind, in a savepoint and without; the next statement is whole
UPDATE bat.t SET barred = true WHERE id = 600;
UPDATE bat.t SET stage = 'c' WHERE id <= 600;
BEGIN;
UPDATE bat.t SET stage = 'a' WHERE id <= 300;
SAVEPOINT s;
UPDATE bat.t SET stage = 'c' WHERE stage = 'b';
ROLLBACK TO s;
UPDATE bat.t SET stage = 'b' WHERE stage = 'a';
COMMIT;
SELECT bat.rows(), count(*) AS wrong FROM bat.wrong;
-- the same inside a function that catches it, and goes on
CREATE FUNCTION bat.tries() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE seen bigint;
BEGIN
	UPDATE bat.t SET stage = 'a' WHERE id <= 600;
	BEGIN
		UPDATE bat.t SET stage = 'b' WHERE id <= 600;
		UPDATE bat.t SET stage = 'c' WHERE id <= 600;
	EXCEPTION WHEN check_violation THEN
		seen := bat.rows();
	END;
	UPDATE bat.t SET stage = 'b' WHERE id <= 10;
	RETURN bat.rows() - seen;
END $$;
SELECT bat.tries();
SELECT bat.rows(), count(*) AS wrong FROM bat.wrong;

-- triggers that fire after the rows are stored find the history that the table shows: a row trigger, a statement trigger, a deferred one, another table's
CREATE TABLE bat.seen (what text, rows bigint);
CREATE FUNCTION bat.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	BEGIN
		INSERT INTO bat.seen SELECT TG_ARGV[0], bat.rows();
		IF to_jsonb(NEW) ->> 'note' = 'fail' THEN RAISE division_by_zero; END IF;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
	RETURN NULL; END $$;
TRUNCATE bat.seen;
CREATE TRIGGER z AFTER UPDATE ON bat.t FOR EACH ROW EXECUTE FUNCTION bat.look('row');
UPDATE bat.t SET stage = 'b', note = CASE id WHEN 12 THEN 'fail' END WHERE id BETWEEN 11 AND 15;
SELECT what, rows - min(rows) OVER () AS more FROM bat.seen ORDER BY rows;
DROP TRIGGER z ON bat.t; TRUNCATE bat.seen;
CREATE TRIGGER z AFTER UPDATE ON bat.t FOR EACH STATEMENT EXECUTE FUNCTION bat.look('statement');
INSERT INTO bat.seen SELECT 'before', bat.rows();
UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 16 AND 20;
SELECT what, rows - min(rows) OVER () AS more FROM bat.seen ORDER BY rows;
DROP TRIGGER z ON bat.t; TRUNCATE bat.seen;
CREATE CONSTRAINT TRIGGER z AFTER UPDATE ON bat.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION bat.look('deferred');
INSERT INTO bat.seen SELECT 'before', bat.rows();
BEGIN; UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 21 AND 22; UPDATE bat.t SET stage = 'a' WHERE id = 21; COMMIT;
SELECT what, rows - min(rows) OVER () AS more FROM bat.seen ORDER BY rows;
DROP TRIGGER z ON bat.t; TRUNCATE bat.seen;
CREATE TABLE bat.other (id int PRIMARY KEY, n int);
INSERT INTO bat.other VALUES (1, 0);
CREATE TRIGGER z AFTER UPDATE ON bat.other FOR EACH ROW EXECUTE FUNCTION bat.look('other table');
INSERT INTO bat.seen SELECT 'before', bat.rows();
WITH u AS (UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 23 AND 25 RETURNING id) UPDATE bat.other SET n = (SELECT count(*) FROM u);
SELECT what, rows - min(rows) OVER () AS more FROM bat.seen ORDER BY rows;
TRUNCATE bat.seen;
-- a statement inside the statement: functions that move other leads, one of which is caught, one that moves a lead again
CREATE FUNCTION bat.inner(lead int, target text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
	UPDATE bat.t SET stage = target WHERE id = lead;
	BEGIN
		UPDATE bat.t SET stage = 'b', note = 'undone' WHERE id = lead + 1;
		UPDATE bat.t SET stage = 'x' WHERE id = lead;
	EXCEPTION WHEN check_violation THEN NULL;
	END;
	RETURN 'moved ' || lead; END $$;
INSERT INTO bat.t SELECT g FROM generate_series(7001, 8600) g;
UPDATE bat.t SET stage = 'b', note = CASE id WHEN 7001 THEN bat.inner(7900, 'b') WHEN 7600 THEN bat.inner(7500, 'a') WHEN 7601 THEN bat.inner(7500, 'b') END WHERE id BETWEEN 7001 AND 7700;
INSERT INTO bat.t SELECT g, 'a', false, CASE g WHEN 8702 THEN bat.inner(7901, 'b') END FROM generate_series(8701, 8705) g;
MERGE INTO bat.t USING generate_series(8704, 8710) g ON g = id WHEN MATCHED THEN UPDATE SET stage = 'b' WHEN NOT MATCHED THEN INSERT VALUES (g);
SELECT lead, string_agg(to_stage, '>' ORDER BY id) FROM stage_history WHERE lead IN ('7001', '7500', '7900', '7901', '8704', '8710') AND relation = 'bat.t'::regclass GROUP BY 1 ORDER BY 1;
SELECT bat.rows(), count(*) AS wrong FROM bat.wrong;
-- history is not sealed while rows of it wait
CREATE FUNCTION bat.seal() RETURNS text LANGUAGE sql AS 'SELECT leadscore.attest()';
UPDATE bat.t SET stage = 'a', note = CASE id WHEN 7010 THEN bat.seal() END WHERE id BETWEEN 7009 AND 7011;
-- two statements in one, of which the second runs when the first is done
WITH u AS (UPDATE bat.t SET stage = 'a' WHERE id BETWEEN 7009 AND 7011), v AS (UPDATE bat.t SET stage = 'a' WHERE id BETWEEN 7012 AND 7014) SELECT;
-- who moves a lead by a cascade is who made the statement; from PostgreSQL 18 on, which fires triggers as whoever queued their events, the owner of the table
CREATE TABLE bat.status (status text PRIMARY KEY);
INSERT INTO bat.status VALUES ('a'), ('b');
CREATE TABLE bat.by_status (id int PRIMARY KEY, stage text REFERENCES bat.status ON UPDATE CASCADE, barred bool);
SELECT enforce('bat.by_status', 'stage', 'bat');
INSERT INTO bat.by_status SELECT g, 'a' FROM generate_series(1, 3) g;
CREATE ROLE bat_clerk;
GRANT USAGE ON SCHEMA bat TO bat_clerk; GRANT SELECT, UPDATE, DELETE ON bat.status TO bat_clerk;
SET ROLE bat_clerk;
DELETE FROM bat.status WHERE status = 'b';
UPDATE bat.status SET status = 'b' WHERE status = 'a';
RESET ROLE;
SELECT user_name = CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'bat_clerk' ELSE 'postgres' END AS as_said, from_stage, to_stage, count(*)
FROM stage_history WHERE relation = 'bat.by_status'::regclass AND kind = 'move' GROUP BY 1, 2, 3;
DROP OWNED BY bat_clerk; DROP ROLE bat_clerk;
-- a guard that looks
CREATE FUNCTION bat.sees() RETURNS bool STABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('bat.seen', current_setting('bat.seen') || ' ' || (SELECT count(*) FROM leadscore.stage_history WHERE kind = 'move' AND reason = 'guarded')::text, true); RETURN true; END $$;
BEGIN;
SELECT add_guard('bat', 'a', 'b', 'bat.sees()'); SELECT publish_pipeline('bat');
SET LOCAL bat.seen = ''; SET LOCAL leadscore.reason = 'guarded';
UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 26 AND 28;
UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 29 AND 30;
SHOW bat.seen;
ROLLBACK;
-- foreign keys that point here, that only look and that act
CREATE TABLE bat.call (id int PRIMARY KEY, lead int REFERENCES bat.t);
CREATE TABLE bat.mail (id int PRIMARY KEY, lead int REFERENCES bat.t ON UPDATE CASCADE ON DELETE CASCADE);
INSERT INTO bat.call VALUES (1, 1); INSERT INTO bat.mail VALUES (1, 2);
UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 31 AND 40;
UPDATE bat.t SET id = id + 10000 WHERE id IN (2, 3);
DELETE FROM bat.t WHERE id IN (10002, 10003);
DELETE FROM bat.t WHERE id IN (1, 4);
SELECT count(*) FROM bat.mail;
-- an index of the administrator's: with an expression, rows are written one by one
CREATE INDEX history_month ON stage_history_default ((extract(year FROM at AT TIME ZONE 'UTC'))) WHERE kind = 'move';
UPDATE bat.t SET stage = 'b' WHERE id BETWEEN 41 AND 50;
SET enable_seqscan = off;
SELECT count(*) > 10 AS found FROM stage_history WHERE extract(year FROM at AT TIME ZONE 'UTC') > 2000 AND kind = 'move';
RESET enable_seqscan;
DROP INDEX history_month;
-- COPY, a cursor, EXPLAIN ANALYZE, an SQL function
COPY bat.t (id) FROM PROGRAM 'seq 5001 5600';
BEGIN; DECLARE c CURSOR FOR SELECT id FROM bat.t WHERE stage = 'a' ORDER BY id FOR UPDATE; MOVE 3 IN c; UPDATE bat.t SET stage = 'b' WHERE CURRENT OF c; COMMIT;
DO $$ BEGIN EXECUTE 'EXPLAIN ANALYZE UPDATE bat.t SET stage = ''b'' WHERE id > 5000'; END $$;
CREATE FUNCTION bat.back() RETURNS SETOF int LANGUAGE sql AS 'UPDATE bat.t SET stage = ''a'' WHERE id > 5000 RETURNING id';
SELECT count(*) FROM bat.back();
SELECT bat.rows(), count(*) AS wrong FROM bat.wrong;

SET client_min_messages = warning;
DROP SCHEMA bat CASCADE;
SELECT drop_pipeline('bat');
