#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What the watchdog says of ranks that leave the order of collectives, and of one that works for
# ever; a rank that ends by itself is the launcher's business, at once.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
program=$SW2_BIN/tests/mpi_test_watchdog

# hangs RANKS HOW CODE TEXT...
hangs() {
    local ranks=$1 how=$2 code=0 text
    at "$ranks" "$program" "$how" >log 2>&1 || code=$?
    [ "$code" = "$3" ] || { cat log; fail "$how at $ranks ranks: exit code $code instead of $3"; }
    shift 3
    for text in "$@"; do
        grep -q "error:.*$text" log || { cat log; fail "$how: '$text' is not said"; }
    done
    [ "$(grep -c 'error:' log)" = $(($# > 0)) ] || { cat log; fail "$how: not one message"; }
}

hangs 3 order 1 'rank 2 (host [^)]*) left the order of collectives' 'MPI_Barrier' \
    'but rank 0 (host [^)]*) in MPI_Allgather' 'step 9'
[ "$(ls hang-rank-{0,1,2}.txt | wc -l)" = 3 ]
grep -q 'MPI_Barrier.*(collective' hang-rank-2.txt || fail "the ring does not show the barrier"
hangs 2 work 1 'rank 1 (host [^)]*) has made no progress for' 'step 9' '1 of 2 ranks wait'
hangs 3 gone 7
echo "ranks out of order are named"
