-- regression test: score, its algebra: making, reading, adding, and the limits of all that
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
SET TimeZone = 'UTC';
CREATE SCHEMA score_algebra;
CREATE FUNCTION score_algebra.try(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text; detail text; hint text;
BEGIN
	EXECUTE 'SELECT (' || expression || ')::text' INTO answer;
	RETURN coalesce(answer, 'NULL');
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || '. ' || detail || ' ' || hint;
END $$;

-- making scores
SELECT e AS expression, score_algebra.try(e) AS answer FROM (VALUES
	($$points(15)$$),
	($$points(15, hi => 50)$$),
	($$points(-0.0, lo => -0.0)$$),
	($$points(20, '2026-01-31 10:00', '14 days')$$),
	($$points(20, '2026-01-31 10:00', '14 days', 0, 100)$$),
	($$points(1, '2026-01-01', '1 month')$$),
	($$points(1, '2026-01-01', '1 year')$$),
	($$points(1, '2026-01-01', '1000 years')$$),
	($$points(1, '2026-01-01', '1 year -1 month 00:00:00.5')$$),
	($$points(1, '2026-01-01', '1 second')$$),
	($$points(1, '0001-01-01', '1 day')$$),
	($$points(1, '9999-12-31 23:59:59.999999', '1 day')$$),
	($$points(NULL)$$),
	($$points(1, NULL)$$),
	($$points(1, NULL, '1 day')$$),
	($$points(1, now(), NULL, NULL, NULL)$$),
	($$points(20, '2026-01-31', '14 days') || points(15, hi => 50) || '3[1,]'$$),
	($$bounded(points(20, '2026-01-31', '14 days') || points(15), 0, 30)$$),
	($$bounded('1|2 total[0,1]', NULL, 7)$$),
	($$bounded('1|2 total[0,1]', NULL, NULL)$$),
	($$bounded(NULL, 0, 1)$$),
	-- refused
	($$points('NaN')$$),
	($$points('infinity')$$),
	($$points('-infinity', '2026-01-01', '1 day')$$),
	($$points(1, 'infinity', '1 day')$$),
	($$points(1, '-infinity')$$),
	($$points(1, '10000-01-01', '1 day')$$),
	($$points(1, '0001-12-31 BC', '1 day')$$),
	($$points(1, now(), '0.999999 seconds')$$),
	($$points(1, now(), '0')$$),
	($$points(1, now(), '-1 day')$$),
	($$points(1, now(), '1000 years 1 second')$$),
	($$points(1, now(), '178000000 years')$$),
	($$points(1, now(), '2147483647 days')$$),
	($$points(1, now(), '2000 years -1000 years')$$),
	($$points(1, lo => 2, hi => 1)$$),
	($$points(1, lo => 'NaN')$$),
	($$points(1, hi => 'NaN')$$),
	($$points(1, hi => 'infinity')$$),
	($$points(1, lo => '-infinity')$$),
	($$bounded('1', 2, 1)$$),
	($$bounded('1', 'NaN', 1)$$),
	($$'1 total[0,1]'::score || '2'$$),
	($$'1'::score || '2 total[,1]'$$),
	($$'1|2|3|4'::score || '5|6|7|8'$$),
	($$'1|2|3|4|5'::score || '6|7|8|9'$$)
) AS x(e);

-- a half-life counts as extract(epoch) counts the interval
SELECT count(*) AS intervals,
	count(*) FILTER (WHERE abs((points(1, '2026-01-01', i)::jsonb #>> '{components,0,half_life_seconds}')::numeric - extract(epoch FROM i)) > 0.000001) AS wrong
FROM generate_series(-40, 40) AS m, generate_series(0, 200, 13) AS d,
	LATERAL (SELECT make_interval(years => 7, months => m, days => d, secs => m * 3600.1234) AS i) AS x;

-- reading: worked by hand. 80 points at noon, half-life one day, and 15 that do not age
SELECT t, s @ t AS total, parts(s, t), (bounded(s, 0, 30)) @ t AS within_0_30
FROM (VALUES ('80@2026-01-10T12:00Z/1d[,70] | 15'::score)) AS a(s),
	(VALUES (timestamptz '2026-01-08 12:00'), ('2026-01-10 12:00'), ('2026-01-11 12:00'), ('2026-01-12 00:00'), ('2026-01-13 12:00'), ('2036-01-01')) AS b(t);
-- negative points age towards zero too; bounds hold what a component contributes
SELECT t, s @ t AS total, parts(s, t)
FROM (VALUES ('-80@2026-01-10T12:00Z/1d[-50,] | 30[,20]'::score)) AS a(s),
	(VALUES (timestamptz '2026-01-10 12:00'), ('2026-01-11 12:00'), ('2026-01-12 12:00'), ('2026-01-15 12:00')) AS b(t);
-- the instant asked must be a real one
SELECT e AS expression, score_algebra.try(e) AS answer FROM (VALUES
	($$points(1) @ 'infinity'$$), ($$points(1) @ '-infinity'$$), ($$points(1) @ '10000-01-01'$$), ($$parts('1', '0001-12-31 BC')$$),
	($$points(1) @ NULL$$), ($$NULL::score @ now()$$), ($$parts(NULL, now())$$)
) AS x(e);
-- never NaN or infinite: backwards a value ends at the largest double, forwards at zero
SELECT s, s @ '0001-01-01' AS first_year, s @ '9999-12-31' AS last_year
FROM (VALUES ('1@2026-01-01/1s'::score), ('-1@2026-01-01/1s'), ('5e-324@2026-01-01/1s'), ('1.7e308@2026-01-01/365250d'), ('0@2026-01-01/1s'),
	('1@2026-01-01/1s | -1@2026-01-01/1s'), ('1@2026-01-01/1s | 1@2026-01-01/1s | -1@2026-01-01/1s'), ('1.7e308 | 1.7e308 | -1.7e308'), ('1@2026-01-01/1s[,100] | 1'),
	('1@2026-01-01/1s | 1 total[,100]')) AS x(s);
-- what two half-lives of the exponent could overflow, the product does not
SELECT '1e-300@2026-01-01T00:33:20Z/1s'::score @ '2026-01-01' AS "1e-300 * 2^2000", 1e-300 * 2::float8 ^ 1000 * 2::float8 ^ 1000 AS expected;
SELECT '1e300@2026-01-01/1s'::score @ '2026-01-01 00:33:20' AS "1e300 / 2^2000", 1e300 / 2::float8 ^ 1000 / 2::float8 ^ 1000 AS expected;

-- adding: the later instant, whichever side it is on; a late event is exact
SELECT '8@2026-01-01/1d'::score + '1@2026-01-04/1d' AS sum, '1@2026-01-04/1d'::score + '8@2026-01-01/1d' AS the_same,
	'1@2026-01-04/1d'::score - '8@2026-01-01/1d' AS difference, - '8@2026-01-01/1d[0,10]'::score AS negated;
SELECT '1[,5] | 2@2026-01-01/1d total[0,]'::score + '10[,5] | 2@2026-01-01/1d total[0,]' AS "values add, bounds stay";
SELECT '1'::score - '1' AS zero, - '0'::score AS no_minus_zero, '1@2026-01-01/1d'::score - '1@2026-01-01/1d' AS aged_zero;
-- a zero adds nothing, and moves nothing
SELECT '1@2026-01-01/1s'::score + '0@2027-01-01/1s' AS kept, '0@2027-01-01/1s'::score + '1@2026-01-01/1s' AS the_same, '0@2026-01-01/1s'::score + '0@2027-01-01/1s' AS both_zero;
-- strict
SELECT '1'::score + NULL AS a, NULL::score - '1' AS b, - NULL::score AS c, NULL::score || '1' AS d, (NULL::score)::jsonb AS e;
-- shapes must agree, and the message says which component does not
SELECT e AS expression, score_algebra.try(e) AS answer FROM (VALUES
	($$'1'::score + '1|2'$$),
	($$'1|2|3'::score - '1'$$),
	($$'1'::score + '1@2026-01-01/14d'$$),
	($$'1|1@2026-01-01/14d'::score + '1|1@2026-01-01/7d'$$),
	($$'1[0,]'::score + '1'$$),
	($$'1[0,5]'::score - '1[0,6]'$$),
	($$'1|2[,5]'::score + '1|2'$$),
	($$'1 total[0,]'::score + '1'$$),
	($$'1 total[,9]'::score + '1 total[,10]'$$),
	($$'1e308'::score + '1e308'$$),
	($$'-1e308'::score - '1e308'$$)
) AS x(e);

-- stored any way, read the same
CREATE TABLE score_algebra.stored (id int, pad text, s score);
INSERT INTO score_algebra.stored VALUES (1, 'x', '0.1[-0.1,0.9]|0.1[-0.1,0.9]|3@2026-01-01/1d|4[0,]|0.1[-0.1,0.9]|0.1[-0.1,0.9]|0.1[-0.1,0.9]|8[,9] total[0,100]');
ALTER TABLE score_algebra.stored ALTER s SET STORAGE plain;
INSERT INTO score_algebra.stored SELECT 2, 'xy', s FROM score_algebra.stored WHERE id = 1;
ALTER TABLE score_algebra.stored ALTER s SET STORAGE external, ALTER pad SET STORAGE plain;
INSERT INTO score_algebra.stored SELECT 3, repeat('x', 7000), s FROM score_algebra.stored WHERE id = 1;
ALTER TABLE score_algebra.stored ALTER s SET STORAGE extended;
INSERT INTO score_algebra.stored SELECT 4, repeat('x', 7000), s FROM score_algebra.stored WHERE id = 1;
ALTER TABLE score_algebra.stored ALTER s SET STORAGE main;
INSERT INTO score_algebra.stored SELECT 5, 'xyz', s FROM score_algebra.stored WHERE id = 1;
SELECT id, pg_column_size(s), pg_column_compression(s) FROM score_algebra.stored ORDER BY id;
SELECT pg_relation_size(reltoastrelid) > 0 AS some_out_of_line FROM pg_class WHERE oid = 'score_algebra.stored'::regclass;
SELECT count(*), count(DISTINCT s), count(DISTINCT s::text), min(s @ '2026-01-02'), max(s @ '2026-01-02'), count(DISTINCT score_hash(s)), count(DISTINCT score_send(s)) FROM score_algebra.stored;

-- what a score is made of, in arrays, domains, composites
CREATE DOMAIN score_algebra.fit AS score CHECK (VALUE @ '2026-01-01' >= 0);
CREATE TYPE score_algebra.rated AS (name text, s score, parts score[]);
SELECT '5'::score_algebra.fit, ARRAY['1|2'::score, NULL, '1@2026-01-01/1d[0,1] total[,2]'], ROW('a', '1[0,1]', ARRAY['1'::score, '2[,3]'])::score_algebra.rated;
SELECT (r::text::score_algebra.rated) = r AS same, (r).parts[2] @ '2026-01-01' AS second
FROM (SELECT ROW('a', '1[0,1] | 2', ARRAY['1'::score, '2[,1.5]'])::score_algebra.rated AS r) AS x;
SELECT '-5'::score_algebra.fit;

SET client_min_messages = warning;
DROP SCHEMA score_algebra CASCADE;
