-- regression test: the aggregate window_funnel
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA wf;

-- the truth table: one letter a second, funnel A, B, C, window of an hour; D is no step
CREATE FUNCTION wf.run(events text, mode text, win interval DEFAULT '1 hour', steps text[] DEFAULT '{A,B,C}') RETURNS int LANGUAGE sql AS
$$ SELECT leadscore.window_funnel('2026-01-01'::timestamptz + i * interval '1 second', substr(events, i, 1), steps, win, mode)
   FROM generate_series(1, length(events)) i $$;
SELECT e AS events, wf.run(e, 'ordered') AS ordered, wf.run(e, 'strict_order') AS strict_order,
	wf.run(e, 'strict_increase') AS strict_increase, wf.run(e, 'reentry') AS reentry, wf.run(e, 'once') AS once
FROM unnest('{ABC,ADBC,AABBCC,AABBDCC,BBCCAA,ABAC,ACBC,ABDABC,CBA,AC,B,D,A}'::text[]) e;

-- the window counts from the first step and includes its end; the latest start is the best
SELECT w, wf.run('ADDDBC', 'ordered', w) AS one_start, wf.run('ADDABC', 'ordered', w) AS two_starts
FROM unnest('{0 s,1 s,2 s,4 s,5 s}'::interval[]) w;

-- windows of single steps: A to B, B to C; NULL is no limit
SELECT s, (SELECT window_funnel('2026-01-01'::timestamptz + i * interval '1 second', substr('ADBDDC', i, 1), '{A,B,C}', '1 hour', 'ordered', s)
	FROM generate_series(1, 6) i) AS steps
FROM (VALUES ('{2 s,3 s}'::interval[]), ('{1 s,3 s}'), ('{2 s,2 s}'), ('{NULL,3 s}'), ('{2 s}'), ('{}'), (NULL)) v(s);

-- equal instants: in the order of the steps, whatever the order of the rows;
-- strict_increase wants time to pass
SELECT m, window_funnel(at, s, '{A,B,C}', '1 hour', m) AS steps
FROM (VALUES ('C', timestamptz '2026-01-01'), ('B', '2026-01-01'), ('A', '2026-01-01')) v(s, at), unnest('{ordered,strict_order,strict_increase,once}'::text[]) m
GROUP BY m ORDER BY m;

-- one event may be several steps; in mode once it is used for one of them
SELECT m, window_funnel(at, c, '1 hour', m) AS steps
FROM (VALUES (timestamptz '2026-01-01', '{t,t,f}'::bool[]), ('2026-01-02', '{f,t,NULL}'), ('2026-01-03', '{f,f,t}')) v(at, c), unnest('{ordered,once}'::text[]) m
GROUP BY m ORDER BY m;
SELECT m, window_funnel(at, c, '10 days', m) AS steps
FROM (VALUES (timestamptz '2026-01-01', '{t,t,t}'::bool[]), ('2026-01-02', '{f,t,t}')) v(at, c), unnest('{ordered,once,strict_increase,strict_order}'::text[]) m
GROUP BY m ORDER BY m;

-- the three ways to say what the step is; 64 steps
SELECT window_funnel('2026-01-01'::timestamptz + i * interval '1 second', i, '1 hour') AS by_number,
	window_funnel('2026-01-01'::timestamptz + i * interval '1 second', 's' || i, (SELECT array_agg('s' || k) FROM generate_series(1, 64) k), '1 hour') AS by_name,
	window_funnel('2026-01-01'::timestamptz + i * interval '1 second', (SELECT array_agg(k = i ORDER BY k) FROM generate_series(1, 64) k), '1 hour', 'strict_order') AS by_condition
FROM generate_series(1, 64) i;

-- many events of several steps, far apart in time: the state takes its wide form on the way, also when states are joined
SELECT window_funnel(at, c, '20000 years', m) AS steps, m FROM (
	SELECT timestamptz '4000-01-01 BC' AS at, '{t,f,f}'::bool[] AS c
	UNION ALL SELECT '2026-01-01'::timestamptz + i * interval '1 h', ARRAY[i % 50 = 7, i % 50 = 8, i = 90] FROM generate_series(1, 100) i
	UNION ALL SELECT '9000-01-01', '{f,t,t}') x, unnest('{ordered,once,strict_increase}'::text[]) m GROUP BY m ORDER BY m;
-- nothing, NULLs, infinite instants
SELECT window_funnel(at, s, '1 day') AS none FROM (SELECT now() AS at, 1 AS s WHERE false) x;
SELECT window_funnel(at, s, '1 day') AS nulls FROM (VALUES (NULL::timestamptz, 1), (now(), NULL)) v(at, s);
SELECT window_funnel(at, s, '1 day') AS infinite FROM (VALUES ('-infinity'::timestamptz, 1), ('infinity', 2)) v(at, s);
SELECT window_funnel(at, NULL::text, '{A}', '1 day') AS no_stage, window_funnel(at, 'x'::text, '{NULL,A}', '1 day', NULL) AS no_name FROM (SELECT now() AS at) x;

-- against an oracle: every chain there is, by brute force, on random small histories
SELECT setseed(0.3);
CREATE TABLE wf.e AS SELECT g, floor(random() * 5)::int AS step, timestamptz '2026-01-01' + floor(random() * 12) * interval '1 second' AS at, row_number() OVER () AS id
FROM generate_series(1, 400) g, generate_series(1, 7);
CREATE FUNCTION wf.oracle(win interval, later boolean, w2 interval) RETURNS TABLE (g int, best int) LANGUAGE sql AS $$
	WITH RECURSIVE c(g, start, at, step) AS (
		SELECT g, at, at, 1 FROM wf.e WHERE step = 1
		UNION
		SELECT c.g, c.start, e.at, e.step FROM c JOIN wf.e USING (g)
		WHERE e.step = c.step + 1 AND (CASE WHEN later THEN e.at > c.at ELSE e.at >= c.at END)
			AND e.at - c.start <= win AND (w2 IS NULL OR e.at - c.at <= w2))
	SELECT g, coalesce(max(c.step), 0) FROM (SELECT DISTINCT g FROM wf.e) x LEFT JOIN c USING (g) GROUP BY g $$;
-- strict order: from every first step, row after row until one cuts the chain
CREATE FUNCTION wf.strict(win interval) RETURNS TABLE (g int, best int) LANGUAGE sql AS $$
	WITH RECURSIVE o AS (SELECT g, at, step, row_number() OVER (PARTITION BY g ORDER BY at, CASE WHEN step = 0 THEN 9 ELSE step END) AS pos FROM wf.e),
	c(g, start, pos, step) AS (
		SELECT g, at, pos, 1 FROM o WHERE step = 1
		UNION ALL
		SELECT c.g, c.start, o.pos, greatest(c.step, o.step) FROM c JOIN o ON o.g = c.g AND o.pos = c.pos + 1
		WHERE o.step BETWEEN 1 AND c.step + 1 AND (o.step <= c.step OR o.at - c.start <= win))
	SELECT g, coalesce(max(c.step), 0) FROM (SELECT DISTINCT g FROM wf.e) x LEFT JOIN c USING (g) GROUP BY g $$;
-- reentry: each first step opens an attempt that ends at the next
CREATE FUNCTION wf.reentry(win interval) RETURNS TABLE (g int, best int) LANGUAGE sql AS $$
	WITH RECURSIVE a AS (SELECT *, count(*) FILTER (WHERE step = 1) OVER (PARTITION BY g ORDER BY at) AS attempt FROM wf.e),
	c(g, attempt, start, at, step) AS (
		SELECT DISTINCT g, attempt, at, at, 1 FROM a WHERE step = 1
		UNION
		SELECT c.g, c.attempt, c.start, a.at, a.step FROM c JOIN a USING (g, attempt)
		WHERE a.step = c.step + 1 AND a.at >= c.at AND a.at - c.start <= win)
	SELECT g, coalesce(max(c.step), 0) FROM (SELECT DISTINCT g FROM wf.e) x LEFT JOIN c USING (g) GROUP BY g $$;
SELECT w, count(*) AS groups, sum(o.best) AS steps_taken,
	count(*) FILTER (WHERE f.o <> o.best) AS ordered_wrong, count(*) FILTER (WHERE f.i <> i.best) AS increase_wrong,
	count(*) FILTER (WHERE f.n <> o.best) AS once_wrong, count(*) FILTER (WHERE f.t <> t.best) AS step_window_wrong,
	count(*) FILTER (WHERE f.s <> s.best) AS strict_wrong, count(*) FILTER (WHERE f.r <> r.best) AS reentry_wrong
FROM unnest('{3 s,6 s,1 h}'::interval[]) w,
LATERAL (SELECT g, window_funnel(at, step, w) AS o, window_funnel(at, step, w, 'strict_increase') AS i, window_funnel(at, step, w, 'once') AS n,
	window_funnel(at, step, w, 'ordered', '{2 s,2 s,2 s}') AS t, window_funnel(at, step, w, 'strict_order') AS s, window_funnel(at, step, w, 'reentry') AS r
	FROM wf.e GROUP BY g) f
JOIN LATERAL wf.oracle(w, false, NULL) o USING (g) JOIN LATERAL wf.oracle(w, true, NULL) i USING (g)
JOIN LATERAL wf.oracle(w, false, '2 s') t USING (g) JOIN LATERAL wf.strict(w) s USING (g) JOIN LATERAL wf.reentry(w) r USING (g)
GROUP BY w ORDER BY w;

-- the order of the rows changes nothing; parallel gives the same
CREATE VIEW wf.all_modes AS SELECT g, array_agg(m || f ORDER BY m) AS f FROM unnest('{ordered,strict_order,strict_increase,reentry,once}'::text[]) m,
	LATERAL (SELECT g, window_funnel(at, step, '6 s', m ORDER BY id) AS f FROM wf.e GROUP BY g) x GROUP BY g;
SELECT count(*) AS differ FROM (SELECT g, m, window_funnel(at, step, '6 s', m ORDER BY id DESC) AS f FROM wf.e, unnest('{ordered,strict_order,strict_increase,reentry,once}'::text[]) m GROUP BY g, m) x
JOIN wf.all_modes a USING (g) WHERE NOT m || x.f = ANY (a.f);
ALTER TABLE wf.e SET (parallel_workers = 2);
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_hashagg = off;
EXPLAIN (COSTS OFF) SELECT window_funnel(at, step, '6 s', 'strict_order') FROM wf.e;
SELECT count(*) AS differ FROM wf.all_modes a JOIN (SELECT g, window_funnel(at, step, '6 s', 'strict_order') AS s, window_funnel(at, step, '6 s') AS o FROM wf.e GROUP BY g) x USING (g)
WHERE NOT 'strict_order' || s = ANY (f) OR NOT 'ordered' || o = ANY (f);
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET enable_hashagg;

-- as a window function, twice, with FILTER and DISTINCT
SELECT i, window_funnel(at, i, '1 day') OVER (ORDER BY i) AS so_far, window_funnel(at, i, '1 day') OVER (ORDER BY i ROWS 1 PRECEDING) AS two
FROM (SELECT i, timestamptz '2026-01-01' + i * interval '1 h' AS at FROM generate_series(1, 4) i) x;
SELECT window_funnel(at, i, '1 day') FILTER (WHERE i <> 2) AS filtered, window_funnel(DISTINCT at, i, '1 day') AS dist
FROM (SELECT i, timestamptz '2026-01-01' + i * interval '1 h' AS at FROM generate_series(1, 4) i) x;

-- what is refused
SELECT window_funnel(now(), 1, NULL);
SELECT window_funnel(now(), 1, '-1 s');
SELECT window_funnel(now(), 65, '1 s');
SELECT window_funnel(now(), -1, '1 s');
SELECT window_funnel(now(), 1, '1 s', 'strict');
SELECT window_funnel(now(), 1, '1 s', 'ordered', '{-1 s}');
SELECT window_funnel(now(), 1, '1 s', 'ordered', array_fill('1 s'::interval, '{64}'));
SELECT window_funnel(now(), 'A'::text, NULL, '1 s');
SELECT window_funnel(now(), 'A', array_fill('A'::text, '{65}'), '1 s');
SELECT window_funnel(now(), array_fill(true, '{65}'), '1 s');
SELECT window_funnel(now(), '{{t,f},{t,f}}'::bool[], '1 s');
SELECT window_funnel(now(), 1, i * interval '1 s') FROM generate_series(1, 2) i;
SELECT leadscore.window_funnel_step(NULL, now(), 1, '1 s');
SELECT leadscore.window_funnel_final('\x00');
-- a state that is not one of ours
CREATE AGGREGATE wf.fake(timestamptz, integer, interval) (SFUNC = leadscore.window_funnel_step, STYPE = bytea, FINALFUNC = leadscore.window_funnel_final, INITCOND = '\x000102');
SELECT wf.fake(now(), 1, '1 s');
CREATE AGGREGATE wf.fake2(timestamptz, integer, interval) (SFUNC = leadscore.window_funnel_step, STYPE = bytea, FINALFUNC = leadscore.window_funnel_final,
	INITCOND = '\x574c0100ffffffffffffffff00000000000000000000000000000000');
SELECT wf.fake2(now(), 1, '1 s');

SET client_min_messages = warning;
DROP SCHEMA wf CASCADE;
