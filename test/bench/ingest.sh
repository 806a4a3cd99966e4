# Events written with scores kept, against no scoring at all and against PL/pgSQL
# triggers that keep one bare sum (no rules, no index; peers' W4). The model: 25
# rules over leads, 6 over events in 2 half-lives, 2 bands, index included.
prepare "
CREATE TABLE IF NOT EXISTS ls_w (lead_id bigint PRIMARY KEY, fit float8, eng float8, eng_at timestamptz);
TRUNCATE ls_w;
INSERT INTO ls_w SELECT lead_id, fit, eng, eng_at FROM lead_score;
DROP TABLE IF EXISTS ev CASCADE;
CREATE TABLE ev (id bigserial PRIMARY KEY, lead_id bigint, kind text, occurred_at timestamptz);
CREATE INDEX ON ev (lead_id, occurred_at);
CREATE OR REPLACE FUNCTION pl_row() RETURNS trigger LANGUAGE plpgsql AS \$\$
DECLARE p float8;
BEGIN
	SELECT points INTO p FROM kind_points WHERE kind = NEW.kind;
	UPDATE ls_w SET eng = eng * exp(-5.73e-7 * greatest(0, extract(epoch FROM NEW.occurred_at - eng_at)::float8))
		+ p * exp(-5.73e-7 * greatest(0, extract(epoch FROM eng_at - NEW.occurred_at)::float8)), eng_at = greatest(eng_at, NEW.occurred_at)
	WHERE lead_id = NEW.lead_id;
	RETURN NULL;
END \$\$;
CREATE OR REPLACE FUNCTION pl_statement() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	UPDATE ls_w s SET eng = s.eng * exp(-5.73e-7 * greatest(0, extract(epoch FROM n.m - s.eng_at)::float8)) + n.e, eng_at = greatest(s.eng_at, n.m)
	FROM (SELECT lead_id, max(occurred_at) AS m, sum(points * exp(-5.73e-7 * extract(epoch FROM now() - occurred_at)::float8)) AS e
		  FROM new_rows JOIN kind_points USING (kind) GROUP BY 1) n WHERE n.lead_id = s.lead_id;
	RETURN NULL;
END \$\$;
SELECT create_model('ingest', 'leads', 'ev', event_lead => 'lead_id');
SELECT add_component('ingest', c, lo => 0, hi => CASE c WHEN 'demo' THEN 30 ELSE 40 END) FROM unnest(ARRAY['bant', 'demo', 'firm']) c;
SELECT add_component('ingest', 'engagement', half_life => '14 days', hi => 100), add_component('ingest', 'interest', half_life => '60 days', hi => 100);
SELECT add_rule('ingest', category, id || ' ' || attribute, rule_sql(r), points::float8) FROM fit_rules r ORDER BY id;
SELECT add_rule('ingest', 'engagement', 'open', \$\$kind = 'email_open'\$\$, 1), add_rule('ingest', 'engagement', 'click', \$\$kind = 'email_click'\$\$, 3),
	add_rule('ingest', 'engagement', 'webinar', \$\$kind = 'webinar'\$\$, 20), add_rule('ingest', 'interest', 'white paper', \$\$kind = 'white_paper'\$\$, 10),
	add_rule('ingest', 'interest', 'contact', \$\$kind IN ('form', 'call_in', 'trade_show')\$\$, 15), add_rule('ingest', 'interest', 'unsubscribe', \$\$kind = 'unsubscribe'\$\$, -20);
SELECT add_band('ingest', 'warm', 100), add_band('ingest', 'hot', 200);
SELECT publish('ingest')"
# the triggers of one variant only: off, live, row (ours for each row), pl_row, pl_statement
only() {
	printf "SET client_min_messages = warning; "
	printf "TRUNCATE ev; DROP TRIGGER IF EXISTS pl ON ev; "
	printf "ALTER TABLE ev %s TRIGGER USER; " "$(case $1 in live | row) echo ENABLE ;; *) echo DISABLE ;; esac)"
	case $1 in
		live) printf "SELECT leadscore.live_options('ingest')" ;;
		row) printf "SELECT leadscore.live_options('ingest', 'row')" ;;
		pl_row) printf 'CREATE TRIGGER pl AFTER INSERT ON ev FOR EACH ROW EXECUTE FUNCTION pl_row()' ;;
		pl_statement) printf 'CREATE TRIGGER pl AFTER INSERT ON ev REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION pl_statement()' ;;
		*) printf 'SELECT' ;;
	esac
}
insert="insert into ev(lead_id,kind,occurred_at) values(:l,(array['white_paper','webinar','form','newsletter','email_open','email_click','call_in','trade_show','visit','unsubscribe'])[:k],now());"
printf '\\set l random(1,1000000)\n\\set k random(1,10)\n%s\n' "$insert" >"$BENCH_DIR/insert.sql"
printf '\\set l random(1,10)\n\\set k random(1,10)\n%s\n' "$insert" >"$BENCH_DIR/hot.sql"
chmod 644 "$BENCH_DIR"/*.sql
off='synchronous_commit = off'

table 'Single-row inserts of events on 1,000,000 leads, synchronous_commit off, 2 clients'
SET=$off BEFORE=$(only off) rate 'no scoring' "$BENCH_DIR/insert.sql" -M prepared
SET=$off BEFORE=$(only live) REACH='>= 0.6' rate 'leadscore, rules and index' "$BENCH_DIR/insert.sql" -M prepared
SET=$off BEFORE=$(only row) rate 'the same, triggers for each row' "$BENCH_DIR/insert.sql" -M prepared
SET=$off BEFORE=$(only pl_row) rate 'PL/pgSQL row trigger, one sum, no rules, no index' "$BENCH_DIR/insert.sql" -M prepared
measure

table 'All events on 10 hot leads, 8 clients'
SET=$off BEFORE=$(only off) rate 'no scoring' "$BENCH_DIR/hot.sql" -M prepared -c 8
SET=$off BEFORE=$(only pl_row) rate 'PL/pgSQL row trigger' "$BENCH_DIR/hot.sql" -M prepared -c 8
SET=$off BEFORE=$(only live) REACH='>= 0.5' FLOOR='PL/pgSQL row trigger' rate 'leadscore, against PL/pgSQL' "$BENCH_DIR/hot.sql" -M prepared -c 8
measure

q -c "COPY (SELECT lead_id, kind, occurred_at FROM interactions WHERE id > 19000000 ORDER BY id) TO STDOUT (FORMAT csv)" >"$BENCH_DIR/ev.csv"
chmod 644 "$BENCH_DIR/ev.csv"
copy="COPY ev (lead_id, kind, occurred_at) FROM '$BENCH_DIR/ev.csv' CSV"
table 'COPY of 1,000,000 events'
BEFORE="$(only off); CHECKPOINT" floor 'no scoring' "$copy"
BEFORE="$(only off); SELECT rescore('ingest'); $(only live); CHECKPOINT" REACH='<= 1.8' variant 'leadscore, rules and index' "$copy"
BEFORE="$(only pl_statement); CHECKPOINT" variant 'PL/pgSQL statement trigger, one sum, no rules, no index' "$copy"
measure
[ -z "$(q -c "SET client_min_messages = warning; ALTER TABLE ev ENABLE TRIGGER USER; DROP TRIGGER IF EXISTS pl ON ev; TRUNCATE ev; SELECT rescore('ingest')" -c "$copy" \
	-c "SELECT lead FROM verify('ingest') LIMIT 1" | grep -v '^[A-Z0-9]')" ] || say 'FAILED: verify() is not empty after COPY'

# size: autovacuum on for this one
prepare 'ALTER SYSTEM SET autovacuum = on'
prepare "SELECT pg_reload_conf(); TRUNCATE ev; SELECT rescore('ingest')"
fresh=$(q -c "SELECT pg_table_size('score_ingest') + pg_indexes_size('score_ingest')")
PGOPTIONS='-c synchronous_commit=off' pgbench -n -M prepared -c 2 -j 2 -t "${BENCH_UPDATES:-1000000}" -f "$BENCH_DIR/insert.sql" >/dev/null 2>&1
after=$(q -c "SELECT pg_table_size('score_ingest') + pg_indexes_size('score_ingest')")
prepare 'ALTER SYSTEM RESET autovacuum'
prepare 'SELECT pg_reload_conf()'
say "
Size of the score table and its indexes: $((fresh / 1048576)) MB fresh, $((after / 1048576)) MB after $((2 * ${BENCH_UPDATES:-1000000})) single updates with autovacuum:" \
	"$(awk -v a="$after" -v b="$fresh" 'BEGIN {printf "%.2f times (wanted <= 2)", a / b}')"
