-- test on real data (of a fictitious firm): won 4,238 of 6,711 closed = 63.15 %; days to close
-- won: mean 51.8, median 57; lost: mean 41.5, median 14; open deals are censored
CREATE TABLE deal (opportunity_id text PRIMARY KEY, sales_agent text, product text, account text, deal_stage text, engage_date date, close_date date, close_value numeric);
\setenv DATA :data
\copy deal FROM PROGRAM 'gzip -dc "$DATA/sales_pipeline.csv.gz"' (FORMAT csv, HEADER)
SET timezone = 'UTC';
-- engaged deals; the 500 in Prospecting have no date at all
CREATE VIEW moves AS
SELECT opportunity_id AS lead, 'Engaging' AS stage, engage_date AS at FROM deal WHERE engage_date IS NOT NULL
UNION ALL SELECT opportunity_id, deal_stage, close_date FROM deal WHERE close_date IS NOT NULL;

SELECT stage, reached, moved_on, here_now, lost_here, step_pct, decided_pct, decided_low, decided_high, median_days
FROM funnel('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31');
SELECT won_leads, lost_leads, opportunities, win_rate_pct, avg_value, avg_cycle_days, per_day
FROM sales_velocity('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31', value => 'close_value');
\echo 'Days to close: won and lost, from the journeys'
SELECT outcome, count(*), round(avg(extract(epoch FROM stage_since - entered) / 86400), 1) AS mean,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM stage_since - entered) / 86400) AS median
FROM journeys('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31') GROUP BY 1 ORDER BY 1;
\echo 'Open deals are censored, not left out: the median until a deal closes is longer than that of the closed ones'
SELECT span, n, ended, censored, q1_days, median_days, median_low, median_high, q3_days
FROM velocity('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31') WHERE span <> 'in Engaging';
\echo 'The same curve by plain SQL: greatest difference'
WITH s AS (SELECT coalesce(close_date, '2017-12-31') - engage_date AS days, close_date IS NOT NULL AS ended FROM deal WHERE engage_date IS NOT NULL),
d AS (SELECT days, count(*) FILTER (WHERE ended) AS d, count(*) AS n FROM s GROUP BY 1),
k AS (SELECT days, d, sum(n) OVER (ORDER BY days DESC) AS at_risk FROM d),
o AS (SELECT days, exp(sum(ln(1 - d / at_risk)) OVER (ORDER BY days)) AS survival FROM k WHERE d > 0 AND d < at_risk)
SELECT count(*) AS steps, max(abs(o.survival - s.survival)) < 1e-9 AS agrees
FROM o JOIN survival('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31', span => 'entry to end') s ON s.days = o.days;
\echo 'Reports by product'
SELECT by_value AS product, leads_in, clients, client_pct, low, high, median_days, round(avg_score) AS avg_close_value
FROM sources('deal', 'product', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-12-31', score => 'close_value');
\echo 'A forecast made in spring, and what happened (later quarters of this made-up data stop and start by the calendar, which a forecast by age cannot know)'
SELECT f.month, open_leads, f.clients, f.clients_low, f.clients_high, a.came, f.clients_low <= a.came AND a.came <= f.clients_high AS within
FROM forecast('deal', history => 'moves', stages => '{Engaging,Won}', lost => '{Lost}', as_of => '2017-04-30 23:59', months => 3) f,
LATERAL (SELECT count(*) AS came FROM deal WHERE deal_stage = 'Won' AND engage_date < '2017-05-01' AND close_date > '2017-04-30'
	AND (date_trunc('month', close_date) = f.month OR f.month IS NULL AND close_date < '2017-07-01')) a;
