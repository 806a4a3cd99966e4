# Rules evaluated in C: 25 and 100 rules, parallel plans, all leads from all events,
# one lead in a trigger. (fit() against the hand-written CASE is in model.sh.)
serial='jit = off; max_parallel_workers_per_gather = 0'

prepare "
SELECT create_model(m, 'leads') FROM unnest(ARRAY['rules25', 'rules100']) m;
SELECT add_component(m, c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END)
	FROM unnest(ARRAY['rules25', 'rules100']) m, unnest(ARRAY['bant', 'demo', 'firm']) c;
SELECT add_rule(m, category, id || ' ' || attribute, rule_sql(r), points::float8)
	FROM fit_rules r, unnest(ARRAY['rules25', 'rules100']) m ORDER BY id;
-- 75 more over the same columns, with constants that occur
SELECT add_rule('rules100', (ARRAY['firm', 'demo', 'bant'])[1 + k % 3], 'more ' || k, CASE k % 8
	WHEN 0 THEN format('industry IN (%L, %L)', (ARRAY['software', 'finance', 'retail', 'health', 'media', 'energy'])[1 + k % 6], 'other' || k)
	WHEN 1 THEN format('country = %L', (ARRAY['US', 'DE', 'GB', 'FR', 'NL', 'CA', 'IN', 'BR', 'ES', 'IT'])[1 + k % 10])
	WHEN 2 THEN format('employees BETWEEN %s AND %s', k * 7, k * 13)
	WHEN 3 THEN format('email LIKE %L', '%@company' || k || '.com')
	WHEN 4 THEN format('source = %L', (ARRAY['referral', 'webinar', 'event', 'organic', 'partner', 'social'])[1 + k % 6])
	WHEN 5 THEN format('budget >= %s', k * 1000)
	WHEN 6 THEN format('timeline_days < %s', k * 4)
	ELSE format('need = %L', (ARRAY['urgent', 'exploring', 'replacement', 'none'])[1 + k % 4]) END, 1 + k % 5)
	FROM generate_series(1, 75) k;
SELECT publish('rules25'), publish('rules100')"

table '1,000,000 leads by the number of rules, and in parallel'
SET=$serial floor '25 rules, serial' "SELECT sum(fit('rules25', l)) FROM leads l"
SET=$serial REACH='<= 2' variant '100 rules, serial' "SELECT sum(fit('rules100', l)) FROM leads l"
SET='jit = off; max_parallel_workers_per_gather = 2' REACH='<= 0.625' variant '25 rules, 2 workers' "SELECT sum(fit('rules25', l)) FROM leads l"
measure

# One lead: the rule table interpreted by PL/pgSQL, and the compiled rules, from a
# trigger that keeps a column up to date. The update itself is in all three.
prepare "
DROP TABLE IF EXISTS one_none, one_loop, one_fit;
CREATE TABLE one_none AS SELECT *, 0::float8 AS fit FROM leads WHERE lead_id <= 20000;
CREATE TABLE one_loop (LIKE leads); ALTER TABLE one_loop ADD fit float8; INSERT INTO one_loop TABLE one_none;
CREATE TABLE one_fit (LIKE leads); ALTER TABLE one_fit ADD fit float8; INSERT INTO one_fit TABLE one_none;
ALTER TABLE one_fit ADD PRIMARY KEY (lead_id);
SELECT create_model('one', 'one_fit');
SELECT add_component('one', c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END) FROM unnest(ARRAY['bant', 'demo', 'firm']) c;
SELECT add_rule('one', category, id || ' ' || attribute, rule_sql(r), points::float8) FROM fit_rules r ORDER BY id;
SELECT publish('one');
CREATE OR REPLACE FUNCTION one_loop() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	NEW.fit := fit_loop((NEW.lead_id, NEW.industry, NEW.employees, NEW.country, NEW.email, NEW.budget, NEW.has_authority, NEW.need,
		NEW.timeline_days, NEW.source, NEW.created_at)::leads); RETURN NEW; END \$\$;
CREATE OR REPLACE FUNCTION one_fit() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN NEW.fit := fit('one', NEW); RETURN NEW; END \$\$;
CREATE TRIGGER one BEFORE UPDATE ON one_loop FOR EACH ROW EXECUTE FUNCTION one_loop();
CREATE TRIGGER one BEFORE UPDATE ON one_fit FOR EACH ROW EXECUTE FUNCTION one_fit();
ALTER TABLE one_fit DISABLE TRIGGER leadscore_live_update"
table 'Scoring one lead at a time, 20,000 times'
floor 'PL/pgSQL loop over the rules, function alone' 'SELECT sum(fit_loop(l)) FROM leads l WHERE lead_id <= 20000'
REACH='<= 0.05' variant 'leadscore fit() of a row value' "SELECT sum(fit('rules25', x.l)) FROM (SELECT l FROM leads l WHERE lead_id <= 20000 OFFSET 0) x"
variant 'UPDATE without a trigger' "BEGIN; UPDATE one_none SET fit = fit; ROLLBACK"
variant 'UPDATE, trigger with the loop' "BEGIN; UPDATE one_loop SET fit = fit; ROLLBACK"
variant 'UPDATE, trigger with fit()' "BEGIN; UPDATE one_fit SET fit = fit; ROLLBACK"
measure
prepare "SELECT drop_model('one'); DROP TABLE one_none, one_loop, one_fit; DROP FUNCTION one_loop(), one_fit()"

prepare "
SELECT drop_model('rules25'), drop_model('rules100');
SELECT create_model(m, 'leads', 'interactions', 'lead_id', 'occurred_at') FROM unnest(ARRAY['eng', 'eng_bare']) m;
SELECT add_component(m, 'email', half_life => '14 days', lo => 0, hi => 50), add_component(m, 'content', half_life => '30 days', lo => 0, hi => 150)
	FROM unnest(ARRAY['eng', 'eng_bare']) m;
SELECT add_rule(m, component, kind, format('kind = %L', kind), points::float8) FROM unnest(ARRAY['eng', 'eng_bare']) m,
	(VALUES ('email', 'email_open', 1), ('email', 'email_click', 4), ('email', 'unsubscribe', -15),
		('content', 'white_paper', 10), ('content', 'webinar', 15), ('content', 'form', 20)) r (component, kind, points);
SELECT publish('eng'), publish('eng_bare');
DROP INDEX leadscore.score_eng_bare_score_idx"
# minutes a round: three will do
ROUNDS=${ROUNDS_EVENTS:-3}
table 'All 1,000,000 leads from 20,000,000 events (6 rules, 2 half-lives), computed and stored'
SET=$serial floor 'count(*), sum(1) by lead, not stored' 'SELECT count(*), sum(c), sum(o) FROM (SELECT lead_id, count(*) c, sum(1) o FROM interactions GROUP BY lead_id) x'
SET=$serial variant 'scan of the events alone' 'SELECT count(*), max(occurred_at), sum(lead_id) FROM interactions'
SET=$serial REACH='<= 0.5' variant 'leadscore rescore(), with its primary key' "SELECT rescore('eng_bare')"
SET=$serial REACH='<= 0.5' variant 'leadscore rescore(), with the ranking index too' "SELECT rescore('eng')"
measure
