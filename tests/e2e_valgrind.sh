#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A short run, its evaluation and resuming under valgrind's memcheck: no invalid access, no value
# that was never set, no memory that is lost. valgrind knows no AVX-512: these are the AVX2 kernels.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
skip() {
    echo "skipped: $*"
    exit 77
}
[ -z "$quick" ] || skip "sanitizers and valgrind exclude each other"
command -v valgrind >/dev/null || skip "no valgrind here"

# checked command...: with findings as exit code 99. Without a launcher MPI is not started, so all
# memory that is lost would be ours.
checked() {
    local code=0
    timeout -k 5 300 valgrind -q --error-exitcode=99 --leak-check=full \
        --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect \
        --suppressions="$SW2_SOURCE/tests/valgrind.supp" "$@" >checked.log 2>&1 || code=$?
    [ $code = 0 ] || {
        grep -E -A 12 '^==' checked.log | head -60 || tail checked.log
        fail "exit code $code from: $*"
    }
}

options=(digits --threads 2 -o train.batch=32 -o train.warmup=0 -o train.steps=3
    -o train.checkpoint_steps=2)
checked "$train" "${options[@]}" --out run
grep -q '; avx2, ' checked.log || fail "not the kernels that were meant"
checked "$train" "${options[@]}" --resume run/checkpoints/step-0000000002.h5 --out resumed
[ "$(metrics_of run | tail -n 1)" = "$(metrics_of resumed | tail -n 1)" ] || fail "other weights"
checked "$SW2_BIN/sw2-predict" run/checkpoints/best.h5 "$SW2_SOURCE/data/digits.h5:/test"
SW2_GEMM=blas checked "$train" "${options[@]}" --plan
echo "nothing found"
