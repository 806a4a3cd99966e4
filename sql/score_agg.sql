-- regression test: score, sum() and decayed_sum(): NULLs, frames, parallel and partial plans
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC';
CREATE SCHEMA score_agg;
CREATE TABLE score_agg.event (id int PRIMARY KEY, lead int, points float8, at timestamptz, half_life interval DEFAULT '1 day');
INSERT INTO score_agg.event VALUES (1, 1, 8, '2026-01-01'), (2, 1, 4, '2026-01-02'), (3, 1, NULL, '2026-01-03'), (4, 1, 2, '2026-01-03'),
	(5, 2, 1, '2026-01-05'), (6, 2, -3, NULL), (7, 3, NULL, '2026-01-01'), (8, 4, 16, '2026-01-01'), (9, 4, 0, '2026-02-01');

-- NULLs are no points; a sum of nothing is NULL
SELECT lead, decayed_sum(points, at, half_life), sum(points(points, at, half_life)), sum(points(points))
FROM score_agg.event GROUP BY lead ORDER BY lead;
SELECT decayed_sum(points, at, half_life) AS a, sum(points(points)) AS b FROM score_agg.event WHERE false;
SELECT sum(s) FROM (VALUES (NULL::score), ('1|2'), (NULL), ('10|20')) AS x(s);
-- without half-life the points do not age, and need no instant
SELECT decayed_sum(points, at, NULL) AS same, sum(points(points, at, NULL)) AS as_this, sum(points) AS points FROM score_agg.event;
-- one, FILTER, DISTINCT, ORDER BY; the same aggregate twice; both over one transition
SELECT decayed_sum(points, at, half_life) FILTER (WHERE id = 1) AS one, decayed_sum(points, at, half_life) FILTER (WHERE false) AS none,
	sum(DISTINCT points(2)) AS distinct, sum(points(points) ORDER BY id DESC) AS ordered, sum(points(points)) AS unordered,
	sum(points(points)) @ now() AS twice
FROM score_agg.event;
SELECT decayed_sum(DISTINCT points, '2026-01-01', half_life) FROM score_agg.event;
-- the first row's own value is not changed by what follows
SELECT sum(s) AS sum, array_agg(s) AS rows, sum(s) FILTER (WHERE n > 1) AS others FROM (SELECT points(id::float8, '2026-01-01', '1 day') AS s, id AS n FROM score_agg.event ORDER BY id) x;
-- called by hand, the transitions leave the value they are given as it is, in the table's own page too
-- (beyond 126 bytes it lies there in the form in which a state may be changed)
CREATE TABLE score_agg.by_hand (s score);
INSERT INTO score_agg.by_hand SELECT a || a || a || a || a || a FROM points(8, '2026-01-01', '1 day') AS a;
SELECT parts(s, t), parts(score_accum(s, s), t) AS twice, parts(s, t) AS unchanged FROM score_agg.by_hand, (VALUES (timestamptz '2026-01-01')) AS x(t);
SELECT parts(s, '2026-01-01') AS unchanged, score_accum(NULL, s) = s AND score_accum(s, NULL) = s AS same, score_accum(NULL, NULL) FROM score_agg.by_hand;
SELECT decayed_accum('1@2026-01-01/1d', 1, '2026-01-01', '1 day'), decayed_accum('1@2026-01-01/1d', NULL, NULL, NULL), decayed_accum(NULL, 1, '2026-01-01', '1 day'), decayed_accum(NULL, NULL, NULL, NULL);

-- windows: running, moving, by groups of peers; every row keeps the value it was given
SELECT id, sum(points(points)) OVER (ORDER BY id) AS running,
	sum(points(points)) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS last_two,
	sum(points(points)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
	sum(points(points)) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW) AS after,
	decayed_sum(points, at, half_life) OVER (PARTITION BY lead ORDER BY id) AS of_lead
FROM score_agg.event ORDER BY id;
SELECT id, running, lag(running) OVER (ORDER BY id) AS one_row_ago, array_agg(running) OVER (ORDER BY id ROWS 2 PRECEDING) AS last_three
FROM (SELECT id, sum(points(points)) OVER (ORDER BY id) AS running FROM score_agg.event) x ORDER BY id;
SELECT count(*) AS frames, count(*) FILTER (WHERE running @ t <> (SELECT sum(points(n)) @ t FROM generate_series(1, i) AS n)) AS wrong
FROM (SELECT i, sum(points(i)) OVER (ORDER BY i) AS running, timestamptz '2026-01-01' AS t FROM generate_series(1, 300) AS i) x;

-- what cannot be added says why
SELECT sum(s) FROM (VALUES ('1'::score), ('2'), ('1@2026-01-01/1d')) AS x(s);
SELECT sum(s) FROM (VALUES ('1|2'::score), ('1|2[0,]')) AS x(s);
SELECT decayed_sum(1, '2026-01-01', h) FROM (VALUES (interval '1 day'), ('2 days')) AS x(h);
SELECT decayed_sum(1, '2026-01-01', h) FROM (VALUES (interval '1 day'), (NULL)) AS x(h);
SELECT decayed_sum(p, '2026-01-01', '1 day') FROM (VALUES (1.7e308::float8), (1.7e308)) AS x(p);
SELECT decayed_sum(p, '2026-01-01', '1 day') FROM (VALUES (1::float8), ('NaN')) AS x(p);
SELECT decayed_sum('infinity', '2026-01-01', '1 day');
SELECT decayed_sum(1, t, '1 day') FROM (VALUES (timestamptz '2026-01-01'), ('infinity')) AS x(t);
SELECT decayed_sum(1, '2026-01-01', '0.5 seconds');

-- the state is a score, the aggregates are parallel and can be split anywhere
SELECT aggfnoid::regprocedure, aggtranstype::regtype, aggcombinefn::regproc, aggserialfn, aggfinalfn, proparallel
FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid WHERE pronamespace = 'leadscore'::regnamespace AND aggtranstype = 'score'::regtype ORDER BY aggfnoid::regprocedure::text COLLATE "C";

-- partial and parallel plans: the same sums
CREATE TABLE score_agg.interaction (lead int, points float8, at timestamptz) PARTITION BY HASH (lead);
CREATE TABLE score_agg.interaction_0 PARTITION OF score_agg.interaction FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE score_agg.interaction_1 PARTITION OF score_agg.interaction FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT setseed(0.5);
INSERT INTO score_agg.interaction SELECT (random() * 50)::int, (random() - 0.3) * 20, timestamptz '2024-01-01' + random() * interval '700 days' FROM generate_series(1, 50000);
ANALYZE score_agg.interaction;
CREATE FUNCTION score_agg.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; found text = '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		found = found || coalesce(substring(line FROM 'Partial|Finalize|Gather|Append|Aggregate') || ' ', '');
	END LOOP;
	RETURN found;
END $$;
CREATE VIEW score_agg.per_lead AS
SELECT lead, count(*), decayed_sum(points, at, '14 days') AS a, sum(points(points, at, '14 days', 0, 100) || points(points)) AS b
FROM score_agg.interaction GROUP BY lead;
SET max_parallel_workers_per_gather = 0;
SELECT score_agg.plan_of('SELECT * FROM score_agg.per_lead');
CREATE TABLE score_agg.serial AS SELECT * FROM score_agg.per_lead;
CREATE FUNCTION score_agg.differences() RETURNS TABLE (leads bigint, different bigint) LANGUAGE sql AS $$
	SELECT count(*), count(*) FILTER (WHERE s.count <> p.count OR abs((s.a @ t) - (p.a @ t)) > 1e-9 * abs(s.a @ t) OR abs((s.b @ t) - (p.b @ t)) > 1e-9 * (1 + abs(s.b @ t)))
	FROM score_agg.serial s FULL JOIN score_agg.per_lead p USING (lead), (VALUES (timestamptz '2026-01-01')) AS x(t) $$;
-- by partition
SET enable_partitionwise_aggregate = on;
SELECT score_agg.plan_of('SELECT * FROM score_agg.per_lead');
SELECT * FROM score_agg.differences();
RESET enable_partitionwise_aggregate;
-- in parallel
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT score_agg.plan_of('SELECT * FROM score_agg.per_lead');
SELECT * FROM score_agg.differences();
-- partial aggregation below an append, groups that span partitions
SET enable_partitionwise_aggregate = on;
SET max_parallel_workers_per_gather = 0;
SELECT score_agg.plan_of('SELECT decayed_sum(points, at, ''14 days'') FROM score_agg.interaction');
SELECT abs(split - whole) < 1e-9 * whole AS same FROM
	(SELECT decayed_sum(points, at, '14 days') @ '2026-01-01' AS split FROM score_agg.interaction) a,
	(SELECT sum(points * 0.5 ^ (extract(epoch FROM timestamptz '2026-01-01' - at)::float8 / 1209600)) AS whole FROM score_agg.interaction) b;
SET enable_hashagg = off;
SELECT * FROM score_agg.differences();
-- spilled to disk, whole groups are read again
RESET enable_hashagg; RESET enable_partitionwise_aggregate; SET work_mem = '64kB'; SET hash_mem_multiplier = 1;
SELECT count(*), sum(abs((s @ '2026-01-01') - p)) < 1e-6 AS same
FROM (SELECT id, decayed_sum(p, '2026-01-01', '1 day') AS s, sum(p) AS p
	  FROM (SELECT i % 20000 AS id, i::float8 AS p FROM generate_series(1, 60000) AS i) e GROUP BY id) x;

SET client_min_messages = warning;
DROP SCHEMA score_agg CASCADE;
