#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests. As root it installs the Debian packages that they need; else it
# says what it leaves out. With CI=true nothing may be left out. It goes on
# after a failure, so that one run shows all of them.
set -uo pipefail
: "${GO:=go}" "${CI:=false}"
export BAVARD="$PWD/bin/bavard"
failed=() left_out=() steps=0

# processor sets worked to the seconds that all processes took that have ended until now. By a file, as a subshell has times of its own.
processor() {
	times >bin/times
	worked=$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); all += 60 * t[1] + t[2] } printf "%d", all }' bin/times)
}

# step NAME COMMAND...: exit code 77 means that it left itself out.
step() {
	local name=$1 began=$SECONDS worked before code took
	shift
	echo "===   $name"
	processor
	before=$worked
	"$@" </dev/null
	code=$?
	processor
	took="$((SECONDS - began)) s, $((worked - before)) s of processor"
	case $code in
	0) steps=$((steps + 1)) && echo "ok    $name ($took)" ;;
	77) ;;
	*) failed+=("$name") && echo "FAIL  $name ($took)" ;;
	esac
}

leave_out() {
	left_out+=("$1")
	echo "LEFT OUT: $1" >&2
}

# program to Debian package
declare -A packages=([chromium]=chromium [profanity]=profanity [go-sendxmpp]=go-sendxmpp [mcabber]=mcabber [tmux]=tmux [pgrep]=procps
	[dino-im]=dino-im [sqlite3]=sqlite3 [Xvfb]=xvfb [xdotool]=xdotool [dbus-daemon]=dbus-daemon [gdbus]=libglib2.0-bin [mount]=mount
	[poezio]=poezio [setpriv]=util-linux)
# Python module to Debian package
declare -A modules=([slixmpp]=python3-slixmpp [aioxmpp]=python3-aioxmpp [aiohttp]=python3-aiohttp)

install_packages() {
	local wanted=() program module
	for program in "${!packages[@]}"; do
		command -v "$program" >/dev/null || wanted+=("${packages[$program]}")
	done
	for module in "${!modules[@]}"; do
		/usr/bin/python3 -c "import $module" 2>/dev/null || wanted+=("${modules[$module]}")
	done
	[ ${#wanted[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		leave_out "what needs these Debian packages: ${wanted[*]}"
		[ "$CI" != true ]
		return
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q && apt-get install -y -q --no-install-recommends "${wanted[@]}"
}

# Chromium without windows: the browser tests take half the time with it, and do without it where it is not to be had.
install_shell() {
	command -v chromium-headless-shell >/dev/null && return 0
	[ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 77
	export DEBIAN_FRONTEND=noninteractive
	timeout 120 apt-get update -q && timeout 300 apt-get install -y -q --no-install-recommends chromium-headless-shell || return 77
}

vulnerabilities() {
	local out code
	out=$(bin/tools/govulncheck-* ./... 2>&1)
	code=$?
	case $code in
	0) return 0 ;;
	3) echo "$out" && return 1 ;;
	esac
	# Whether its database can be reached says nothing about the code.
	echo "$out" | tail -n 3 >&2
	leave_out 'govulncheck: it could not read its database'
	return 77
}

browser() {
	if ! command -v chromium >/dev/null && [ "$CI" != true ]; then
		leave_out 'the app in a browser: chromium is missing'
		return 77
	fi
	FAILURES="$PWD/bin/browser-failed" npm --prefix web run --silent e2e
}

# Counts go to bin/counts; with BAVARD_LONG=1 crashes and drills are repeated more often. A test that lacks something says LEFT OUT.
nothing=()
[ "$CI" = true ] && nothing=(-nothing-left-out)
go_tests() {
	"$GO" test -race -timeout 30m -json "$@" | "$GO" run ./scripts/summary -to bin/counts -why bin/go-failed "${nothing[@]}"
}

mkdir -p bin
rm -f bin/counts bin/browser-failed bin/go-failed
step 'packages' install_packages
step 'lighter browser' install_shell
step 'build' make --no-print-directory build
step 'client libraries' make --no-print-directory interop/node/node_modules/.package-lock.json
step 'lint' make --no-print-directory lint
step 'govulncheck' vulnerabilities
step 'svelte-check' npm --prefix web run --silent check
step 'vitest' npm --prefix web run --silent test
mapfile -t quiet < <("$GO" list ./... | grep -v -E '^bavard/(drill|interop|internal/journal|internal/server)(/|$)')
step 'go test' go_tests "${quiet[@]}"
# Cells of three in one process: two packages of them at a time are too much for two cores. Most of their
# tests wait, for elections and for what is let in after a while.
step 'go test, cells' go_tests -p 1 -parallel 4 ./internal/journal ./internal/server
# What runs servers and other programs gets the machine to itself.
step 'browser' browser
step 'fuzz' env FUZZTIME="${FUZZTIME:-2s}" scripts/fuzz.sh
step 'clients' go_tests -p 1 ./interop/...
step '100 kills' go_tests -p 1 -parallel 3 ./drill/...

# Last: Go's summary, what was left out and failed and why, the counts.
echo
grep -hE '^(ok|FAIL) ' bin/counts
for what in "${left_out[@]}"; do echo "LEFT OUT: $what"; done
for what in "${failed[@]}"; do echo "FAIL  $what"; done
for why in bin/go-failed bin/browser-failed; do [ ! -s "$why" ] || head -n 60 "$why"; done
awk -v steps="$steps" -v failed="${#failed[@]}" '
	/^[0-9]+ [0-9]+$/ { p += $1; f += $2 }
	END { printf "%d passed, %d failed\n", p + steps, f + failed }' bin/counts
[ ${#failed[@]} -eq 0 ]
