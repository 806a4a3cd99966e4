-- regression test: score, equality, hash and the order of representations
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA score_order;

-- equal is what has the same shape, values and instants, however it was written
SELECT '1.0[0,10]'::score = '1 [ -0 , 1e1 ]' AS a, '1@2026-01-01/24h'::score = '1@2026-01-01T02:00+02/1d' AS b, '0'::score = '-0' AS c,
	'1'::score = '1[0,]' AS d, '1@2026-01-01/1d'::score = '2@2025-12-31/1d' AS e, '1|2'::score = '2|1' AS f, '1'::score <> '1 total[0,]' AS g;

-- a total order: on every pair of a grid one of three holds, and all operators agree
CREATE TABLE score_order.grid (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s score);
INSERT INTO score_order.grid (s)
SELECT (v || a || b || t)::score
FROM unnest(ARRAY['0', '1', '-1', '5e-324', '1.7976931348623157e308', '0.1']) AS v,
	unnest(ARRAY['', '@0001-01-01/1s', '@1999-12-31T23:59:59Z/1s', '@2026-01-01/14d', '@9999-12-31/365250d']) AS a,
	unnest(ARRAY['', '[0,]', '[,50]', '[-1,1]']) AS b, unnest(ARRAY['', ' | 2', ' total[0,10]']) AS t;
SELECT count(*) AS pairs,
	count(*) FILTER (WHERE (a.s < b.s)::int + (a.s = b.s)::int + (a.s > b.s)::int <> 1) AS not_one_of_three,
	count(*) FILTER (WHERE (a.s = b.s) <> (a.id = b.id)) AS wrongly_equal,
	count(*) FILTER (WHERE (a.s <= b.s) <> (a.s < b.s OR a.s = b.s) OR (a.s >= b.s) <> NOT (a.s < b.s) OR (a.s <> b.s) = (a.s = b.s)
					 OR (a.s < b.s) <> (b.s > a.s) OR sign(score_cmp(a.s, b.s)) <> (a.s > b.s)::int - (a.s < b.s)::int) AS disagree,
	count(*) FILTER (WHERE (score_hash(a.s) = score_hash(b.s)) <> (a.s = b.s)
					 OR (score_hash_extended(a.s, 42) = score_hash_extended(b.s, 42)) <> (a.s = b.s)) AS hash_collides
FROM score_order.grid a, score_order.grid b;
-- transitive: sorted by the operators or by the index, each comes before all that follow
SELECT count(*) AS out_of_order
FROM (SELECT s, row_number() OVER (ORDER BY s) AS n FROM score_order.grid) a
JOIN (SELECT s, row_number() OVER (ORDER BY s USING <) AS n FROM score_order.grid) b ON a.n < b.n AND NOT a.s < b.s;
-- the extended hash continues the plain one; a seed changes it
SELECT count(*) FILTER (WHERE score_hash_extended(s, 0)::bit(32) <> score_hash(s)::bit(32)) AS differ,
	count(*) FILTER (WHERE score_hash_extended(s, 0) = score_hash_extended(s, 1)) AS unseeded FROM score_order.grid;
SELECT count(*) FROM score_order.grid WHERE s IS NOT DISTINCT FROM s AND NOT s IS DISTINCT FROM s AND (s = NULL) IS NULL;

-- it is no ranking: the order of representations and the order of totals are different things
SELECT count(*) > 0 AS hotter_but_before FROM score_order.grid a, score_order.grid b WHERE a.s < b.s AND a.s @ '2026-01-01' > b.s @ '2026-01-01';

-- every way of grouping and joining finds the same
CREATE TABLE score_order.twice AS SELECT id, s FROM score_order.grid UNION ALL SELECT id, s::text::score FROM score_order.grid UNION ALL SELECT NULL, NULL;
ANALYZE score_order.twice;
SET enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT s FROM score_order.twice GROUP BY s;
SELECT count(*), count(s) FROM (SELECT s FROM score_order.twice GROUP BY s HAVING count(*) = 2 OR s IS NULL) x;
RESET enable_hashagg; SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT s FROM score_order.twice GROUP BY s;
SELECT count(*), count(s) FROM (SELECT s FROM score_order.twice GROUP BY s HAVING count(*) = 2 OR s IS NULL) x;
RESET enable_sort;
SELECT count(DISTINCT s) FROM score_order.twice;
SELECT count(*) FROM (SELECT s FROM score_order.twice INTERSECT SELECT s FROM score_order.grid) x;
SET enable_nestloop = off; SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM score_order.twice JOIN score_order.grid USING (s);
SELECT count(*), count(*) FILTER (WHERE a.id = b.id) FROM score_order.twice a JOIN score_order.grid b USING (s);
RESET enable_mergejoin; SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM score_order.twice JOIN score_order.grid USING (s);
SELECT count(*), count(*) FILTER (WHERE a.id = b.id) FROM score_order.twice a JOIN score_order.grid b USING (s);
RESET enable_nestloop; RESET enable_hashjoin;
SELECT count(*) AS max_by_sort FROM (SELECT s FROM score_order.grid ORDER BY s DESC LIMIT 1) x, score_order.grid g WHERE g.s > x.s;

-- indexes: unique, the order of btree, hash; partitions by hash
CREATE TABLE score_order.once (s score UNIQUE);
INSERT INTO score_order.once SELECT s FROM score_order.grid;
INSERT INTO score_order.once VALUES ('1 | 2.0');
SELECT count(*) FROM score_order.once;
CREATE INDEX ON score_order.twice USING btree (s);
CREATE INDEX ON score_order.grid USING hash (s);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM score_order.twice WHERE s = '1 | 2';
SELECT count(*) FROM score_order.twice WHERE s = '1 | 2';
EXPLAIN (COSTS OFF) SELECT id FROM score_order.grid WHERE s = '1 | 2';
SELECT count(*) FROM score_order.grid WHERE s = '1 | 2';
SELECT count(*) FROM score_order.twice WHERE s BETWEEN '1' AND '1 | 2' AND NOT (s < '1' OR s > '1 | 2');
RESET enable_seqscan;
CREATE TABLE score_order.split (s score) PARTITION BY HASH (s);
CREATE TABLE score_order.split_0 PARTITION OF score_order.split FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE score_order.split_1 PARTITION OF score_order.split FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO score_order.split SELECT s FROM score_order.grid;
SELECT count(*) AS all, count(DISTINCT tableoid) AS partitions FROM score_order.split;
SELECT opcname, amname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
WHERE opcintype = 'score'::regtype AND amname IN ('btree', 'hash') ORDER BY 2;

SET client_min_messages = warning;
DROP SCHEMA score_order CASCADE;
