-- test on real data: the reference counts of the folder's README, from funnel, path and forecast
CREATE TABLE event (case_id text, event_no int, activity text, ts timestamptz, resource text, role text, amount numeric, budget_no text, step_id text);
\setenv DATA :data
\copy event FROM PROGRAM 'gzip -dc "$DATA/domestic_declarations_events.csv.gz"' (FORMAT csv, HEADER)
CREATE VIEW h AS SELECT case_id AS lead, replace(activity, 'Declaration ', '') AS stage, ts AS at, event_no AS no FROM event;
SET timezone = 'UTC';

\echo 'Cases that ever reach each activity, as the README has them:'
CREATE TABLE reference (stage text, cases bigint);
INSERT INTO reference VALUES ('SUBMITTED by EMPLOYEE', 10222), ('APPROVED by ADMINISTRATION', 7847), ('APPROVED by BUDGET OWNER', 2734), ('APPROVED by PRE_APPROVER', 666),
	('FINAL_APPROVED by SUPERVISOR', 9938), ('Request Payment', 9914), ('Payment Handled', 9912), ('REJECTED by EMPLOYEE', 1199), ('REJECTED by ADMINISTRATION', 830),
	('REJECTED by SUPERVISOR', 274), ('REJECTED by MISSING', 85), ('REJECTED by PRE_APPROVER', 81), ('REJECTED by BUDGET OWNER', 56), ('SAVED by EMPLOYEE', 135);
CREATE VIEW f AS SELECT * FROM funnel(history => 'h', stages => (SELECT array_agg(stage) FROM reference), won => '{Payment Handled}', lost => '{}', columns => '{"tie": "no"}', as_of => '2019-06-01');
SELECT f.stage, f.reached, f.reached = r.cases AS as_reference FROM f JOIN reference r USING (stage);
SELECT max(leads_in) = 10357 AS all_cases, sum(negative) AS negative, bool_and(reached = moved_on + here_now + lost_here + elsewhere) AS each_in_one_place FROM f;

\echo 'Distinct paths (README: 90) and the largest direct steps (events):'
SELECT count(DISTINCT p) AS paths FROM (SELECT path(stage, at) AS p FROM h GROUP BY lead) x;
WITH p AS (SELECT path(stage, at) AS p FROM h GROUP BY lead)
SELECT a, b, count(*) AS events FROM p, unnest(p[:cardinality(p) - 1], p[2:]) u(a, b)
WHERE (a, b) IN (('FINAL_APPROVED by SUPERVISOR', 'Request Payment'), ('Request Payment', 'Payment Handled'), ('SUBMITTED by EMPLOYEE', 'APPROVED by ADMINISTRATION'),
	('APPROVED by ADMINISTRATION', 'FINAL_APPROVED by SUPERVISOR'), ('APPROVED by ADMINISTRATION', 'APPROVED by BUDGET OWNER'), ('REJECTED by EMPLOYEE', 'SUBMITTED by EMPLOYEE'),
	('SUBMITTED by EMPLOYEE', 'REJECTED by ADMINISTRATION'))
GROUP BY 1, 2 ORDER BY 3 DESC;

\echo 'The funnel of a declaration; loops are re-entries:'
CREATE FUNCTION stages() RETURNS text[] LANGUAGE sql AS $$ SELECT '{SUBMITTED by EMPLOYEE,APPROVED by ADMINISTRATION,APPROVED by BUDGET OWNER,FINAL_APPROVED by SUPERVISOR,Request Payment,Payment Handled}'::text[] $$;
SELECT stage, reached, moved_on, here_now, lost_here, reentries, skipped, step_pct, median_days, bar
FROM funnel(history => 'h', stages => stages(), lost => '{REJECTED by EMPLOYEE}', columns => '{"tie": "no"}', as_of => '2019-06-01');

\echo 'Against plain SQL: reached, re-entries, days to moving on'
WITH s AS (SELECT stage, o FROM unnest(stages()) WITH ORDINALITY s(stage, o)),
e AS (SELECT h.*, lag(stage) OVER w AS prev FROM h WINDOW w AS (PARTITION BY lead ORDER BY at, no)),
r AS (SELECT lead, e.stage, s.o, min(at) AS at, min(no) AS no, count(*) FILTER (WHERE prev IS DISTINCT FROM e.stage) - 1 AS again FROM e JOIN s USING (stage) GROUP BY 1, 2, 3),
m AS (SELECT r.lead, r.stage, min(e.at) AS at FROM r JOIN e USING (lead) JOIN s ON s.stage = e.stage WHERE e.no > r.no AND s.o > r.o GROUP BY 1, 2),
o AS (SELECT r.stage, count(*) AS reached, count(m.at) AS moved_on, sum(again) AS reentries,
	round(percentile_cont(0.25) WITHIN GROUP (ORDER BY extract(epoch FROM m.at - r.at) / 86400)::numeric, 2) AS q1,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM m.at - r.at) / 86400)::numeric, 2) AS median FROM r LEFT JOIN m USING (lead, stage) GROUP BY 1)
SELECT count(*) AS stages, count(*) FILTER (WHERE (f.reached, f.moved_on, f.reentries, f.q1_days, f.median_days) IS DISTINCT FROM (o.reached, o.moved_on, o.reentries, o.q1, o.median)) AS differ
FROM funnel(history => 'h', stages => stages(), columns => '{"tie": "no"}', as_of => '2019-06-01') f JOIN o USING (stage);

\echo 'Forecasts made on the 10th of nine months, against what was paid in that month and the next (90 % intervals):'
CREATE FUNCTION all_stages() RETURNS text[] LANGUAGE sql AS $$ SELECT (SELECT array_agg(DISTINCT stage) FROM h WHERE stage <> 'Payment Handled') || 'Payment Handled'::text $$;
CREATE TABLE checked AS
SELECT d::date AS as_of, f.month, f.open_leads, f.clients, f.clients_low, f.clients_high,
	(SELECT count(*) FROM journeys(history => 'h', stages => '{Payment Handled}', lost => '{}', columns => '{"tie": "no"}', as_of => '2019-06-01') y
	 WHERE y.entered <= d AND y.reached[1] > d AND date_trunc('month', y.reached[1])::date = f.month) AS came
FROM generate_series('2018-03-10'::timestamptz, '2018-11-10', '1 month') d,
	forecast(history => 'h', stages => all_stages(), lost => '{}', columns => '{"tie": "no"}', as_of => d, months => 2) f WHERE f.month IS NOT NULL;
SELECT *, came BETWEEN clients_low AND clients_high AS within FROM checked;
SELECT count(*) AS forecasts, count(*) FILTER (WHERE came BETWEEN clients_low AND clients_high) >= 14 AS most_within, abs(sum(clients) / sum(came) - 1) < 0.05 AS sum_within_5_pct FROM checked;
