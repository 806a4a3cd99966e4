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

-- before the first publishing the lead's columns are the oldest known, and explain says so
SELECT score_at('past', '1', '2026-01-01') = (SELECT sum(points) FROM explain('past', '1', '2026-01-01') WHERE source <> 'total') AS adds_up;
SELECT source, points, note FROM explain('past', '1', '2026-01-01') WHERE note LIKE '%first published%';

-- publishing another version follows the columns it uses
SELECT tgname, tgnargs FROM pg_trigger WHERE tgrelid = 'mp.lead'::regclass AND tgname = 'past_past';
SELECT add_rule('past', 'fit', 'more', 'untouched IS NULL', 1);
SELECT publish('past');
SELECT tgname, tgnargs FROM pg_trigger WHERE tgrelid = 'mp.lead'::regclass AND tgname = 'past_past';

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
SELECT cause, points FROM changes('past', '1', '2026-01-01', '2026-01-01');
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
CREATE TRIGGER t AFTER UPDATE ON mp.other FOR EACH ROW EXECUTE FUNCTION leadscore.keep_past('past', 'a', 'b');
INSERT INTO mp.other VALUES (1, 1);
UPDATE mp.other SET b = 2;
DROP TRIGGER t ON mp.other;
SELECT leadscore.keep_past();
RESET ROLE;
SELECT count(*) - :kept AS more FROM leadscore.past_past;
CREATE TRIGGER t BEFORE UPDATE ON mp.other FOR EACH ROW EXECUTE FUNCTION leadscore.keep_past('past', 'a', 'b');
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
SELECT to_regclass('leadscore.past_past') IS NULL AS gone, count(*) AS triggers FROM pg_trigger WHERE tgname = 'past_past';
UPDATE mp.lead SET staff = 1;
SET client_min_messages = warning;
DROP SCHEMA mp CASCADE;
DROP ROLE mp_writer;
