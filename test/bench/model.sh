# First measure: the 25 rules of the peers in 3 capped components over 1,000,000
# leads, by hand and as a leadscore model.
by_hand=$(q -c "SELECT regexp_replace(prosrc, '^\s*select', '') FROM pg_proc WHERE proname = 'fit_case'")
serial='jit = off; max_parallel_workers_per_gather = 0'

table '1,000,000 leads x 25 rules in 3 capped components'
SET=$serial floor 'count(*), sum(x), serial' 'SELECT count(*), sum(employees) FROM leads'
SET=$serial variant 'hand-written CASE, serial' "SELECT sum($by_hand) FROM leads l"
variant 'hand-written CASE, default (parallel)' "SELECT sum($by_hand) FROM leads l"
measure
