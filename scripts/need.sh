#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Says what a machine lacks to build bavard, and where its makers offer it. A
# distribution's own packages are often too old, so they are not proposed.
# Usage: need.sh [go] [node]
set -euo pipefail

go_least=1.26 node_least=20.19
missing=()

# at_least HAVE LEAST: is version HAVE LEAST or newer?
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_go() {
	local have
	if ! have=$(go env GOVERSION 2>/dev/null); then
		missing+=("Go $go_least or newer: https://go.dev/dl/ (unpack it to /usr/local/go and put /usr/local/go/bin in PATH)")
	elif [[ $have == go* ]] && ! at_least "${have#go}" "$go_least"; then
		missing+=("Go $go_least or newer, this is $have: https://go.dev/dl/")
	fi
}

need_node() {
	local have
	if ! have=$(node --version 2>/dev/null); then
		missing+=("Node.js $node_least or newer: https://nodejs.org/en/download (npm comes with it)")
	elif ! at_least "${have#v}" "$node_least"; then
		missing+=("Node.js $node_least or newer, this is $have: https://nodejs.org/en/download")
	elif ! command -v npm >/dev/null; then
		missing+=("npm, which comes with Node.js: https://nodejs.org/en/download")
	fi
}

for what in "$@"; do
	case $what in
	go) need_go ;;
	node) need_node ;;
	*) echo "need.sh: what is $what?" >&2; exit 2 ;;
	esac
done

if [ ${#missing[@]} -gt 0 ]; then
	echo "To build bavard, this machine still needs:" >&2
	printf '  - %s\n' "${missing[@]}" >&2
	exit 1
fi
