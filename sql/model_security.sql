-- regression test: who sees which scores under row security, and with which rights conditions run
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC';
CREATE SCHEMA ms;
CREATE ROLE ms_owner; CREATE ROLE ms_events; CREATE ROLE ms_north;
GRANT USAGE, CREATE ON SCHEMA ms TO ms_owner, ms_events, ms_north;
SET ROLE ms_owner;
CREATE TABLE ms.lead (id int PRIMARY KEY, region text, size int);
INSERT INTO ms.lead SELECT i, CASE i % 2 WHEN 0 THEN 'north' ELSE 'south' END, i * 10 FROM generate_series(1, 6) i;
SET ROLE ms_events;
CREATE TABLE ms.event (lead_id int, at timestamptz, kind text, private bool);
INSERT INTO ms.event SELECT i, '2026-01-01', 'call', i > 4 FROM generate_series(1, 6) i;
GRANT SELECT, TRIGGER ON ms.event TO ms_owner;
GRANT SELECT ON ms.event TO ms_north;
SET ROLE ms_owner;
SELECT create_model('ms', 'ms.lead', 'ms.event', 'lead_id', 'at');
SELECT add_component('ms', 'all'), add_rule('ms', 'all', 'size', 'size > 0', 'size'), add_rule('ms', 'all', 'call', $$kind = 'call'$$, 1), add_band('ms', 'big', 31) \gset
SELECT publish('ms');
GRANT SELECT ON ms.lead, leadscore.score_ms TO ms_north;
-- forced upon the owner: publishing and rescoring still store the scores of all leads
ALTER TABLE ms.lead ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON ms.lead TO ms_owner USING (region = 'south');
CREATE POLICY north ON ms.lead FOR SELECT TO ms_north USING (region = 'north');
SELECT count(*) FROM ms.lead;
SELECT rescore('ms'), publish('ms');
RESET ROLE;
SELECT count(*) FROM leadscore.score_ms;
SELECT count(*) FROM verify('ms');
-- without rights: PostgreSQL's own refusal, and not the text of generated queries
CREATE ROLE ms_nobody; GRANT USAGE ON SCHEMA ms TO ms_nobody; SET ROLE ms_nobody;
SELECT * FROM verify('ms');
SELECT * FROM compare('ms');
SELECT * FROM hottest('ms');
SELECT * FROM grades('ms', 'all', 'all', '{40, 20, 10}', '{40, 20, 10}');
SELECT * FROM explain('ms', '1');
SELECT score_at('ms', '1');
RESET ROLE; DROP OWNED BY ms_nobody; DROP ROLE ms_nobody;
-- what each function shows a user under a policy of the leads: his leads
SET ROLE ms_north;
SELECT lead, score FROM hottest('ms') ORDER BY 1;
SELECT lead, live_score, new_score FROM compare_scores('ms') ORDER BY 1;
SELECT band, live_leads FROM compare_bands('ms') ORDER BY 1;
SELECT lead, fit_points FROM grades('ms', 'all', 'all', '{40, 20, 10}', '{40, 20, 10}') ORDER BY 1;
SELECT current_score('ms', '2') IS NOT NULL AS own, current_score('ms', '1') IS NULL AS hidden;
SELECT score_at('ms', '2', '2026-02-01') AS own, score_at('ms', '1', '2026-02-01') AS hidden, score_of('ms', '1', '2026-02-01') AS draft;
SELECT count(*) AS own FROM explain('ms', '2'); SELECT count(*) AS hidden FROM explain('ms', '1');
SELECT count(*) AS hidden FROM changes('ms', '1', '2025-01-01');
SELECT count(*) FROM verify('ms');
SELECT sum(leads) FROM backtest('ms', 'SELECT i, timestamptz ''2026-02-01'', i > 3 FROM generate_series(1, 6) i') WHERE measure = 'conversion';
SELECT fit('ms', l) FROM ms.lead l ORDER BY 1;
SELECT count(*) AS hidden FROM leadscore.crossing WHERE model = 'ms';
-- a condition cannot be used to look at hidden rows: it runs after the policy
SELECT lead FROM compare_scores('ms') EXCEPT SELECT id::text FROM ms.lead;
RESET ROLE;
-- row security of the events: who asks counts the events he sees ...
ALTER TABLE ms.event ENABLE ROW LEVEL SECURITY;
CREATE POLICY public_ones ON ms.event USING (NOT private);
SET ROLE ms_north;
SELECT lead, live_score FROM compare_scores('ms') ORDER BY 1;
-- ... and what is stored, or compared with it, needs all of them
SELECT count(*) FROM verify('ms');
SET ROLE ms_owner;
SELECT publish('ms');
SELECT rescore('ms');
RESET ROLE;
ALTER ROLE ms_owner BYPASSRLS;
SET ROLE ms_owner;
SELECT rescore('ms');
RESET ROLE;
-- triggers see all leads and events, whoever writes
INSERT INTO ms.event VALUES (1, '2026-01-01', 'call', true), (2, '2026-01-01', 'call', true);
SELECT count(*) FROM verify('ms');

-- conditions call functions with the rights of whoever asks
SET ROLE ms_owner;
CREATE FUNCTION ms.secret(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 + 1;
SELECT add_rule('ms', 'all', 'secret', 'ms.secret(size) > 0', 1) IS NOT NULL AS added;
REVOKE EXECUTE ON FUNCTION ms.secret(int) FROM PUBLIC;
SELECT publish('ms') > 0 AS published;
SET ROLE ms_north;
SELECT count(*) FROM compare_scores('ms');
SELECT lead FROM hottest('ms', 1);
RESET ROLE;
-- the value in a message about a rule that failed is for those who may read all of its table
CREATE TABLE ms.person (id int PRIMARY KEY, phone text);
CREATE TABLE ms.call (person_id int, length text, at timestamptz);
INSERT INTO ms.person VALUES (1, '+33 6 SECRET');
INSERT INTO ms.call VALUES (1, 'long SECRET', '2026-01-01');
SET client_min_messages = error;
SELECT create_model('ms2', 'ms.person', 'ms.call', event_lead => 'person_id'), add_component('ms2', 'c'),
	add_rule('ms2', 'c', 'phone', 'phone::int > 3', 1), add_rule('ms2', 'c', 'length', 'length::int > 3', 1), publish('ms2') \g /dev/null
RESET client_min_messages;
SELECT rule, failures, last_message FROM rule_errors WHERE model = 'ms2' ORDER BY rule;
SET ROLE ms_north;
SELECT rule, failures, last_message FROM rule_errors WHERE model = 'ms2' ORDER BY rule;
RESET ROLE;
GRANT SELECT ON ms.person, ms.call TO ms_north;
ALTER TABLE ms.call ENABLE ROW LEVEL SECURITY;
SET ROLE ms_north;
SELECT rule, failures, last_message FROM rule_errors WHERE model = 'ms2' ORDER BY rule;
RESET ROLE;
SET client_min_messages = warning;
SELECT drop_model('ms'), drop_model('ms2');
DROP SCHEMA ms CASCADE;
DROP ROLE ms_owner; DROP ROLE ms_events; DROP ROLE ms_north;
