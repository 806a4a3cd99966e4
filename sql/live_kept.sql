-- regression test: scores that were left behind, because the model did not fit its tables when they were changed, are served to nobody until they are computed anew
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA lk;
CREATE TYPE lk.size AS ENUM ('small', 'big');
CREATE FUNCTION lk.more(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 5';
CREATE TABLE lk.lead (id int PRIMARY KEY, size lk.size, n int);
CREATE TABLE lk.event (lead_id int, kind text, at timestamptz);
INSERT INTO lk.lead VALUES (1, 'big', 5), (2, 'small', 6);
DO $$ BEGIN
	PERFORM create_model('lk', 'lk.lead', 'lk.event', event_lead => 'lead_id');
	PERFORM add_component('lk', 'all');
	PERFORM add_rule('lk', 'all', 'size', $r$size = 'big'$r$, 10, source => 'lead');
	PERFORM add_rule('lk', 'all', 'more', 'lk.more(n)', 'n');
	PERFORM add_rule('lk', 'all', 'kind', $r$kind = 'k'$r$, 100);
	PERFORM publish('lk');
END $$;
-- what readers of stored scores get: the scores, or why not
CREATE FUNCTION lk.ask() RETURNS TABLE (question text, answer text) LANGUAGE plpgsql AS $f$
DECLARE q text; detail text;
BEGIN
	FOREACH q IN ARRAY ARRAY[$$SELECT string_agg(lead || ': ' || score, ', ') FROM hottest('lk')$$, $$SELECT current_score('lk', '1')$$,
		$$SELECT count(*) FROM grades('lk', 'all', 'all', '{3,2,1}', '{3,2,1}')$$] LOOP
		question := substring(q FROM '(\w+)\(''lk');
		BEGIN
			EXECUTE q INTO answer;
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			answer := answer || '. ' || detail;
		END;
		RETURN NEXT;
	END LOOP;
END $f$;
SELECT * FROM lk.ask();

-- a column: at the command, and what the writer is told; renamed back, all is computed anew
ALTER TABLE lk.lead RENAME n TO m;
INSERT INTO lk.event VALUES (1, 'k', '2026-01-01');
SELECT * FROM lk.ask();
SELECT model, since <= now() AS since, message FROM not_kept;
SELECT repair('lk', '1');
ALTER TABLE lk.lead RENAME m TO n;
SELECT * FROM lk.ask();
SELECT count(*) FROM not_kept;

-- what DDL does not tell us of: the first writer notices; undone, the scores are still behind
ALTER TYPE lk.size RENAME VALUE 'big' TO 'large';
SELECT * FROM lk.ask();
INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
SELECT score_at('lk', '1');
ALTER TYPE lk.size RENAME VALUE 'large' TO 'big';
SELECT * FROM lk.ask();
INSERT INTO lk.event VALUES (2, 'k', '2026-01-02');
SELECT lead, problem FROM verify('lk') ORDER BY lead;
SELECT rescore('lk');
SELECT * FROM lk.ask();
SELECT * FROM verify('lk');
SET client_min_messages = error;
ALTER TYPE lk.size RENAME TO extent; INSERT INTO lk.event VALUES (2, 'k', '2026-01-03'); ALTER TYPE lk.extent RENAME TO size;
SELECT message FROM not_kept;
SELECT rescore('lk');
ALTER SCHEMA lk RENAME TO lk2; INSERT INTO lk2.event VALUES (2, 'k', '2026-01-03'); ALTER SCHEMA lk2 RENAME TO lk;
SELECT message FROM not_kept;
SELECT rescore('lk');
-- a function that goes, under a session that used it
UPDATE lk.lead SET n = n + 1;
DROP FUNCTION lk.more(int);
UPDATE lk.lead SET n = n + 1;
CREATE FUNCTION lk.more(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 5';
SELECT message FROM not_kept;
-- publishing ends it, too
SELECT publish('lk');
RESET client_min_messages;
SELECT * FROM lk.ask();
SELECT * FROM verify('lk');

-- what was rolled back left nothing behind; what came after it did
SET client_min_messages = error;
ALTER TYPE lk.size RENAME VALUE 'big' TO 'large';
BEGIN;
INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
SELECT count(*) FROM not_kept;
ROLLBACK;
SELECT count(*) FROM not_kept;
DO $$ BEGIN
	BEGIN
		INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RAISE INFO 'marked: %', (SELECT count(*) FROM leadscore.not_kept);
	END;
	INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
	RAISE INFO 'marked: %', (SELECT count(*) FROM leadscore.not_kept);
END $$;
-- at REPEATABLE READ: one mark is enough, and the transaction's own scores are behind for itself
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
INSERT INTO lk.event VALUES (1, 'k', '2026-01-02');
SELECT count(*) FROM left_behind;
ROLLBACK;
RESET client_min_messages;
-- the message is for those who may read the tables
CREATE ROLE lk_reader;
GRANT USAGE ON SCHEMA leadscore TO lk_reader;
GRANT SELECT ON score_lk TO lk_reader;
SET ROLE lk_reader;
SELECT model, message FROM not_kept;
SELECT * FROM hottest('lk');
RESET ROLE;
SET client_min_messages = warning;
SELECT drop_model('lk');
SELECT count(*) FROM left_behind;
DROP SCHEMA lk CASCADE;
DROP OWNED BY lk_reader;
DROP ROLE lk_reader;
