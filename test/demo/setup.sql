-- A model and the lifecycle for the CRM of generate.sql, as a newcomer would write them.
SET client_min_messages = warning;
SET search_path = public, leadscore;

SELECT create_model('b2b', leads => 'crm.lead', events => 'crm.interaction') \g /dev/null
SELECT add_component('b2b', 'fit', lo => 0, hi => 50),
	add_component('b2b', 'engagement', half_life => '14 days', lo => 0, hi => 100) \g /dev/null
SELECT add_rule('b2b', 'fit', 'target sector', $$sector IN ('software', 'finance')$$, 15),
	add_rule('b2b', 'fit', 'near sector', $$sector IN ('manufacturing', 'logistics')$$, 8),
	add_rule('b2b', 'fit', 'wrong sector', $$sector IN ('education', 'media')$$, -10),
	add_rule('b2b', 'fit', 'mid-size firm', $$employees BETWEEN 50 AND 999$$, 12),
	add_rule('b2b', 'fit', 'large firm', $$employees >= 1000$$, 8),
	add_rule('b2b', 'fit', 'came by referral', $$source = 'referral'$$, 12),
	add_rule('b2b', 'fit', 'has a budget', $$budget >= 5000$$, 10) \g /dev/null
SELECT add_rule('b2b', 'engagement', 'demo request', $$kind = 'demo request'$$, 30, at_most => 1, per => '7 days'),
	add_rule('b2b', 'engagement', 'webinar', $$kind = 'webinar'$$, 12, at_most => 1, per => '1 day'),
	add_rule('b2b', 'engagement', 'call', $$kind = 'call'$$, 12),
	add_rule('b2b', 'engagement', 'form', $$kind = 'form'$$, 10, at_most => 2, per => '7 days'),
	add_rule('b2b', 'engagement', 'white paper', $$kind = 'white paper'$$, 6),
	add_rule('b2b', 'engagement', 'trade show', $$kind = 'trade show'$$, 10),
	add_rule('b2b', 'engagement', 'pricing page', $$kind = 'pricing page'$$, 4, at_most => 3, per => '1 day'),
	add_rule('b2b', 'engagement', 'mail', $$kind IN ('email opened', 'email clicked')$$, 1, at_most => 2, per => '1 day'),
	add_rule('b2b', 'engagement', 'unsubscribed', $$kind = 'unsubscribed'$$, -30) \g /dev/null
SELECT add_band('b2b', 'cold', 0), add_band('b2b', 'warm', 40), add_band('b2b', 'hot', 80) \g /dev/null
SELECT publish('b2b') \g /dev/null

-- the built-in pipeline "lifecycle" finds the columns budget, authority, need, timeline and order_no by itself
SELECT enforce('crm.lead', 'stage', model => 'b2b') \g /dev/null
-- and the moves of the year before become the past of the history
SELECT import_history('crm.lead', lead_id::text, from_stage::text, to_stage::text, at, 'from the old CRM')
FROM crm.stage_change ORDER BY at, lead_id \g /dev/null
-- a lead that gets hot becomes an MQL by itself, and whoever listens hears of it
SELECT on_crossing('b2b', 'hot', stage => 'mql') \g /dev/null
RESET client_min_messages;
