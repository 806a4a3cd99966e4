-- regression test: models as documents: export, import, a real point table
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 0;
CREATE SCHEMA mx;
CREATE TABLE mx.person (person_id int PRIMARY KEY, email text, title text);
CREATE TABLE mx.activity (person_id int REFERENCES mx.person, action text, details text, at timestamptz);

-- the point table of GitLab's public handbook on Marketo, March 2020: "once" rules count once ever
SELECT import_model($${
 "leadscore_model": 1, "model": "gitlab", "leads": "mx.person", "events": "mx.activity",
 "components": [{"component": "person"}, {"component": "behaviour"}],
 "rules": [
  {"rule": "demo request", "component": "behaviour", "condition": "action = 'demo request'", "points": 90, "at_most": 1},
  {"rule": "contact sales", "component": "behaviour", "condition": "action = 'contact sales'", "points": 100, "at_most": 1},
  {"rule": "trial, gitlab.com", "component": "behaviour", "condition": "action = 'trial' AND details = 'gitlab.com'", "points": 100, "at_most": 1},
  {"rule": "trial, self-managed", "component": "behaviour", "condition": "action = 'trial' AND details = 'self-managed'", "points": 100, "at_most": 1},
  {"rule": "trial, other", "component": "behaviour", "condition": "action = 'trial' AND details NOT IN ('gitlab.com', 'self-managed')", "points": 100, "at_most": 1},
  {"rule": "follow-up requested at event", "component": "behaviour", "condition": "action = 'follow-up'", "points": 100},
  {"rule": "attends owned event", "component": "behaviour", "condition": "action = 'owned event'", "points": 75},
  {"rule": "visited booth", "component": "behaviour", "condition": "action = 'booth'", "points": 30},
  {"rule": "attends webcast", "component": "behaviour", "condition": "action = 'webcast' AND details IN ('live', 'on demand')", "points": 15},
  {"rule": "registers event or webcast", "component": "behaviour", "condition": "action = 'registration'", "points": 15},
  {"rule": "registers self-service event", "component": "behaviour", "condition": "action = 'self-service registration'", "points": 10},
  {"rule": "content download", "component": "behaviour", "condition": "action = 'download' AND details IS DISTINCT FROM 'high intent'", "points": 30},
  {"rule": "content download, high intent", "component": "behaviour", "condition": "action = 'download' AND details = 'high intent'", "points": 90, "at_most": 1},
  {"rule": "content syndication", "component": "behaviour", "condition": "action = 'syndication'", "points": 15},
  {"rule": "survey filled", "component": "behaviour", "condition": "action = 'survey'", "points": 45},
  {"rule": "enterprise interest page", "component": "behaviour", "condition": "action = 'enterprise page'", "points": 50, "at_most": 1},
  {"rule": "subscribes, newsletter", "component": "behaviour", "condition": "action = 'subscribe' AND details = 'newsletter'", "points": 10, "at_most": 1},
  {"rule": "subscribes, security", "component": "behaviour", "condition": "action = 'subscribe' AND details = 'security'", "points": 10, "at_most": 1},
  {"rule": "subscribes, events", "component": "behaviour", "condition": "action = 'subscribe' AND details = 'events'", "points": 10, "at_most": 1},
  {"rule": "subscribes, other", "component": "behaviour", "condition": "action = 'subscribe' AND details NOT IN ('newsletter', 'security', 'events')", "points": 10, "at_most": 1},
  {"rule": "career page", "component": "behaviour", "condition": "action = 'three career pages'", "points": -25, "at_most": 1},
  {"rule": "unsubscribes", "component": "behaviour", "condition": "action = 'unsubscribe'", "points": -25, "at_most": 1},
  {"rule": "on demand elsewhere", "component": "behaviour", "condition": "action = 'webcast' AND details = 'elsewhere'", "points": -5},
  {"rule": "leadership title", "component": "person", "condition": "title ~* '\\m(vp|manager|director|chief|c[eito]o)\\M'", "points": 50},
  {"rule": "developer title", "component": "person", "condition": "title ~* '\\m(developer|engineer)\\M'", "points": -10},
  {"rule": "generic email", "component": "person", "condition": "email ~ '@(gmail|yahoo|hotmail)\\.'", "points": -5}],
 "bands": [{"band": "MQL", "least": 90}]}$$);
INSERT INTO mx.person VALUES (1, 'ann@firm.com', 'VP Engineering'), (2, 'bob@gmail.com', 'Software Developer'), (3, 'eve@firm.com', NULL);
INSERT INTO mx.activity SELECT p, a, d, timestamptz '2020-03-01' + n * interval '1 hour' FROM (VALUES
	(1, 1, 'demo request', NULL), (2, 1, 'demo request', NULL), (3, 1, 'webcast', 'live'), (4, 1, 'webcast', 'elsewhere'),
	(5, 2, 'download', NULL), (6, 2, 'download', 'high intent'), (7, 2, 'download', 'high intent'), (8, 2, 'unsubscribe', NULL),
	(9, 2, 'unsubscribe', NULL), (10, 2, 'trial', 'gitlab.com'), (11, 2, 'trial', 'self-managed'), (12, 2, 'trial', 'gitlab.com'),
	(13, 3, 'three career pages', NULL), (14, 3, 'subscribe', 'security'), (15, 3, 'subscribe', 'events'), (16, 3, 'subscribe', 'events')) v(n, p, a, d);
SELECT publish('gitlab');
-- by hand: 50 + 90 + 15 - 5 = 150; -10 - 5 + 30 + 90 - 25 + 100 + 100 = 280; -25 + 10 + 10 = -5
SELECT lead, score, band FROM hottest('gitlab', at => '2020-04-01');
SELECT component, rule, source, occurrences, points, note FROM explain('gitlab', '1', '2027-01-01');

-- there and back: what comes out goes in, and comes out the same
SELECT export_model('gitlab') -> 'rules' -> 12 AS rule, export_model('gitlab') - 'rules' AS rest;
SELECT import_model(export_model('gitlab'), model => 'copy');
SELECT export_model('copy') = jsonb_set(export_model('gitlab'), '{model}', '"copy"') AS same;
SELECT publish('copy');
SELECT count(*) AS leads, count(*) FILTER (WHERE a.score IS DISTINCT FROM b.score) AS differ
FROM leadscore.score_gitlab a FULL JOIN leadscore.score_copy b USING (lead);

-- everything a model can hold; expressions that depend on a search_path come out as understood
CREATE FUNCTION mx.big(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 1';
SET search_path = mx, public, leadscore;
SELECT create_model('full', 'person', 'activity', event_at => 'at');
SELECT add_component('full', 'a', half_life => '1 mon 2 days 03:04:05.678', lo => -1.5, hi => 1e10), add_component('full', 'b', lo => 0);
SELECT set_bounds('full', -5, 500), add_band('full', 'top', 10.25), add_band('full', 'rest', '-infinity');
SELECT add_rule('full', 'a', 'limits', $$action = 'x'$$, 'length(details) * 0.1', at_most => 2, per => '36 hours', valid_from => '2026-01-01 01:02:03.000004', valid_until => '2027-01-01', enabled => false);
SELECT add_rule('full', 'b', 'path', 'big(person.person_id)', -1e-7, source => 'lead');
SELECT add_rule('full', 'b', 'style', $$at < '2026-02-01 12:00'$$, '7', source => 'event');
RESET search_path; SET search_path = public, leadscore;
SELECT jsonb_pretty(export_model('full'));
SELECT import_model(export_model('full'), 'full 2');
SELECT export_model('full 2') = jsonb_set(export_model('full'), '{model}', '"full 2"') AS same;
SELECT count(*) AS differ FROM diff('full', 0, 0) d;
-- importing over a model replaces its draft and nothing else
SELECT publish('full');
SELECT import_model(export_model('gitlab'), 'full');
SELECT count(*) AS rules FROM leadscore.rule WHERE model = 'full' AND version = 0;
SELECT count(*) AS rules FROM leadscore.rule WHERE model = 'full' AND version = 1;
SELECT export_model('full', 1) = jsonb_set(export_model('full 2'), '{model}', '"full"') AS version_1_kept;
SELECT export_model('nix') IS NULL AS none, export_model('full', 77) IS NULL AS none_either;

-- what is refused
\set code '\\echo :LAST_ERROR_SQLSTATE'
\set SHOW_CONTEXT never
SELECT import_model(NULL);
:code
SELECT import_model('[]');
:code
SELECT import_model('{}');
:code
SELECT import_model('{"leadscore_model": 2}');
:code
SELECT import_model('{"leadscore_model": 1}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x"}');
:code
SELECT import_model('{"leadscore_model": 1, "model": 5, "leads": "mx.person"}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.nowhere"}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "person"}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "ruels": []}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": {}}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": ["fit"]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a", "halflife": "1 day"}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a", "half_life": "soon"}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a", "hi": "high"}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a"}], "rules": [{"rule": "r", "component": "a", "condition": "true"}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a"}], "rules": [{"rule": "r", "component": "a", "condition": "nix = 1", "points": 1}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a"}], "rules": [{"rule": "r", "component": "a", "condition": "true", "points": 1, "at_most": 1.5}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "components": [{"component": "a"}], "rules": [{"rule": "r", "component": "a", "condition": "true", "points": 1, "enabled": "yes"}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "x", "leads": "mx.person", "bands": [{"band": "a", "least": true}]}');
:code
SELECT import_model('{"leadscore_model": 1, "model": "gitlab", "leads": "mx.person"}');
:code
SELECT count(*) AS made FROM leadscore.model WHERE model = 'x';

-- of tables that are gone there is nothing to say
BEGIN;
DROP TABLE mx.person CASCADE;
SELECT export_model('full') ? 'leads' AS leads, export_model('full') ? 'rules' AS rules;
ROLLBACK;

SET client_min_messages = warning;
SELECT drop_model(model) FROM leadscore.model WHERE model IN ('gitlab', 'copy', 'full', 'full 2') ORDER BY model;
DROP SCHEMA mx CASCADE;
