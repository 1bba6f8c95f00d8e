#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests. As root it installs the Debian packages that they need; else it
# says what it leaves out. With CI=true nothing may be left out. It goes on
# after a failure, so that one run shows all of them.
set -uo pipefail
: "${GO:=go}" "${CI:=false}"
failed=() left_out=() steps=0
step() {
	steps=$((steps + 1))
	"${@:2}" && echo "ok    $1" || { echo "FAIL  $1"; failed+=("$1"); }
}

leave_out() {
	left_out+=("$1")
	echo "LEFT OUT: $1" >&2
}

# program to Debian package
declare -A packages=([chromium]=chromium [profanity]=profanity [tmux]=tmux [pgrep]=procps [python3]=python3)
slixmpp() { /usr/bin/python3 -c 'import slixmpp' 2>/dev/null; }

install() {
	local wanted=() program
	for program in "${!packages[@]}"; do
		command -v "$program" >/dev/null || wanted+=("${packages[$program]}")
	done
	slixmpp || wanted+=(python3-slixmpp)
	[ ${#wanted[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "not installed, and not root on Debian: ${wanted[*]}" >&2
		return 0
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q && apt-get install -y -q --no-install-recommends "${wanted[@]}"
}

vulnerabilities() {
	local out code
	out=$("$1" ./... 2>&1)
	code=$?
	if [ "$code" -eq 3 ]; then
		echo "$out"
		return 1
	elif [ "$code" -ne 0 ]; then
		# Whether the database can be reached says nothing of the code.
		echo "$out" | tail -n 3 >&2
		leave_out 'govulncheck: its database could not be read (this alone is no failure)'
	fi
}

step 'install packages' install
step build make --no-print-directory build
step lint make --no-print-directory lint
step govulncheck vulnerabilities bin/tools/govulncheck-*
step svelte-check npm --prefix web run --silent check
step vitest npm --prefix web run --silent test
FUZZTIME=${FUZZTIME:-10s} step fuzz scripts/fuzz.sh

export BAVARD="$PWD/bin/bavard"
lacking=0
if command -v chromium >/dev/null; then
	step 'browser' npm --prefix web run --silent e2e
else
	lacking=1
	leave_out 'the app in a browser: chromium is missing'
fi
for program in profanity tmux; do
	command -v "$program" >/dev/null || { lacking=1; leave_out "interop with Profanity: $program is missing"; }
done
slixmpp || { lacking=1; leave_out 'interop with slixmpp: python3-slixmpp is missing'; }
if [ "$CI" = true ]; then
	step 'nothing is left out' test "$lacking" -eq 0
fi

# Tests that measure time or run other programs get the machine to themselves.
rm -f bin/counts
skips=
[ "$CI" = true ] && skips=-no-skips
go_tests() { # PACKAGES...
	"$GO" test -race -timeout 20m -json "$@" | "$GO" run ./scripts/summary -to bin/counts $skips
}
alone=()
for dir in drill interop; do
	if [ -d "$dir" ]; then alone+=("./$dir/..."); fi
done
mapfile -t rest < <("$GO" list ./... | grep -v -E '^bavard/(drill|interop)(/|$)')
step 'go test' go_tests "${rest[@]}"
BAVARD_KILLS=100 step 'drills, real clients' go_tests -p 1 "${alone[@]}"

# Last: what was left out and failed, Go's summary, the counts.
for what in "${left_out[@]}"; do echo "LEFT OUT: $what"; done
for what in "${failed[@]}"; do echo "FAIL  $what"; done
grep -hE '^(ok|FAIL) ' bin/counts
awk -v steps="$steps" -v failed="${#failed[@]}" '
	/^[0-9]+ [0-9]+$/ { p += $1; f += $2 }
	END { printf "%d passed, %d failed\n", p + steps - failed, f + failed }' bin/counts
[ ${#failed[@]} -eq 0 ]
