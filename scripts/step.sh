#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command as a named step, and says how long it took.
# Usage: step.sh NAME COMMAND...
set -euo pipefail
name=$1
shift
began=$SECONDS
if "$@"; then
	printf 'ok    %s (%d s)\n' "$name" $((SECONDS - began))
else
	code=$?
	printf 'FAIL  %s (%d s)\n' "$name" $((SECONDS - began)) >&2
	exit "$code"
fi
