-- regression test: cohorts, cost_per_stage, sources, sales_velocity, attribution
SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS leadscore; RESET client_min_messages;
SET search_path = public, leadscore;
SET timezone = 'UTC'; SET datestyle = 'ISO';
\set SHOW_CONTEXT never
CREATE SCHEMA rep;
CREATE TABLE rep.lead (id bigint PRIMARY KEY, source text, amount numeric);
CREATE TABLE rep.h (lead_id bigint, stage text, at timestamptz);
CREATE TABLE rep.cost (source text, campaign text, period daterange, amount numeric, currency text);
CREATE TABLE rep.touch (lead_id bigint, at timestamptz, channel text);

-- nothing at all
SELECT * FROM cohorts(history => 'rep.h');
SELECT by_value, spent FROM cost_per_stage('rep.lead', history => 'rep.h', costs => 'rep.cost');
SELECT * FROM sources('rep.lead', history => 'rep.h', costs => 'rep.cost');
SELECT * FROM sales_velocity('rep.lead', history => 'rep.h', value => 'amount');
SELECT * FROM attribution(history => 'rep.h', touches => 'rep.touch');

INSERT INTO rep.lead VALUES (1, 'web', 1000), (2, 'web', 500), (3, 'fair', 700), (4, 'web', NULL), (5, NULL, 50);
INSERT INTO rep.h VALUES
	(1, 'lead', '2026-01-05'), (1, 'mql', '2026-01-10'), (1, 'sql', '2026-01-20'), (1, 'prospect', '2026-01-25'), (1, 'client', '2026-02-14'),
	(2, 'lead', '2026-01-31'), (2, 'mql', '2026-02-01'), (2, 'lost', '2026-02-20'),
	(3, 'lead', '2026-02-10'), (3, 'mql', '2026-02-10'), (3, 'sql', '2026-02-15'), (3, 'client', '2026-02-20'),
	(4, 'lead', '2026-02-27'),
	(5, 'mql', '2026-03-10');

-- cohorts: to client by month of entry; March is still running, April not begun
SELECT * FROM cohorts(history => 'rep.h', as_of => '2026-03-15', months => 4);
SELECT cohort, leads_in, month, cell FROM cohorts(history => 'rep.h', as_of => '2026-03-15', to_stage => 'mql', months => 4) \crosstabview cohort month cell
SELECT by_value, cohort, month, reached, state FROM cohorts('rep.lead', 'source', history => 'rep.h', as_of => '2026-03-15', months => 2);
SELECT * FROM cohorts(history => 'rep.h', to_stage => 'friend');

-- costs: 100.00 over three days leaves a cent to share out; days without leads keep their cost
INSERT INTO rep.cost VALUES ('web', 'ads', '[2026-01-30,2026-02-02)', 100, 'EUR'), ('fair', NULL, '[2026-02-01,2026-03-01)', 560, 'EUR'),
	('press', NULL, '[2026-02-05,2026-02-06)', 9.995, 'EUR'), ('web', 'ads', '[2026-02-01,2026-02-11)', 50, 'USD'), ('web', NULL, '[2026-01-01,2026-02-01)', NULL, 'EUR');
SELECT * FROM cost_days('rep.cost') WHERE source IN ('web', 'press') AND currency = 'EUR' ORDER BY source, day;
SELECT * FROM cost_per_stage('rep.lead', history => 'rep.h', as_of => '2026-03-15', costs => 'rep.cost', value => 'amount') WHERE stage IN ('(entered)', 'mql', 'client');
SELECT by_value, stage, currency, spent, reached, cost_per, roi_pct FROM cost_per_stage('rep.lead', history => 'rep.h', as_of => '2026-03-15', costs => 'rep.cost', grain => 'all', value => 'amount')
WHERE stage IN ('(entered)', 'client');
SELECT by_value, spent, reached FROM cost_per_stage('rep.lead', $$source, 'ads'$$, history => 'rep.h', as_of => '2026-03-15', costs => 'rep.cost', grain => 'all', cost_by => 'source, campaign') WHERE stage = '(entered)';
SELECT DISTINCT by_value, spent FROM cost_per_stage('rep.lead', history => 'rep.h', since => '2026-02-01', until => '2026-02-02', as_of => '2026-03-15', costs => 'rep.cost', grain => 'all') ORDER BY 1, 2;
SELECT by_value, leads_in, mql, sql, clients, client_pct, low, high, spent, cpl, cac, median_days, avg_score
FROM sources('rep.lead', history => 'rep.h', as_of => '2026-03-15', costs => 'rep.cost', score => 'amount / 10');
-- a period that is not bounded, or empty, would lose money
INSERT INTO rep.cost VALUES ('tv', NULL, '[2026-01-01,)', 1, 'EUR');
SELECT * FROM cost_days('rep.cost');
UPDATE rep.cost SET period = 'empty' WHERE source = 'tv';
SELECT * FROM cost_days('rep.cost');
DELETE FROM rep.cost WHERE source = 'tv';
SELECT * FROM cost_days('rep.lead');
SELECT * FROM cost_days('rep.cost', '{"price": "amount"}');
-- other shapes of cost tables
CREATE TABLE rep.cost2 (source text, month date, amount numeric(12, 2));
INSERT INTO rep.cost2 VALUES ('web', '2028-02-17', 1000);
SELECT count(*), min(day), max(day), sum(amount), min(amount), max(amount) FROM cost_days('rep.cost2');
CREATE TABLE rep.cost3 (von date, bis date, eur float8);
INSERT INTO rep.cost3 VALUES ('2026-01-01', '2026-01-07', 1.1);
SELECT sum(amount), count(*), min(source) FROM cost_days('rep.cost3', '{"amount": "eur", "from": "von", "to": "bis"}');
-- whatever the amounts and periods, what is allotted is what was spent, to the cent
SELECT setseed(0.2);
CREATE TABLE rep.rcost AS SELECT 's' || i % 7 AS source, daterange('2026-01-01'::date + (random() * 50)::int, '2026-01-01'::date + 51 + (random() * 100)::int) AS period,
	round((random() * 10000 - 500)::numeric, i % 4) AS amount FROM generate_series(1, 500) i;
SELECT sum(amount) = (SELECT sum(amount) FROM rep.rcost) AS days_add_up, bool_and(scale(amount) <= 3) AS cents FROM cost_days('rep.rcost');
SELECT (SELECT sum(spent) FROM cost_per_stage('rep.lead', history => 'rep.h', as_of => '2027-01-01', costs => 'rep.rcost') WHERE stage = '(entered)')
	= (SELECT sum(amount) FROM rep.rcost) AS report_adds_up;

-- sales velocity: 2 open x 850 x 2 of 3 won / mean of 40 and 10 days
SELECT * FROM sales_velocity('rep.lead', history => 'rep.h', as_of => '2026-03-15', value => 'amount');

-- attribution, by hand: client 1 has four touches, client 3 one; touches after the win do not count
INSERT INTO rep.touch VALUES (1, '2026-01-01', 'ad'), (1, '2026-01-05', 'form'), (1, '2026-01-19', 'webinar'), (1, '2026-02-01', 'mail'), (1, '2026-03-01', 'call'),
	(3, '2026-02-10', 'fair'), (2, '2026-01-30', 'ad'), (2, '2026-02-10', 'mail'), (4, '2026-02-27', 'ad'), (NULL, '2026-01-01', 'ad');
SELECT touch, channel, max(credit) FILTER (WHERE model = 'first') AS first, max(credit) FILTER (WHERE model = 'last') AS last,
	max(credit) FILTER (WHERE model = 'linear') AS linear, max(credit) FILTER (WHERE model = 'u') AS u, max(credit) FILTER (WHERE model = 'w') AS w,
	max(credit) FILTER (WHERE model = 'decay') AS decay
FROM attribution_credits(history => 'rep.h', as_of => '2026-03-15', touches => 'rep.touch') WHERE lead = '1' GROUP BY 1, 2 ORDER BY 1;
SELECT model, channel, touched, credit, share_pct, credited_value, removal_effect FROM attribution('rep.lead', history => 'rep.h', as_of => '2026-03-15', touches => 'rep.touch', value => 'amount', models => '{linear,markov}');
-- a client whom nobody touched
DELETE FROM rep.touch WHERE lead_id = 3;
SELECT channel, credit FROM attribution(history => 'rep.h', as_of => '2026-03-15', touches => 'rep.touch', models => '{last}');
SELECT * FROM attribution(history => 'rep.h', touches => 'rep.touch', models => '{best}');
SELECT * FROM attribution(history => 'rep.h', touches => 'rep.lead');

-- one, two and three touches
SELECT m, touch_credits(m, '{2026-01-01}') AS one, touch_credits(m, '{2026-01-01,2026-01-08}') AS two, touch_credits(m, '{2026-01-01,2026-01-08,2026-01-15}', '2026-01-08', '2026-01-15') AS three
FROM unnest('{first,last,linear,u,w,decay}'::text[]) m;
SELECT touch_credits('decay', '{2026-01-01,2026-01-08}', half_life => '7 days') AS by_half, touch_credits('decay', '{0001-01-01,2026-01-08}', half_life => '1 s') AS forgotten,
	touch_credits('weights', '{2026-01-01,2026-01-08,2026-01-09}', weights => '{1,0,3}') AS weights, touch_credits('weights', '{2026-01-01,2026-01-08}', weights => '{0,0}') AS no_weight,
	touch_credits('linear', '{}') AS none;
SELECT touch_credits('decay', '{2026-01-01}', half_life => '0');
SELECT touch_credits('weights', '{2026-01-01}', weights => '{1,2}');
SELECT touch_credits('weights', '{2026-01-01}', weights => '{-1}');
SELECT touch_credits('weights', '{2026-01-01}', weights => '{NaN}');
SELECT touch_credits('linear', '{2026-01-01,NULL}');

-- published: S. Puzyrov, "Markov Chain Attribution - Simple Explanation of Removal Effect" (2019): paths google ads (2 clients),
-- mailing (1), google ads > mailing (1), google ads (none): transitions and chances as printed there
SELECT channel, round(removal_effect::numeric, 4) AS removal_effect, round(conversion::numeric, 4) AS conversion, round(conversion_without::numeric, 4) AS without,
	round((removal_effect / sum(removal_effect) OVER ())::numeric, 4) AS share
FROM markov_removal(ARRAY[NULL, NULL, 'google ads', 'google ads', 'google ads', 'mailing'], ARRAY['google ads', 'mailing', NULL, 'mailing', NULL, NULL], '{f,f,t,f,f,t}', '{4,1,2,1,1,2}');
-- published (Anderl et al. 2014 method; S. Bryl, "Marketing Multi-Channel Attribution model with R", 2016): C1 > C2 > C3 wins, C1 and C2 > C3 do not
SELECT channel, removal_effect, round(conversion::numeric, 4) AS conversion, (removal_effect / sum(removal_effect) OVER ())::numeric(3, 2) AS share
FROM markov_removal('{NULL,NULL,C1,C1,C2,C3,C3}', '{C1,C2,C2,NULL,C3,NULL,NULL}', '{f,f,f,f,f,t,f}', '{2,1,1,1,2,1,1}') ORDER BY channel;
-- loops, nothing, no client at all
SELECT channel, round(removal_effect::numeric, 4) AS effect FROM markov_removal('{NULL,A,A,A}', '{A,A,NULL,NULL}', '{f,f,t,f}', '{10,50,5,5}');
SELECT * FROM markov_removal('{}', '{}', '{}', '{}');
SELECT * FROM markov_removal('{NULL,A}', '{A,NULL}', '{f,f}', '{1,1}');
SELECT * FROM markov_removal('{NULL}', '{A,B}', '{f}', '{1}');
SELECT * FROM markov_removal('{NULL}', '{A}', '{f}', '{-1}');
SELECT count(*) FROM markov_removal((SELECT array_agg('c' || i) FROM generate_series(1, 301) i), (SELECT array_agg(NULL::text) FROM generate_series(1, 301)),
	(SELECT array_agg(true) FROM generate_series(1, 301)), (SELECT array_agg(1::bigint) FROM generate_series(1, 301)));

-- random histories: the credits of each client add up to exactly 1, in every model
CREATE TABLE rep.rh AS SELECT i AS lead_id, s AS stage, timestamptz '2026-01-01' + o * interval '10 days' + random() * interval '9 days' AS at
FROM generate_series(1, 400) i, (VALUES ('lead', 0), ('sql', 1), ('client', 2), ('lost', 3)) v(s, o)
WHERE o < 2 OR (o = 2 AND i % 3 = 0) OR (o = 3 AND i % 3 = 1);
CREATE TABLE rep.rt AS SELECT (1 + random() * 399)::int AS lead_id, timestamptz '2025-12-20' + random() * interval '45 days' AS at, 'c' || (random() * 9)::int AS channel FROM generate_series(1, 3000);
SELECT model, count(*) AS clients, count(*) FILTER (WHERE total <> 1) AS not_one, sum(total) AS credits FROM
	(SELECT model, lead, sum(credit) AS total FROM attribution_credits(history => 'rep.rh', touches => 'rep.rt', half_life => '3 days') GROUP BY 1, 2) x GROUP BY 1 ORDER BY 1;
-- the removal effect against plain SQL: the chance of a client, channel by channel, by walking the chain 80 steps
CREATE TABLE rep.steps AS
WITH j AS (SELECT lead, stage_since, outcome FROM journeys(history => 'rep.rh') WHERE outcome IN ('won', 'lost')),
p AS (SELECT lead, outcome, array_agg(channel ORDER BY t.at, channel) AS c FROM j JOIN rep.rt t ON t.lead_id::text = j.lead AND t.at <= stage_since GROUP BY 1, 2)
SELECT coalesce(f, 'start') AS f, coalesce(t, outcome) AS t, count(*)::float8 / sum(count(*)) OVER (PARTITION BY f) AS p FROM p, unnest(NULL::text || c, c || NULL::text) u(f, t) GROUP BY f, coalesce(t, outcome);
CREATE FUNCTION rep.chance(removed text) RETURNS float8 LANGUAGE sql AS $$
	WITH RECURSIVE w(n, state, mass) AS (
		SELECT 0, 'start', 1::float8
		UNION ALL
		SELECT n + 1, t, m FROM (SELECT w.n, s.t, sum(w.mass * s.p) OVER (PARTITION BY s.t) AS m, row_number() OVER (PARTITION BY s.t) AS r
			FROM w JOIN rep.steps s ON s.f = w.state WHERE s.t <> removed AND w.n < 80) x WHERE r = 1)
	SELECT sum(mass) FROM w WHERE state = 'won' $$;
SELECT count(*) AS channels, max(abs(effect - (1 - rep.chance(channel) / rep.chance('-')))) < 1e-9 AS agrees
FROM (SELECT DISTINCT channel, removal_effect AS effect FROM attribution_credits(history => 'rep.rh', touches => 'rep.rt', models => '{markov}') WHERE removal_effect IS NOT NULL) x;

SET client_min_messages = warning;
DROP SCHEMA rep CASCADE;
