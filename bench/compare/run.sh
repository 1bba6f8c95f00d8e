#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [SCENARIO...]: bavard, ejabberd and Prosody side by side, in turn, on this machine; see docs/benchmarks.md.
#
# SCENARIO is one of pairs, pairs-starttls, logins, logins-starttls, archive, idle, idle-starttls, storm; without any, all are run.
# It has to be run as root, on Debian, with the packages ejabberd, erlang-p1-pgsql, postgresql, prosody, openssl and util-linux. Nothing of
# the system's own ejabberd, PostgreSQL or Prosody is touched: configuration, data and ports are others, and everything is removed at the end.
#
# Results are lines of peer, scenario, round and JSON in $OUT; `go run ./bench/compare $OUT` makes the table.
set -euo pipefail
cd "$(dirname "$0")/../.."

BAVARD=$(realpath "${BAVARD:-bin/bavard}")
OUT=$(realpath -m "${OUT:-bin/compare.tsv}")
PEERS=${PEERS:-bavard ejabberd-postgresql ejabberd-mnesia prosody}
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-8} # of pairs, logins and archive
CONNECTIONS=${CONNECTIONS:-5000} # of idle and storm
SERVER_CPU=${SERVER_CPU:-0} LOAD_CPU=${LOAD_CPU:-1}
PORT=${PORT:-25000} # and the two after it
MAX_LOAD=${MAX_LOAD:-} # wait up to 5 min for a load average under this before each run
here=bench/compare
scenarios=("$@")
[ $# -gt 0 ] || scenarios=(pairs pairs-starttls logins logins-starttls archive idle idle-starttls storm)

work=$(mktemp -d "${TMPDIR:-/tmp}/bavard-compare-XXXXXX")
chmod 755 "$work"
pids=()
stop() { # ends what was started last, first
	local i
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill "${pids[i]}" 2>/dev/null || true
		timeout 30 tail --pid="${pids[i]}" -f /dev/null || kill -9 "${pids[i]}" 2>/dev/null || true
		wait "${pids[i]}" 2>/dev/null || true
	done
	pids=()
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

for p in taskset setpriv openssl timeout; do
	command -v "$p" >/dev/null || { echo "run.sh: $p is missing" >&2; exit 1; }
done
ulimit -n "$(ulimit -Hn)"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
	-keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat "$work/key.pem" "$work/cert.pem" >"$work/both.pem"
chmod 644 "$work"/*.pem

# as USER COMMAND...: in the background, on the server's processor, as a user without further rights.
as() {
	local user=$1
	shift
	setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all taskset -c "$SERVER_CPU" "$@" >>"$work/$peer.log" 2>&1 </dev/null &
	pids+=($!)
}

# fill TEMPLATE: a configuration with this run's paths and ports.
fill() {
	sed -e "s|@DIR@|$dir|g" -e "s|@WORK@|$work|g" -e "s|@PORT@|$PORT|g" -e "s|@PORT1@|$((PORT + 1))|g" -e "s|@PORT2@|$((PORT + 2))|g" "$here/$1"
}

# start_PEER starts a peer on the data in $dir.
start_bavard() {
	fill bavard.toml >"$dir/bavard.toml"
	chown -R nobody:nogroup "$dir" && chmod 700 "$dir"
	setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all taskset -c "$SERVER_CPU" \
		"$BAVARD" serve --config "$dir/bavard.toml" >>"$work/$peer.log" 2>&1 </dev/null &
	pids+=($!)
}
start_prosody() {
	fill prosody.cfg.lua >"$dir/prosody.cfg.lua"
	mkdir -p "$dir/data" && chown -R prosody:prosody "$dir"
	as prosody prosody --config "$dir/prosody.cfg.lua" -F
}
start_ejabberd-mnesia() {
	fill ejabberd.yml >"$dir/ejabberd.yml"
	ejabberd
}
start_ejabberd-postgresql() {
	{ fill ejabberd.yml | sed 's/^default_db: mnesia/default_db: sql/; s/^auth_method: mnesia/auth_method: sql/' && fill ejabberd-sql.yml; } >"$dir/ejabberd.yml"
	local bin
	bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
	if ! [ -d "$dir/pg" ]; then
		mkdir "$dir/pg" && chown postgres:postgres "$dir/pg"
		setpriv --reuid=postgres --regid=postgres --init-groups "$bin/initdb" -D "$dir/pg" -A trust -U ejabberd >>"$work/$peer.log"
		fresh=1
	fi
	as postgres "$bin/postgres" -D "$dir/pg" -p $((PORT + 2)) -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
		-c synchronous_commit=on -c fsync=on -c shared_buffers=512MB
	local sql=(psql -q -h 127.0.0.1 -p $((PORT + 2)) -U ejabberd -d postgres)
	until "${sql[@]}" -c 'select 1' >/dev/null 2>&1; do
		kill -0 "${pids[-1]}" || { tail "$work/$peer.log" >&2; exit 1; }
		sleep 0.2
	done
	[ -z "${fresh:-}" ] || "${sql[@]}" -f "$(ls /usr/share/ejabberd/sql/pg.sql)" >>"$work/$peer.log" 2>&1
	fresh=
	ejabberd
}
# ejabberd starts it as ejabberdctl of Debian does, without the distribution.
ejabberd() {
	mkdir -p "$dir/spool" "$dir/log"
	chown -R ejabberd:ejabberd "$dir/spool" "$dir/log" "$dir/ejabberd.yml"
	EJABBERD_CONFIG_PATH=$dir/ejabberd.yml EJABBERD_LOG_PATH=$dir/log/ejabberd.log EJABBERD_PID_PATH=$dir/log/pid HOME=$dir/spool \
		ERL_LIBS=/usr/lib/x86_64-linux-gnu ERL_MAX_PORTS=32000 ERL_MAX_ETS_TABLES=1400 ERL_CRASH_DUMP_BYTES=0 \
		as ejabberd erl +K true +P 250000 -noinput -mnesia dir "\"$dir/spool\"" -s ejabberd
}

start() {
	"start_$peer"
	local t=0
	until (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; do
		if ! kill -0 "${pids[-1]}" 2>/dev/null || ((t++ > 300)); then
			echo "run.sh: $peer does not start" >&2
			tail -20 "$work/$peer.log" >&2
			exit 1
		fi
		sleep 0.2
	done
}

load() {
	taskset -c "$LOAD_CPU" "$BAVARD" bench "$@" --addr "127.0.0.1:$PORT" --domain localhost --ca "$work/cert.pem" \
		--pids "$(IFS=,; echo "${pids[*]}")" --json
}

scenario() {
	case $1 in
	pairs | logins | archive) echo "$1 --duration ${SECONDS_EACH}s" ;;
	pairs-starttls | logins-starttls) echo "${1%-starttls} --duration ${SECONDS_EACH}s --transport starttls" ;;
	idle) echo "idle --connections $CONNECTIONS" ;;
	idle-starttls) echo "idle --connections $CONNECTIONS --transport starttls" ;;
	storm) echo "storm --clients $CONNECTIONS" ;;
	*) echo "run.sh: there is no scenario $1" >&2 && exit 2 ;;
	esac
}

quiet() {
	[ -n "$MAX_LOAD" ] || return 0
	local t=0
	until awk -v max="$MAX_LOAD" '{exit !($1 < max)}' /proc/loadavg || ((t++ > 60)); do sleep 5; done
}

# The accounts are made once; each run gets a copy of that, and a process that knows nothing of the run before.
accounts=200
case " ${scenarios[*]} " in *" idle"* | *" storm"*) accounts=$((CONNECTIONS > 200 ? CONNECTIONS : 200)) ;; esac
for peer in $PEERS; do
	echo "$peer: making $accounts accounts" >&2
	dir=$work/$peer.prepared
	mkdir "$dir"
	if [ "$peer" = bavard ]; then
		fill bavard.toml >"$dir/bavard.toml"
		chmod 700 "$dir"
		seq 0 $((accounts - 1)) | awk '{print "bench" $1 "\tcorrect horse"}' | "$BAVARD" user import - --config "$dir/bavard.toml"
	else
		start
		load logins --register --accounts "$accounts" --duration 100ms >/dev/null
		stop
	fi
done

mkdir -p "$(dirname "$OUT")"
for s in "${scenarios[@]}"; do
	for ((round = 1; round <= ROUNDS; round++)); do
		for peer in $PEERS; do
			dir=$work/$peer
			rm -rf "$dir"
			cp -a "$work/$peer.prepared" "$dir"
			sync
			start
			quiet
			# shellcheck disable=SC2046 # words
			report=$(load $(scenario "$s")) || echo "run.sh: $peer, $s: failed" >&2
			[ -z "$report" ] || printf '%s\t%s\t%s\t%s\n' "$peer" "$s" "$round" "$report" | tee -a "$OUT" | cut -c 1-300 >&2
			stop
		done
	done
done
