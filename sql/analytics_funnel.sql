-- regression test: funnel() and journeys() over a history table of the user's own
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
CREATE SCHEMA fun;
CREATE TABLE fun.lead (id bigint PRIMARY KEY, source text, created date, amount numeric);
CREATE TABLE fun.h (lead_id bigint, to_stage text, at timestamptz);

-- no lead at all: the stages with zeros, no shares, and no division by zero
SELECT stage, leads_in, reached, moved_on, step_pct, overall_pct, median_days, bar FROM funnel(history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'source', history => 'fun.h');
SELECT * FROM journeys(history => 'fun.h');

-- 1 goes all the way; 2 goes back to lead and comes again; 3 skips mql and is lost;
-- 4 only enters, and later than the others
INSERT INTO fun.lead VALUES (1, 'web', '2026-01-01', 100), (2, 'web', '2026-01-02', 200),
	(3, 'fair', '2026-01-03', 300), (4, NULL, '2026-02-01', NULL);
INSERT INTO fun.h VALUES
	(1, 'lead', '2026-01-01'), (1, 'mql', '2026-01-03'), (1, 'sql', '2026-01-10'), (1, 'prospect', '2026-01-12'), (1, 'client', '2026-02-01'),
	(2, 'lead', '2026-01-02'), (2, 'mql', '2026-01-03'), (2, 'lead', '2026-01-05'), (2, 'mql', '2026-01-06'),
	(3, 'lead', '2026-01-03'), (3, 'sql', '2026-01-04'), (3, 'lost', '2026-01-09'),
	(4, 'lead', '2026-02-01');
SELECT stage, leads_in, reached, moved_on, here_now, lost_here, elsewhere, reentries, skipped, negative, bar
FROM funnel(history => 'fun.h', as_of => '2026-03-01');
SELECT stage, step_pct, step_low, step_high, decided_pct, overall_pct, overall_low, overall_high, q1_days, median_days, q3_days
FROM funnel(history => 'fun.h', as_of => '2026-03-01');
SELECT * FROM journeys('fun.lead', 'source', history => 'fun.h', as_of => '2026-03-01', value => 'amount / 2');

-- as it stood on 11 January: 1 was an sql, 4 did not exist
SELECT stage, leads_in, reached, moved_on, here_now, lost_here, elsewhere, median_days
FROM funnel(history => 'fun.h', as_of => '2026-01-11');
-- leads that entered in a period: since is in it, until is not
SELECT stage, leads_in, reached, moved_on FROM funnel(history => 'fun.h', since => '2026-01-02', until => '2026-02-01', as_of => '2026-03-01');
-- until before everything
SELECT stage, leads_in, reached FROM funnel(history => 'fun.h', until => '2025-01-01', as_of => '2026-03-01') LIMIT 1;

-- by a column, by an expression, by two of them
SELECT by_value, stage, reached, moved_on FROM funnel('fun.lead', 'source', history => 'fun.h', as_of => '2026-03-01')
WHERE stage IN ('lead', 'client');
SELECT by_value, leads_in FROM funnel('fun.lead', $$coalesce(source, 'none'), to_char(created, 'YYYY-MM') -- month$$, history => 'fun.h', as_of => '2026-03-01')
WHERE stage = 'lead';

-- by a value of any type
SELECT by_value, leads_in FROM funnel('fun.lead', $$ROW(source, ARRAY[source, 'x'])$$, history => 'fun.h', as_of => '2026-03-01') WHERE stage = 'lead';
-- stages of one's own; what is in no list is "elsewhere"
SELECT stage, leads_in, reached, moved_on, here_now, lost_here, elsewhere
FROM funnel(history => 'fun.h', stages => '{lead,sql,client}', lost => '{}', as_of => '2026-03-01');
-- two won stages: none of them is a step on the way
SELECT stage, reached, moved_on, step_pct FROM funnel(history => 'fun.h', won => '{prospect,client}', as_of => '2026-03-01');

-- one lead; all open; all lost
SELECT stage, leads_in, reached, here_now, step_pct, decided_pct FROM funnel(history => 'fun.h', since => '2026-02-01', as_of => '2026-03-01');
CREATE TABLE fun.lost (lead_id int, stage text, at date);
INSERT INTO fun.lost SELECT i, s, '2026-01-01'::date + d FROM generate_series(1, 3) i, (VALUES ('lead', 0), ('lost', 5)) v(s, d);
SELECT stage, leads_in, reached, moved_on, lost_here, step_pct, decided_pct, decided_high FROM funnel(history => 'fun.lost', as_of => '2026-03-01') LIMIT 2;

-- equal instants: without a sequence, the order of the stages decides
CREATE TABLE fun.tie (lead text, stage text, at timestamptz, no int, was text);
INSERT INTO fun.tie VALUES ('a', 'mql', '2026-01-01', 1, NULL), ('a', 'lead', '2026-01-01', 2, NULL);
SELECT stage, outcome, moves, reentries FROM journeys(history => 'fun.tie');
SELECT stage, outcome, moves, reentries FROM journeys(history => 'fun.tie', columns => '{"tie": "no"}');
-- a sequence overrules the clock: a move dated before the one it follows is negative, and its days are shown
INSERT INTO fun.tie VALUES ('b', 'lead', '2026-01-05', 1, NULL), ('b', 'mql', '2026-01-02', 2, NULL), ('b', 'mql', '2026-01-03', 3, NULL);
SELECT stage, reached, moved_on, median_days, negative FROM funnel(history => 'fun.tie', columns => '{"seq": "no"}') LIMIT 2;
SELECT lead, stage, negative FROM journeys(history => 'fun.tie', columns => '{"seq": "no"}') ORDER BY lead;
-- in order of time, a row that says it left a stage entered only later is negative
INSERT INTO fun.tie VALUES ('c', 'mql', '2026-01-02', 2, 'lead'), ('c', 'lead', '2026-01-05', 1, NULL);
SELECT lead, stage, negative FROM journeys(history => 'fun.tie', columns => '{"from": "was"}') ORDER BY lead;
-- and so is a history that opens with its end
INSERT INTO fun.tie VALUES ('d', 'client', '2026-01-02', 2, NULL), ('d', 'prospect', '2026-01-05', 1, NULL);
SELECT lead, stage, negative FROM journeys(history => 'fun.tie') WHERE lead = 'd';
SELECT stage, negative FROM funnel(history => 'fun.tie') WHERE negative > 0;

-- columns named by the user; keys and stages of other types; rows that say nothing
CREATE TYPE fun.step AS ENUM ('new', 'talk', 'lost', 'deal');
CREATE TABLE fun.deal (id uuid PRIMARY KEY, region text);
CREATE TABLE fun."Odd ""name" ("Deal" uuid, "to" fun.step, "when" timestamp);
INSERT INTO fun.deal VALUES ('00000000-0000-0000-0000-00000000000a', 'north'), ('00000000-0000-0000-0000-00000000000b', 'south');
INSERT INTO fun."Odd ""name" VALUES ('00000000-0000-0000-0000-00000000000a', 'new', '2026-01-01'), ('00000000-0000-0000-0000-00000000000a', 'deal', '2026-01-02'),
	('00000000-0000-0000-0000-00000000000b', 'new', '2026-01-01'), ('00000000-0000-0000-0000-00000000000b', 'lost', '2026-01-02'),
	(NULL, 'new', '2026-01-01'), ('00000000-0000-0000-0000-00000000000b', 'deal', NULL), ('00000000-0000-0000-0000-00000000000b', 'deal', 'infinity');
SELECT by_value, stage, reached, moved_on, lost_here FROM funnel('fun.deal', 'region', history => 'fun."Odd ""name"',
	columns => '{"lead": "Deal", "stage": "to", "at": "when"}');
-- a key kept as text in the history is the same lead; 007 is not 7
CREATE TABLE fun.th (lead text, stage text, at timestamptz);
INSERT INTO fun.th VALUES ('1', 'lead', '2026-01-01'), ('-4', 'lead', '2026-01-01'), ('003', 'lead', '2026-01-01');
SELECT lead, by_value FROM journeys('fun.lead', 'source', history => 'fun.th') ORDER BY 1;
-- a deleted lead (stage NULL) is nowhere
INSERT INTO fun.th VALUES ('1', NULL, '2026-01-02');
SELECT lead, stage, outcome FROM journeys(history => 'fun.th') WHERE lead = '1';

-- against plain SQL, on random histories with loops, skips and ties
SELECT setseed(0.7);
CREATE TABLE fun.rh AS
SELECT (1 + floor(random() * 400))::int AS lead_id,
	(array['lead', 'mql', 'sql', 'prospect', 'client', 'lost', 'nurture'])[1 + floor(random() * 7)::int] AS stage,
	timestamptz '2026-01-01' + floor(random() * 500) * interval '1 hour' AS at, i AS no
FROM generate_series(1, 2500) i;
CREATE VIEW fun.oracle AS
WITH s(stage, o) AS (VALUES ('lead', 1), ('mql', 2), ('sql', 3), ('prospect', 4), ('client', 5)),
e AS (SELECT *, row_number() OVER w AS pos, lag(stage) OVER w AS prev, first_value(at) OVER w AS entry FROM fun.rh WINDOW w AS (PARTITION BY lead_id ORDER BY at, no)),
l AS (SELECT lead_id, max(pos) AS n FROM e GROUP BY 1),
cur AS (SELECT e.lead_id, e.stage FROM e JOIN l ON e.lead_id = l.lead_id AND pos = n),
r AS (SELECT lead_id, s.stage, s.o, min(pos) AS pos, (array_agg(at ORDER BY pos))[1] AS at, count(*) FILTER (WHERE prev IS DISTINCT FROM e.stage) AS times FROM e JOIN s USING (stage) GROUP BY 1, 2, 3),
mv AS (SELECT r.lead_id, r.stage, min(e.pos) AS pos FROM r JOIN e USING (lead_id) JOIN s ON s.stage = e.stage WHERE e.pos > r.pos AND s.o > r.o GROUP BY 1, 2)
SELECT s.stage, count(r.lead_id) AS reached, count(mv.pos) AS moved_on,
	count(*) FILTER (WHERE mv.pos IS NULL AND cur.stage = s.stage) AS here_now,
	count(*) FILTER (WHERE mv.pos IS NULL AND r.lead_id IS NOT NULL AND cur.stage = 'lost') AS lost_here,
	coalesce(sum(r.times - 1), 0) AS reentries,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM e.at - r.at) / 86400)::numeric, 2) AS median_days,
	round(percentile_cont(0.25) WITHIN GROUP (ORDER BY extract(epoch FROM e.at - r.at) / 86400)::numeric, 2) AS q1_days
FROM s LEFT JOIN r USING (stage) LEFT JOIN mv USING (lead_id, stage) LEFT JOIN cur ON cur.lead_id = r.lead_id
	LEFT JOIN e ON e.lead_id = mv.lead_id AND e.pos = mv.pos
GROUP BY s.stage, s.o;
SELECT * FROM fun.oracle ORDER BY reached, stage;
(SELECT stage, reached, moved_on, here_now, lost_here, reentries, median_days, q1_days FROM funnel(history => 'fun.rh', columns => '{"tie": "no"}')
 EXCEPT SELECT * FROM fun.oracle)
UNION ALL
(SELECT * FROM fun.oracle EXCEPT
 SELECT stage, reached, moved_on, here_now, lost_here, reentries, median_days, q1_days FROM funnel(history => 'fun.rh', columns => '{"tie": "no"}'));
-- whatever is reached is in one place
SELECT count(*) AS wrong FROM funnel(history => 'fun.rh') WHERE reached <> moved_on + here_now + lost_here + elsewhere OR elsewhere < 0;

-- Wilson's interval as published: R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
SELECT k, n, round(low::numeric, 4) AS low, round(high::numeric, 4) AS high, low_printed, high_printed,
	round(low::numeric, 4) = low_printed AND round(high::numeric, 4) = high_printed AS equal
FROM (VALUES (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)) AS t(k, n, low_printed, high_printed),
	LATERAL wilson(k, n);
-- Wilson: 15 of 50 is 0.1910 to 0.4375 at 95 % (checked with the closed form here)
SELECT round(low::numeric, 4) AS low, round(high::numeric, 4) AS high FROM wilson(15, 50);
SELECT bool_and(abs(w.low - (p + z*z/(2*n) - z*sqrt(p*(1-p)/n + z*z/(4*n*n))) / (1 + z*z/n)) < 1e-12
	AND abs(w.high - (p + z*z/(2*n) + z*sqrt(p*(1-p)/n + z*z/(4*n*n))) / (1 + z*z/n)) < 1e-12) AS wilson_agrees
FROM generate_series(1, 40) n, LATERAL generate_series(0, n) k, LATERAL (SELECT k::float8 / n AS p, 1.959963984540054::float8 AS z) c, wilson(k, n) w;
SELECT (wilson(0, 0)).*;
SELECT round(low::numeric, 6) AS low, round(high::numeric, 6) AS high FROM wilson(0, 10, 0.99);

-- what is not allowed
\set VERBOSITY sqlstate
\set SHOW_CONTEXT never
SELECT wilson(3, 2);
SELECT wilson(1, 2, 1);
\set VERBOSITY default
SELECT * FROM funnel('fun.lead', 'source FROM fun.lead', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'source) FROM fun.lead; --', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'source, *', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'nope', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'count(*)', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'generate_series(1, 2)', history => 'fun.h');
SELECT * FROM funnel('fun.lead', '', history => 'fun.h');
SELECT * FROM funnel('fun.lead', 'id, id, id, id, id, id, id, id, id', history => 'fun.h');
SELECT * FROM journeys('fun.lead', value => 'amount, id', history => 'fun.h');
SELECT * FROM journeys('fun.lead', value => 'source', history => 'fun.h');
SELECT * FROM funnel(by => 'source', history => 'fun.h');
SELECT * FROM funnel(history => 'fun.lead');
SELECT * FROM funnel(history => 'fun.h', columns => '{"lead": "nobody"}');
SELECT * FROM funnel(history => 'fun.h', columns => '{"leda": "lead_id"}');
SELECT * FROM funnel(history => 'fun.h', columns => '["lead"]');
SELECT * FROM funnel(history => 'fun.h', columns => '{"lead": 1}');
SELECT * FROM funnel(history => 'fun.h', stages => '{}');
SELECT * FROM funnel(history => 'fun.h', stages => '{lead,lead}');
SELECT * FROM funnel(history => 'fun.h', stages => '{lead,NULL}');
SELECT * FROM funnel(history => 'fun.h', won => '{rich}');
SELECT * FROM funnel(history => 'fun.h', stages => '{lead,gone}', lost => '{gone}');
SELECT * FROM funnel(history => 'fun.h', stages => (SELECT array_agg('s' || i) FROM generate_series(1, 65) i));
SELECT * FROM funnel(history => 'fun.h', as_of => 'infinity');
SELECT * FROM funnel(history => 1::regclass);

-- read with the caller's rights
CREATE ROLE regress_fun;
GRANT USAGE ON SCHEMA fun TO regress_fun;
SET ROLE regress_fun;
SELECT * FROM funnel(history => 'fun.h');
RESET ROLE;
GRANT SELECT ON fun.h TO regress_fun;
SET ROLE regress_fun;
SELECT stage, reached FROM funnel(history => 'fun.h', as_of => '2026-03-01') LIMIT 1;
SELECT * FROM funnel('fun.lead', 'source', history => 'fun.h');
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA fun CASCADE;
DROP ROLE regress_fun;
