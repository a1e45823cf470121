#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How long until a rank that hangs is named, and until its job is over: the table in README's
# "Hangs". One run each: stopped ranks, an endless loop, a read that blocks; with the watchdog as it
# is by default. Needs a build with tests. usage: bash scripts/hang_times.sh [PATIENCE [ROUNDS]]
#   PATIENCE   seconds for --watchdog, or "auto" (default)
#   SW2_BIN    the build folder (build)
set -euo pipefail
SW2_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SW2_BIN=$(realpath "${SW2_BIN:-$SW2_SOURCE/build}")
patience=${1:-auto} rounds=${2:-1}
. "$SW2_SOURCE/tests/support/e2e.sh"
preload=$(find "$SW2_BIN/tests" -name '*preload_hang.so' | head -n 1)
[ -n "$preload" ] || fail "no preload_hang.so in $SW2_BIN/tests: build with -DSW2_TESTS=ON"
must "$data" generate grey.h5 --shape 28x28x1 --rows 509 --test-rows 64
recipe=(mnist -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=32
    -o train.epochs=100000 -o train.eval_every=0 -o train.checkpoint_every=0 -o train.log_every=1)
[ "$patience" = auto ] || recipe+=(--watchdog "$patience")

ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
seconds() { printf '%d.%01d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# hang TEXT RANKS RANK:KIND STOPPED...: the ranks STOPPED get SIGSTOP, or what KIND says happens.
hang() {
    local text=$1 n=$2 what=$3 began named='' r pids
    shift 3
    rm -rf run go
    mpirun -q -np "$n" env SW2_HANG="$what:$work/go" LD_PRELOAD="$preload" "$train" \
        "${recipe[@]}" --out run >run.log 2>&1 &
    launched=$!
    until [ "$(steps_of run)" -ge 8 ]; do sleep 0.05; done
    sleep 2
    read -ra pids <<<"$(ranks_of $launched)"
    began=$(ms)
    for r in "$@"; do kill -STOP "${pids[$r]}"; done
    touch go
    while kill -0 "$launched" 2>/dev/null; do
        [ -n "$named" ] || ! grep -q 'error:' run.log || named=$(ms)
        sleep 0.02
    done
    [ -n "$named" ] || { cat run.log; fail "$text: nothing was said"; }
    echo "| $text | $(seconds $((named - began))) | $(seconds $(($(ms) - began))) |"
}

echo "load $(cut -d' ' -f1 /proc/loadavg), --watchdog $patience"
for ((i = 0; i < rounds; i++)); do
    hang "SIGSTOP of rank 2 of 4" 4 9:none 2
    hang "SIGSTOP of rank 0 of 4" 4 9:none 0
    hang "SIGSTOP of ranks 0 and 1 of 4 (both judges)" 4 9:none 0 1
    hang "endless loop in rank 1 of 2" 2 1:loop
    hang "read that blocks in rank 1 of 2" 2 1:read
done
