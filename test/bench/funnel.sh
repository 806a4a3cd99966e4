# Funnel, velocity and window_funnel over 2.4 million stage changes, against the
# floor that any of them has: grouping the history by lead.
# Peers on the same data (../shared/peers, W6): nested window functions 6.7 times
# the floor, self-joins 2.8, lag + percentile_cont 5.5, DuckDB 0.27 to 0.54.

SERIAL='jit = off; max_parallel_workers_per_gather = 0'
FLOOR_SQL='SELECT count(*) n, sum(c) s FROM (SELECT lead_id, count(*) c FROM stage_history GROUP BY lead_id) x'
BY="\$\$source, date_trunc('month', created_at)\$\$"
STEPS="'{lead,mql,sql,prospect,client}', '90 days'"
WINDOW="SELECT count(*) FILTER (WHERE l >= 1) l1, count(*) FILTER (WHERE l >= 2) l2, count(*) FILTER (WHERE l >= 3) l3, count(*) FILTER (WHERE l >= 4) l4, count(*) FILTER (WHERE l >= 5) l5
FROM (SELECT lead_id, leadscore.window_funnel(at, to_stage, $STEPS) l FROM stage_history GROUP BY lead_id) x"
MIN="SELECT count(*) n, sum(c1) c1, sum(c2) c2, sum(c3) c3, sum(c4) c4, sum(c5) c5 FROM (SELECT l.source, date_trunc('month', l.created_at) m, count(t1) c1, count(t2) c2, count(t3) c3, count(t4) c4, count(t5) c5 FROM (
 SELECT lead_id, min(CASE WHEN to_stage = 'lead' THEN at END) t1, min(CASE WHEN to_stage = 'mql' THEN at END) t2, min(CASE WHEN to_stage = 'sql' THEN at END) t3, min(CASE WHEN to_stage = 'prospect' THEN at END) t4, min(CASE WHEN to_stage = 'client' THEN at END) t5
 FROM stage_history GROUP BY lead_id) h JOIN leads l USING (lead_id) GROUP BY 1, 2) x"

# an index that has all that is asked for gives the rows in the order of the leads
prepare "CREATE INDEX IF NOT EXISTS stage_history_path ON stage_history (lead_id, at) INCLUDE (to_stage)"
prepare 'VACUUM (ANALYZE) stage_history'

table 'window_funnel: 5 steps within 90 days, per lead'
SET=$SERIAL floor 'group by lead, count' "$FLOOR_SQL"
SET=$SERIAL' ; enable_indexonlyscan = off; enable_indexscan = off' REACH='<= 1.3' variant 'window_funnel' "$WINDOW"
SET=$SERIAL' ; enable_hashagg = off; enable_seqscan = off' REACH='<= 0.7' variant 'window_funnel, index in lead order' "$WINDOW"
measure

table 'funnel by source and month'
SET=$SERIAL floor 'group by lead, count' "$FLOOR_SQL"
SET=$SERIAL REACH='<= 0.7' variant 'funnel()' "SELECT count(*), sum(reached) FROM leadscore.funnel('leads', $BY, history => 'stage_history', as_of => '2027-01-01')"
SET=$SERIAL variant 'funnel() of all, not by anything' "SELECT count(*), sum(reached) FROM leadscore.funnel(history => 'stage_history', as_of => '2027-01-01')"
SET=$SERIAL variant 'by hand: min() per lead and stage (counts only)' "$MIN"
measure

table 'velocity (Kaplan-Meier) by source and month'
SET=$SERIAL floor 'group by lead, count' "$FLOOR_SQL"
SET=$SERIAL REACH='<= 1.0' variant 'velocity()' "SELECT count(*), sum(n) FROM leadscore.velocity('leads', $BY, history => 'stage_history', as_of => '2027-01-01')"
measure
