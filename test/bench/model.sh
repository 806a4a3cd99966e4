# The 25 rules of the peers in 3 capped components over 1,000,000 leads: by hand in
# SQL, and as a leadscore model of the same rules.
by_hand=$(q -c "SELECT regexp_replace(prosrc, '^\s*select', '') FROM pg_proc WHERE proname = 'fit_case'")
serial='jit = off; max_parallel_workers_per_gather = 0'

prepare "
SELECT create_model('fit', 'leads');
SELECT add_component('fit', c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END) FROM unnest(ARRAY['bant', 'demo', 'firm']) c;
-- the peers write 'first match' of a column as CASE, the table as rules that exclude each other
SELECT add_rule('fit', category, id || ' ' || attribute, rule_sql(r), points::float8) FROM fit_rules r ORDER BY id;
SELECT publish('fit')"
[ "$(q -c "SELECT (SELECT sum($by_hand) FROM leads l) = (SELECT sum(fit('fit', l)) FROM leads l)")" = t ] ||
	say 'FAILED: the model and the hand-written expression differ'

table '1,000,000 leads x 25 rules in 3 capped components, computed'
SET=$serial floor 'count(*), sum(x), serial' 'SELECT count(*), sum(employees) FROM leads'
SET=$serial variant 'hand-written CASE, serial' "SELECT sum($by_hand) FROM leads l"
SET=$serial REACH='<= 4' variant 'leadscore fit(), serial' "SELECT sum(fit('fit', l)) FROM leads l"
SET=$serial REACH='<= 0.333' FLOOR='hand-written CASE, serial' variant 'the same, against CASE' "SELECT sum(fit('fit', l)) FROM leads l"
variant 'hand-written CASE, default (parallel)' "SELECT sum($by_hand) FROM leads l"
variant 'leadscore fit(), default (parallel)' "SELECT sum(fit('fit', l)) FROM leads l"
measure

prepare 'DROP TABLE IF EXISTS bench_out; CREATE TABLE bench_out ()'
table 'Scoring and storing all 1,000,000 leads'
floor 'CREATE TABLE AS of the hand-written CASE' "DROP TABLE bench_out; CREATE TABLE bench_out AS SELECT lead_id, $by_hand AS fit FROM leads l"
REACH='<= 1.5' variant 'leadscore rescore()' "SELECT rescore('fit')"
measure
prepare 'DROP TABLE bench_out'
