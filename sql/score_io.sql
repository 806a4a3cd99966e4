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
						 ELSE format('@%s/%s', to_char(timestamp '0001-01-01' + e * interval '3652058 days', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
									 CASE WHEN a < 0.5 THEN 1000000 + floor(power(10, b * 16.49))::bigint || 'us'
										  WHEN a < 0.75 THEN 1 + floor(power(10, b * 10.49))::bigint || 's' ELSE 1 + floor(power(10, b * 6.9))::int || 'h' END) END AS aging,
					CASE WHEN e < 0.1 THEN (-b)::text WHEN e < 0.3 THEN round(-power(10, (b - 0.2) * 7))::text ELSE '' END AS lo,
					CASE WHEN b < 0.2 THEN (power(10::float8, d * 300))::text WHEN b < 0.4 THEN round(power(10, d * 6))::text ELSE '' END AS hi) AS v
GROUP BY i;
SELECT count(*), count(DISTINCT s), min(length(s::text)), max(length(s::text)) FROM score_io.random_score;

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

-- the stored form: each number in the first width that holds it
CREATE CAST (score AS bytea) WITHOUT FUNCTION;
CREATE CAST (bytea AS score) WITHOUT FUNCTION;
SELECT left(v, 64) AS score, octet_length(v::score::bytea) AS bytes FROM (VALUES
	('0'), ('127'), ('-128'), ('128'), ('-129'), ('32767'), ('-32768'), ('32768'), ('0.5'), ('16777216'), ('16777217'), ('0.1'), ('1e38'), ('1e39'),
	('1[0,]'), ('1[1,]'), ('1[-32768,]'), ('1[-32769,]'), ('1[0.5,]'), ('1[,0]'), ('1[,255]'), ('1[,256]'), ('1[,-1]'), ('1[,32767]'), ('1[,32768]'),
	('1@2026-01-31/14d'), ('0.1@2026-01-31/65535h'), ('0.1@2026-01-31/65536h'), ('0.1@2026-01-31/3599s'), ('0.1@2026-01-31/4294967295s'),
	('0.1@2026-01-31/4294967296s'), ('0.1@2026-01-31/1500ms'), ('0@2026-01-31/14d'), ('0@2000-01-01/14d'), ('1@2000-01-01/14d'),
	('1 total[0,]'), ('1 total[,100]'), ('1 total[-1,0.1]'),
	('80@2026-01-31T10:00:00Z/14d[0,100]'), ('15[0,40] | 20[0,40] | 10[0,30]'), ('15[,50] | 80@2026-01-31T10:00Z/14d[0,100] total[0,120]'),
	('0.1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1]|1@2026-01-31/1500ms[-0.1,0.1] total[-0.1,0.1]')
) AS x(v);
SELECT avg(octet_length(s::bytea)) < avg(octet_length(score_send(s))) * 0.85 AS shorter_than_sent, max(octet_length(s::bytea)) <= max(octet_length(score_send(s))) AS never_longer,
	count(*) FILTER (WHERE s::bytea::score::text <> s::text) AS changed, count(*) FILTER (WHERE octet_length(s::bytea) > octet_length(score_send(s))) AS longer
FROM score_io.random_score;

-- bytes on disk that are no score (of a little-endian machine): an error from every reader, and nothing worse
CREATE TABLE score_io.damaged AS SELECT n, what, b::score AS s FROM (VALUES
	(1, 'nothing', ''::bytea), (2, 'a head alone', '\x20'), (3, 'version 0', '\x000005'), (4, 'version 2', '\x400005'), (5, 'a span', '\x28000505'),
	(6, 'a byte less', '\x2000'), (7, 'a byte more', '\x20000505'), (8, 'the form of the network', score_send('5')), (9, 'all bits', '\xffffffffffffffffffff'),
	(10, 'two bytes for one', '\x20400500'), (11, 'float for an integer', '\x20800000a040'), (12, 'double for a float', '\x20c0000000000000e03f'),
	(13, '-0, a float', '\x208000000080'), (14, '-0, a double', '\x20c00000000000000080'), (15, 'infinite points', '\x20c0000000000000f07f'),
	(16, 'NaN', '\x20c0000000000000f87f'), (17, 'infinite, a float', '\x20800000807f'),
	(18, 'lo 0 with bytes', '\x2008000005'), (19, 'lo double for an integer', '\x200c000000000000f03f05'), (20, 'lo -infinity', '\x200c000000000000f0ff05'),
	(21, 'hi two bytes for one', '\x2020640005'), (22, 'hi double for an integer', '\x2030000000000000594005'), (23, 'hi NaN', '\x2030000000000000f87f05'),
	(24, 'lo above hi', '\x201805000405'), (25, 'half-life of 0 hours', '\x20010000'), (26, 'of 0 seconds', '\x200200000000'),
	(27, 'seconds for an hour', '\x2002100e0000'), (28, 'microseconds for a second', '\x200340420f0000000000'), (29, 'too short', '\x20033f420f0000000000'),
	(30, 'too long', '\x2003ffffffffffffff7f'), (31, 'zero at zero with bytes', '\x204118000000000000000000'),
	(32, 'zero with bytes', '\x20c1180000000000000000000100000000000000'), (33, 'no form of a value', '\x208118000100000000000000'),
	(34, 'instant out of range', '\x20411800ffffffffffffff7f'), (35, 'infinite points that age', '\x20c11800000000000000f07f0100000000000000'),
	(36, 'total without bounds', '\x30000005'), (37, 'total with other bits', '\x30000505'), (38, 'lo above hi of the total', '\x30001805000405'),
	(39, 'no bytes of the total', '\x3000'), (40, 'many bytes', decode(repeat('20', 400), 'hex'))) AS x(n, what, b);
SELECT n, what, score_io.evaluation(format('score_out((SELECT s FROM score_io.damaged WHERE n = %s))', n)) AS why FROM score_io.damaged;
SELECT e AS reader, string_agg(DISTINCT left(why, 6), ',') AS sqlstates, count(*)
FROM unnest(ARRAY['score_send(%s)', '%s @ now()', 'parts(%s, now())', '%s + $1$1$1$', '- %s', '%s || $1$1$1$', 'bounded(%s, 0, 1)', '%s::jsonb',
	'score_accum(NULL, %s)', 'score_accum(%s, $1$1$1$)', 'decayed_accum(%s, 1, now(), NULL)']) AS e,
	score_io.damaged, LATERAL score_io.evaluation(format(replace(e, '$1$', ''''), format('(SELECT s FROM score_io.damaged WHERE n = %s)', n))) AS why
GROUP BY e ORDER BY e COLLATE "C";
SELECT count(DISTINCT s), count(DISTINCT score_hash(s)) FROM score_io.damaged;

-- every truncation of a stored score, every bit of it turned, every value of its first bytes: refused, or the one form of another score
CREATE TABLE score_io.turned (score text, bytes bytea, refused text, wrong bool);
INSERT INTO score_io.turned (score, bytes)
SELECT v, b FROM (VALUES ('1'), ('-300[0,]'), ('0.5[,1000]'), ('0.1[-1.5,]'), ('0@2026-01-31/14d'), ('7@2026-01-31/90s[-5,100]'),
	('15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]'), ('1e300@0001-01-01/1500ms | 5e-324@9999-12-31T23:59:59.999999Z/365250d[-1,1e9] total[-5,]')) AS x(v),
	LATERAL (SELECT v::score::bytea AS form) AS f,
	LATERAL (SELECT substr(form, 1, n) AS b FROM generate_series(0, octet_length(form) - 1) AS n
			 UNION SELECT form || set_byte('\x00', 0, n) FROM generate_series(0, 255) AS n
			 UNION SELECT set_bit(form, n, 1 - get_bit(form, n)) FROM generate_series(0, 8 * octet_length(form) - 1) AS n
			 UNION SELECT set_byte(form, i, n) FROM generate_series(0, 2) AS i, generate_series(0, 255) AS n) AS c
WHERE b <> form;
DO $$
DECLARE t record; s score;
BEGIN
	FOR t IN SELECT ctid, bytes FROM score_io.turned LOOP
		BEGIN
			s := t.bytes::score;
			UPDATE score_io.turned SET wrong = s::text::score::bytea <> t.bytes OR score_send(s) IS NULL OR (s @ '2026-01-01') IS NULL WHERE ctid = t.ctid;
		EXCEPTION WHEN others THEN
			UPDATE score_io.turned SET refused = SQLSTATE WHERE ctid = t.ctid;
		END;
	END LOOP;
END $$;
SELECT score, count(*) > 200 AS tried, count(*) FILTER (WHERE refused = 'XX001') > 200 AS refused, count(*) FILTER (WHERE refused IS NULL AND NOT wrong) > 5 AS another_score,
	count(*) FILTER (WHERE refused <> 'XX001' OR wrong) AS wrong
FROM score_io.turned GROUP BY score ORDER BY score COLLATE "C";
DROP CAST (bytea AS score);
DROP CAST (score AS bytea);

SET client_min_messages = warning;
DROP SCHEMA score_io CASCADE;
