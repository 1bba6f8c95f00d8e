#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# nodes.sh: a server of one node and a cell of three, in turn, on this machine; see docs/benchmarks.md.
#
# All nodes are on the processors $SERVER_CPU, the load on $LOAD_CPU. Results are lines of peer, scenario, round and JSON in $OUT, which is
# begun anew; the table is printed at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

BAVARD=$(realpath "${BAVARD:-bin/bavard}")
OUT=$(realpath -m "${OUT:-bin/nodes.tsv}")
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-8}
WINDOW=${WINDOW:-8} # messages under way per pair
SERVER_CPU=${SERVER_CPU:-0} LOAD_CPU=${LOAD_CPU:-1}

mkdir -p "$(dirname "$OUT")"
: >"$OUT"
for ((round = 1; round <= ROUNDS; round++)); do
	for nodes in 1 3; do
		name=bavard
		[ "$nodes" = 1 ] || name="bavard, $nodes nodes"
		report=$(taskset -c "$LOAD_CPU" "$BAVARD" bench pairs --serve --nodes "$nodes" --cpu "$SERVER_CPU" \
			--window "$WINDOW" --duration "${SECONDS_EACH}s" --json)
		printf '%s\tpairs\t%s\t%s\n' "$name" "$round" "$report" >>"$OUT"
	done
done
go run ./bench/compare "$OUT"
