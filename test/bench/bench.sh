# What the scripts in test/bench use (sourced by test/bench/run, which sets PGHOST
# and so on to a database that has the peers' tables and a fresh extension).
#
#	prepare 'SQL'					run, not measured
#	table 'title'					begin a table
#	floor 'name' 'SQL'				the variant that the others are compared with
#	variant 'name' 'SQL'			one more
#	rate 'name' FILE [pgbench options]	a variant that is a rate: pgbench script, x = rate / floor's rate
#	measure						run every variant once a round, in rotated order, and print the table
#
# A variant's time is that of all its statements. Before the name may stand, as
# assignments: SET='jit = off; work_mem = ...' settings of this variant; REACH='<= 3'
# the ratio that is wanted; REPEAT=100 statements of a round (then ms is their median,
# and p95 is shown); WITHIN=5 the p95 in ms that is wanted; BEFORE='SQL' run before each
# time, unmeasured; FLOOR='name' compare with another variant than the floor. Ratios (x)
# are medians over the rounds of the ratio within the round.

ROUNDS=${ROUNDS:-5}
names=() sqls=() sets=() reaches=() withins=() repeats=() befores=() floors=() kinds=()
floor_at=0

prepare() { PGOPTIONS="-c client_min_messages=warning" psql -Xq -v ON_ERROR_STOP=1 -o /dev/null -c "$1"; }

table() {
	title=$1
	names=() sqls=() sets=() reaches=() withins=() repeats=() befores=() floors=() kinds=() floor_at=0
}
add() {
	kinds+=("$1") names+=("$2") sqls+=("$3") sets+=("${SET:-}") reaches+=("${REACH:-}")
	repeats+=("${REPEAT:-1}") withins+=("${WITHIN:-}") befores+=("${BEFORE:-}") floors+=("${FLOOR:-}")
	# an assignment before a function may outlive it; each counts once
	unset SET REACH WITHIN REPEAT BEFORE FLOOR
}
floor() { floor_at=${#names[@]}; add sql "$@"; }
variant() { add sql "$@"; }
rate() { local n=$1; shift; add rate "$n" "$*"; }

# time_sql N: the times, in ms, one line for each repetition
time_sql() {
	local i=$1 k
	{
		printf '%s' "${sets[$i]}" | tr ';' '\n' | sed -n 's/^ *\([^ ].*\)$/SET \1;/p'
		printf '\n%s;\n' "${befores[$i]}"
		printf '\\timing on\n'
		for ((k = 0; k < repeats[i]; k++)); do printf '%s;\n\\echo @\n' "${sqls[$i]}"; done
	} | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null |
		awk '/^Time:/ {t += $2} /^@/ {print t; t = 0}'
}
# time_rate N: milliseconds per transaction over all clients, so that one formula serves both
time_rate() {
	local i=$1
	[ -z "${befores[$i]}" ] || psql -Xq -o /dev/null -c "${befores[$i]}"
	# shellcheck disable=SC2086
	PGOPTIONS="$(printf '%s' "${sets[$i]}" | tr ';' '\n' | sed -nE 's/^ *([a-z_.]+) *= *(.*[^ ]) *$/-c \1=\2/p' | tr '\n' ' ')" \
		pgbench -n -c 2 -j 2 -T 5 ${sqls[$i]#* } -f ${sqls[$i]%% *} 2>&1 | sed -n 's/^tps = \([0-9.]*\).*/\1/p' | awk '{print 1000 / $1}'
}
median() { sort -g | awk '{v[NR] = $1} END {if (NR == 0) print "nan"; else if (NR % 2) print v[(NR + 1) / 2]; else print (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
quantile() { sort -g | awk -v q="$1" '{v[NR] = $1} END {i = int(q * NR + 0.999999); if (i < 1) i = 1; print v[i]}'; }

measure() {
	local n=${#names[@]} r k i j dir
	dir=$(mktemp -d)
	# a first time for each, unmeasured: caches, compiled models, hint bits
	for ((i = 0; i < n; i++)); do
		if ! time_${kinds[$i]} "$i" >"$dir/warm" || [ ! -s "$dir/warm" ]; then say "FAILED: ${names[$i]}"; return 1; fi
	done
	for ((r = 0; r < ROUNDS; r++)); do
		for ((k = 0; k < n; k++)); do
			i=$(((k + r) % n))
			time_${kinds[$i]} "$i" >"$dir/once"
			cat "$dir/once" >>"$dir/all.$i"
			median <"$dir/once" >>"$dir/ms.$i"
		done
	done
	printf '\n### %s\n\n(%s rounds, load %s; x = median of the ratios within a round)\n\n' "$title" "$ROUNDS" "$(cut -d' ' -f1 /proc/loadavg)"
	printf '| variant | ms | min | max | p95 | x | wanted | |\n|---|---:|---:|---:|---:|---:|---|---|\n'
	for ((i = 0; i < n; i++)); do
		j=$floor_at
		if [ -n "${floors[$i]}" ]; then
			for ((k = 0; k < n; k++)); do [ "${names[$k]}" != "${floors[$i]}" ] || j=$k; done
		fi
		local x p95=
		# for rates more is better: the floor's time per transaction over ours
		if [ "${kinds[$i]}" = rate ]; then
			x=$(paste "$dir/ms.$j" "$dir/ms.$i" | awk '{print $1 / $2}' | median)
		else
			x=$(paste "$dir/ms.$i" "$dir/ms.$j" | awk '{print $1 / $2}' | median)
		fi
		[ "${repeats[$i]}" = 1 ] || p95=$(quantile 0.95 <"$dir/all.$i" | awk '{printf "%.4g", $1}')
		awk -v name="${names[$i]}" -v ms="$(median <"$dir/ms.$i")" -v lo="$(quantile 0 <"$dir/ms.$i")" -v hi="$(quantile 1 <"$dir/ms.$i")" \
			-v p95="$p95" -v x="$x" -v reach="${reaches[$i]}" -v within="${withins[$i]}" 'BEGIN {
				met = ""
				if (reach != "") {
					split(reach, w, " ")
					met = (w[1] == "<=" ? x <= w[2] + 0 : x >= w[2] + 0) ? "reached" : "**not reached**"
				}
				if (within != "") {
					reach = "p95 <= " within " ms"
					met = p95 + 0 <= within + 0 ? "reached" : "**not reached**"
				}
				printf "| %s | %.4g | %.4g | %.4g | %s | %.3g | %s | %s |\n", name, ms, lo, hi, p95, x, reach, met }'
	done
	rm -rf "$dir"
}
