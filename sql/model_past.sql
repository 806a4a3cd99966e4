-- regression test: scores as of an instant know nothing later (law L5)
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 0;
CREATE SCHEMA mp;
CREATE TYPE mp.size AS ENUM ('small', 'large');
CREATE DOMAIN mp.percent AS numeric CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE mp.lead (lead_id int PRIMARY KEY, "odd ""col'umn" text, staff int, size mp.size, tags text[], fill mp.percent,
					  seen timestamptz, ratio float8, untouched text, doubled int GENERATED ALWAYS AS (staff * 2) STORED) PARTITION BY RANGE (lead_id);
CREATE TABLE mp.lead_1 PARTITION OF mp.lead FOR VALUES FROM (1) TO (11);
CREATE TABLE mp.lead_2 PARTITION OF mp.lead FOR VALUES FROM (11) TO (100);
CREATE TABLE mp.event (lead_id int, kind text, at timestamptz);
\set seed 0.5551
SELECT setseed(:seed) IS NOT NULL AS seeded;
INSERT INTO mp.lead SELECT g, 'a', g * 10, 'small', '{x}', 50, '2026-01-01', 0.1 FROM generate_series(1, 20) g;

SELECT create_model('past', 'mp.lead', 'mp.event');
SELECT add_component('past', 'fit', lo => -30, hi => 60), add_component('past', 'engagement', half_life => '1 second');
SELECT rule[1] AS rule, add_rule('past', 'fit', rule[1], rule[1], rule[2]) IS NOT NULL AS added FROM (VALUES
	(ARRAY[$$"odd ""col'umn" = 'b'$$, '10']), (ARRAY['staff > 100', 'least(staff / 100.0, 20)']), (ARRAY[$$size = 'large'$$, '7']),
	(ARRAY[$$'y' = ANY (tags)$$, '5']), (ARRAY['fill > 30', 'fill']), (ARRAY[$$extract(month FROM seen) = 2$$, '-3']),
	(ARRAY['ratio = 0.30000000000000004', '1.25']), (ARRAY['ratio IS NULL', '-40']), (ARRAY['doubled > 500', '2'])) r(rule);
SELECT add_rule('past', 'engagement', 'event', 'true', 8, at_most => 3);
SELECT publish('past');

-- random changes; after each the scores of all leads are written down with the instant
CREATE TABLE mp.seen (t timestamptz, lead_id int, score float8);
CREATE PROCEDURE mp.shake(rounds int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. rounds LOOP
		-- the instant of a change is that of its transaction: let each have its own
		COMMIT;
		PERFORM pg_sleep(0.002);
		UPDATE mp.lead SET
			"odd ""col'umn" = CASE WHEN random() < 0.3 THEN (array['a', 'b', NULL])[1 + floor(random() * 3)::int] ELSE "odd ""col'umn" END,
			staff = CASE WHEN random() < 0.3 THEN floor(random() * 3000)::int ELSE staff END,
			size = CASE WHEN random() < 0.3 THEN (array['small', 'large', NULL])[1 + floor(random() * 3)::int]::mp.size ELSE size END,
			tags = CASE WHEN random() < 0.3 THEN (array['{x,y}', '{}', '{NULL,"y z"}', NULL])[1 + floor(random() * 4)::int]::text[] ELSE tags END,
			fill = CASE WHEN random() < 0.3 THEN (random() * 100)::numeric(5, 2) ELSE fill END,
			seen = CASE WHEN random() < 0.3 THEN timestamptz '2026-01-31 23:59:59.999999' + floor(random() * 2) * interval '1 microsecond' ELSE seen END,
			ratio = CASE WHEN random() < 0.3 THEN (array[0.1, 0.1::float8 + 0.2::float8, 'NaN', NULL])[1 + floor(random() * 4)::int] ELSE ratio END,
			untouched = random()::text
		WHERE random() < 0.4;
		INSERT INTO mp.event SELECT 1 + floor(random() * 20)::int, 'k', clock_timestamp() FROM generate_series(1, 3);
		COMMIT;
		PERFORM pg_sleep(0.002);
		INSERT INTO mp.seen SELECT now(), lead_id, score_at('past', lead_id::text, now()) FROM mp.lead;
	END LOOP;
END $$;
CALL mp.shake(25);
-- seen from now, the same scores; the rows of explain add up to them; compare sees them too
SELECT count(*) AS cases, count(DISTINCT score) > 50 AS various,
	   count(*) FILTER (WHERE abs(score - score_at('past', lead_id::text, t)) > 1e-9) AS wrong,
	   count(*) FILTER (WHERE abs(score - (SELECT sum(points) FROM explain('past', lead_id::text, t) WHERE source <> 'total')) > 1e-9) AS wrong_account
FROM mp.seen;
SELECT count(*) AS cases, count(*) FILTER (WHERE abs(s.score - c.live_score) > 1e-9 OR abs(s.score - c.new_score) > 1e-9) AS wrong
FROM (SELECT DISTINCT t FROM mp.seen) i, LATERAL compare_scores('past', at => i.t) c
JOIN mp.seen s ON s.lead_id = c.lead::int WHERE s.t = i.t;
-- changes of other columns, and updates that change nothing, keep nothing
SELECT count(*) AS kept FROM leadscore.past_past \gset
UPDATE mp.lead SET untouched = 'x'; UPDATE mp.lead SET staff = staff;
SELECT count(*) - :kept AS more FROM leadscore.past_past;
-- a change undone keeps nothing
BEGIN; UPDATE mp.lead SET staff = staff + 1; ROLLBACK;
SELECT count(*) - :kept AS more FROM leadscore.past_past;

-- before the first publishing the lead's columns are the oldest known, and explain and changes say so
SELECT score_at('past', '1', '2026-01-01') = (SELECT sum(points) FROM explain('past', '1', '2026-01-01') WHERE source <> 'total') AS adds_up;
SELECT source, points, note FROM explain('past', '1', '2026-01-01') WHERE note LIKE '%oldest known%';

-- publishing another version adds the columns it uses
SELECT string_agg(column_name, ', ' ORDER BY column_name) AS columns FROM leadscore.kept_column WHERE model = 'past';
SELECT add_rule('past', 'fit', 'more', 'untouched IS NULL', 1);
SELECT publish('past');
SELECT string_agg(column_name, ', ' ORDER BY column_name) AS columns FROM leadscore.kept_column WHERE model = 'past';

-- why scores moved: between any two of the instants the rows add up to the
-- difference of the scores as they were seen then, whichever version was live
CALL mp.shake(6);
SELECT count(*) AS cases, count(*) FILTER (WHERE abs(c.total - (b.score - a.score)) > 1e-9) AS wrong,
	   count(*) FILTER (WHERE abs(c.parts - c.total) > 1e-9) AS wrong_sum,
	   sum(c.rules) > 0 AND sum(c.data) > 0 AND sum(c.events) > 0 AND sum(c.ageing) > 0 AND sum(c.bounds) > 0 AS all_causes
FROM (SELECT *, dense_rank() OVER (ORDER BY t) AS n FROM mp.seen) a
	 JOIN (SELECT *, dense_rank() OVER (ORDER BY t) AS n FROM mp.seen) b ON b.lead_id = a.lead_id AND b.n > a.n AND a.lead_id % 4 = 1 AND (a.n * 3 + b.n * 7) % 5 = 0,
	 LATERAL (SELECT sum(points) FILTER (WHERE cause = 'total') AS total, coalesce(sum(points) FILTER (WHERE cause <> 'total'), 0) AS parts,
					 count(*) FILTER (WHERE cause = 'rule changes') AS rules, count(*) FILTER (WHERE cause = 'lead data') AS data,
					 count(*) FILTER (WHERE cause = 'events') AS events, count(*) FILTER (WHERE cause = 'ageing') AS ageing,
					 count(*) FILTER (WHERE cause = 'bounds') AS bounds
			  FROM changes('past', a.lead_id::text, a.t, b.t)) c;
SELECT cause, points, note FROM changes('past', '1', '2026-01-01', '2026-01-01');
SELECT * FROM changes('past', '99', '2026-01-01');
SELECT * FROM changes('past', '1', '2026-01-02', '2026-01-01');

-- the trigger works for those who may write leads and nothing else, who can neither call it nor touch what it keeps
CREATE ROLE mp_writer;
GRANT USAGE ON SCHEMA mp TO mp_writer;
GRANT SELECT, UPDATE ON mp.lead TO mp_writer;
CREATE TABLE mp.other (a int, b int);
ALTER TABLE mp.other OWNER TO mp_writer;
SELECT count(*) AS kept FROM leadscore.past_past \gset
SET ROLE mp_writer;
SET search_path = mp;
UPDATE mp.lead SET staff = staff + 1 WHERE lead_id = 1;
SET search_path = public, leadscore;
DELETE FROM leadscore.past_past;
CREATE TRIGGER t AFTER UPDATE ON mp.other FOR EACH ROW EXECUTE FUNCTION leadscore.keep_past('past', 'a');
INSERT INTO mp.other VALUES (1, 1);
UPDATE mp.other SET b = 2;
DROP TRIGGER t ON mp.other;
SELECT leadscore.keep_past();
RESET ROLE;
SELECT count(*) - :kept AS more FROM leadscore.past_past;
CREATE TRIGGER t BEFORE UPDATE ON mp.other FOR EACH ROW EXECUTE FUNCTION leadscore.keep_past('past', 'a');
UPDATE mp.other SET b = 2;

DROP TRIGGER t ON mp.other;

-- how it writes is kept for the session, and made anew when the table changes
UPDATE mp.lead SET untouched = '41' WHERE lead_id = 2;
ALTER TABLE mp.lead ALTER untouched TYPE int USING length(untouched);
UPDATE mp.lead SET untouched = 43 WHERE lead_id = 2;
ALTER TABLE mp.lead ALTER untouched TYPE text;
UPDATE mp.lead SET untouched = '44' WHERE lead_id = 2;
SELECT old -> 'untouched' AS untouched FROM leadscore.past_past WHERE lead = 2 ORDER BY id DESC LIMIT 2;

-- its table dropped, nothing is answered from today's leads, until it is made anew
BEGIN;
DROP TABLE leadscore.past_past;
UPDATE mp.lead SET staff = 7 WHERE lead_id = 2;
SAVEPOINT a;
SELECT score_at('past', '2', now() - interval '1 second');
ROLLBACK TO a;
SELECT score_at('past', '2', now()) IS NOT NULL AS now;
SELECT rescore('past') AS leads;
UPDATE mp.lead SET staff = 8 WHERE lead_id = 2;
SELECT lead, old -> 'staff' AS staff FROM leadscore.past_past;
SELECT score_at('past', '2', now() - interval '1 second') IS NOT NULL AS earlier;
ROLLBACK;

-- a label of an enum that a rule names, under another name: known at once
BEGIN;
SELECT fit('past', l) IS NOT NULL AS scored FROM mp.lead l WHERE lead_id = 1;
ALTER TYPE mp.size RENAME VALUE 'large' TO 'big';
SELECT fit('past', l) FROM mp.lead l WHERE lead_id = 1;
ROLLBACK;

-- all of it goes with the model
SELECT drop_model('past');
SELECT to_regclass('leadscore.past_past') IS NULL AS gone, (SELECT count(*) FROM leadscore.kept_column WHERE model = 'past') AS kept, count(*) AS triggers FROM pg_trigger WHERE tgname = 'past_past';
UPDATE mp.lead SET staff = 1;

-- versions that read different columns come and go: random histories against an oracle that has written down everything
CREATE TABLE mp.account (id int PRIMARY KEY, a int, b int, c int, d int);
CREATE TABLE mp.held (t timestamptz, id int, name text, value int);	-- what each column of each lead held
CREATE TABLE mp.reads (version int, at timestamptz, name text);		-- which columns a version reads, when it was published
CREATE FUNCTION mp.weight(name text) RETURNS int LANGUAGE sql RETURN 100 ^ (ascii(name) - ascii('a'));
SELECT create_model('hist', 'mp.account'), add_component('hist', 's');
SELECT add_rule('hist', 's', n, n || ' IS NOT NULL', n || ' * ' || mp.weight(n), enabled => n = 'a') FROM unnest('{a,b,c,d}'::text[]) n;
INSERT INTO mp.account VALUES (1, 1, 1, 1, 1), (2, 2, 2, 2, 2);
CREATE PROCEDURE mp.live(steps int) LANGUAGE plpgsql AS $$
DECLARE
	published int;
	drawn float8;
BEGIN
	FOR i IN 1 .. steps LOOP
		COMMIT;
		PERFORM pg_sleep(0.001);
		drawn := CASE WHEN i = 4 THEN 0 ELSE random() END;
		published := NULL;
		IF drawn < 0.1 THEN
			PERFORM enable_rule('hist', n, random() < 0.4 OR n = 'a' AND i < 10) FROM unnest('{a,b,c,d}'::text[]) n;
			PERFORM enable_rule('hist', (array['a', 'b', 'c', 'd'])[1 + floor(random() * 4)::int], true);
			published := publish('hist');
		ELSIF drawn < 0.2 AND EXISTS (SELECT FROM mp.reads) THEN
			published := revert('hist', 1 + floor(random() * (SELECT max(version) FROM mp.reads))::int);
		ELSIF drawn < 0.25 THEN
			INSERT INTO mp.account SELECT max(id) + 1, random() * 99, random() * 99, random() * 99, random() * 99 FROM mp.account;
		ELSE
			UPDATE mp.account SET a = CASE WHEN random() < 0.3 THEN nullif(floor(random() * 99), 7) ELSE a END, b = CASE WHEN random() < 0.3 THEN random() * 99 ELSE b END,
				c = CASE WHEN random() < 0.3 THEN nullif(floor(random() * 99), 7) ELSE c END, d = CASE WHEN random() < 0.3 THEN random() * 99 ELSE d END
			WHERE random() < 0.6;
		END IF;
		IF published IS NOT NULL THEN
			INSERT INTO mp.reads SELECT published, clock_timestamp(), rule FROM leadscore.rule WHERE model = 'hist' AND version = published AND enabled;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.001);
		INSERT INTO mp.held SELECT now(), id, v.* FROM mp.account, LATERAL (VALUES ('a', a), ('b', b), ('c', c), ('d', d)) v;
	END LOOP;
END $$;
SELECT setseed(:seed) IS NOT NULL AS seeded;
CALL mp.live(120);
SELECT max(version) > 8 AS versions, count(DISTINCT name) AS columns FROM mp.reads;
CREATE INDEX ON mp.held (id, name, t);
-- as of t a column is what it held at the first instant from t on at which it was kept, and the lead there
CREATE TABLE mp.expected AS
SELECT v.version, i.t, l.id,
	   sum(mp.weight(r.name) * (SELECT h.value FROM mp.held h WHERE h.id = l.id AND h.name = r.name AND h.t >= greatest(i.t, kept.at) ORDER BY h.t LIMIT 1)) AS score,
	   string_agg(r.name, ', ' ORDER BY r.name) FILTER (WHERE i.t < kept.at) AS oldest
FROM (SELECT DISTINCT version FROM mp.reads) v, (SELECT DISTINCT t FROM mp.held) i, (SELECT DISTINCT id FROM mp.held WHERE id <= 4) l, mp.reads r,
	 LATERAL (SELECT min(at) AS at FROM mp.reads k WHERE k.name = r.name) kept
WHERE r.version = v.version
GROUP BY v.version, i.t, l.id;
SELECT count(*) > 1000 AS cases, count(DISTINCT coalesce(oldest, '')) > 3 AS various,
	   count(*) FILTER (WHERE score_of('hist', id::text, t, version) IS DISTINCT FROM coalesce(score, 0)) AS wrong
FROM mp.expected WHERE (version + id) % 4 = 0;
SELECT count(*) > 100 AS cases, count(*) FILTER (WHERE score_at('hist', e.id::text, t) IS DISTINCT FROM coalesce(score, 0)) AS wrong,
	   count(*) FILTER (WHERE x.note IS DISTINCT FROM 'as oldest known: ' || oldest) AS wrong_note
FROM mp.expected e LEFT JOIN LATERAL (SELECT note FROM explain('hist', e.id::text, t) WHERE note LIKE '%oldest known%') x ON true
WHERE version = (SELECT live_version FROM leadscore.model WHERE model = 'hist');
-- all leads at once, and as of outcomes
SET client_min_messages = error;
WITH c AS MATERIALIZED (
	SELECT i.*, c.lead, c.new_score FROM (SELECT DISTINCT version, t FROM mp.expected WHERE version % 8 = 3) i, LATERAL compare_scores('hist', i.version, i.t) c)
SELECT count(*) > 1000 AS cases, count(*) FILTER (WHERE c.new_score <> coalesce(e.score, 0)) AS wrong
FROM c JOIN mp.expected e ON e.id = c.lead::int AND e.t = c.t AND e.version = c.version;
SELECT count(*) AS versions, count(*) FILTER (WHERE b.leads IS DISTINCT FROM e.leads OR b.note IS DISTINCT FROM e.oldest) AS wrong
FROM (SELECT version, nullif(count(*) FILTER (WHERE oldest IS NOT NULL), 0) AS leads, max(oldest) FILTER (WHERE t = (SELECT min(t) FROM mp.held)) AS oldest
	  FROM mp.expected WHERE version < 4 GROUP BY version) e
LEFT JOIN LATERAL (SELECT * FROM backtest('hist', 'SELECT id, t + interval ''1 microsecond'', row_number() OVER () % 2 = 0 FROM (SELECT DISTINCT id, t FROM mp.expected) e', e.version) WHERE measure = 'oldest known columns') b ON true;
RESET client_min_messages;
-- changes between any two instants adds up, and names what was not known at the first
SELECT count(*) > 100 AS cases, count(*) FILTER (WHERE x.total IS DISTINCT FROM coalesce(b.score, 0) - coalesce(a.score, 0) OR x.parts IS DISTINCT FROM x.total) AS wrong,
	   count(*) FILTER (WHERE x.oldest IS DISTINCT FROM (a.oldest IS NOT NULL)) AS wrong_note
FROM (SELECT *, (SELECT max(version) FROM mp.reads r WHERE r.at <= e.t) AS live FROM mp.expected e WHERE id < 3) a
JOIN (SELECT *, (SELECT max(version) FROM mp.reads r WHERE r.at <= e.t) AS live FROM mp.expected e WHERE id < 3) b USING (id, version, live),
	 LATERAL (SELECT sum(points) FILTER (WHERE cause = 'total') AS total, coalesce(sum(points) FILTER (WHERE cause <> 'total'), 0) AS parts,
					 bool_or(note IS NOT NULL AND note LIKE '%oldest known%') AS oldest
			  FROM changes('hist', a.id::text, a.t, b.t)) x
WHERE a.version = a.live AND a.t < b.t AND (a.version + b.id) % 3 = 0;

-- a column that is renamed is kept under its new name, even while no rule fits; one that is dropped takes its old values along
SELECT reset_draft('hist', 1), enable_rule('hist', 'd'), publish('hist') IS NOT NULL AS published;
UPDATE mp.account SET a = 11, d = 11 WHERE id = 1;
SELECT now() AS t1 \gset
SET client_min_messages = error;
ALTER TABLE mp.account RENAME a TO alpha;
UPDATE mp.account SET alpha = 12 WHERE id = 1;
SELECT now() AS t2 \gset
ALTER TABLE mp.account RENAME alpha TO a;
RESET client_min_messages;
UPDATE mp.account SET a = 13 WHERE id = 1;
SELECT score_at('hist', '1', :'t1') AS t1, score_at('hist', '1', :'t2') AS t2, score_at('hist', '1') AS now;
SELECT count(*) AS notes FROM explain('hist', '1', :'t1') WHERE note IS NOT NULL AND source <> 'total';
SELECT count(*) > 0 AS d FROM leadscore.past_hist WHERE old ? 'd';
SET client_min_messages = error;
ALTER TABLE mp.account DROP d, ADD d date;
RESET client_min_messages;
SELECT count(*) AS d FROM leadscore.past_hist WHERE old ? 'd';
SELECT drop_rule('hist', 'd'), add_rule('hist', 's', 'd', 'd IS NULL', 1000), publish('hist') IS NOT NULL AS published;
SELECT score_at('hist', '1', :'t1') AS score, note FROM explain('hist', '1', :'t1') WHERE note LIKE '%oldest known%';
-- while the key has another name nothing can be kept: what was before is not the truth of then
SET client_min_messages = error;
ALTER TABLE mp.account RENAME id TO number;
UPDATE mp.account SET a = 14 WHERE number = 1;
ALTER TABLE mp.account RENAME number TO id;
RESET client_min_messages;
SELECT score_at('hist', '1', :'t2') AS score, note FROM explain('hist', '1', :'t2') WHERE note LIKE '%oldest known%';
SELECT drop_model('hist');

-- old values are what they were: JSON's null, bounds of arrays, the form of json, the sign of zero, blanks, domains that forbid them by now
CREATE DOMAIN mp.small AS int CHECK (VALUE < 100);
CREATE TYPE mp.pair AS (x int, y text);
CREATE TABLE mp.odd (id int PRIMARY KEY, j jsonb, js json, arr int[], f float8, ch char(5), dom mp.small, pair mp.pair, en mp.size, tz timestamptz, tx text);
INSERT INTO mp.odd SELECT g, 'null', '{"a":  1, "a": 2}', '[0:1]={5,6}', '-0', 'ab', 99, '(,)', 'large', '2026-01-01 12:00+05', E'"\\{}'
FROM generate_series(1, 2) g;
UPDATE mp.odd SET j = '"null"', tx = 'null', pair = NULL WHERE id = 2;
SELECT create_model('odd', 'mp.odd'), add_component('odd', 's');
SELECT rule, add_rule('odd', 's', rule, $$num_nulls($$ || rule || $$) = 0$$, $$ascii(md5(format('%s', $$ || rule || $$)))$$) IS NOT NULL AS added
FROM unnest('{j,js,arr,f,ch,dom,pair,en,tx}'::text[]) rule;
SELECT add_rule('odd', 's', 'tz', $$tz = '2026-01-01 07:00+00'$$, 1) IS NOT NULL AS added, publish('odd');
CREATE TABLE mp.old AS SELECT now() AS t, id, fit('odd', o) AS score FROM mp.odd o;
CREATE TABLE mp.old_rows AS SELECT id, e.rule, e.points FROM mp.odd, explain('odd', id::text) e WHERE source <> 'total';
SET TimeZone = 'Asia/Tokyo'; SET DateStyle = German; SET extra_float_digits = -3; SET bytea_output = 'escape';
UPDATE mp.odd SET j = NULL, js = NULL, arr = '{1}', f = NULL, ch = NULL, dom = NULL, pair = ROW(1, 'x'), en = NULL, tz = NULL, tx = NULL;
SET TimeZone = 'UTC'; SET DateStyle = ISO; SET extra_float_digits = 0; RESET bytea_output;
UPDATE mp.odd SET dom = 1;
ALTER DOMAIN mp.small DROP CONSTRAINT small_check;
ALTER DOMAIN mp.small ADD CHECK (VALUE < 50);
SELECT id, score, score - score_at('odd', id::text, t) AS differs,
	   (SELECT string_agg(coalesce(e.rule, r.rule), ', ') FROM explain('odd', id::text, t) e FULL JOIN (SELECT * FROM mp.old_rows w WHERE w.id = old.id) r USING (rule)
		WHERE e.points IS DISTINCT FROM r.points AND source IS DISTINCT FROM 'total') AS wrong
FROM mp.old ORDER BY id;
SELECT c.lead, c.new_score - score AS differs FROM mp.old, compare_scores('odd', 1, t) c WHERE c.lead::int = id ORDER BY 1;
-- what a type cannot read any more names its column
ALTER TYPE mp.size RENAME VALUE 'large' TO 'big';
SELECT score_at('odd', '1', (SELECT t FROM mp.old LIMIT 1));
-- only texts are old values
SELECT leadscore.as_it_was(1, '{}');
SELECT leadscore.as_it_was(ROW(1, 2), '[]');
SELECT leadscore.as_it_was(o, '{"f": 1}') FROM mp.odd o;
SELECT (leadscore.as_it_was(o, '{"f": "1", "nix": 2, "j": null}')).f FROM mp.odd o WHERE id = 1;
SELECT drop_model('odd');
SET client_min_messages = warning;
DROP SCHEMA mp CASCADE;
DROP ROLE mp_writer;
