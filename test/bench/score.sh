# The algebra: scores of 1,000,000 leads from 20,000,000 interactions by one
# aggregate, and the total now of 1,000,000 stored scores, each against plain SQL.
# The peers' data; their "now" is 2025-12-31.

k=0.6931471805599453/1209600
now="timestamptz '2025-12-31 00:00+00'"
epoch=1767139200
serial='jit = off; max_parallel_workers_per_gather = 0'

counted="SELECT count(*), sum(c), sum(o) FROM (SELECT lead_id, count(*) AS c, sum(1) AS o FROM interactions GROUP BY lead_id) x"
by_hand="SELECT count(*), sum(s) FROM (SELECT lead_id, sum(5 * exp(-($k)::float8 * ($epoch - date_part('epoch', occurred_at)))) AS s FROM interactions GROUP BY lead_id) x"
decayed="SELECT count(*), sum(s @ $now) FROM (SELECT lead_id, decayed_sum(5, occurred_at, '14 days') AS s FROM interactions GROUP BY lead_id) x"

prepare "
SET client_min_messages = warning;
DROP TABLE IF EXISTS score_one, score_two, score_three;
CREATE TABLE score_one AS SELECT lead_id, points(eng, eng_at, '14 days') AS score FROM lead_score;
CREATE TABLE score_two AS SELECT lead_id, points(fit) || points(eng, eng_at, '14 days') AS score FROM lead_score;
CREATE TABLE score_three AS SELECT lead_id, bounded(points(fit, hi => 110) || points(eng * 0.67, eng_at, '14 days', 0, 100)
	|| points(eng * 0.33, eng_at, '60 days', -20, 30), 0, 200) AS score FROM lead_score;"
for t in one two three; do prepare "VACUUM (FREEZE, ANALYZE) score_$t"; done
plain="SELECT sum(fit + eng * exp(-($k)::float8 * (date_part('epoch', now()) - date_part('epoch', eng_at)))) FROM lead_score"

say ''
say "sum of all totals: by hand $(q -F ' ' -c "${by_hand/sum(s)/round(sum(s)::numeric, 3)}"), decayed_sum $(q -F ' ' -c "${decayed/sum(s @ $now)/round(sum(s @ $now)::numeric, 3)}")"

table 'decayed_sum per lead over 20,000,000 interactions'
SET=$serial floor 'count(*), sum(1) per lead' "$counted"
SET=$serial REACH='<= 1.25' variant 'leadscore: decayed_sum per lead, and its total now' "$decayed"
SET=$serial variant 'by hand: sum(points * exp(...)) per lead' "$by_hand"
SET='jit = off' FLOOR='leadscore: decayed_sum per lead, and its total now' variant 'leadscore, parallel, against serial' "$decayed"
measure

table 'score @ now() over 1,000,000 rows'
SET=$serial REPEAT=5 floor 'plain SQL: fit + eng * exp(-k * (now - at))' "$plain"
SET=$serial REPEAT=5 REACH='<= 1.0' variant 'leadscore, the same: fit and engagement' 'SELECT sum(score @ now()) FROM score_two'
SET=$serial REPEAT=5 variant 'leadscore, one component' 'SELECT sum(score @ now()) FROM score_one'
SET=$serial REPEAT=5 variant 'leadscore, three components with bounds' 'SELECT sum(score @ now()) FROM score_three'
measure

prepare 'DROP TABLE score_one, score_two, score_three'
