#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz test of the module for FUZZTIME, one after the other. Each package is
# built once for all of its fuzz tests.
set -euo pipefail
: "${GO:=go}" "${FUZZTIME:=10s}"
failed=0 count=0
mkdir -p bin
log=$PWD/bin/fuzz.log program=$PWD/bin/fuzz.test inputs=$("$GO" env GOCACHE)/fuzz

# fuzz DIRECTORY PACKAGE NAME: inputs that it finds interesting are kept where go test -fuzz keeps them.
fuzz() {
	(cd "$1" && "$program" -test.run '^$' -test.fuzz "^$3\$" -test.fuzztime "$FUZZTIME" -test.fuzzcachedir "$inputs/$2") </dev/null >"$log" 2>&1
}

# Before Go 1.27 the fuzzer may end with its own deadline as the error, without an
# input that fails (golang/go#75804): it says nothing of the code, and is tried
# once more.
only_deadline() { grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic:|_test\.go:' "$log"; }

fail() {
	echo "FAIL  $*" >&2
	cat "$log" >&2
	failed=$((failed + 1))
}

while read -r package directory; do
	mapfile -t names < <(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$directory"/*_test.go)
	[ ${#names[@]} -gt 0 ] || continue
	count=$((count + ${#names[@]}))
	if ! "$GO" test -c -fuzz . -o "$program" "$package" >"$log" 2>&1; then
		fail "$package: its tests cannot be built"
		continue
	fi
	for name in "${names[@]}"; do
		if ! fuzz "$directory" "$package" "$name" && ! { only_deadline && fuzz "$directory" "$package" "$name"; }; then
			fail "$package $name"
		fi
	done
done < <("$GO" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./...)
rm -f "$program"
echo "$count fuzz tests for $FUZZTIME each, $failed failed"
if [ "$count" -eq 0 ]; then
	echo 'no fuzz test was found: the search for them is broken' >&2
	exit 1
fi
[ "$failed" -eq 0 ]
