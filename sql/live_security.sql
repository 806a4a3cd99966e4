-- regression test: conditions that try to break out: whatever fires them, they can do no more than their table's owner, and leave no trace in the session
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC';
CREATE ROLE regress_evil;
CREATE ROLE regress_victim;
CREATE SCHEMA ls;
GRANT USAGE, CREATE ON SCHEMA ls TO regress_evil;
CREATE TABLE ls.secret AS SELECT 'x' AS secret;
SET ROLE regress_evil;
CREATE TABLE ls.log (what text);
-- what a commit would run as the user of the session
CREATE FUNCTION ls.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE regress_made_by_evil SUPERUSER; RETURN NULL; END $$;
CREATE TABLE ls.trap (a int);
CREATE CONSTRAINT TRIGGER trap AFTER INSERT ON ls.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ls.at_commit();
CREATE FUNCTION ls.try(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE what;
	RAISE NOTICE 'done: %', what;
EXCEPTION WHEN OTHERS THEN
	RAISE NOTICE 'refused: %: %', what, SQLSTATE;
END $$;
CREATE FUNCTION ls.evil(note text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('ls.armed', true) IS DISTINCT FROM 'yes' THEN
		RETURN true;
	END IF;
	RAISE NOTICE '%: as %', note, current_user;
	IF note <> 'all' OR EXISTS (SELECT FROM ls.log) THEN
		PERFORM ls.try('SET ROLE regress_victim');
		RETURN true;
	END IF;
	PERFORM ls.try(a) FROM unnest(ARRAY[
		'SET ROLE regress_victim', 'RESET ROLE', 'SET SESSION AUTHORIZATION regress_victim', 'RESET SESSION AUTHORIZATION',
		$r$SELECT set_config('role', 'regress_victim', false)$r$, $r$SELECT set_config('session_authorization', 'regress_victim', true)$r$,
		'CREATE TEMP TABLE evil_temp (a int)', 'LISTEN evil', 'PREPARE evil AS SELECT 1', 'DECLARE evil CURSOR WITH HOLD FOR SELECT 1',
		'DISCARD ALL', 'COMMIT',
		'SELECT * FROM ls.secret', 'DROP TABLE ls.secret', 'CREATE ROLE regress_made_by_evil SUPERUSER', 'ALTER ROLE regress_evil SUPERUSER',
		'INSERT INTO ls.trap VALUES (1)', 'SET CONSTRAINTS ALL DEFERRED',
		'SET session_replication_role = replica', $r$SELECT set_config('search_path', 'ls', false)$r$, 'SET statement_timeout = 1',
		$r$INSERT INTO leadscore.score_ls VALUES (7)$r$, $r$DELETE FROM leadscore.crossing$r$, $r$UPDATE leadscore.model SET live_version = 7$r$,
		$r$INSERT INTO ls.log VALUES (current_user)$r$]) a;
	RETURN true;
END $$;
CREATE TABLE ls.lead (lead_id int PRIMARY KEY, note text);
CREATE TABLE ls.event (lead_id int, note text, at timestamptz DEFAULT '2026-01-01') PARTITION BY LIST (note);
CREATE TABLE ls.event_all PARTITION OF ls.event FOR VALUES IN ('all');
CREATE TABLE ls.event_row PARTITION OF ls.event FOR VALUES IN ('row', 'anew');
CREATE TABLE ls.event_part PARTITION OF ls.event FOR VALUES IN ('part');
CREATE TABLE ls.event_came (LIKE ls.event INCLUDING DEFAULTS);
INSERT INTO ls.event_came VALUES (1, 'came');
DO $$ BEGIN
	PERFORM create_model('ls', 'ls.lead', 'ls.event');
	PERFORM add_component('ls', 'all');
	PERFORM add_rule('ls', 'all', 'event', 'ls.evil(note) OR at IS NULL', 1, source => 'event');
	PERFORM add_rule('ls', 'all', 'limited', $r$note = 'anew' AND ls.evil(note || ' under a limit')$r$, 1, at_most => 1, source => 'event');
	PERFORM add_rule('ls', 'all', 'lead', $r$ls.evil('lead ' || note)$r$, 1, source => 'lead');
	PERFORM add_rule('ls', 'all', 'at compile time', $r$at > '2000-01-01' AND ls.evil('compiled')$r$, 1, source => 'event');
	PERFORM publish('ls');
END $$;
RESET ROLE;
-- a partition of somebody else's: the rules are those of the owner of the whole
ALTER TABLE ls.event_part OWNER TO regress_victim;

-- whoever writes, here a superuser
SET ls.armed = 'yes';
BEGIN;
INSERT INTO ls.lead VALUES (1, 'one');
INSERT INTO ls.event VALUES (1, 'all');
SELECT * FROM ls.log;
COMMIT;
SELECT current_user = session_user AS myself, current_setting('search_path') AS path, current_setting('session_replication_role') AS role, current_setting('statement_timeout') AS timeout,
	to_regclass('pg_temp.evil_temp') AS temp, (SELECT count(*) FROM pg_listening_channels()) AS channels, (SELECT count(*) FROM pg_prepared_statements WHERE name = 'evil') AS prepared,
	(SELECT count(*) FROM pg_cursors WHERE name = 'evil') AS cursors, (SELECT count(*) FROM pg_roles WHERE rolname = 'regress_made_by_evil' OR rolname = 'regress_evil' AND rolsuper) AS roles,
	(SELECT count(*) FROM ls.secret) AS secrets, (SELECT count(*) FROM ls.trap) AS trapped;
-- the other ways to have a rule evaluated: single rows, a partition of another owner, a lead computed anew, repair,
-- a partition that comes, is emptied, or dropped, all events emptied
INSERT INTO ls.event VALUES (1, 'row');
INSERT INTO ls.event VALUES (1, 'part');
INSERT INTO ls.event VALUES (1, 'anew');
DELETE FROM ls.event_all;
UPDATE ls.lead SET note = 'two';
SELECT repair('ls', '1');
ALTER TABLE ls.event ATTACH PARTITION ls.event_came FOR VALUES IN ('came');
TRUNCATE ls.event_part;
DROP TABLE ls.event_came;
TRUNCATE ls.event;
SELECT lead, score @ now() AS score FROM score_ls;

RESET ls.armed;

-- functions find names without a search_path, whoever writes or asks: what a writer puts into his own is not called with the owner's rights
SET client_min_messages = warning;
CREATE TABLE ls.site (id int PRIMARY KEY, host text, kind text);
ALTER TABLE ls.site OWNER TO regress_victim;
GRANT USAGE ON SCHEMA ls TO regress_victim;
CREATE FUNCTION ls.normal(text) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN folded($1); EXCEPTION WHEN undefined_function THEN RETURN 'none'; END $$;
CREATE FUNCTION ls.folded(text) RETURNS text LANGUAGE sql STABLE RETURN current_user;
SET ROLE regress_victim;
SELECT create_model('ls_path', 'ls.site') \g /dev/null
SELECT add_component('ls_path', 'all'), add_rule('ls_path', 'all', 'host', $$ls.normal(host) <> 'none'$$, 10) \g /dev/null
SELECT add_rule('ls_path', 'all', 'points', 'host IS NOT NULL', $$length(ls.normal(host))$$) \g /dev/null
SELECT publish('ls_path');
RESET ROLE;
SET search_path = ls, public, leadscore;
INSERT INTO ls.site VALUES (1, 'a', 'b');
UPDATE ls.site SET host = 'c';
SELECT score @ now() AS score, fit('ls_path', s), (SELECT count(*) FROM verify('ls_path')) AS wrong FROM ls.site s, score_ls_path;
SHOW search_path;
SET search_path = public, leadscore;
SELECT drop_model('ls_path');
SET client_min_messages = warning;
SELECT drop_model('ls');
DROP SCHEMA ls CASCADE;
DROP ROLE regress_evil, regress_victim;
