-- A hand-made point model on real leads: 45,211 clients of a bank, called in
-- its telemarketing campaigns of 2008-2010 (UCI data set 222, CC BY 4.0). Needs
-- the psql variable data: the folder that holds bank-full.csv.gz; fresh is 0
-- when all is there from an earlier run.
--
-- Nothing here looks at the outcome (y) but the report at the end, and nothing
-- at all at duration: the length of the call is known only when it is over.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
\if :fresh
\setenv LEADSCORE_BANK :data
DROP SCHEMA IF EXISTS bank CASCADE;
CREATE SCHEMA bank;
\endif
SET search_path = bank, public, leadscore;
\if :fresh

CREATE TABLE bank.client (
	age int, job text, marital text, education text, "default" text, balance int, housing text, loan text,
	contact text, day int, month text, duration int, campaign int, pdays int, previous int, poutcome text, y text,
	client_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
\copy bank.client (age, job, marital, education, "default", balance, housing, loan, contact, day, month, duration, campaign, pdays, previous, poutcome, y) FROM PROGRAM 'zcat "$LEADSCORE_BANK"/bank-full.csv.gz' WITH (FORMAT csv, HEADER, DELIMITER ';')
ANALYZE bank.client;

\o /dev/null
SELECT create_model('term deposit', 'bank.client');
SELECT add_component('term deposit', 'history', hi => 60);
SELECT add_component('term deposit', 'fit', lo => -20, hi => 50);
SELECT add_component('term deposit', 'reach', lo => -20, hi => 20);

SELECT add_rule('term deposit', 'history', 'took the last offer', $$poutcome = 'success'$$, 50);
SELECT add_rule('term deposit', 'history', 'has talked to us before', $$previous BETWEEN 1 AND 10$$, 8);
SELECT add_rule('term deposit', 'history', 'last talk within 100 days', $$pdays BETWEEN 0 AND 99$$, 10);
SELECT add_rule('term deposit', 'history', 'answered "other"', $$poutcome = 'other'$$, 3);

SELECT add_rule('term deposit', 'fit', 'student', $$job = 'student'$$, 15);
SELECT add_rule('term deposit', 'fit', 'retired, or of that age', $$job = 'retired' OR age >= 60$$, 18);
SELECT add_rule('term deposit', 'fit', 'office work', $$job IN ('management', 'admin.', 'unemployed', 'self-employed')$$, 3);
SELECT add_rule('term deposit', 'fit', 'manual work', $$job IN ('blue-collar', 'housemaid', 'entrepreneur', 'services')$$, -3);
SELECT add_rule('term deposit', 'fit', 'higher education', $$education = 'tertiary'$$, 4);
SELECT add_rule('term deposit', 'fit', 'no housing loan to pay', $$housing = 'no'$$, 10);
SELECT add_rule('term deposit', 'fit', 'a personal loan to pay', $$loan = 'yes'$$, -8);
SELECT add_rule('term deposit', 'fit', 'savings', $$balance > 0$$, 'least(balance / 500, 6)');
SELECT add_rule('term deposit', 'fit', 'in debt', $$balance < 0 OR "default" = 'yes'$$, -6);
SELECT add_rule('term deposit', 'fit', 'single', $$marital = 'single'$$, 3);

SELECT add_rule('term deposit', 'reach', 'known phone', $$contact IN ('cellular', 'telephone')$$, 10);
SELECT add_rule('term deposit', 'reach', 'called again and again', $$campaign > 2$$, 'greatest(-2.0 * (campaign - 2), -15)');

SELECT add_band('term deposit', 'A', 55);
SELECT add_band('term deposit', 'B', 35);
SELECT add_band('term deposit', 'C', 20);
SELECT add_band('term deposit', 'D', '-infinity');
SELECT publish('term deposit', note => 'made by hand');
\o
\endif

\echo 'Real leads: 45,211 clients of a bank, scored by 16 hand-made rules (duration is not used).'
\echo 'How many of each tenth took the offer, the best tenth first:'
SELECT decile, count(*) AS clients, round(min(score)::numeric, 1) AS lowest_score,
	   round(100.0 * avg((y = 'yes')::int), 1) AS "converted %",
	   round(avg((y = 'yes')::int) / (SELECT avg((y = 'yes')::int) FROM bank.client), 2) AS lift
FROM (SELECT c.y, s.score @ now() AS score, ntile(10) OVER (ORDER BY s.score <~> now(), c.client_id) AS decile
	  FROM bank.client c JOIN leadscore."score_term deposit" s ON s.lead = c.client_id) t
GROUP BY decile ORDER BY decile;

\echo 'Why the hottest of them is hot:'
SELECT e.component, e.rule, e.points, e.note
FROM (SELECT lead::text FROM leadscore."score_term deposit" ORDER BY score <~> now(), lead LIMIT 1) h, explain('term deposit', h.lead) e;
