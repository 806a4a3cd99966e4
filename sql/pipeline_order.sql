-- regression test: history is in the order in which leads moved, whatever runs inside a statement
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

CREATE SCHEMA o;
SELECT create_pipeline('o'), add_stage('o', 'a'), add_stage('o', 'b'), add_stage('o', 'c'), add_stage('o', 'd', 'won') \g /dev/null
SELECT add_transition('o', f, t) FROM (VALUES ('a', 'b'), ('b', 'c'), ('c', 'd'), ('c', 'a')) v(f, t) \g /dev/null
SELECT publish_pipeline('o');
CREATE TABLE o.t (id int PRIMARY KEY, stage text DEFAULT 'a', note text);
SELECT enforce('o.t', 'stage', 'o');
CREATE FUNCTION o.qualify(lead int, target text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN UPDATE o.t SET stage = target WHERE id = lead; RETURN target; END $$;
CREATE FUNCTION o.gone(lead int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM o.t WHERE id = lead; RETURN 'gone'; END $$;
CREATE FUNCTION o.again(lead int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO o.t VALUES (lead, 'a'); RETURN 'again'; END $$;
CREATE FUNCTION o.paths(rel regclass, VARIADIC leads text[]) RETURNS TABLE (lead text, path text) LANGUAGE sql AS
$$ SELECT lead, string_agg(kind || ' ' || coalesce(from_stage, '') || '>' || coalesce(to_stage, ''), ', ' ORDER BY id) FROM leadscore.stage_history
   WHERE relation = rel AND lead = ANY (leads) GROUP BY 1 ORDER BY 1 $$;
-- the oracle of law L7: replaying the history of a lead gives its stage
CREATE FUNCTION o.wrong(rel regclass) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE format(
	'WITH h AS (SELECT h.*, lag(to_stage) OVER (PARTITION BY lead ORDER BY id) AS before, row_number() OVER (PARTITION BY lead ORDER BY id DESC) AS back
		FROM leadscore.stage_history h WHERE relation = %L::regclass)
	 SELECT lead FROM h WHERE from_stage IS DISTINCT FROM before UNION
	 SELECT coalesce(h.lead, t.id::text) FROM (SELECT * FROM h WHERE back = 1) h FULL JOIN %s t ON t.id::text = h.lead WHERE to_stage IS DISTINCT FROM t.stage::text', rel, rel); END $$;

-- functions that move, remove or bring back the lead that the statement has just written
INSERT INTO o.t VALUES (1) RETURNING id, o.qualify(id, 'b');
WITH i AS (INSERT INTO o.t VALUES (2) RETURNING id) SELECT o.qualify(id, 'b') FROM i;
UPDATE o.t SET stage = 'c' WHERE id = 2 RETURNING o.qualify(id, 'd');
UPDATE o.t SET id = 300 WHERE id = 1 RETURNING o.qualify(300, 'c');
DELETE FROM o.t WHERE id = 300 RETURNING o.again(id);
WITH i AS (INSERT INTO o.t VALUES (3) RETURNING id) SELECT o.gone(id) FROM i;
SELECT * FROM o.paths('o.t', '1', '2', '3', '300');
-- a statement that nothing reads runs last of all; its history is there for the triggers
CREATE TABLE o.seen (rows bigint);
CREATE FUNCTION o.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO o.seen SELECT count(*) FROM leadscore.stage_history WHERE relation = 'o.t'::regclass AND kind = 'entry' AND lead IN ('11', '12', '13'); RETURN NULL; END $$;
CREATE TRIGGER look AFTER INSERT ON o.t EXECUTE FUNCTION o.look();
WITH i AS (INSERT INTO o.t SELECT g FROM generate_series(11, 13) g RETURNING id) SELECT 1 AS unread;
SELECT * FROM o.seen;
DROP TRIGGER look ON o.t;
-- MERGE that removes or renames a lead and makes another one of its key
INSERT INTO o.t SELECT g FROM generate_series(21, 29) g;
MERGE INTO o.t USING (VALUES (1, 24), (2, 99)) v(n, id) ON t.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (24, 'a', 'new');
MERGE INTO o.t USING (VALUES (1, 25), (2, 99)) v(n, id) ON t.id = v.id WHEN MATCHED THEN UPDATE SET id = 1025 WHEN NOT MATCHED THEN INSERT VALUES (25, 'a', 'new');
SELECT * FROM o.paths('o.t', '24', '25', '1025');
-- with a model, whose score stands in history
CREATE TABLE o.m (id int PRIMARY KEY, stage text DEFAULT 'a', n int DEFAULT 1, note text);
SELECT create_model('o', 'o.m'), add_component('o', 'p'), add_rule('o', 'p', 'n', 'n > 0', 'n') \g /dev/null
SELECT publish('o');
SELECT enforce('o.m', 'stage', 'o');
CREATE FUNCTION o.qualify_m(lead int, target text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN UPDATE o.m SET stage = target WHERE id = lead; RETURN target; END $$;
INSERT INTO o.m VALUES (10), (11) RETURNING o.qualify_m(id, 'b');
UPDATE o.m SET stage = 'c', note = CASE id WHEN 11 THEN o.qualify_m(10, 'd') END WHERE id IN (10, 11);
SELECT * FROM o.paths('o.m', '10', '11');
-- overrides
BEGIN; SELECT override('as agreed') \g /dev/null
UPDATE o.t SET stage = 'd' WHERE id = 26 RETURNING o.qualify(26, 'b');
SET LOCAL leadscore.reason = 'by phone';
UPDATE o.t SET stage = 'd' WHERE id = 27; COMMIT;
SELECT lead, kind, from_stage, to_stage, reason FROM stage_history WHERE relation = 'o.t'::regclass AND kind = 'override' ORDER BY id;
SELECT o.wrong('o.t') UNION ALL SELECT o.wrong('o.m');

-- where the rows wait for their trigger, what would be recorded in the wrong order is refused: COPY, rows of partitions, a session's first statement
CREATE FUNCTION o.early() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 31 THEN PERFORM o.qualify(30, 'b'); END IF; RETURN NEW; END $$;
CREATE TRIGGER early BEFORE INSERT ON o.t FOR EACH ROW EXECUTE FUNCTION o.early();
COPY o.t (id) FROM PROGRAM 'seq 30 31';
COPY o.t (id) FROM PROGRAM 'seq 32 33';
DROP TRIGGER early ON o.t;
\c -
SET search_path = public, leadscore;
INSERT INTO o.t VALUES (40) RETURNING o.qualify(id, 'b');
INSERT INTO o.t VALUES (40) RETURNING o.qualify(id, 'b');
CREATE TABLE o.p (id int, stage text DEFAULT 'a', note text, PRIMARY KEY (id, stage)) PARTITION BY LIST (stage);
CREATE TABLE o.p_ab PARTITION OF o.p FOR VALUES IN ('a', 'b'); CREATE TABLE o.p_cd PARTITION OF o.p FOR VALUES IN ('c', 'd');
SELECT enforce('o.p', 'stage', 'o', key => 'id');
CREATE FUNCTION o.qualify_p(lead int, target text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN UPDATE o.p SET stage = target WHERE id = lead; RETURN target; END $$;
INSERT INTO o.p VALUES (1) RETURNING o.qualify_p(id, 'b');
INSERT INTO o.p VALUES (1), (2);
UPDATE o.p SET stage = 'b' RETURNING o.qualify_p(id, 'c');
-- a row that gets lost on its way to another partition is not the old version of one that MERGE inserts there
CREATE FUNCTION o.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note = 'swallow' THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON o.p_cd FOR EACH ROW EXECUTE FUNCTION o.swallow();
INSERT INTO o.p VALUES (3, 'b'); INSERT INTO o.p VALUES (3); UPDATE o.p SET stage = 'b' WHERE id = 3;
MERGE INTO o.p USING (VALUES (3, 'swallow'), (10, NULL)) v(id, n) ON p.id = v.id WHEN MATCHED THEN UPDATE SET stage = 'c', note = v.n WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'c', v.n);
MERGE INTO o.p USING (VALUES (3, 'swallow'), (10, NULL)) v(id, n) ON p.id = v.id WHEN MATCHED THEN UPDATE SET stage = 'c', note = v.n WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'a', v.n);
SELECT * FROM o.paths('o.p', '1', '2', '3', '10');
SELECT o.wrong('o.t') UNION ALL SELECT o.wrong('o.p');

-- a key that several leads may have for a while says nothing about one lead
CREATE TABLE o.k (id int PRIMARY KEY DEFERRABLE, stage text DEFAULT 'a', code int, other int UNIQUE);
SELECT enforce('o.k', 'stage', 'o');
SELECT enforce('o.k', 'stage', 'o', key => 'id');
SELECT enforce('o.k', 'stage', 'o', key => 'code');
SELECT enforce('o.k', 'stage', 'o', key => 'other');

SET client_min_messages = warning;
DROP SCHEMA o CASCADE; SELECT drop_model('o'), drop_pipeline('o');
