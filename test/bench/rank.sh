# Ranking: the top 100 of 1,000,000 leads as of now, and what the index costs.
# RANK_10M=1 adds the table of 10,000,000 (some minutes, 3 GB).
#
# The data are the peers' (fit, engagement, its instant), moved so that their "now",
# 2025-12-31, is the hour of the run: rows are placed in an index by what they are
# worth when they are written. The second table has three components, two half-lives
# and bounds: fit up to 110, two thirds of the engagement halving in 14 days within
# 0 .. 100, and a third part halving in 60 days within -20 .. 30.

k=0.6931471805599453/1209600
plain="least(110, fit) + eng * exp(-$k::float8 * date_part('epoch', now() - eng_at))"
prepare "
SET client_min_messages = warning;
DROP TABLE IF EXISTS rank_plain, rank_key, rank_nightly, rank_two, rank_three, rank_rows, rank_updated, rank_free;
CREATE TABLE rank_plain AS
	SELECT lead_id, fit, eng, eng_at + (date_trunc('hour', now()) - timestamptz '2025-12-31 00:00+00') AS eng_at
	FROM lead_score ORDER BY lead_id;
CREATE TABLE rank_nightly AS SELECT lead_id, $plain AS score FROM rank_plain;
CREATE INDEX ON rank_nightly (score DESC);
CREATE TABLE rank_key AS SELECT *, ln(greatest(eng, 1e-9)) + $k::float8 * date_part('epoch', eng_at) AS lkey FROM rank_plain;
CREATE INDEX ON rank_key (lkey DESC) INCLUDE (lead_id, fit);
CREATE TABLE rank_two AS
	SELECT lead_id, $plain AS nightly, points(fit, hi => 110) || points(eng, eng_at, '14 days') AS score FROM rank_plain;
CREATE INDEX rank_two_score ON rank_two USING gist (score);
CREATE TABLE rank_three AS
	SELECT lead_id, points(fit, hi => 110) || points(eng * 0.67, eng_at, '14 days', 0, 100)
		|| points(eng * 0.33 - (lead_id * 7919 % 21), eng_at - interval '1 day' * (lead_id * 104729 % 60), '60 days', -20, 30) AS score
	FROM rank_plain;
CREATE INDEX rank_three_score ON rank_three USING gist (score);
CREATE TABLE rank_rows (LIKE rank_three);
CREATE INDEX rank_rows_score ON rank_rows USING gist (score);
INSERT INTO rank_rows SELECT * FROM rank_three ORDER BY hashint8extended(lead_id, 0);
CREATE TABLE rank_updated AS TABLE rank_three;
CREATE INDEX rank_updated_score ON rank_updated USING gist (score);"
# 2,000,000 updates: 20 times a random tenth of the leads gains points
for i in {1..20}; do
	prepare "UPDATE rank_updated SET score = score + (points(0, hi => 110) || points(1 + 24 * random(), now(), '14 days', 0, 100)
		|| points(1, now(), '60 days', -20, 30)) WHERE hashint8extended(lead_id, $i) % 10 = 0"
done
prepare 'VACUUM rank_updated'
prepare "CREATE TABLE rank_free AS TABLE rank_two; ALTER TABLE rank_two ADD PRIMARY KEY (lead_id); ALTER TABLE rank_free ADD PRIMARY KEY (lead_id)"
for t in plain nightly key two three rows free; do prepare "VACUUM (FREEZE, ANALYZE) rank_$t"; done
prepare 'ANALYZE rank_updated'
prepare 'CHECKPOINT'

top() { echo "SELECT lead_id, score @ now() AS total FROM $1 ORDER BY score <~> (now() + interval '${2:-0}') LIMIT 100"; }
# variant e of the peers: the hundred with the largest key bound the answer from below,
# and only keys that can reach it are read
two_step="WITH t AS MATERIALIZED (SELECT min(s) AS s FROM (SELECT s FROM
	(SELECT least(110, fit) + exp(lkey - $k::float8 * date_part('epoch', now())) AS s
	 FROM (SELECT fit, lkey FROM rank_key ORDER BY lkey DESC LIMIT 100) a) b ORDER BY s DESC LIMIT 100) c)
	SELECT lead_id, least(110, fit) + exp(lkey - $k::float8 * date_part('epoch', now())) AS s FROM rank_key
	WHERE lkey >= (SELECT ln(greatest(s - 110, 1e-9)) + $k::float8 * date_part('epoch', now()) FROM t) ORDER BY s DESC LIMIT 100"

# all that rank by the same score must give the same sum, at one instant
at="timestamptz '$(q -c 'SELECT now()')'"
sum_of() { q -c "SELECT round(sum($1)::numeric, 6) FROM (${2//now()/$at}) t"; }
say ''
say "sum of the top 100 totals: plain SQL $(sum_of s "SELECT $plain AS s FROM rank_plain ORDER BY 1 DESC LIMIT 100")," \
	"two-step SQL $(sum_of s "$two_step"), index $(sum_of total "$(top rank_two)")"

table 'Top 100 of 1,000,000 by score now, exact'
SET='jit = off; max_parallel_workers_per_gather = 0' REPEAT=3 floor 'plain SQL, serial' "SELECT lead_id, $plain AS s FROM rank_plain ORDER BY 2 DESC LIMIT 100"
SET='jit = off' REPEAT=3 variant 'plain SQL, parallel' "SELECT lead_id, $plain AS s FROM rank_plain ORDER BY 2 DESC LIMIT 100"
REPEAT=200 REACH='<= 0.00333' variant 'leadscore, fit and engagement' "$(top rank_two)"
REPEAT=200 FLOOR='plain SQL, parallel' REACH='<= 0.00667' variant 'the same, against the parallel plan' "$(top rank_two)"
REPEAT=200 variant 'leadscore, 3 components, 2 half-lives, bounds' "$(top rank_three)"
measure

table 'The same against a nightly score (stale) and against two-step SQL'
REPEAT=200 floor 'btree on a float8 column, stale' 'SELECT lead_id, score FROM rank_nightly ORDER BY score DESC LIMIT 100'
REPEAT=200 REACH='<= 3' variant 'leadscore, fit and engagement' "$(top rank_two)"
SET='jit = off; max_parallel_workers_per_gather = 0' REPEAT=200 variant 'two-step SQL, one half-life, no bounds' "$two_step"
REPEAT=200 FLOOR='two-step SQL, one half-life, no bounds' REACH='<= 1.5' variant 'leadscore, 3 components, 2 half-lives, bounds' "$(top rank_three)"
measure

table 'Indexes filled row by row, updated 2,000,000 times, and asked for another instant'
REPEAT=200 floor 'bulk built, now' "$(top rank_three)"
REPEAT=200 REACH='<= 3' variant 'bulk built, 60 days ahead' "$(top rank_three '60 days')"
REPEAT=200 variant 'filled row by row in random order' "$(top rank_rows)"
REPEAT=200 variant '2,000,000 updates and vacuum' "$(top rank_updated)"
REPEAT=200 variant '2,000,000 updates and vacuum, 60 days ahead' "$(top rank_updated '60 days')"
measure

# buffers TABLE [OFFSET]: what the scan reads, pages of the index and of the table
buffers() {
	q -c "$(top "$@")" -c "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) $(top "$@")" |
		awk '/Buffers:/ {for (i = 1; i <= NF; i++) if (sub(/^(hit|read)=/, "", $i)) n += $i; print n; exit}'
}
printf '\n### Buffers read for the top 100 (EXPLAIN (ANALYZE, BUFFERS))\n\n| index | now | x | 60 days ahead | x | wanted | |\n|---|---:|---:|---:|---:|---|---|\n'
prepare 'CREATE TABLE rank_again AS TABLE rank_updated; CREATE INDEX rank_again_score ON rank_again USING gist (score)'
prepare 'VACUUM (ANALYZE) rank_again'
for pair in 'bulk built:rank_three:rank_three' 'filled row by row in random order:rank_rows:rank_three' \
	'after 2,000,000 updates, bulk built:rank_again:rank_again' '2,000,000 updates and vacuum:rank_updated:rank_again'; do
	IFS=: read -r name t base <<<"$pair"
	awk -v name="$name" -v a="$(buffers "$t")" -v b="$(buffers "$base")" -v c="$(buffers "$t" '60 days')" -v d="$(buffers "$base" '60 days')" \
		'BEGIN {printf "| %s | %d | %.2f | %d | %.2f | <= 2 | %s |\n", name, a, a / b, c, c / d, a / b <= 2 ? "reached" : "**not reached**"}'
done
prepare 'DROP TABLE rank_again'

table 'Index build, 1,000,000 rows'
BEFORE='DROP INDEX IF EXISTS rank_nightly_built' floor 'btree on a float8 column' 'CREATE INDEX rank_nightly_built ON rank_two (nightly)'
BEFORE='DROP INDEX IF EXISTS rank_score_built' REACH='<= 4' variant 'score_ops, fit and engagement' 'CREATE INDEX rank_score_built ON rank_two USING gist (score)'
BEFORE='DROP INDEX IF EXISTS rank_score_built' variant 'score_ops, 3 components' 'CREATE INDEX rank_score_built ON rank_three USING gist (score)'
measure
prepare 'DROP INDEX rank_nightly_built, rank_score_built'

for t in two free; do
	cat >"$BENCH_DIR/rank_$t.sql" <<-X
		\\set id random(1, 1000000)
		\\set p random(1, 25)
		UPDATE rank_$t SET score = score + (points(0, hi => 110) || points(:p, now(), '14 days')) WHERE lead_id = :id;
	X
done
prepare 'CREATE TABLE rank_btree AS TABLE rank_nightly; ALTER TABLE rank_btree ADD PRIMARY KEY (lead_id); CREATE INDEX ON rank_btree (score)'
prepare 'VACUUM (FREEZE, ANALYZE) rank_btree'
cat >"$BENCH_DIR/rank_btree.sql" <<-X
	\\set id random(1, 1000000)
	\\set p random(1, 25)
	UPDATE rank_btree SET score = score + :p WHERE lead_id = :id;
X
table 'Updates of one score, 2 clients (synchronous_commit off)'
# vacuumed before each time, as autovacuum would: else the dead rows of the last one are measured
SET='synchronous_commit = off' BEFORE='VACUUM rank_free' rate 'without the index' "$BENCH_DIR/rank_free.sql" -M prepared
SET='synchronous_commit = off' BEFORE='VACUUM rank_two' REACH='>= 0.7' rate 'with the index' "$BENCH_DIR/rank_two.sql" -M prepared
SET='synchronous_commit = off' BEFORE='VACUUM rank_btree' rate 'a float8 column with a btree instead' "$BENCH_DIR/rank_btree.sql" -M prepared
measure

if [ -n "${RANK_10M:-}" ]; then
	prepare "DROP TABLE IF EXISTS rank_ten; CREATE TABLE rank_ten AS
		SELECT lead_id * 10 + i AS lead_id, points(least(fit + (hashint8extended(lead_id, i) & 7), 110), hi => 110)
			|| points(eng * (0.67 + (hashint8extended(lead_id, i + 10) & 1023) / 4096.0), eng_at - interval '1 second' * (hashint8extended(lead_id, i + 20) & 65535), '14 days', 0, 100)
			|| points(eng * 0.33 - (lead_id * 7919 % 21), eng_at - interval '1 day' * (hashint8extended(lead_id, i + 30) & 63), '60 days', -20, 30) AS score
		FROM rank_plain, generate_series(0, 9) i;
		CREATE INDEX rank_ten_score ON rank_ten USING gist (score)"
	prepare 'VACUUM (FREEZE, ANALYZE) rank_ten'
	table 'Top 100 of 10,000,000'
	REPEAT=200 floor '1,000,000' "$(top rank_three)"
	REPEAT=200 REACH='<= 2' variant '10,000,000' "$(top rank_ten)"
	measure
	prepare 'DROP TABLE rank_ten'
fi
prepare 'DROP TABLE rank_btree, rank_plain, rank_key, rank_nightly, rank_two, rank_three, rank_rows, rank_updated, rank_free'
