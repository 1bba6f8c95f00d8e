#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz test of the module for FUZZTIME, one after the other.
set -euo pipefail
: "${GO:=go}" "${FUZZTIME:=10s}"
failed=0 count=0
mkdir -p bin

fuzz() { "$GO" test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" "$1" </dev/null >bin/fuzz.log 2>&1; }

# Before Go 1.27 the fuzzer may end with its own deadline as the error, without an
# input that fails (golang/go#75804): it says nothing of the code, and is tried
# once more.
only_deadline() { grep -q 'context deadline exceeded' bin/fuzz.log && ! grep -qE 'Failing input|panic:|_test\.go:' bin/fuzz.log; }

while read -r package fuzz; do
	count=$((count + 1))
	if ! fuzz "$package" "$fuzz" && ! { only_deadline && fuzz "$package" "$fuzz"; }; then
		echo "FAIL  $package $fuzz" >&2
		cat bin/fuzz.log >&2
		failed=$((failed + 1))
	fi
done < <("$GO" list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}' ./... | while read -r package file; do
	[ -n "$file" ] && sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$package \1|p" "$file"
done)
echo "$count fuzz tests for $FUZZTIME each, $failed failed"
if [ "$count" -eq 0 ]; then
	echo 'no fuzz test was found: the search for them is broken' >&2
	exit 1
fi
[ "$failed" -eq 0 ]
