-- regression test: the type leadscore.stage
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages; SET search_path = public, leadscore;

-- names and synonyms
SELECT word, word::stage AS stage
FROM unnest(ARRAY['lead', 'LEAD', ' Lead ', 'suspect', 'new lead', 'piste',
                  'mql', 'Marketing Qualified Lead', 'marketing-qualified-lead', 'MARKETING_QUALIFIED',
                  'sql', 'sales  qualified	lead', 'Sales Qualified', 'Lead qualifié commercial',
                  'prospect', 'Opportunity', 'Opportunité',
                  'client', 'Customer', 'won', 'Closed-Won', 'gagné',
                  'lost', 'closed lost', 'Perdu', 'PERDU',
                  'disqualified', 'unqualified', 'Disqualifié', 'DISQUALIFIÉ', U&'disqualifie\0301']) AS word;

-- what is refused: every one with SQLSTATE 22P02
CREATE TABLE stage_bad (n int GENERATED ALWAYS AS IDENTITY, word text);
INSERT INTO stage_bad (word) VALUES (''), (' '), ('-'), ('_'), ('leads'), ('l ead'), ('le-ad'), ('lead-'), ('-lead'), ('_lead'),
	('lead_'), ('lead;'), ('lead''--'), ('"lead"'), ('lead' || chr(1)), ('lead' || chr(160)), ('mq'), ('mqll'), ('m q l'), ('sales accepted lead'),
	('s.q.l.'), ('20'), ('0'), ('-1'), ('null'), ('true'), ('subscriber'), ('évangéliste'), ('clïent'), ('ｌｅａｄ'),
	('е' || 'lead'), (repeat('lead ', 12)), (repeat('x', 31)), (repeat('a', 32)), ('marketing qualified leads'), ('lead' || chr(769)), ('lost/won'), ('lead,mql'),
	('{lead}'), ('\x14');
\set VERBOSITY sqlstate
SELECT format('SELECT %L::stage', word) FROM stage_bad ORDER BY n \gexec
\set VERBOSITY default
SELECT 'nobody'::stage;
DROP TABLE stage_bad;

-- order: the lifecycle, then the exits; a total order on every pair
CREATE TABLE stage_all (s stage PRIMARY KEY);
INSERT INTO stage_all VALUES ('disqualified'), ('sql'), ('client'), ('lead'), ('lost'), ('prospect'), ('mql');
SELECT string_agg(s::text, ' < ' ORDER BY s) FROM stage_all;
SELECT string_agg(s::text, ' > ' ORDER BY s DESC) FROM stage_all;
SELECT count(*) AS pairs,
       count(*) FILTER (WHERE (a.s < b.s)::int + (a.s = b.s)::int + (a.s > b.s)::int = 1) AS one_holds,
       count(*) FILTER (WHERE (a.s <= b.s) = (a.s < b.s OR a.s = b.s) AND (a.s >= b.s) = (b.s <= a.s) AND (a.s <> b.s) = NOT (a.s = b.s)) AS agree,
       count(*) FILTER (WHERE sign(stage_cmp(a.s, b.s)) = (a.s > b.s)::int - (a.s < b.s)::int) AS cmp_agrees,
       count(*) FILTER (WHERE (stage_hash(a.s) = stage_hash(b.s)) = (a.s = b.s)
                          AND (stage_hash_extended(a.s, 7) = stage_hash_extended(b.s, 7)) = (a.s = b.s)) AS hash_agrees
FROM stage_all a, stage_all b;
-- the seedless extended hash continues the plain one, as partitioning expects
SELECT count(*) AS differ FROM stage_all
WHERE stage_hash_extended(s, 0)::bit(32) <> stage_hash(s)::bit(32);
SELECT min(s), max(s), min(s) FILTER (WHERE s > 'client') AS first_exit, max(s) FILTER (WHERE false) AS of_none FROM stage_all;
SELECT opcname, amname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
WHERE opcintype = 'stage'::regtype ORDER BY 2;

-- every round trip: text, binary through COPY
SELECT count(*) AS changed FROM stage_all WHERE s <> s::text::stage OR s::text::stage::text <> s::text;
SELECT s, stage_send(s) FROM stage_all ORDER BY s;
\copy stage_all to 'build/stage.bin' binary
CREATE TABLE stage_back (s stage);
\copy stage_back from 'build/stage.bin' binary
SELECT count(*) AS same FROM stage_all JOIN stage_back USING (s);
-- a byte that is no stage is refused by recv as well
CREATE TABLE stage_byte (b "char");
INSERT INTO stage_byte VALUES ('!');
\copy stage_byte to 'build/stage.bin' binary
\copy stage_back from 'build/stage.bin' binary

-- casts: by assignment from and to text, never unasked
CREATE TABLE stage_text (t text, v varchar(30), s stage);
INSERT INTO stage_text VALUES ('customer', 'MQL', 'won');
UPDATE stage_text SET t = s, s = v;
SELECT * FROM stage_text;
UPDATE stage_text SET s = 'sql'::text;
SELECT s = 'SQL' AS unknown_literal FROM stage_text;
SELECT s = t FROM stage_text;

-- indexes, joins and grouping of every kind
CREATE TABLE stage_many AS
SELECT g AS id, (ARRAY['lead', 'mql', 'sql', 'prospect', 'client', 'lost', 'disqualified', NULL])[1 + g % 8]::stage AS s
FROM generate_series(1, 8000) g;
CREATE INDEX stage_many_b ON stage_many (s);
CREATE INDEX stage_many_h ON stage_many USING hash (s);
ANALYZE stage_many;
SET enable_seqscan = off;
SELECT count(*) FROM stage_many WHERE s = 'mql';
SELECT count(*) FROM stage_many WHERE s BETWEEN 'mql' AND 'client';
SELECT count(*) FROM stage_many WHERE s IN ('lost', 'disqualified');
SELECT max(s), min(s) FROM stage_many;
DROP INDEX stage_many_b;
SELECT count(*) FROM stage_many WHERE s = 'mql';
RESET enable_seqscan;
SELECT s, count(*) FROM stage_many GROUP BY s ORDER BY s NULLS FIRST;
SET enable_hashagg = off;
SELECT count(DISTINCT s) FROM stage_many;
SET enable_hashjoin = off;
SELECT count(*) FROM stage_many JOIN stage_all USING (s);
RESET enable_hashjoin; SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT count(*) FROM stage_many JOIN stage_all USING (s);
RESET ALL; SET search_path = public, leadscore;
SELECT array_agg(s ORDER BY s), '{MQL,lost,NULL}'::stage[] @> ARRAY['lost'::stage] AS contains FROM stage_all;
CREATE DOMAIN open_stage AS stage CHECK (VALUE <= 'prospect');
SELECT 'mql'::open_stage;
SELECT 'lost'::open_stage;
CREATE TABLE stage_part (id int, s stage) PARTITION BY LIST (s);
CREATE TABLE stage_part_open PARTITION OF stage_part FOR VALUES IN ('lead', 'mql', 'sql', 'prospect');
CREATE TABLE stage_part_closed PARTITION OF stage_part DEFAULT;
INSERT INTO stage_part SELECT id, s FROM stage_many WHERE id <= 8;
SELECT tableoid::regclass, count(*) FROM stage_part GROUP BY 1 ORDER BY min(tableoid::regclass::text);

DROP TABLE stage_all, stage_back, stage_byte, stage_text, stage_many, stage_part;
DROP DOMAIN open_stage;
