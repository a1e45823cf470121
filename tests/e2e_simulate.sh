#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/simulate.sh with few ranks: the same weights at any number of simulated ranks, times that
# come from a tape, tapes of other runs refused. Builds the trainer for SMPI once, in $SW2_BIN/smpi.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

skip() {
    echo "skipped: $*"
    exit 77
}
command -v smpirun >/dev/null && [ -e /usr/include/smpi/smpi.h ] ||
    skip "no SimGrid here (Debian: libsimgrid-dev)"
[ -z "$quick" ] || skip "sanitizers don't know SimGrid's contexts; the ordinary build tests it"

export SW2_SMPI_BIN=$SW2_BIN/smpi SW2_SIMULATE_WORK=$work/simulate OPENBLAS_NUM_THREADS=1
{
    cmake -S "$SW2_SOURCE" -B "$SW2_SMPI_BIN" -DSW2_SMPI=ON -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_C_FLAGS="-O1 -g0 -w" &&
        cmake --build "$SW2_SMPI_BIN" -j 2 --target sw2-train sw2-data
} >build.log 2>&1 || {
    grep -A 5 'error' build.log || tail build.log
    fail "the build for SMPI"
}
simulate() {
    timeout -k 5 120 bash "$SW2_SOURCE/scripts/simulate.sh" "$@"
}

# The same bits: powers of two, and not.
for n in 16 7; do
    simulate --bits $n >bits.log 2>&1 || { cat bits.log; fail "weights of $n simulated ranks"; }
    [ "$(grep -c '^weights .* [0-9a-f]*-[0-9a-f]*$' bits.log)" = 2 ] || fail "$(cat bits.log)"
done

# A tape of one rank stands for computation (of milliseconds here, the resolution of the log).
simulate 16 digits >scaling.log 2>&1 || { cat scaling.log; fail "weak scaling"; }
awk '$1 == 1 || $1 == 16 { n++; if ($2 <= 0 || $4 < 20) bad = 1 }
    END { exit bad || n != 2 }' scaling.log || fail "$(cat scaling.log)"
grep -q '^lap 0 ' simulate/tape && grep -q '^update [0-9.]*$' simulate/tape ||
    fail "a tape without laps or update: $(cat simulate/tape)"

# Another run's tape is refused; of a made one, every second passes.
play() { # TAPE RANKS OUT RECIPE
    SW2_GEMM=ref SW2_TAPE_PLAY=$1 smpirun -np "$2" -platform simulate/platform.xml -hostfile \
        simulate/hosts --log=root.thres:error --cfg=smpi/host-speed:100Gf \
        --cfg=smpi/shared-malloc:local --cfg=smpi/simulate-computation:no \
        "$SW2_SMPI_BIN/sw2-train" "$4" --out "$3" -q -o train.batch=32 -o train.grains=4 \
        -o train.steps=3 -o train.warmup=0 -o train.log_every=1 >play.log 2>&1
}
seconds() {
    sed -n 's/.*"type":"step".*"step":3,"seconds":\([0-9.]*\),.*/\1/p' "$1/metrics.jsonl"
}
play simulate/tape 4 refused digits && fail "a tape of other data was taken"
grep -q "is a tape of [0-9]* floats.*but this run has" play.log || fail "$(cat play.log)"
printf 'sw2-tape 1 %s\nlap 0 2.5\nprepare 0.25\nupdate 1\nadd 0\n' \
    "$(sed -n 's/.*but this run has \([^:]*\): record.*/\1/p' play.log)" >made
play made 4 made.run digits || fail "a made tape: $(cat play.log)"
awk -v s="$(seconds made.run)" 'BEGIN { exit !(s > 9 && s < 9.2) }' ||
    fail "3 steps of 2.5 + 0.25 + (1/4 + 1/64) s took $(seconds made.run) s"
echo "simulated ranks: the same bits, and the tape's times"
