# Shell functions shared by the commands in test/ (sourced, bash).
#
# The rule all of them follow: work on a copy of the tree in a folder below /tmp
# that belongs to the server's user, with clusters that listen on unix sockets
# only; nothing is installed into the system's PostgreSQL, and everything is
# stopped and removed at the end.

set -euo pipefail
LS_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LS_CWD=$PWD
cd /							# the server's user may not be able to enter where we are
export LANG=C.UTF-8 LC_ALL=C.UTF-8 PGTZ=UTC
unset PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGPASSWORD PGCLIENTENCODING 2>/dev/null || true
# an outer make must not hand its variables (DATA=...) or job slots to ours
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GNUMAKEFLAGS 2>/dev/null || true

# the server we build for: Debian 12 has 15
PG_PACKAGES="postgresql-${LS_PG_MAJOR:-15} postgresql-server-dev-${LS_PG_MAJOR:-15}"

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# install Debian packages that are missing, with sudo where we are not root
need_packages() {
	local missing=() p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	local as=()
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "missing packages: ${missing[*]}; install them, or run as root or with sudo"
		as=(sudo)
	fi
	say "installing: ${missing[*]}"
	# Debian's packages make and start a cluster of their own when they are first
	# installed; we need none, so none is made (and the setting is taken back)
	local conf=/etc/postgresql-common/createcluster.conf ours=
	if [ ! -e $conf ]; then
		ours=yes
		"${as[@]}" mkdir -p "${conf%/*}"
		echo 'create_main_cluster = false' | "${as[@]}" tee $conf >/dev/null
	fi
	local log
	log=$(mktemp)
	if ! "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 </dev/null ||
		! "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			"${missing[@]}" >>"$log" 2>&1 </dev/null; then
		tail -20 "$log"
		rm -f "$log"
		die "could not install: ${missing[*]}"
	fi
	rm -f "$log"
	[ -z "$ours" ] || "${as[@]}" rm -f $conf
}

# run a command as the user the servers run as: root may not, so it becomes postgres
as_server() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups env HOME="${RUN:-/tmp}" "$@"
	else
		"$@"
	fi
}
server_user() { if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi; }

pg_bin() { "${PG_CONFIG:-pg_config}" --bindir; }

# a fresh folder $RUN that the server's user owns, removed on exit
make_run_dir() {
	RUN=$(mktemp -d "/tmp/leadscore-$1.XXXXXX")
	[ "$(id -u)" != 0 ] || chown postgres: "$RUN"
	chmod 755 "$RUN"
	# whatever the tools put into the temporary folder goes with ours
	as_server mkdir "$RUN/tmp"
	export RUN TMPDIR=$RUN/tmp
}

# stop what still runs out of $RUN (after a failure or an interrupt) and remove it
remove_run_dir() {
	local pid
	for pid in $(ls -d "$RUN"/*/data/postmaster.pid "$RUN"/*/*/data/postmaster.pid \
		"$RUN"/*/build/*pg*/data/postmaster.pid "$RUN"/*/tmp_check/*/pgdata/postmaster.pid 2>/dev/null); do
		kill -QUIT "$(head -1 "$pid")" 2>/dev/null || true
	done
	if [ -n "${KEEP:-}" ]; then say "kept: $RUN"; else rm -rf "$RUN"; fi
}

# copy the tree (what git tracks or would track) into $1
copy_tree() {
	mkdir -p "$1"
	if git -C "$LS_TREE" -c safe.directory="$LS_TREE" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$LS_TREE" && git -c safe.directory="$LS_TREE" ls-files -z --cached --others --exclude-standard |
			while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
			tar -c --null -T - ) | tar -x -C "$1"
	else
		(cd "$LS_TREE" && tar -c --exclude=./build --exclude=./tmp_check --exclude=.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' .) | tar -x -C "$1"
	fi
	[ "$(id -u)" != 0 ] || chown -R postgres: "$1"
}

# build the copy in $1 and stage it into $1/stage; further arguments go to make
build_tree() {
	local src=$1 lib
	shift
	as_server make -s -C "$src" -j"$(nproc)" with_llvm=no "$@" all >"$src.make.log" 2>&1 ||
		{ cat "$src.make.log"; return 1; }
	as_server make -s -C "$src" with_llvm=no "$@" install DESTDIR="$src/stage" >>"$src.make.log" 2>&1 ||
		{ cat "$src.make.log"; return 1; }
	lib=$("${PG_CONFIG:-pg_config}" --pkglibdir)
	# where the server finds the staged files: Debian's own setting, or from 18 on PostgreSQL's
	local find="extension_destdir = '$src/stage'"
	as_server "$(pg_bin)/postgres" --describe-config 2>/dev/null | grep '^extension_destdir' >/dev/null ||
		find="extension_control_path = '$src/stage$("${PG_CONFIG:-pg_config}" --sharedir):\$system'"
	as_server tee "$src/temp.conf" >/dev/null <<-X
		$find
		dynamic_library_path = '$src/stage$lib:\$libdir'
		listen_addresses = ''
		fsync = off
		log_line_prefix = '%m [%p] %q%a %e '
		timezone = 'UTC'
		lc_messages = 'C'
	X
}

# start_cluster DIR CONF [setting ...]: a private cluster in DIR, made there if it
# is not; only we can reach its socket. Sets PGHOST PGUSER PGDATABASE.
start_cluster() {
	local dir=$1 conf=$2
	shift 2
	if [ ! -e "$dir/data/PG_VERSION" ]; then
		as_server mkdir -p "$dir"
		as_server mkdir -p -m 700 "$dir/sock"
		as_server "$(pg_bin)/initdb" -D "$dir/data" -U postgres -A trust -N --locale=C.UTF-8 -E UTF8 >/dev/null
		{
			printf "include '%s'\nlisten_addresses = ''\nunix_socket_directories = '%s'\n" "$conf" "$dir/sock"
			[ $# = 0 ] || printf '%s\n' "$@"
		} | as_server tee -a "$dir/data/postgresql.conf" >/dev/null
	fi
	is_running "$dir" || as_server "$(pg_bin)/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 start >/dev/null ||
		{ tail -20 "$dir/log"; return 1; }
	export PGHOST=$dir/sock PGUSER=postgres PGDATABASE=postgres
}
is_running() { as_server "$(pg_bin)/pg_ctl" -D "$1/data" status >/dev/null 2>&1; }
stop_cluster() { as_server "$(pg_bin)/pg_ctl" -D "$1/data" -m fast -w stop >/dev/null 2>&1 || true; }

# the PGXS make of the copy in $1; further arguments go to make
pgxs_make() {
	local src=$1
	shift
	as_server env TEMP_CONFIG="$src/temp.conf" make -s -C "$src" with_llvm=no "$@" </dev/null
}

# run_regress SRC [name ...]: pg_regress (all tests, or the named ones) in a
# cluster of its own; its output and the differences end up in SRC/build
run_regress() {
	local src=$1
	shift
	pgxs_make "$src" installcheck ${1:+REGRESS="$*"} ISOLATION= TAP_TESTS= \
		EXTRA_REGRESS_OPTS="--temp-instance=$src/build/pg --temp-config=$src/temp.conf"
}

# the folder with real data, or nothing: LEADSCORE_DATA, else ../shared/data (from
# a worktree one level down, ../../shared/data); a copy where the server's user
# may not read it
data_folder() {
	local d=${LEADSCORE_DATA:-$LS_TREE/../shared/data}
	[ -d "$d" ] || [ -n "${LEADSCORE_DATA:-}" ] || d=$LS_TREE/../../shared/data
	[ -d "$d" ] || { [ -z "${LEADSCORE_DATA:-}" ] || die "LEADSCORE_DATA is not a folder: $d"; return 0; }
	d=$(cd "$d" && pwd)
	if ! as_server test -r "$d" -a -x "$d"; then
		cp -rL "$d" "$RUN/data"
		[ "$(id -u)" != 0 ] || chown -R postgres: "$RUN/data"
		d=$RUN/data
	fi
	printf '%s\n' "$d"
}
