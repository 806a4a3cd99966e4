-- regression test: keys of any type and collation, and points too large to add up
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET extra_float_digits = 0;
CREATE SCHEMA mk;

-- keys of a fixed length, as char(18) of Salesforce
CREATE TABLE mk.account (id char(18) PRIMARY KEY, n int);
CREATE TABLE mk.task (account char(18), kind text, at timestamptz);
INSERT INTO mk.account VALUES ('003A0000012345678Z', 3), ('0', 99);
INSERT INTO mk.task VALUES ('003A0000012345678Z', 'call', '2026-01-01'), ('0', 'call', '2026-01-01');
SELECT create_model('sf', 'mk.account', 'mk.task', event_lead => 'account');
SELECT add_component('sf', 's'), add_rule('sf', 's', 'n', 'n > 0', 'n'), add_rule('sf', 's', 'call', $$kind = 'call'$$, 100);
SELECT publish('sf');
INSERT INTO mk.account VALUES ('003A0000099999999Z', 5);
SELECT now() AS then \gset
UPDATE mk.account SET n = 4 WHERE n = 3;
INSERT INTO mk.task VALUES ('003A0000099999999Z', 'call', '2026-01-02');
SELECT lead, score @ now() AS stored, score_at('sf', lead::text), current_score('sf', lead::text) = score AS current FROM score_sf ORDER BY lead;
SELECT score_at('sf', '003A0000012345678Z', :'then') AS was, (SELECT points FROM explain('sf', '003A0000012345678Z') WHERE rule = 'n') AS n;
SELECT * FROM verify('sf');
SELECT attrelid::regclass AS "table", format_type(atttypid, atttypmod) AS key FROM pg_attribute
WHERE attrelid IN ('leadscore.score_sf'::regclass, 'leadscore.past_sf'::regclass) AND attname = 'lead';
CREATE TABLE mk.flag (id bit(3) PRIMARY KEY, n int);
INSERT INTO mk.flag VALUES ('101', 1), ('111', 2);
SELECT create_model('bits', 'mk.flag'), add_component('bits', 's'), add_rule('bits', 's', 'n', 'n > 0', 'n');
SELECT publish('bits');
INSERT INTO mk.flag VALUES ('100', 3);
UPDATE mk.flag SET n = n + 10;
SELECT lead, score @ now() AS stored, score_at('bits', lead::text) FROM score_bits ORDER BY lead;

-- which keys are equal is for the collation of the leads' key to say, whatever that of the events
CREATE COLLATION mk.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE FUNCTION mk.check_keys(leads_collation text, events_collation text, OUT leads int, OUT points float8, OUT wrong int) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE mk.person (name text COLLATE %s PRIMARY KEY, n int);
		CREATE TABLE mk.mail (name text COLLATE %s, at timestamptz, n int)', leads_collation, events_collation);
	INSERT INTO mk.person VALUES ('Ann', 1), ('bob', 2);
	INSERT INTO mk.mail VALUES ('ann', '2026-01-01', 100), ('ANN', '2026-01-01', 100), ('Ann', '2026-01-02', 100), ('Bob', '2026-01-01', 1000);
	PERFORM create_model('person', 'mk.person', 'mk.mail'), add_component('person', 's'), add_rule('person', 's', 'n', 'n > 0', 'n', source => 'lead'),
			add_rule('person', 's', 'mail', 'n > 0', 'n', source => 'event', at_most => 4);
	PERFORM publish('person');
	INSERT INTO mk.mail VALUES ('aNN', '2025-01-05', 10), ('Ann', '2025-01-06', 10), ('BOB', '2025-01-05', 10);
	UPDATE mk.person SET n = n + 1;
	SELECT count(*), sum(score @ now()), (SELECT count(*) FROM verify('person'))
		+ count(*) FILTER (WHERE score @ now() IS DISTINCT FROM score_at('person', lead))
		+ count(*) FILTER (WHERE score @ now() IS DISTINCT FROM (SELECT e.points FROM explain('person', lead) e WHERE source = 'total'))
		+ (SELECT count(*) FROM compare_scores('person', 1) c JOIN leadscore.score_person p ON p.lead = c.lead WHERE c.new_score <> p.score @ now())
	INTO leads, points, wrong FROM leadscore.score_person;
	PERFORM drop_model('person');
	DROP TABLE mk.person, mk.mail;
END $$;
SELECT l, e, c.* FROM unnest(ARRAY['"default"', '"C"', 'mk.nocase']) l, unnest(ARRAY['"default"', '"C"', 'mk.nocase']) e, mk.check_keys(l, e) c;
-- the key gets another collation: stored scores and old values follow
CREATE TABLE mk.person (name text COLLATE "C" PRIMARY KEY, n int);
INSERT INTO mk.person VALUES ('Ann', 1), ('bob', 2);
SELECT create_model('person', 'mk.person'), add_component('person', 's'), add_rule('person', 's', 'n', 'n > 0', 'n');
SELECT publish('person');
ALTER TABLE mk.person ALTER name TYPE text COLLATE mk.nocase;
SELECT now() AS then \gset
UPDATE mk.person SET n = n + 1;
SELECT lead, score, score_at('person', upper(lead)) AS now, score_at('person', upper(lead), :'then') AS was FROM score_person ORDER BY lead;
SELECT * FROM verify('person');
-- what is unique by another collation is no key
ALTER TABLE mk.person DROP CONSTRAINT person_pkey;
CREATE UNIQUE INDEX ON mk.person (name COLLATE "C");
SELECT create_model('x', 'mk.person', lead_key => 'name');

-- columns called as rows are in our own queries
CREATE TABLE mk.odd (l int PRIMARY KEY, c int, p int, o int, j int, x int, s int, lead int);
CREATE TABLE mk.odd_event (l int, e int, k int, m int, t int, r0 int, at timestamptz);
INSERT INTO mk.odd SELECT g, g, g, g, g, g, g, g FROM generate_series(1, 2) g;
INSERT INTO mk.odd_event SELECT g, g, g, g, g, g, '2026-01-01' FROM generate_series(1, 2) g;
SELECT create_model('odd', 'mk.odd', 'mk.odd_event'), add_component('odd', 's');
SELECT add_rule('odd', 's', 'lead', 'c + p + o + j + x + s + lead > 0 AND format(''%s'', odd) <> '''' AND 1 / c > -1', 'c + p + o + j + x + s + lead'),
	   add_rule('odd', 's', 'event', 'k + m + t + r0 > 0 AND format(''%s'', odd_event) <> '''' AND 1 / e > -1', '100 * e', at_most => 3), publish('odd');
SELECT now() AS then \gset
INSERT INTO mk.odd_event SELECT l, e, k, m, t, r0, '2025-01-01' FROM mk.odd_event; UPDATE mk.odd SET c = c + 1;
SELECT lead, score, score_at('odd', lead::text) AS now, score_at('odd', lead::text, :'then') AS was, (SELECT sum(points) FROM explain('odd', lead::text, :'then') WHERE source <> 'total') AS explained
FROM score_odd ORDER BY lead;
SELECT * FROM verify('odd');
SELECT * FROM compare_scores('odd', 1, :'then') ORDER BY lead;
SELECT count(*) > 10 AS measures FROM backtest('odd', 'SELECT l, now() + interval ''1 second'', l = 1 FROM mk.odd');

-- points too large to add up: the error names the lead
CREATE TABLE mk.lead (id int PRIMARY KEY, code text UNIQUE NOT NULL, n float8);
CREATE TABLE mk.event (lead int, code text, p float8, at timestamptz);
INSERT INTO mk.lead SELECT g, 'code ' || g, 1 FROM generate_series(1, 5) g;
INSERT INTO mk.event SELECT g, 'code ' || g, 1e306, '2026-01-01' FROM generate_series(1, 5) g, generate_series(1, 3);
SELECT create_model('huge', 'mk.lead', 'mk.event', 'lead'), add_component('huge', 's'), add_component('huge', 'd', half_life => '1 day');
SELECT add_rule('huge', 's', 'p', 'p IS NOT NULL', 'p'), add_rule('huge', 'd', 'late', $$at > '2099-01-01'$$, 'p');
SELECT create_model('hugetext', 'mk.lead', 'mk.event', 'code', lead_key => 'code'), add_component('hugetext', 's');
SELECT add_rule('hugetext', 's', 'p', 'p IS NOT NULL', 'p', source => 'event');
SELECT publish('huge'), publish('hugetext');
ALTER TABLE mk.event DISABLE TRIGGER ALL;
INSERT INTO mk.event VALUES (3, 'code 3', 1.5e308, '2026-01-01'), (3, 'code 3', 1e308, '2026-01-01');
ALTER TABLE mk.event ENABLE TRIGGER ALL;
SELECT * FROM verify('huge');
SELECT rescore('huge');
SELECT publish('huge');
SELECT * FROM compare_scores('huge');
SELECT * FROM verify('hugetext');
SELECT rescore('hugetext');
SELECT score_at('hugetext', 'code 3');
-- events still to come count, too, and the lead's own points
UPDATE mk.event SET p = 1e306; INSERT INTO mk.event VALUES (4, 'code 4', 1e308, '2100-01-01'), (4, 'code 4', 1e308, '2100-01-01');
SELECT rescore('huge');
DELETE FROM mk.event;
SELECT add_rule('huge', 's', 'n', 'true', 'n'), add_rule('huge', 's', 'more', 'true', 'n * 0.9');
UPDATE mk.lead SET n = 1.5e308 WHERE id = 2;
SELECT publish('huge');

SET client_min_messages = warning;
SELECT drop_model(m) FROM unnest(ARRAY['sf', 'bits', 'person', 'odd', 'huge', 'hugetext']) m;
DROP SCHEMA mk CASCADE;
