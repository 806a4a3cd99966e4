-- The demo: a made-up CRM, scored, its stages enforced, its funnel shown.
-- Run by test/demo/run; "fresh" is 0 when the data is there from an earlier run.
\if :fresh
	\set leads 3000
	\set seed 0.1789
	\i :demo/generate.sql
	\i :demo/setup.sql
	\echo 'The data is made up, nobody in it is real:' :leads 'leads of a year with their interactions, costs and moves,'
	\echo 'made by test/demo/generate.sql from the seed' :seed '(the same seed on the same day gives the same rows).'
	\echo
\endif
SELECT (SELECT count(*) FROM crm.lead) AS leads, (SELECT count(*) FROM crm.interaction) AS interactions,
	(SELECT count(*) FROM rule r WHERE r.model = m.model AND r.version = m.live_version) AS rules, live_version
FROM model m WHERE m.model = 'b2b' \gset
\echo :leads leads, :interactions interactions, scored by the model "b2b" (version :live_version, :rules rules); see test/demo/setup.sql.
\echo
\echo '----------------------------------------------------------------------------------------------------'
\echo '1. Who is hot right now? Scores age by themselves: this is exact at the moment you ask.'
\echo
\set ECHO queries
SELECT h.lead, l.name, l.company, l.stage, round(h.score::numeric, 1) AS score, h.band, h.parts
FROM hottest('b2b', 50) h JOIN crm.lead l ON l.lead_id = h.lead::bigint
WHERE l.stage < 'client'
ORDER BY h.score DESC LIMIT 10;
\set ECHO none
\echo '   No table was sorted: an index holds the scores that age, and is read as of now, as far as needed.'
\echo
\set ECHO queries
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT lead FROM score_b2b ORDER BY score <~> now() LIMIT 10;
\set ECHO none
SELECT h.lead AS hot, l.name AS hot_name
FROM hottest('b2b', 50) h JOIN crm.lead l ON l.lead_id = h.lead::bigint
WHERE l.stage < 'client'
ORDER BY h.score DESC LIMIT 1 \gset
\echo '----------------------------------------------------------------------------------------------------'
\echo '2. Why is' :hot_name 'at the top? Every point is accounted for; the rows add up to the score.'
\echo
\set ECHO queries
SELECT component, rule, occurrences AS times, round(points::numeric, 1) AS points, note
FROM explain('b2b', :'hot');
\set ECHO none
\echo '   And what if nothing more happens? The score of the same lead, in the days to come:'
\echo
\set ECHO queries
SELECT d AS days_from_now, round((current_score('b2b', :'hot') @ (now() + d * interval '1 day'))::numeric, 1) AS score
FROM unnest(ARRAY[0, 7, 14, 30, 60]) d;
SELECT falls_below(current_score('b2b', :'hot'), 80) AS not_hot_any_more_from;
\set ECHO none
-- a lead just under the line, whom one more thing takes over it
SELECT l.lead_id AS warm, l.name AS warm_name
FROM crm.lead l
WHERE l.stage = 'lead' AND current_score('b2b', l.lead_id::text) @ now() BETWEEN 55 AND 78
  AND (parts(current_score('b2b', l.lead_id::text), now()))[2] < 70
  AND NOT EXISTS (SELECT FROM crm.interaction i WHERE i.lead_id = l.lead_id AND i.kind = 'demo request')
ORDER BY current_score('b2b', l.lead_id::text) <~> now() LIMIT 1 \gset
\echo '----------------------------------------------------------------------------------------------------'
\echo '3. One event, one transaction. Another session records a demo request of lead' :warm '(':warm_name'):'
\echo '   its score, the move to MQL, the history and the notification to us, who listen, belong together.'
\echo
\set ECHO queries
LISTEN leadscore_crossing;
SELECT stage, round((current_score('b2b', :'warm') @ now())::numeric, 1) AS score FROM crm.lead WHERE lead_id = :warm;
\set ECHO none
\setenv PGDATABASE :DBNAME
\setenv WARM :warm
\echo INSERT INTO crm.interaction (lead_id, occurred_at, kind) VALUES (:warm, now(), '''demo request''');   -- the other session
\! psql -X -q -c "INSERT INTO crm.interaction (lead_id, occurred_at, kind) VALUES ($WARM, now(), 'demo request')"
\set ECHO queries
SELECT stage, round((current_score('b2b', :'warm') @ now())::numeric, 1) AS score FROM crm.lead WHERE lead_id = :warm;
\set ECHO none
UNLISTEN *;
-- a marketing-qualified lead of whom too little is known
SELECT l.lead_id AS mover, l.name AS mover_name
FROM crm.lead l
WHERE l.stage = 'mql' AND l.budget IS NULL AND l.need IS NULL AND l.timeline IS NULL AND l.authority IS NOT NULL
ORDER BY current_score('b2b', l.lead_id::text) <~> now() LIMIT 1 \gset
\echo
\echo '----------------------------------------------------------------------------------------------------'
\echo '4. Sales wants to take over lead' :mover '(':mover_name'). The rules of the pipeline hold for every writer:'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
UPDATE crm.lead SET stage = 'sql' WHERE lead_id = :mover;
\set ECHO none
\set ON_ERROR_STOP on
\echo
\echo '   Refused, and nothing has changed. After a call the answers are known, and the same move is allowed:'
\echo
\set ECHO queries
UPDATE crm.lead SET budget = 24000, need = 'one view of clients', timeline = current_date + 60 WHERE lead_id = :mover;
UPDATE crm.lead SET stage = 'sql' WHERE lead_id = :mover;
SELECT from_stage, to_stage, at, by, why, score FROM history WHERE lead = :'mover';
\set ECHO none
\echo '   Where can this lead go from here?'
\echo
\set ECHO queries
SELECT * FROM next_stages('crm.lead', :'mover');
\set ECHO none
\echo '----------------------------------------------------------------------------------------------------'
\echo '5. Marketing thinks that demo requests should count more. Who would change bands? Try it, take it back:'
\echo
SELECT reset_draft('b2b') \g /dev/null
\set ECHO queries
\o /dev/null
SELECT drop_rule('b2b', 'demo request');
SELECT add_rule('b2b', 'engagement', 'demo request', $$kind = 'demo request'$$, 60);
\o
SELECT * FROM compare_bands('b2b');
SELECT publish('b2b', 'demo requests count double') AS published;
SELECT revert('b2b', :live_version) AS "live again, as version";
SELECT version, state, published_by AS by, rules, note FROM versions WHERE model = 'b2b';
\set ECHO none
\echo '----------------------------------------------------------------------------------------------------'
\echo '6. The funnel of the year: how many reached each stage, what share moved on, after how many days.'
\echo
\set ECHO queries
SELECT stage, reached, moved_on, here_now AS open, lost_here AS lost, step_pct AS "moved on %",
	overall_pct AS "of all %", median_days AS days, bar
FROM funnel('crm.lead');
\set ECHO none
\echo '   "moved on %" is of those who reached the stage, open ones included; "days" is the median until they moved on.'
\echo
\echo '----------------------------------------------------------------------------------------------------'
\echo '7. All of it on one page (test/demo/report.sql; each number is defined in docs/analytics.md):'
\set leads crm.lead
\set by source
\set costs crm.cost
\set value order_value
\set score 'leadscore.current_score(''b2b'', lead_id::text) @ now()'
\ir report.sql
