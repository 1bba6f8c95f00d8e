#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The quick tests; `make check` has linted and built before.
set -uo pipefail
: "${GO:=go}"
failed=0
step() { scripts/step.sh "$@" || failed=1; }

step svelte-check npm --prefix web run --silent check
step vitest npm --prefix web run --silent test
export BAVARD="$PWD/bin/bavard"
step 'go test -short' bash -c "set -o pipefail; $GO test -race -short -json ./... | $GO run ./scripts/summary"
step '10 kills' env BAVARD_KILLS=10 "$GO" test -count=1 -timeout 5m -run '^TestKill' ./drill/...
exit "$failed"
