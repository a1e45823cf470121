#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Files that kill or stop who reads them: one error naming the file, exit 3, nothing half-written.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

# An import whose child is killed at its work, as a decoder that crashes would.
awk 'BEGIN { for (i = 0; i < 400000; i++) print i % 251 "," i % 13 "," i % 7 "," i % 3 }' >big.csv
for signal in SEGV XCPU KILL; do
    "$data" import big.csv big.h5 >out.txt 2>&1 &
    parent=$!
    child=
    while kill -0 $parent 2>/dev/null && [ -z "$child" ]; do
        child=$(pgrep -P $parent || true)
    done
    [ -n "$child" ] || fail "no child imports"
    kill -$signal "$child" 2>/dev/null || fail "the child was gone"
    code=0
    wait $parent || code=$?
    [ $code = 3 ] || fail "exit code $code after $signal, expected 3: $(cat out.txt)"
    grep -q 'error: big.csv: .*\(crashed (Segmentation fault)\|processor time\|killed\)' out.txt ||
        fail "no message after $signal: $(cat out.txt)"
    [ -z "$(ls big.h5* 2>/dev/null)" ] || fail "left after $signal: $(ls big.h5*)"
done
# Ctrl-C and TERM end it cleanly too.
"$data" import big.csv big.h5 >out.txt 2>&1 &
parent=$!
while kill -0 $parent 2>/dev/null && [ -z "$(pgrep -P $parent || true)" ]; do :; done
kill -TERM $parent
code=0
wait $parent || code=$?
[ $code = 1 ] || fail "exit code $code after TERM, expected 1: $(cat out.txt)"
grep -q 'interrupted: nothing written' out.txt || fail "no message after TERM: $(cat out.txt)"
[ -z "$(ls big.h5* 2>/dev/null)" ] || fail "left after TERM: $(ls big.h5*)"
# Undisturbed it works.
"$data" import big.csv big.h5 >out.txt 2>&1 || fail "import: $(cat out.txt)"
"$data" check big.h5 | grep -q 'the seal fits' || fail "no seal"
