#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names the Go files that are not formatted as gofumpt does.
# Usage: gofumpt.sh PATH_OF_GOFUMPT
set -euo pipefail
bad=$(find . -type d \( -name node_modules -o -path ./bin \) -prune -o -name '*.go' ! -name '*.pb.go' -print0 | xargs -0 "$1" -l)
if [ -n "$bad" ]; then
	echo "not formatted; run $1 -w on:" >&2
	echo "$bad" >&2
	exit 1
fi
