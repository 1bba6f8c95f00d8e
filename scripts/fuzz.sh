#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs each fuzz test of the module for FUZZTIME, one after the other.
set -euo pipefail
: "${GO:=go}" "${FUZZTIME:=10s}"
failed=0 count=0
while read -r package fuzz; do
	count=$((count + 1))
	if ! "$GO" test -run '^$' -fuzz "^$fuzz\$" -fuzztime "$FUZZTIME" "$package" >bin/fuzz.log 2>&1; then
		echo "FAIL  $package $fuzz" >&2
		cat bin/fuzz.log >&2
		failed=$((failed + 1))
	fi
done < <(mkdir -p bin && "$GO" list ./... | while read -r package; do
	dir=$("$GO" list -f '{{.Dir}}' "$package")
	cat "$dir"/*_test.go 2>/dev/null | sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$package \1|p"
done)
echo "$count fuzz tests for $FUZZTIME each, $failed failed"
[ "$failed" -eq 0 ]
