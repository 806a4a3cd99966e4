-- The funnel on one page of 100 columns:
--	psql -v leads=crm.lead -v by=source -f test/demo/report.sql
-- Variables: leads (the lead table), by (a column or expression of it: default source), history
-- (default: the extension's own), stages, won, lost, columns (see docs/analytics.md), costs (table
-- of costs), value (what a client is worth: an expression), score (an expression), as_of (default now),
-- months (of the forecast: 3).
\set QUIET on
\pset footer off
\pset null '-'
\pset linestyle ascii
\pset border 1
SET client_min_messages = warning;
\if :{?leads} \else \set leads '' \endif
\if :{?by} \else \set by source \endif
\if :{?history} \else \set history '' \endif
\if :{?stages} \else \set stages '' \endif
\if :{?won} \else \set won '' \endif
\if :{?lost} \else \set lost '' \endif
\if :{?columns} \else \set columns '' \endif
\if :{?costs} \else \set costs '' \endif
\if :{?value} \else \set value '' \endif
\if :{?score} \else \set score '' \endif
\if :{?as_of} \else \set as_of '' \endif
\if :{?months} \else \set months 3 \endif
SELECT quote_nullable(nullif(:'leads', '')) AS r_leads, quote_nullable(nullif(:'by', '')) AS r_by,
	quote_nullable(nullif(:'history', '')) || '::regclass' AS r_history, quote_nullable(nullif(:'stages', '')) || '::text[]' AS r_stages,
	quote_nullable(nullif(:'won', '')) || '::text[]' AS r_won, quote_nullable(nullif(:'lost', '')) || '::text[]' AS r_lost,
	quote_nullable(nullif(:'columns', '')) || '::jsonb' AS r_columns, quote_nullable(nullif(:'costs', '')) || '::regclass' AS r_costs,
	quote_nullable(nullif(:'value', '')) AS r_value, quote_nullable(nullif(:'score', '')) AS r_score,
	quote_literal(coalesce(nullif(:'as_of', '')::timestamptz, now())) || '::timestamptz' AS r_as_of,
	:'costs' <> '' AS has_costs, :'value' <> '' AS has_value, :'leads' <> '' AND :'by' <> '' AS has_by,
	to_char(coalesce(nullif(:'as_of', '')::timestamptz, now()), 'YYYY-MM-DD HH24:MI') AS r_shown,
	coalesce(nullif(:'leads', ''), nullif(:'history', ''), 'the enforced table') AS r_title \gset
\set args 'leads => ' :r_leads ', as_of => ' :r_as_of ', history => ' :r_history ', stages => ' :r_stages ', won => ' :r_won ', lost => ' :r_lost ', columns => ' :r_columns

\echo
\echo '=== Funnel of' :r_title 'as of' :r_shown '==='
SELECT left(stage, 16) AS stage, reached, moved_on AS moved, here_now AS here, lost_here AS lost, round(step_pct, 1) AS "step %",
	round(step_low, 1) || ' - ' || round(step_high, 1) AS "95 %", round(overall_pct, 1) AS "all %",
	round(median_days, 1) AS days, left(bar, (length(bar) + 1) / 2) AS bar
FROM leadscore.funnel(:args);
\echo '"step %" moved on so far, of those who reached the stage; days: median of those who moved on.'
\echo
\echo '=== Time in stage, with what is still open counted as open (Kaplan-Meier, days) ==='
SELECT left(span, 19) AS span, n, ended, censored AS open, round(q1_days, 1) AS "25 %", round(median_days, 1) AS median,
	coalesce(round(median_low, 1)::text, '?') || ' - ' || coalesce(round(median_high, 1)::text, '?') AS "95 %", round(q3_days, 1) AS "75 %",
	round(going_on_pct[1], 1) AS "on, 30 d", round(going_on_pct[2], 1) AS "90 d"
FROM leadscore.velocity(:args, at_days => '{30,90}');
\if :has_by
\echo '=== By' :by '==='
SELECT left(by_value, 16) AS "by", leads_in AS leads, mql, sql, clients, client_pct AS "%", low || ' - ' || high AS "95 %",
	cpl, cac, median_days AS days, avg_score AS score
FROM leadscore.sources(:args, by => :r_by, costs => :r_costs, score => :r_score) LIMIT 12;
\endif
\echo '=== Clients by month of entry and months since, % ("+": still running; ".": not yet) ==='
SELECT to_char(cohort, 'YYYY-MM') || '  (' || leads_in || ')' AS "month (leads)", month, cell
FROM leadscore.cohorts(:args, months => 9)
WHERE cohort >= date_trunc('month', :r_as_of) - interval '11 months' \crosstabview "month (leads)" month cell
\if :has_costs
\echo '=== Cost per stage ==='
SELECT left(by_value, 16) AS "by", currency AS "in", stage, spent, reached, cost_per AS "cost each", revenue, roi_pct AS "ROI %"
FROM leadscore.cost_per_stage(:args, by => :r_by, costs => :r_costs, value => :r_value, grain => 'all')
WHERE stage = '(entered)' OR revenue IS NOT NULL OR roi_pct IS NOT NULL
ORDER BY spent DESC NULLS LAST, 1, revenue NULLS FIRST LIMIT 16;
\endif
\echo '=== Expected clients of the leads now open (90 % interval) ==='
SELECT coalesce(to_char(month, 'YYYY-MM'), 'in all') AS month, open_leads AS open, clients, clients_low || ' - ' || clients_high AS "90 %",
	revenue, revenue_low || ' - ' || revenue_high AS "revenue 90 %"
FROM leadscore.forecast(:args, value => :r_value, months => :months);
\if :has_value
SELECT opportunities AS open, won_leads AS won, lost_leads AS lost, win_rate_pct AS "win rate %", low || ' - ' || high AS "95 %",
	avg_value, avg_cycle_days AS "cycle days", per_day AS "value per day"
FROM leadscore.sales_velocity(:args, value => :r_value);
\endif
\pset footer on
\pset null ''
