-- regression test: partitions and children that come with rows or go with them, and TRUNCATE: scores follow in the same transaction
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC';
CREATE SCHEMA lp;
CREATE TABLE lp.lead (id int PRIMARY KEY, sector text) PARTITION BY RANGE (id);
CREATE TABLE lp.lead_1 PARTITION OF lp.lead FOR VALUES FROM (1) TO (21);
CREATE TABLE lp.lead_2 PARTITION OF lp.lead FOR VALUES FROM (21) TO (41);
CREATE TABLE lp.event (lead_id int, kind text, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE lp.event_1 PARTITION OF lp.event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO lp.lead SELECT g, 'saas' FROM generate_series(1, 40) g;
DO $$ BEGIN
	PERFORM create_model('lp', 'lp.lead', 'lp.event', lead_key => 'id', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('lp', 'fit');
	PERFORM add_component('lp', 'engagement', half_life => '30 days');
	PERFORM add_rule('lp', 'fit', 'saas', $r$sector = 'saas'$r$, 10);
	PERFORM add_rule('lp', 'fit', 'order', $r$kind = 'order'$r$, 3);
	PERFORM add_rule('lp', 'engagement', 'demo', $r$kind = 'demo'$r$, 40, at_most => 1, per => '30 days');
	PERFORM add_rule('lp', 'engagement', 'open', $r$kind = 'open'$r$, 1);
	PERFORM add_band('lp', 'warm', 13);
END $$;
SELECT publish('lp');
CREATE VIEW lp.wrong AS
	SELECT lead, problem FROM verify('lp')
	UNION ALL
	-- what does not age, in plain SQL
	SELECT lead::text, 'fit' FROM score_lp s FULL JOIN (
		SELECT l.id, (sector = 'saas')::int * 10 + coalesce((SELECT 3 * count(*) FROM lp.event e WHERE e.lead_id = l.id AND kind = 'order' AND at <= now()), 0) AS fit
		FROM lp.lead l) o ON o.id = s.lead
	WHERE (parts(s.score, now()))[1] IS DISTINCT FROM o.fit
	UNION ALL
	SELECT lead::text, 'band' FROM score_lp s WHERE band IS DISTINCT FROM CASE WHEN score @ now() >= 13 THEN 'warm' END AND due > now();
CREATE FUNCTION lp.events(since timestamptz, n int) RETURNS TABLE (lead_id int, kind text, at timestamptz) LANGUAGE sql AS
	$$ SELECT 1 + g % 45, (ARRAY['order', 'demo', 'open', NULL])[1 + g % 4], since + g * interval '5 hours' FROM generate_series(0, n) g $$;
INSERT INTO lp.event SELECT * FROM lp.events('2026-01-01', 140);
SELECT * FROM lp.wrong;
SELECT count(*), sum((parts(score, now()))[1]) FROM score_lp;

-- a partition that comes with rows, its columns in another order, partitioned itself; one that is made empty
CREATE TABLE lp.event_2 (dropped int, at timestamptz NOT NULL, kind text, lead_id int) PARTITION BY LIST (kind);
ALTER TABLE lp.event_2 DROP COLUMN dropped;
CREATE TABLE lp.event_2a PARTITION OF lp.event_2 FOR VALUES IN ('order', NULL);
CREATE TABLE lp.event_2b PARTITION OF lp.event_2 DEFAULT;
INSERT INTO lp.event_2 (lead_id, kind, at) SELECT * FROM lp.events('2026-02-01', 120);
ALTER TABLE lp.event ATTACH PARTITION lp.event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT * FROM lp.wrong;
SELECT count(*), sum((parts(score, now()))[1]) FROM score_lp;
CREATE TABLE lp.event_3 PARTITION OF lp.event FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
INSERT INTO lp.event_3 SELECT * FROM lp.events('2026-03-01', 130);
CREATE TABLE lp.event_later PARTITION OF lp.event DEFAULT;
INSERT INTO lp.event_later SELECT * FROM lp.events(now() + interval '1 day', 50);
SELECT * FROM lp.wrong;
SELECT tgrelid::regclass AS relation, tgname FROM pg_trigger
WHERE tgfoid = 'live_change'::regproc AND tgname LIKE '%trunc%' AND tgrelid IN (SELECT relid FROM pg_partition_tree('lp.event'))
ORDER BY tgrelid::regclass::text COLLATE "C", tgname;

-- TRUNCATE of one, of a level between, of several; in a transaction that fails
TRUNCATE lp.event_2b;
SELECT * FROM lp.wrong;
TRUNCATE lp.event_2, lp.event_2a;
SELECT * FROM lp.wrong;
BEGIN;
SAVEPOINT a;
TRUNCATE lp.event;
ROLLBACK TO a;
TRUNCATE lp.event_3;
SELECT * FROM lp.wrong;
ROLLBACK;
SELECT * FROM lp.wrong;

-- partitions that go: detached, dropped, several at once, with their schema
INSERT INTO lp.event_2 (lead_id, kind, at) SELECT * FROM lp.events('2026-02-01', 120);
ALTER TABLE lp.event DETACH PARTITION lp.event_2;
SELECT * FROM lp.wrong;
SELECT tgrelid::regclass FROM pg_trigger WHERE tgfoid = 'live_change'::regproc AND tgrelid IN (SELECT relid FROM pg_partition_tree('lp.event_2'));
ALTER TABLE lp.event ATTACH PARTITION lp.event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT * FROM lp.wrong;
ALTER TABLE lp.event DETACH PARTITION lp.event_later;
ALTER TABLE lp.event DETACH PARTITION lp.event_3 CONCURRENTLY;
SELECT * FROM lp.wrong;
ALTER TABLE lp.event ATTACH PARTITION lp.event_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
DO $$ BEGIN
	DROP TABLE lp.event_3;
	RAISE EXCEPTION 'taken back';
EXCEPTION WHEN raise_exception THEN
	NULL;
END $$;
SELECT * FROM lp.wrong;
CREATE VIEW lp.uses AS SELECT * FROM lp.event_3;
DROP TABLE lp.event_3;
SELECT * FROM lp.wrong;
DROP TABLE lp.event_3, lp.event_2b CASCADE;
SELECT * FROM lp.wrong;
CREATE SCHEMA lp_old CREATE TABLE lp_old.event_4 PARTITION OF lp.event FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');
INSERT INTO lp.event SELECT * FROM lp.events('2026-04-01', 100);
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'live_change'::regproc AND tgrelid = 'lp_old.event_4'::regclass;
SET client_min_messages = warning;
DROP SCHEMA lp_old CASCADE;
RESET client_min_messages;
SELECT * FROM lp.wrong;

-- leads come and go with their partitions, and so do their scores
CREATE TABLE lp.lead_3 (sector text, id int PRIMARY KEY);
INSERT INTO lp.lead_3 SELECT 'saas', g FROM generate_series(41, 50) g;
ALTER TABLE lp.lead ATTACH PARTITION lp.lead_3 FOR VALUES FROM (41) TO (60);
SELECT * FROM lp.wrong;
SELECT count(*) FROM score_lp;
ALTER TABLE lp.lead DETACH PARTITION lp.lead_1;
TRUNCATE lp.lead_3;
SELECT * FROM lp.wrong;
SELECT count(*) FROM score_lp;
ALTER TABLE lp.lead ATTACH PARTITION lp.lead_1 FOR VALUES FROM (1) TO (21);
DROP TABLE lp.lead_2;
SELECT * FROM lp.wrong;
SELECT count(*) FROM score_lp;

-- all events at once: the leads' own points are left
ALTER TABLE lp.event ATTACH PARTITION lp.event_later DEFAULT;
INSERT INTO lp.event SELECT * FROM lp.events('2026-06-01', 100);
SELECT count(*) FILTER (WHERE later IS NOT NULL) > 10 AS to_come, count(*) FILTER (WHERE score @ now() > 10) > 10 AS scored FROM score_lp;
TRUNCATE lp.event;
SELECT * FROM lp.wrong;
SELECT DISTINCT score, band, due, later FROM score_lp;
SELECT cause, count(*) > 0 AS some FROM crossing WHERE model = 'lp' GROUP BY 1 ORDER BY 1;
SELECT lead FROM (SELECT lead, from_band, lag(to_band) OVER (PARTITION BY lead ORDER BY id) AS was, row_number() OVER (PARTITION BY lead ORDER BY id) AS n FROM crossing WHERE model = 'lp') c
WHERE n > 1 AND from_band IS DISTINCT FROM was;
TRUNCATE lp.lead;
SELECT count(*) FROM score_lp;
SET client_min_messages = warning;
DROP VIEW lp.wrong;
SELECT drop_model('lp');

-- a partition that has a model of its own, made before it is attached, or after
CREATE TABLE lp.firm (id int PRIMARY KEY);
INSERT INTO lp.firm SELECT generate_series(1, 5);
CREATE TABLE lp.sign (lead_id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE lp.sign_1 (lead_id int, at timestamptz NOT NULL);
CREATE TABLE lp.sign_2 PARTITION OF lp.sign FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
DO $$ BEGIN
	FOR i IN 0..2 LOOP
		PERFORM create_model('sign ' || i, 'lp.firm', 'lp.sign' || CASE i WHEN 0 THEN '' ELSE '_' || i END, lead_key => 'id', event_lead => 'lead_id', event_at => 'at');
		PERFORM add_component('sign ' || i, 'all');
		PERFORM add_rule('sign ' || i, 'all', 'any', 'at IS NOT NULL', 1, source => 'event');
		PERFORM publish('sign ' || i);
	END LOOP;
END $$;
CREATE FUNCTION lp.sums() RETURNS TABLE (whole float8, one float8, two float8, wrong bigint) LANGUAGE plpgsql AS $$ BEGIN
	RETURN QUERY SELECT (SELECT sum(score @ now()) FROM "score_sign 0"), (SELECT sum(score @ now()) FROM "score_sign 1"), (SELECT sum(score @ now()) FROM "score_sign 2"),
		(SELECT count(*) FROM verify('sign 0')) + (SELECT count(*) FROM verify('sign 1')) + (SELECT count(*) FROM verify('sign 2'));
END $$;
INSERT INTO lp.sign_1 SELECT 1 + g % 5, '2026-01-10' FROM generate_series(1, 10) g;
ALTER TABLE lp.sign ATTACH PARTITION lp.sign_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO lp.sign SELECT 1 + g % 5, '2026-02-10' FROM generate_series(1, 7) g;
SELECT * FROM lp.sums();
INSERT INTO lp.sign_1 VALUES (1, '2026-01-11'), (2, '2026-01-11');
UPDATE lp.sign SET lead_id = 3 WHERE lead_id = 2;
DELETE FROM lp.sign_2 WHERE lead_id = 3;
SELECT * FROM lp.sums();
TRUNCATE lp.sign_2;
SELECT * FROM lp.sums();
TRUNCATE lp.sign_1;
SELECT * FROM lp.sums();
INSERT INTO lp.sign_1 SELECT 1 + g % 5, '2026-01-10' FROM generate_series(1, 10) g;
ALTER TABLE lp.sign DETACH PARTITION lp.sign_1;
UPDATE lp.sign_1 SET lead_id = 2;
SELECT * FROM lp.sums();
ALTER TABLE lp.sign ATTACH PARTITION lp.sign_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
UPDATE lp.sign SET lead_id = 4;
SELECT * FROM lp.sums();
SELECT drop_model('sign 2');
INSERT INTO lp.sign SELECT 1 + g % 5, '2026-02-10' FROM generate_series(1, 7) g;
TRUNCATE lp.sign_2;
INSERT INTO lp.sign VALUES (1, '2026-01-11');
SELECT * FROM verify('sign 0');
SELECT drop_model('sign 0');
INSERT INTO lp.sign_1 VALUES (1, '2026-01-11');
SELECT * FROM verify('sign 1');
SELECT drop_model('sign 1');
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgfoid = 'live_change'::regproc AND tgrelid IN (SELECT relid FROM pg_partition_tree('lp.sign'));

-- tables that inherit from the table of events
CREATE TABLE lp.client (id int PRIMARY KEY, sector text);
INSERT INTO lp.client SELECT g, 'saas' FROM generate_series(1, 10) g;
CREATE TABLE lp.touch (lead_id int, kind text, at timestamptz);
DO $$ BEGIN
	PERFORM create_model('lp 2', 'lp.client', 'lp.touch', lead_key => 'id', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('lp 2', 'all');
	PERFORM add_rule('lp 2', 'all', 'saas', $r$sector = 'saas'$r$, 10);
	PERFORM add_rule('lp 2', 'all', 'open', $r$kind = 'open'$r$, 1);
	PERFORM add_rule('lp 2', 'all', 'two', $r$kind = 'demo'$r$, 2, at_most => 2);
END $$;
SELECT publish('lp 2');
RESET client_min_messages;
INSERT INTO lp.touch SELECT 1 + g % 12, (ARRAY['open', 'demo'])[1 + g % 2], '2026-01-01'::timestamptz + g * interval '1 hour' FROM generate_series(1, 30) g;
SELECT form, count(*) FROM live_trigger WHERE model = 'lp 2' AND role = 'events' GROUP BY 1 ORDER BY 1;
CREATE TABLE lp.touch_old (campaign text) INHERITS (lp.touch);
SELECT form, count(*) FROM live_trigger WHERE model = 'lp 2' AND role = 'events' GROUP BY 1 ORDER BY 1;
INSERT INTO lp.touch_old SELECT 1 + g % 12, (ARRAY['open', 'demo'])[1 + g % 2], '2025-01-01'::timestamptz + g * interval '1 hour', 'c' FROM generate_series(1, 30) g;
UPDATE lp.touch SET kind = 'demo', lead_id = lead_id % 5 WHERE lead_id IN (3, 4);
SELECT * FROM verify('lp 2');
CREATE TABLE lp.touch_apart (at timestamptz, lead_id int, kind text);
INSERT INTO lp.touch_apart SELECT '2024-01-01', g, 'demo' FROM generate_series(1, 5) g;
ALTER TABLE lp.touch_apart INHERIT lp.touch;
SELECT * FROM verify('lp 2');
TRUNCATE ONLY lp.touch;
SELECT * FROM verify('lp 2');
ALTER TABLE lp.touch_old NO INHERIT lp.touch;
SELECT * FROM verify('lp 2');
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'live_change'::regproc AND tgrelid = 'lp.touch_old'::regclass;
INSERT INTO lp.touch_old VALUES (1, 'open', now(), 'c');
SELECT * FROM verify('lp 2');
DROP TABLE lp.touch_apart;
SELECT * FROM verify('lp 2');
SELECT DISTINCT score FROM "score_lp 2";

SELECT drop_model('lp 2');

-- by an ordinary user; a rule that fails on the rows that come; nothing about the model itself
CREATE ROLE regress_lp;
GRANT USAGE, CREATE ON SCHEMA lp TO regress_lp;
SET ROLE regress_lp;
CREATE TABLE lp.person (id int PRIMARY KEY, staff int) PARTITION BY RANGE (id);
CREATE TABLE lp.person_1 PARTITION OF lp.person FOR VALUES FROM (0) TO (10);
CREATE TABLE lp.act (lead_id int, worth int, at timestamptz) PARTITION BY LIST (worth);
INSERT INTO lp.person VALUES (1, 5), (2, 5);
DO $$ BEGIN
	PERFORM create_model('lp 3', 'lp.person', 'lp.act', lead_key => 'id', event_lead => 'lead_id', event_at => 'at');
	PERFORM add_component('lp 3', 'all');
	PERFORM add_rule('lp 3', 'all', 'any', 'worth >= 0', 1, source => 'event');
	PERFORM add_rule('lp 3', 'all', 'staff', 'staff > 3', 100, source => 'lead');
	PERFORM add_rule('lp 3', 'all', 'odd', 'true', '12 / worth', source => 'event');
	PERFORM publish('lp 3');
END $$;
CREATE TABLE lp.act_0 (lead_id int, worth int, at timestamptz);
INSERT INTO lp.act_0 SELECT 1 + g % 2, 0, '2026-01-01' FROM generate_series(1, 6) g;
CREATE TABLE lp.act_3 (LIKE lp.act_0);
INSERT INTO lp.act_3 SELECT 1 + g % 2, 3, '2026-01-01' FROM generate_series(1, 4) g;
ALTER TABLE lp.act ATTACH PARTITION lp.act_0 FOR VALUES IN (0);
ALTER TABLE lp.act ATTACH PARTITION lp.act_3 FOR VALUES IN (3);
SELECT lead, score, (SELECT sum(failures) FROM rule_errors WHERE model = 'lp 3') FROM hottest('lp 3') ORDER BY 1;
TRUNCATE lp.act_3;
DROP TABLE lp.act_0;
CREATE TABLE lp.person_2 PARTITION OF lp.person FOR VALUES FROM (10) TO (20);
INSERT INTO lp.person VALUES (11, 5);
UPDATE lp.person SET staff = 1 WHERE id IN (2, 11);
SELECT lead, old FROM "past_lp 3" ORDER BY lead;
-- triggers that others make on the same functions do nothing
CREATE TABLE lp.mine (id int, staff int);
CREATE TRIGGER mine AFTER INSERT ON lp.mine FOR EACH ROW EXECUTE FUNCTION live_change();
INSERT INTO lp.mine VALUES (1, 1);
DROP TRIGGER mine ON lp.mine;
CREATE TRIGGER leadscore_live_row AFTER INSERT ON lp.mine FOR EACH ROW EXECUTE FUNCTION live_change();
INSERT INTO lp.mine VALUES (1, 1);
SELECT lead, score FROM hottest('lp 3') ORDER BY 1;
RESET ROLE;
SELECT drop_model('lp 3');

SET client_min_messages = warning;
DROP SCHEMA lp CASCADE;
DROP ROLE regress_lp;
