-- regression test: score, its text, binary and jsonb forms
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;
CREATE SCHEMA score_io;

-- what is accepted, and its one canonical form
SELECT v AS accepted, v::score AS printed FROM (VALUES
	('15'), (' -0.5 '), ('+1e3'), ('-0'), ('.5'), ('5.'), ('1e-7'), ('1e15'), ('123456789012345678'), ('5e-324'),
	('-1.7976931348623157e308'), ('0.1'), ('0.30000000000000004'), ('999999999999999'),
	('15[,50]'), ('15[-1.50,]'), ('15 [ 0 , 50 ]'), ('15[50,50]'), ('15[-0,0]'),
	('1@2026-01-31/14d'), ('1@2026-01-31T10:00Z/36h'), ('1@2026-01-31T10:00:00.123456Z/1500ms'),
	('1@2026-01-31T10:00:00.100Z/90s'), ('1@2026-01-01T00:30:00+02:00/60m'), ('1@2026-12-31T23:30:00-01/3600s'),
	('1@0001-01-01/1s'), ('1@9999-12-31T23:59:59.999999Z/365250d'), ('1@2000-02-29/1000001us'), ('1@2024-02-29/48h'),
	('15[,50]|87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]'),
	('1|2|3|4|5|6|7|8 total [,3]'), (E'\t1\n|\r2 ')
) AS x(v);

-- instants agree with timestamptz over the whole range, leap years included
SELECT count(*) AS instants, count(*) FILTER (WHERE s::text <> format('1@%sZ/1d', to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'))) AS wrong
FROM generate_series(0, 10000) AS i,
	LATERAL (SELECT least(timestamptz '0001-01-01 00:00:00Z' + i * interval '365 days 05:48:47', timestamptz '9999-12-31 23:59:59Z') AS t) AS a,
	LATERAL (SELECT points(1, t, '1 day') AS s) AS b;

-- what is refused: with which SQLSTATE, and why
CREATE FUNCTION score_io.evaluation(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; answer text;
BEGIN
	EXECUTE 'SELECT (' || expression || ')::text' INTO answer;
	RETURN 'accepted: ' || answer;
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || detail;
END $$;
SELECT v AS refused, score_io.evaluation(format('%L::leadscore.score', v)) AS why FROM (VALUES
	(''), (' '), ('abc'), ('1 2'), ('1,5'), ('--1'), ('+'), ('.'), ('1..2'), ('1e'), ('1e+'), ('1e5.5'),
	('NaN'), ('inf'), ('-Infinity'), ('0x10'), ('1_000'), ('٣'), ('1e400'), ('-1e400'), ('1e-400'),
	('1[,]'), ('1[]'), ('1[1]'), ('1[1,2'), ('1[1,2)'), ('1(1,2)'), ('1[2,1]'), ('1[a,b]'), ('1[,inf]'), ('1[0,1][0,1]'), ('1[,1e999]'),
	('1@'), ('1@2026-01-31'), ('1@2026-01-31/'), ('1@2026-01-31/14'), ('1@2026-01-31/d'), ('1@2026-01-31/14 d'), ('1@2026-01-31/14days'),
	('1@2026-01-31/1.5d'), ('1@2026-01-31/-1d'), ('1@2026-01-31/0d'), ('1@2026-01-31/999999us'), ('1@2026-01-31/999ms'),
	('1@2026-01-31/365251d'), ('1@2026-01-31/99999999999999999999999999d'), ('1@2026-01-31/9223372036854775807us'),
	('1/14d'), ('1@now/14d'), ('1@infinity/14d'), ('1@2026-02-29/1d'), ('1@2100-02-29/1d'), ('1@2026-00-10/1d'), ('1@2026-13-01/1d'), ('1@2026-04-31/1d'),
	('1@0000-01-01/1d'), ('1@10000-01-01/1d'), ('1@-2026-01-01/1d'), ('1@26-01-01/1d'), ('1@2026-1-1/1d'),
	('1@2026-01-31T10:00:00/1d'), ('1@2026-01-31 10:00:00Z/1d'), ('1@2026-01-31T24:00:00Z/1d'), ('1@2026-01-31T10:60:00Z/1d'), ('1@2026-01-31T10:00:60Z/1d'),
	('1@2026-01-31T10/1d'), ('1@2026-01-31T10:00:00.Z/1d'), ('1@2026-01-31T10:00:00.1234567Z/1d'), ('1@2026-01-31T10:00+24:00/1d'), ('1@2026-01-31T10:00+2/1d'),
	('1@0001-01-01T00:00+01:00/1d'), ('1@9999-12-31T23:59-01:00/1d'),
	('|'), ('1|'), ('|1'), ('1||2'), ('1;2'), ('1|2|3|4|5|6|7|8|9'), ('total[0,1]'), ('1 total'), ('1 total 5'), ('1 total[,]'), ('1 total[2,1]'), ('1 total[0,1] | 2'), ('1 TOTAL[0,1]'),
	('1 [0,1] x'), ('höhe'), ('1 | 2 é')
) AS x(v);
SELECT '1@2026-01-31/14'::score;
SELECT '1@2026-01-31/0s'::score;

-- random scores of every shape; the seed makes them the same each time
CREATE TABLE score_io.random_score (id int PRIMARY KEY, s score);
SELECT setseed(0.20261123);
INSERT INTO score_io.random_score
SELECT i, (string_agg(value || aging || CASE WHEN lo || hi = '' THEN '' ELSE '[' || lo || ',' || hi || ']' END, '|')
		   || CASE i % 5 WHEN 1 THEN ' total[-1e9,]' WHEN 2 THEN ' total[,1.5]' WHEN 3 THEN ' total[-0.1,1e300]' ELSE '' END)::score
FROM generate_series(1, 10000) AS i, LATERAL generate_series(1, 1 + i % 8) AS c,
	LATERAL (SELECT random() AS a, random() AS b, random() AS d, random() AS e, i + c AS correlated) AS r,
	LATERAL (SELECT CASE WHEN a < 0.2 THEN round(b * 1000)::text
						 WHEN a < 0.6 THEN ((b - 0.5) * 1000)::text
						 WHEN a < 0.9 THEN ((b - 0.5) * power(10::float8, (d - 0.5) * 600))::text
						 ELSE '1.7976931348623157e308' END AS value,
					CASE WHEN d < 0.5 THEN ''
						 ELSE format('@%s/%sus', to_char(timestamp '0001-01-01' + e * interval '3652058 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
									 1000000 + floor(power(10, b * 16.49))::bigint) END AS aging,
					CASE WHEN e < 0.3 THEN (-b)::text ELSE '' END AS lo,
					CASE WHEN b < 0.4 THEN (power(10::float8, d * 300))::text ELSE '' END AS hi) AS v
GROUP BY i;
SELECT count(*), count(DISTINCT s), min(length(s::text)), max(length(s::text)), max(pg_column_size(s)) FROM score_io.random_score;

-- text goes round, whatever the settings
SELECT count(*) AS changed FROM score_io.random_score WHERE s::text::score <> s;
CREATE TABLE score_io.printed AS SELECT id, s::text AS printed FROM score_io.random_score;
SET extra_float_digits = -15; SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = 'iso_8601';
SELECT count(*) AS changed FROM score_io.random_score JOIN score_io.printed USING (id) WHERE s::text <> printed OR printed::score <> s;
RESET extra_float_digits; RESET DateStyle; RESET TimeZone; RESET IntervalStyle;

-- so does binary
\getenv abs_builddir PG_ABS_BUILDDIR
\set file :abs_builddir '/results/score_io.data'
COPY score_io.random_score TO :'file' (FORMAT binary);
CREATE TABLE score_io.binary_score (id int, s score);
COPY score_io.binary_score FROM :'file' (FORMAT binary);
SELECT count(*) AS came_back, count(*) FILTER (WHERE a.s <> b.s OR score_send(a.s) <> score_send(b.s)) AS changed
FROM score_io.random_score a JOIN score_io.binary_score b USING (id);
-- and the text of COPY
COPY score_io.random_score TO :'file';
TRUNCATE score_io.binary_score;
COPY score_io.binary_score FROM :'file';
SELECT count(*) AS came_back, count(*) FILTER (WHERE a.s <> b.s) AS changed
FROM score_io.random_score a JOIN score_io.binary_score b USING (id);
-- the binary form is in network byte order: a contract
SELECT score_send('15[,50] | 1@2000-01-01T00:00:01Z/1s total[-1,]');

-- jsonb: what is not there is absent
SELECT v AS score, v::score::jsonb FROM (VALUES ('15'), ('1@2026-01-31/14d'), ('-2[-3,0.5] total[,7]')) AS x(v);
SELECT jsonb_pretty('0.1@2026-01-31T10:00:00.5Z/1500ms[0,100] | 1e-7 total[0,120]'::score::jsonb);
-- the numbers in it are those of the text form
SELECT count(*) AS changed FROM score_io.random_score,
	LATERAL (SELECT array_agg((c->>'value')::float8 ORDER BY n) AS v FROM jsonb_array_elements(s::jsonb->'components') WITH ORDINALITY AS e(c, n)) AS j,
	LATERAL (SELECT array_agg(split_part(split_part(trim(c), '@', 1), '[', 1)::float8 ORDER BY n) AS v
			 FROM string_to_table(split_part(s::text, ' total', 1), '|') WITH ORDINALITY AS e(c, n)) AS t
WHERE j.v <> t.v;

-- functions that only the server calls cannot be called from SQL
SELECT score_recv('\x00'::bytea);
SELECT score_in(NULL), score_out(NULL), score_send(NULL);

-- from PostgreSQL 16 on, bad text can be a soft error
DO $$
DECLARE ok boolean;
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE $q$SELECT pg_input_is_valid('1@2026-01-31/14d', 'leadscore.score') AND NOT pg_input_is_valid('1@2026-01-31/0d', 'leadscore.score')
			AND NOT pg_input_is_valid('x', 'leadscore.score')$q$ INTO ok;
		ASSERT ok, 'score_in throws';
	END IF;
END $$;

-- bytes on disk that are no score: an error from every reader, and nothing worse
CREATE CAST (bytea AS score) WITHOUT FUNCTION;
CREATE TABLE score_io.damaged AS SELECT n, b::score AS s FROM (VALUES (1, ''::bytea), (2, '\x01'), (3, '\x020100000000000000f03f'), (4, '\x010000'), (5, '\x010100'),
	(6, '\x010100000000000000f07f'), (7, '\x010108000000000000f03f'), (8, '\x0101000000000000000080'), (9, '\x01ffffffffffffffffffff'),
	(10, '\x010101000000000000f03f00000000000000000000000000000000'), (11, decode(repeat('01', 400), 'hex'))) AS x(n, b);
SELECT n, score_io.evaluation(format('score_out((SELECT s FROM score_io.damaged WHERE n = %s))', n)) AS why FROM score_io.damaged;
SELECT e AS reader, string_agg(DISTINCT left(why, 6), ',') AS sqlstates, count(*)
FROM unnest(ARRAY['score_send(%s)', '%s @ now()', 'parts(%s, now())', '%s + $1$1$1$', '- %s', '%s || $1$1$1$', 'bounded(%s, 0, 1)', '%s::jsonb',
	'score_accum(NULL, %s)', 'score_accum(%s, $1$1$1$)', 'decayed_accum(%s, 1, now(), NULL)']) AS e,
	score_io.damaged, LATERAL score_io.evaluation(format(replace(e, '$1$', ''''), format('(SELECT s FROM score_io.damaged WHERE n = %s)', n))) AS why
GROUP BY e ORDER BY e COLLATE "C";
SELECT count(DISTINCT s), count(DISTINCT score_hash(s)) FROM score_io.damaged;
DROP CAST (bytea AS score);

SET client_min_messages = warning;
DROP SCHEMA score_io CASCADE;
