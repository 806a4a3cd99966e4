-- regression test: score, its laws on random cases, against sums worked out in plain SQL
-- (test/t/*_score_laws.pl runs this file again with other seeds)
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC';
CREATE SCHEMA score_laws;
\if :{?seed}
\else
\set seed 0.20261123
\endif
\echo seed :seed
SELECT setseed(:seed) \g /dev/null

-- 10,000 leads of 1 to 12 events with components of three kinds: half-lives from
-- 1 second to 100 years, instants from 1970 to 2200 over spans of up to 40
-- half-lives or 230 years, points of both signs over 12 orders of magnitude
CREATE TABLE score_laws.lead AS
SELECT i AS lead, power(10::float8, random() * 9.499) AS h1, power(10::float8, random() * 9.499) AS h2,
	1 + floor(random() * 12)::int AS events, random() < 0.5 AS near, random() AS start, random() AS ask,
	CASE WHEN random() < 0.5 THEN -power(10::float8, random() * 4) END AS lo,
	CASE WHEN random() < 0.5 THEN power(10::float8, random() * 4) END AS hi,
	CASE WHEN random() < 0.3 THEN -power(10::float8, random() * 4) END AS total_lo,
	CASE WHEN random() < 0.3 THEN power(10::float8, random() * 4) END AS total_hi
FROM generate_series(1, 10000) AS i;
CREATE TABLE score_laws.event AS
SELECT lead, n, lo, hi, make_interval(secs => h1) AS h1, make_interval(secs => h2) AS h2,
	timestamptz '1970-01-01' + make_interval(secs => CASE WHEN near THEN start * 7e9 + offset_ * least(h1 * 40, 2.5e8) ELSE offset_ * 7.258e9 END) AS at,
	(CASE WHEN n % 3 = 0 THEN -1 ELSE 1 END) * power(10::float8, random() * 12 - 6) AS p1,
	round((random() - 0.4) * 50) AS p2, round((random() - 0.4) * 20) AS p3
FROM score_laws.lead, LATERAL generate_series(1, events) AS n, LATERAL (SELECT random() AS offset_, n AS correlated) AS o;
ALTER TABLE score_laws.event ADD s score, ADD shuffle float8;
UPDATE score_laws.event SET shuffle = random(), s = points(p1, at, h1, lo, hi) || points(p2, at, h2) || points(p3, at);
-- the plans below must not hang on what a sample happens to hold
ALTER TABLE score_laws.event ALTER lead SET (n_distinct = 300);
ANALYZE score_laws.event;
-- each lead asked at an instant of its own: half of them between its events, where later ones are
-- extrapolated backwards (by up to 800 half-lives, or float8 ends), half after all of them
CREATE TABLE score_laws.question AS
SELECT lead, total_lo, total_hi, last, CASE WHEN ask < 0.5 THEN greatest(first + (last - first) * ask * 2, last - make_interval(secs => least(800 * least(h1, h2), 8e9)))
	ELSE last + make_interval(secs => (ask - 0.5) * 20 * least(h1, h2)) END AS t
FROM score_laws.lead JOIN (SELECT lead, min(at) AS first, max(at) AS last FROM score_laws.event GROUP BY lead) e USING (lead);
-- the definition, in float8: points * 2 ^ -(elapsed / half-life), clamped, added, clamped; and
-- the magnitudes that went into it
CREATE TABLE score_laws.expected AS
SELECT lead, t, last, parts, greatest(total_lo, least(total_hi, parts[1] + parts[2] + parts[3])) AS total, parts_m, parts_m[1] + parts_m[2] + parts_m[3] AS magnitude
FROM (SELECT q.*, ARRAY[greatest(lo, least(hi, sum(p1 * f1))), sum(p2 * f2), sum(p3)] AS parts, ARRAY[sum(abs(p1) * f1), sum(abs(p2) * f2), sum(abs(p3))] AS parts_m
	  FROM score_laws.question q JOIN score_laws.event e USING (lead),
		LATERAL (SELECT extract(epoch FROM t - at)::float8 AS elapsed) AS a,
		LATERAL (SELECT elapsed / extract(epoch FROM h1)::float8 AS x1, elapsed / extract(epoch FROM h2)::float8 AS x2) AS b,
		LATERAL (SELECT CASE WHEN x1 < 1000 THEN power(2::float8, -x1) ELSE 0 END AS f1, CASE WHEN x2 < 1000 THEN power(2::float8, -x2) ELSE 0 END AS f2) AS c
	  GROUP BY q.lead, t, last, total_lo, total_hi, lo, hi) AS d;
SELECT count(*) AS leads, count(*) FILTER (WHERE parts_m[1] > 1e-6 AND parts_m[2] > 1e-6) >= 8000 AS most_count,
	count(*) FILTER (WHERE total <> parts[1] + parts[2] + parts[3]) > 1000 AS some_totals_clamped, count(*) FILTER (WHERE t < last) > 4000 AS half_between_events
FROM score_laws.expected;
CREATE FUNCTION score_laws.off(got float8, expected float8, magnitude float8) RETURNS boolean LANGUAGE sql IMMUTABLE AS
	$$ SELECT NOT coalesce(abs(got - expected) <= 1e-9 * magnitude + 1e-290, false) $$;

-- exact ageing: the sum of the events, added in random order, at the instant asked
CREATE TABLE score_laws.kept AS SELECT lead, sum(s ORDER BY shuffle) AS s FROM score_laws.event GROUP BY lead;
SELECT count(*) FILTER (WHERE score_laws.off(bounded(s, total_lo, total_hi) @ q.t, total, magnitude)) AS total_off,
	count(*) FILTER (WHERE score_laws.off((parts(s, q.t))[1], parts[1], parts_m[1])) AS part_1_off,
	count(*) FILTER (WHERE score_laws.off((parts(s, q.t))[2], parts[2], parts_m[2])) AS part_2_off,
	count(*) FILTER (WHERE score_laws.off((parts(s, q.t))[3], parts[3], parts_m[3])) AS part_3_off
FROM score_laws.expected JOIN score_laws.kept USING (lead) JOIN score_laws.question q USING (lead);
-- one component at a time, by the aggregate that needs no scores
SELECT count(*) FILTER (WHERE score_laws.off(s @ e.t, parts[2], parts_m[2])) AS decayed_sum_off
FROM score_laws.expected e JOIN (SELECT lead, decayed_sum(p2, at, h2) AS s FROM score_laws.event GROUP BY lead) d USING (lead);
SELECT count(*) AS differs_from_its_definition
FROM (SELECT decayed_sum(p1, at, h1 ORDER BY n) AS a, sum(points(p1, at, h1) ORDER BY n) AS b FROM score_laws.event GROUP BY lead) x WHERE a <> b;

-- free of order: as they came, newest first, in batches, added one by one, in parallel
CREATE FUNCTION score_laws.sums_off(query text, OUT missing bigint, OUT sum_off bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT count(*), count(*) FILTER (WHERE score_laws.off(b.s @ t, k.s @ t, magnitude)) FROM score_laws.expected JOIN score_laws.kept k USING (lead) JOIN ('
		|| query || ') b USING (lead)' INTO missing, sum_off;
	missing = (SELECT count(*) FROM score_laws.expected) - missing;
END $$;
SELECT 'oldest first' AS order, * FROM score_laws.sums_off('SELECT lead, sum(s ORDER BY at) AS s FROM score_laws.event GROUP BY lead')
UNION ALL SELECT 'newest first', * FROM score_laws.sums_off('SELECT lead, sum(s ORDER BY at DESC) AS s FROM score_laws.event GROUP BY lead')
UNION ALL SELECT 'in batches', * FROM score_laws.sums_off('SELECT lead, sum(s) AS s FROM (SELECT lead, sum(s) AS s FROM score_laws.event GROUP BY lead, n % 4) b GROUP BY lead')
UNION ALL SELECT 'in stored batches', * FROM score_laws.sums_off('SELECT lead, sum(s::text::score ORDER BY s DESC) AS s FROM (SELECT lead, sum(s) AS s FROM score_laws.event GROUP BY lead, n / 3) b GROUP BY lead')
UNION ALL SELECT 'the last of a window', * FROM score_laws.sums_off('SELECT DISTINCT ON (lead) lead, sum(s) OVER (PARTITION BY lead ORDER BY shuffle) AS s FROM score_laws.event ORDER BY lead, shuffle DESC')
UNION ALL SELECT 'one by one', * FROM score_laws.sums_off('WITH RECURSIVE r AS (SELECT lead, n, s FROM score_laws.event WHERE n = 1 UNION ALL SELECT r.lead, e.n, e.s + r.s FROM r JOIN score_laws.event e ON e.lead = r.lead AND e.n = r.n + 1)
	SELECT DISTINCT ON (lead) lead, s FROM r ORDER BY lead, n DESC');
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2; SET enable_hashagg = off;
CREATE FUNCTION score_laws.is_partial(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text; partial boolean = false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP partial = partial OR line ~ 'Partial'; END LOOP;
	RETURN partial;
END $$;
SELECT score_laws.is_partial('SELECT lead, sum(s) AS s FROM score_laws.event GROUP BY lead');
CREATE TABLE score_laws.in_parallel AS SELECT lead, sum(s) AS s FROM score_laws.event GROUP BY lead;
SELECT 'in parallel' AS order, * FROM score_laws.sums_off('TABLE score_laws.in_parallel');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather; RESET enable_hashagg;

-- what is taken away is as if it had never been, asked from the last event on
SELECT count(*) >= 4000 AS enough, count(*) FILTER (WHERE score_laws.off((k.s - gone.s) @ t, remain.s @ t, magnitude)) AS subtraction_off,
	count(*) FILTER (WHERE score_laws.off((k.s + - gone.s) @ t, remain.s @ t, magnitude)) AS negation_off
FROM score_laws.expected JOIN score_laws.kept k USING (lead)
JOIN (SELECT lead, sum(s) AS s FROM score_laws.event WHERE n % 3 = 1 GROUP BY lead) gone USING (lead)
JOIN (SELECT lead, sum(s) AS s FROM score_laws.event WHERE n % 3 <> 1 GROUP BY lead) remain USING (lead)
WHERE t >= last;

-- the laws of addition, on triples of events of one lead
CREATE TABLE score_laws.triple AS
SELECT a.lead, a.s AS a, b.s AS b, c.s AS c, greatest(a.at, b.at, c.at) AS t, abs(a.p1) + abs(a.p2) + abs(a.p3) + abs(b.p1) + abs(b.p2) + abs(b.p3) + abs(c.p1) + abs(c.p2) + abs(c.p3) AS magnitude
FROM score_laws.event a JOIN score_laws.event b ON b.lead = a.lead AND b.n = a.n + 1 JOIN score_laws.event c ON c.lead = a.lead AND c.n = a.n + 2 LIMIT 20000;
SELECT count(*) AS cases,
	count(*) FILTER (WHERE a + b <> b + a) AS not_commutative,
	count(*) FILTER (WHERE score_laws.off(((a + b) + c) @ t, (a + (b + c)) @ t, magnitude)) AS not_associative,
	count(*) FILTER (WHERE parts(a - a, t) <> '{0,0,0}' OR (a - a) @ '1970-01-01' <> 0) AS does_not_cancel,
	count(*) FILTER (WHERE a - b <> a + (- b) OR - (- a) <> a OR - (a + b) <> - a - b) AS negation_wrong,
	count(*) FILTER (WHERE score_laws.off(((a + b) - b) @ t, a @ t, magnitude)) AS does_not_undo,
	count(*) FILTER (WHERE score_laws.off((parts(a + b, t))[2], (parts(a, t))[2] + (parts(b, t))[2], magnitude)) AS not_additive
FROM score_laws.triple;

SET client_min_messages = warning;
DROP SCHEMA score_laws CASCADE;
