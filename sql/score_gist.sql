-- regression test: the GiST operator class score_ops: plans, kinds of index, shapes
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; CREATE EXTENSION IF NOT EXISTS btree_gist; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA score_gist;
SET search_path = score_gist, public, leadscore;
SET max_parallel_workers_per_gather = 0;

SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'score_ops';

SELECT setseed(0.31);
CREATE TABLE lead (lead_id int, stage text, score score);
INSERT INTO lead
SELECT n, (array['lead', 'mql', 'sql'])[1 + n % 3],
	   points((random() * 60)::int, hi => 50) ||
	   points(round(random() * random() * 400), timestamptz '2026-01-01' + random() * interval '60 days', '14 days', 0, 100)
FROM generate_series(1, 8000) n;
INSERT INTO lead SELECT 8000 + n, 'lead', NULL FROM generate_series(1, 5) n;

-- the oracle: the same questions while there is no index
CREATE TABLE instant (at timestamptz);
INSERT INTO instant VALUES ('2025-06-01'), ('2026-03-02'), ('2027-01-01');
CREATE VIEW top AS
SELECT i.at, l.n AS a, l.distance AS b FROM instant i,
	 LATERAL (SELECT row_number() OVER () AS n, d.distance
			  FROM (SELECT score <~> i.at AS distance FROM lead ORDER BY score <~> i.at LIMIT 200) d) l;
CREATE VIEW reaching AS
SELECT i.at, l.* FROM instant i,
	 LATERAL (SELECT count(*), sum(lead_id) FROM lead WHERE reaches(score, 60, i.at)) l;
CREATE VIEW everything AS
SELECT i.at, l.* FROM instant i,
	 LATERAL (SELECT count(*), count(distance) AS scored, md5(string_agg(distance::text, ',')) AS all_distances
			  FROM (SELECT score <~> i.at AS distance FROM lead ORDER BY score <~> i.at) d) l;
CREATE TABLE expected_top AS TABLE top;
CREATE TABLE expected_reaching AS TABLE reaching;
CREATE TABLE expected_everything AS TABLE everything;

-- with no setting changed, the planner takes the index
CREATE INDEX lead_score ON lead USING gist (score);
ANALYZE lead;
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead ORDER BY score <~> now() LIMIT 20;
EXPLAIN (COSTS OFF) SELECT score <~> '2026-03-02' FROM lead ORDER BY score <~> '2026-03-02' LIMIT 20;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead WHERE reaches(score, 130, now());
RESET enable_bitmapscan;
-- not where the arguments change from row to row, nor for another column of its kind
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead WHERE reaches(score, lead_id, now());
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead WHERE reaches(-score, 130, now());
-- but where they come from another row
SET enable_bitmapscan = off; SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead WHERE reaches(score, 149, '2026-03-02') ORDER BY score <~> '2026-03-02';
EXPLAIN (COSTS OFF) SELECT * FROM unnest(ARRAY[now(), 'epoch']) i (at), LATERAL (SELECT count(*) FROM lead WHERE reaches(score, 130, i.at)) c;

-- the same answers as without the index
CREATE VIEW difference AS
SELECT 'top' AS what, d.* FROM ((TABLE top EXCEPT TABLE expected_top) UNION ALL (TABLE expected_top EXCEPT TABLE top)) d
UNION ALL
SELECT 'reaching', d.* FROM ((TABLE reaching EXCEPT TABLE expected_reaching) UNION ALL (TABLE expected_reaching EXCEPT TABLE reaching)) d
UNION ALL
SELECT 'everything', d.at, d.count, d.scored FROM ((TABLE everything EXCEPT TABLE expected_everything) UNION ALL (TABLE expected_everything EXCEPT TABLE everything)) d;
TABLE difference;
-- NULL comes last, as in any other order
SELECT count(*), count(score) FROM (SELECT score FROM lead ORDER BY score <~> now() OFFSET 8000) l;
-- NULL arguments find nothing
SELECT count(*) FROM lead WHERE reaches(score, NULL, now());
-- backwards in a cursor
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT round((score @ '2026-03-02')::numeric, 6) AS total FROM lead ORDER BY score <~> '2026-03-02';
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
COMMIT;

-- row by row, and with rows that go and come back
DROP INDEX lead_score;
CREATE TABLE copy AS TABLE lead;
TRUNCATE lead;
CREATE INDEX lead_score ON lead USING gist (score);
INSERT INTO lead SELECT * FROM copy ORDER BY md5(lead_id::text);
TABLE difference;
DELETE FROM lead WHERE lead_id % 2 = 0;
VACUUM lead;
INSERT INTO lead SELECT * FROM copy WHERE lead_id % 2 = 0;
TABLE difference;
-- pages that splits made are not empty, and the tree is not deep
SELECT pg_relation_size('lead_score') < 1300 * 1024 AS small;

-- buffered build
DROP INDEX lead_score;
CREATE INDEX lead_score ON lead USING gist (score) WITH (buffering = on);
TABLE difference;

-- concurrently, reindexed, and on an unlogged table
DROP INDEX lead_score;
CREATE INDEX CONCURRENTLY lead_score ON lead USING gist (score);
REINDEX INDEX CONCURRENTLY lead_score;
TABLE difference;
ALTER TABLE lead SET UNLOGGED;
TABLE difference;

-- after another column, included, partial
DROP INDEX lead_score;
CREATE INDEX lead_score ON lead USING gist (stage, score);
EXPLAIN (COSTS OFF) SELECT lead_id FROM lead WHERE stage = 'mql' AND reaches(score, 100, '2026-03-02') ORDER BY score <~> '2026-03-02' LIMIT 20;
SELECT (SELECT array_agg(d) FROM (SELECT score <~> '2026-03-02' AS d FROM lead WHERE stage = 'mql' ORDER BY score <~> '2026-03-02' LIMIT 50) t)
	 = (SELECT array_agg(d) FROM (SELECT score <~> '2026-03-02' AS d FROM copy WHERE stage = 'mql' ORDER BY score <~> '2026-03-02' LIMIT 50) t) AS same;
TABLE difference;
DROP INDEX lead_score;
CREATE INDEX lead_score ON lead USING gist (score) INCLUDE (lead_id) WHERE stage = 'sql';
VACUUM lead;
EXPLAIN (COSTS OFF) SELECT lead_id, score FROM lead WHERE stage = 'sql' ORDER BY score <~> '2026-03-02' LIMIT 3;
SELECT (SELECT array_agg(s) FROM (SELECT score @ '2026-03-02' AS s FROM lead WHERE stage = 'sql' ORDER BY score <~> '2026-03-02' LIMIT 50) t)
	 = (SELECT array_agg(s) FROM (SELECT score @ '2026-03-02' AS s FROM copy WHERE stage = 'sql' ORDER BY score <~> '2026-03-02' LIMIT 50) t) AS same;

-- after a column of type stage, for which we bring the class: bulk built, row by row, all operators
SELECT opcname, amvalidate(oid) FROM pg_opclass WHERE opcname = 'stage_ops' AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'gist');
CREATE TABLE staged (lead_id int, stage stage, score score);
INSERT INTO staged SELECT lead_id, CASE WHEN lead_id % 7 > 0 THEN stage::stage END, score FROM copy;
CREATE TABLE staged_rows (LIKE staged);
CREATE INDEX ON staged_rows USING gist (stage, score);
INSERT INTO staged_rows SELECT * FROM staged ORDER BY md5(lead_id::text);
CREATE TABLE staged_expected AS
SELECT op, q, array(SELECT lead_id FROM staged s
					WHERE CASE op WHEN '<' THEN stage < q WHEN '<=' THEN stage <= q WHEN '=' THEN stage = q WHEN '>=' THEN stage >= q ELSE stage > q END
					  AND reaches(score, 60, '2026-03-02') ORDER BY lead_id) AS ids,
	   array(SELECT score @ '2026-03-02' FROM staged s WHERE stage = q ORDER BY score <~> '2026-03-02' LIMIT 40) AS top
FROM unnest(array['<', '<=', '=', '>=', '>']) op, unnest(array['lead', 'mql', 'sql', 'client']::stage[]) q;
CREATE INDEX ON staged USING gist (stage, score);
EXPLAIN (COSTS OFF) SELECT lead_id FROM staged WHERE stage = 'mql' ORDER BY score <~> now() LIMIT 20;
EXPLAIN (COSTS OFF) SELECT stage, score FROM staged WHERE stage >= 'sql' AND reaches(score, 60, now());
CREATE FUNCTION staged_answer(relation regclass, op text, q stage) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('SELECT array(SELECT lead_id FROM %1$s WHERE stage %2$s %3$L AND reaches(score, 60, %4$L) ORDER BY lead_id)::text || array(SELECT score @ %4$L FROM %1$s WHERE stage = %3$L ORDER BY score <~> %4$L LIMIT 40)::text',
				   relation, op, q, '2026-03-02') INTO answer;
	RETURN answer;
END $$;
SELECT relation, op, q FROM staged_expected, (VALUES ('staged'), ('staged_rows')) r (relation)
WHERE staged_answer(relation::regclass, op, q) <> ids::text || top::text;
SELECT count(*) AS cases, count(*) FILTER (WHERE cardinality(ids) > 100) AS many FROM staged_expected;

-- partitioned: one ordered scan over all partitions
CREATE TABLE parted (LIKE lead) PARTITION BY LIST (stage);
CREATE TABLE parted_lead PARTITION OF parted FOR VALUES IN ('lead');
CREATE TABLE parted_other PARTITION OF parted DEFAULT;
CREATE INDEX ON parted USING gist (score);
INSERT INTO parted TABLE copy;
EXPLAIN (COSTS OFF) SELECT lead_id FROM parted ORDER BY score <~> '2026-03-02' LIMIT 20;
SELECT (SELECT array_agg(d) FROM (SELECT score <~> '2026-03-02' AS d FROM parted ORDER BY score <~> '2026-03-02' LIMIT 50) t)
	 = (SELECT array_agg(d) FROM (SELECT score <~> '2026-03-02' AS d FROM copy ORDER BY score <~> '2026-03-02' LIMIT 50) t) AS same;
RESET enable_bitmapscan; RESET enable_seqscan;

-- row estimates: from statistics, at the instant asked for
CREATE FUNCTION estimate(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8;
END $$;
ANALYZE copy;
SELECT threshold, at, abs(estimate(format('SELECT FROM copy WHERE reaches(score, %s, %L)', threshold, at))
		   - count(*) FILTER (WHERE reaches(score, threshold, at))) < 1200 AS close
FROM copy, (VALUES (20, '2026-03-02'), (40, '2026-03-02'), (40, '2027-03-02'), (130, '2026-03-02'::timestamptz)) v (threshold, at)
GROUP BY 1, 2 ORDER BY 2, 1;
SELECT estimate('SELECT FROM copy WHERE reaches(score, NULL, now())') AS null_threshold;

-- scores of different shapes: refused, on an index of one page too
CREATE TABLE mixed (score score);
CREATE INDEX mixed_score ON mixed USING gist (score);
INSERT INTO mixed VALUES (points(1, '2026-01-01', '14 days', hi => 100));
\set VERBOSITY default
INSERT INTO mixed VALUES (points(1, '2026-01-01', '15 days', hi => 100));
\set VERBOSITY terse
INSERT INTO mixed VALUES (NULL), (points(1));
INSERT INTO mixed VALUES (points(1, '2026-01-01', '14 days', hi => 100) || points(1));
INSERT INTO mixed VALUES (bounded(points(1, '2026-01-01', '14 days', hi => 100), 0, 1));
UPDATE mixed SET score = points(1, '2026-01-01', '14 days', hi => 99);
INSERT INTO mixed VALUES (points(2, '2027-01-01', '14 days', hi => 100)), (NULL);
DROP INDEX mixed_score;
INSERT INTO mixed VALUES (points(1));
CREATE INDEX mixed_score ON mixed USING gist (score);
CREATE INDEX mixed_score ON mixed USING gist (score) WITH (buffering = on);
CREATE INDEX mixed_score ON mixed USING gist (score) WHERE score @ '2026-06-01' < 1;
SELECT count(*) FROM mixed;

-- two columns of scores, each of its own shape
CREATE TABLE two (a score, b score);
CREATE INDEX ON two USING gist (a, b);
INSERT INTO two SELECT points(n), points(n, '2026-01-01', '14 days') FROM generate_series(1, 2000) n;
SET enable_seqscan = off;
SELECT a @ now() AS a FROM two WHERE reaches(a, 1999, now()) ORDER BY b <~> '2026-01-01';
RESET enable_seqscan;

SET search_path = public, leadscore;
SET client_min_messages = warning;
DROP SCHEMA score_gist CASCADE;
