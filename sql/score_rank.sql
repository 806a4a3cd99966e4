-- regression test: ranking scores without an index: <~>, reaches, falls_below
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA score_rank;

-- minus the total, bounds included
SELECT s <~> at AS distance, s @ at AS total, reaches(s, 90, at) AS r90, reaches(s, 90.5, at) AS r90_5
FROM (VALUES (points(15, hi => 10) || points(160, '2026-01-01', '14 days', 0, 100),
			  timestamptz '2026-01-15')) v (s, at);
SELECT bounded(points(15) || points(-40, '2026-01-01', '14 days'), 0, 20) <~> '2026-01-01' AS floor,
	   bounded(points(15) || points(90, '2026-01-01', '14 days'), 0, 20) <~> '2026-01-01' AS cap;
SELECT NULL::score <~> now() AS d, points(1) <~> NULL AS e, reaches(NULL, 1, now()) AS f,
	   reaches(points(1), NULL, now()) AS g, falls_below(points(1), NULL) AS h;

-- an infinite threshold is always or never reached; NaN and infinite instants are mistakes
SELECT reaches(points(1), '-infinity', '2026-01-01') AS always, reaches(points(1), 'infinity', '2026-01-01') AS never,
	   falls_below(points(1), '-infinity'), falls_below(points(1), 'infinity');
\set VERBOSITY terse
SELECT reaches(points(1), 'NaN', '2026-01-01');
SELECT reaches(points(1), 1, 'infinity');
SELECT points(1) <~> '-infinity';
SELECT falls_below(points(1), 'NaN');
SELECT level('NaN', '2026-01-01');
SELECT '80@2026-01-01'::level;
SELECT level(80.5, '2026-01-01');

-- what falls_below answers
SELECT name, falls_below(s, threshold)
FROM (VALUES
	(1, 'one half-life', points(80, '2026-01-01', '14 days'), 40.0),
	(2, 'already below', points(80, '2026-01-01', '14 days'), 80.5),
	(3, 'never, not ageing', points(80), 40),
	(4, 'never, others hold it', points(50) || points(80, '2026-01-01', '14 days'), 50),
	(5, 'others help', points(30) || points(80, '2026-01-01', '14 days'), 50),
	(6, 'above its cap', points(400, '2026-01-01', '14 days', hi => 100), 100),
	(7, 'its lower bound holds it', points(80, '2026-01-01', '14 days', lo => 20), 20),
	(8, 'capped total', bounded(points(400, '2026-01-01', '14 days'), 0, 100), 100),
	(9, 'above the cap of the total', bounded(points(400, '2026-01-01', '14 days'), 0, 100), 101),
	(10, 'floor of the total', bounded(points(400, '2026-01-01', '14 days'), 10, 100), 10),
	(11, 'two half-lives', points(80, '2026-01-01', '14 days') || points(80, '2026-01-15', '28 days'), 60),
	(12, 'rising, never below', points(50) || points(-20, '2026-01-01', '14 days'), 30),
	(13, 'below, but rising', points(50) || points(-20, '2026-01-01', '14 days'), 40),
	(14, 'falls, then rises', points(50) || points(100, '2026-01-01', '1 day') || points(-60, '2026-01-01', '30 days'), 30),
	(15, 'beyond the year 9999', points(80, '2026-01-01', '1000 years'), 0.1),
	(16, 'zero', points(80, '2026-01-01', '1 day'), 0)) v (n, name, s, threshold)
ORDER BY n;

-- Against brute force: 10,000 scores with 1 to 4 components of either sign, with
-- and without bounds, half-lives from hours to years. The answer is right if the
-- total is below there and not a microsecond before, and if none of 150 instants
-- between the score's own and the answer (or 150 half-lives) contradicts it.
SELECT setseed(0.2711);
CREATE FUNCTION score_rank.component() RETURNS score LANGUAGE sql VOLATILE AS $$
	SELECT points((random() * 300 - 100)::numeric(6, 2)::float8,
				  timestamptz '2026-01-01' + random() * interval '40 days',
				  CASE WHEN random() < 0.8 THEN (array['3 hours', '1 day', '14 days', '15 days', '2 years']::interval[])[1 + (5 * random())::int % 5] END,
				  CASE WHEN random() < 0.3 THEN (-80 * random())::int::float8 END,
				  CASE WHEN random() < 0.4 THEN (100 * random())::int::float8 END)
$$;
CREATE FUNCTION score_rank.some_score(n int) RETURNS score LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN n % 5 = 0 THEN bounded(s, -20, 120) ELSE s END
	FROM (SELECT CASE n % 4
				 WHEN 0 THEN score_rank.component()
				 WHEN 1 THEN score_rank.component() || score_rank.component()
				 WHEN 2 THEN score_rank.component() || score_rank.component() || score_rank.component()
				 ELSE score_rank.component() || score_rank.component() || score_rank.component() || score_rank.component() END AS s) c
$$;
CREATE TABLE score_rank.falling AS
SELECT n, s, threshold, falls_below(s, threshold) AS falls,
	   (SELECT max((c ->> 'at')::timestamptz) FROM jsonb_array_elements(s::jsonb -> 'components') c) AS latest
FROM (SELECT n, score_rank.some_score(n) AS s, (random() * 160 - 40)::numeric(5, 1)::float8 AS threshold
	  FROM generate_series(1, 10000) n) r;
SELECT count(*) AS cases, count(*) FILTER (WHERE isfinite(falls)) > 2000 AS many_fall,
	   count(*) FILTER (WHERE falls = 'infinity') > 1000 AS many_never,
	   count(*) FILTER (WHERE falls = '-infinity') > 1000 AS many_below FROM score_rank.falling;
SELECT * FROM score_rank.falling
WHERE isfinite(falls)
  AND (falls < latest OR s @ falls >= threshold
	   OR falls > latest AND s @ (falls - interval '1 microsecond') < threshold);
SELECT f.n, f.s, f.threshold, f.falls, t.at, f.s @ t.at AS total
FROM score_rank.falling f,
	 LATERAL (SELECT coalesce(latest, '2026-01-01') +
					 CASE WHEN isfinite(falls) AND i <= 100 THEN (falls - latest) * (i / 101.0)
						  ELSE interval '1 hour' * (1.1 ^ i - 1) END AS at
			  FROM generate_series(0, 150) i) t
WHERE CASE WHEN falls = '-infinity' THEN s @ t.at >= threshold
		   ELSE s @ t.at < threshold AND t.at < falls END
LIMIT 5;

SET client_min_messages = warning;
DROP SCHEMA score_rank CASCADE;
