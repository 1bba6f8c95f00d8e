#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The quick tests; `make check` has built before.
set -uo pipefail
: "${GO:=go}"
export BAVARD="$PWD/bin/bavard"
failed=0
step() { scripts/step.sh "$@" || failed=1; }
go_tests() { "$GO" test -race -short -timeout 5m -json "$@" | "$GO" run ./scripts/summary; }
export -f go_tests
export GO

step lint make --no-print-directory lint
step svelte-check npm --prefix web run --silent check
step vitest npm --prefix web run --silent test
mapfile -t quiet < <("$GO" list ./... | grep -v -E '^bavard/(drill|interop)(/|$)')
step 'go test' bash -o pipefail -c 'go_tests "$@"' go_tests "${quiet[@]}"
step '10 kills' "$GO" test -short -timeout 5m -count=1 ./drill/...
exit "$failed"
