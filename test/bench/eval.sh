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

# One lead at a time, in a trigger: the rule table interpreted by PL/pgSQL, the
# compiled rules called from PL/pgSQL, and our own triggers, which do more: the live
# one also takes the old points away and keeps the stored score and its index, the
# other keeps the old values. What each takes is what EXPLAIN ANALYZE says of it.
prepare "
DROP TABLE IF EXISTS one_loop, one_fit;
CREATE TABLE one_loop AS SELECT *, 0::float8 AS fit FROM leads WHERE lead_id <= 20000;
ALTER TABLE one_loop ADD PRIMARY KEY (lead_id);
CREATE TABLE one_fit (LIKE one_loop INCLUDING INDEXES); INSERT INTO one_fit TABLE one_loop;
ANALYZE one_loop, one_fit;
SELECT create_model('one', 'one_fit');
SELECT add_component('one', c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END) FROM unnest(ARRAY['bant', 'demo', 'firm']) c;
SELECT add_rule('one', category, id || ' ' || attribute, rule_sql(r), points::float8) FROM fit_rules r ORDER BY id;
SELECT publish('one');
CREATE OR REPLACE FUNCTION one_loop() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	NEW.fit := fit_loop((NEW.lead_id, NEW.industry, NEW.employees, NEW.country, NEW.email, NEW.budget, NEW.has_authority, NEW.need,
		NEW.timeline_days, NEW.source, NEW.created_at)::leads); RETURN NEW; END \$\$;
CREATE OR REPLACE FUNCTION one_fit() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN NEW.fit := fit('one', NEW); RETURN NEW; END \$\$;
CREATE OR REPLACE FUNCTION one_empty() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN NEW.fit := 1; RETURN NEW; END \$\$;
CREATE TRIGGER one_loop BEFORE UPDATE ON one_loop FOR EACH ROW EXECUTE FUNCTION one_loop();
CREATE TRIGGER one_empty BEFORE UPDATE ON one_fit FOR EACH ROW EXECUTE FUNCTION one_empty();
CREATE TRIGGER one_fit BEFORE UPDATE ON one_fit FOR EACH ROW EXECUTE FUNCTION one_fit()"
times=$(mktemp)
for ((r = 0; r < ROUNDS; r++)); do
	for t in one_loop one_fit; do
		q -c "VACUUM one_loop, one_fit, leadscore.score_one" -c BEGIN \
			-c "EXPLAIN (ANALYZE, COSTS OFF) UPDATE $t SET employees = employees * 10, source = 'referral'" -c ROLLBACK |
			sed -n "s/^ *Trigger \([a-z_]*\): time=\([0-9.]*\) .*/$r \1 \2/p"
	done
done >"$times"
printf '\n### One lead in a trigger, 25 rules: microseconds a lead, of 20,000 that one UPDATE changes\n\n(%s rounds, load %s; x = median of the ratios within a round, both less the empty trigger)\n\n' "$ROUNDS" "$(cut -d' ' -f1 /proc/loadavg)"
printf '| trigger | us | x | wanted | |\n|---|---:|---:|---|---|\n'
while IFS='|' read -r name what reach; do
	us=$(awk -v t="$name" '$2 == t {print $3 / 20}' "$times" | median)
	x=$(awk -v t="$name" '{v[$1, $2] = $3; n = $1} END {for (r = 0; r <= n; r++) print (v[r, t] - v[r, "one_empty"]) / (v[r, "one_loop"] - v[r, "one_empty"])}' "$times" | median)
	awk -v what="$what" -v us="$us" -v x="$x" -v reach="$reach" 'BEGIN { printf "| %s | %.3g | %.3g | %s | %s |\n", what, us, x, reach == "" ? "" : "<= " reach,
		reach == "" ? "" : x <= reach + 0 ? "reached" : "**not reached**" }'
done <<-X
	one_loop|PL/pgSQL that loops over the rules|
	one_fit|PL/pgSQL that calls leadscore.fit()|0.05
	one_empty|PL/pgSQL that assigns a constant|
	leadscore_live_update|leadscore live: the score stored and indexed|
	past_one|leadscore past: the old values kept|
X
rm -f "$times"
table 'One lead at a time, as functions, 20,000 leads'
floor 'PL/pgSQL loop over the rules' 'SELECT sum(fit_loop(l)) FROM leads l WHERE lead_id <= 20000'
REACH='<= 0.05' variant 'leadscore fit() of a row value' "SELECT sum(fit('rules25', x.l)) FROM (SELECT l FROM leads l WHERE lead_id <= 20000 OFFSET 0) x"
measure
prepare "SELECT drop_model('one'); DROP TABLE one_loop, one_fit; DROP FUNCTION one_loop(), one_fit(), one_empty()"

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

# an account of a lead with 200 events, by the rules of both kinds
prepare "
SELECT drop_model('eng_bare');
SELECT create_model('both', 'leads', 'interactions', 'lead_id', 'occurred_at');
SELECT add_component('both', c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END) FROM unnest(ARRAY['bant', 'demo', 'firm']) c;
SELECT add_component('both', 'email', half_life => '14 days', lo => 0, hi => 50), add_component('both', 'content', half_life => '30 days', lo => 0, hi => 150);
SELECT add_rule('both', category, id || ' ' || attribute, rule_sql(r), points::float8) FROM fit_rules r ORDER BY id;
SELECT add_rule('both', component, kind, format('kind = %L', kind), points::float8) FROM
	(VALUES ('email', 'email_open', 1), ('email', 'email_click', 4), ('email', 'unsubscribe', -15),
		('content', 'white_paper', 10), ('content', 'webinar', 15), ('content', 'form', 20)) r (component, kind, points);
SELECT publish('both')"
some=$(q -c 'SELECT lead_id FROM interactions WHERE lead_id BETWEEN 30000 AND 60000 GROUP BY lead_id HAVING count(*) = 200 ORDER BY lead_id LIMIT 1')
table "explain() of lead $some, which has 200 events; 100 times a round, one session a round"
REPEAT=100 floor 'its events, with their points, in SQL' "SELECT kind, count(*), sum(points) FROM interactions JOIN kind_points USING (kind) WHERE lead_id = $some GROUP BY kind"
REPEAT=100 WITHIN=5 variant '6 rules over events' "SELECT * FROM explain('eng', '$some')"
REPEAT=100 WITHIN=5 variant '25 rules over the lead, 6 over events' "SELECT * FROM explain('both', '$some')"
measure
