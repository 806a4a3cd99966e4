-- regression test: score, its text, binary and jsonb forms
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

-- what is accepted, and its one canonical form
SELECT v, v::score FROM (VALUES
	('15'), (' -0.5 '), ('+1e3'), ('-0'), ('.5'), ('5.'), ('1e-7'), ('1e15'), ('123456789012345678'), ('5e-324'),
	('-1.7976931348623157e308'), ('0.1'), ('0.30000000000000004'),
	('15[,50]'), ('15[-1.50,]'), ('15 [ 0 , 50 ]'), ('15[50,50]'), ('15[-0,0]'),
	('1@2026-01-31/14d'), ('1@2026-01-31T10:00Z/36h'), ('1@2026-01-31T10:00:00.123456Z/1500ms'),
	('1@2026-01-31T10:00:00.100Z/90s'), ('1@2026-01-01T00:30:00+02:00/60m'), ('1@2026-12-31T23:30:00-01/3600s'),
	('1@0001-01-01/1s'), ('1@9999-12-31T23:59:59.999999Z/365250d'), ('1@2000-02-29/1000001us'), ('1@2024-02-29/48h'),
	('15[,50]|87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]'),
	('1|2|3|4|5|6|7|8 total [,3]'), (E'\t1\n|\r2 ')
) AS x(v);

SELECT '15[,50] | 87.5@2026-01-31T10:00:00Z/14d[0,100] total[0,120]'::score::jsonb;
SELECT jsonb_pretty('0.1@2026-01-31T10:00:00.5Z/1500ms | -2[-3,] total[,7]'::score::jsonb);
