#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Under a layer of our own between the programs and MPI (support/pmpi/layer.h): all ranks issue the
# same collectives in the same order; delays and other orders of completion change no bit; a call of
# MPI that fails, whichever, ends in the right weights or in one named error, never in a hang.
# SW2_TEST_LONG=1: each call of each rank fails once, not a sample of them.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
[ -z "$quick" ] || {
    echo "skipped: a preloaded library would come before the sanitizers'"
    exit 77
}
layer=$SW2_BIN/tests/pmpi.so

# layered RANKS SETTINGS command...: under mpirun (at one rank too), the layer set up by "A=1 B=2",
# with a new folder for what it writes.
layered() {
    local ranks=$1 settings=$2
    shift 2
    rm -rf pmpi && mkdir pmpi
    # shellcheck disable=SC2016,SC2086
    timeout -k 5 100 mpirun -q -np "$ranks" env PMPI_DIR="$PWD/pmpi" $settings \
        bash -c 'LD_PRELOAD=$0${LD_PRELOAD:+:$LD_PRELOAD} exec "$@"' "$layer" "$@"
}

# Nothing of MPI's that the programs call goes past the layer, but for what asks only.
for program in "$SW2_BIN"/sw2-*; do
    [ -x "$program" ] || continue
    missing=$(comm -23 <(nm -D --undefined-only "$program" | grep -o 'MPI_[A-Za-z_]*' | sort -u) \
        <(nm -D --defined-only "$layer" | grep -o '\bMPI_[A-Za-z_]*' | sort -u) |
        grep -v -E '^MPI_(Abort|Error_string|Finalized|Initialized|Get_library_version|Wtime)$' ||
        true)
    [ -z "$missing" ] || fail "$program calls $missing, of which tests/support/pmpi knows nothing"
done

# The check itself: ranks that do not agree are named.
disagree() { # HOW WORDS
    local code=0
    layered 3 '' "$SW2_BIN/tests/disorder" "$1" >disorder.log 2>&1 || code=$?
    [ $code != 0 ] && [ $code -lt 124 ] && grep -q "^pmpi: rank [0-9]: $2" disorder.log || {
        cat disorder.log
        fail "disorder $1: exit code $code, expected a message with '$2'"
    }
}
must layered 3 '' "$SW2_BIN/tests/disorder" none
disagree kind 'collective 2 on communicator 1 is MPI_.*, of rank [0-9] MPI_'
disagree bytes 'collective 2 on communicator 1 is MPI_Bcast(.* bytes.*, of rank [0-9] MPI_Bcast'
disagree root 'collective 2 on communicator 1 is MPI_Bcast(.*root.*, of rank [0-9] MPI_Bcast'
disagree missing 'collective 2 on communicator 1 is MPI_'
disagree comms 'collective .* of all that block is MPI_Barrier(.*communicator [01]), of rank'
echo "ranks that do not agree are named"

options=(digits -o train.batch=64 -o train.grains=8 -o train.warmup=0 -o train.keep=9)
long=("${options[@]}" -o train.steps=12 -o train.checkpoint_steps=5)
must "$train" "${long[@]}" --out whole
last=$(ls whole/checkpoints/step-*.h5 | tail -n 1)

# Train, evaluate, save, resume, predict: the same collectives on all ranks.
for ranks in 1 2 3 4 5 7 8; do
    rm -rf run resumed
    must layered $ranks '' "$train" "${long[@]}" --out run
    metrics_are_same whole run
    must layered $ranks '' "$train" "${long[@]}" --resume \
        run/checkpoints/step-0000000005.h5 --out resumed
    [ "$(metrics_of whole | tail -n 1)" = "$(metrics_of resumed | tail -n 1)" ] ||
        fail "other weights at $ranks ranks"
    counts=$(cat pmpi/calls.0)
    must layered $ranks '' "$evaluate" "$last"
    must layered $ranks '' "$SW2_BIN/sw2-predict" "$last" "$SW2_SOURCE/data/digits.h5:/test"
    echo "$ranks ranks, resumed (calls, collectives, messages of rank 0): $counts"
done

# Another order of messages and completions, ranks that come late: the same weights.
seed=0
for shared in on off; do
    for ranks in 3 4; do
        for fault in PMPI_DELAY=$((++seed)):2000 PMPI_HOLD=$((++seed)) \
            "PMPI_DELAY=$((++seed)):300 PMPI_HOLD=$seed"; do
            rm -rf run
            must layered $ranks "SW2_SHARED=$shared $fault" "$train" "${long[@]}" --out run
            metrics_are_same whole run
        done
    done
done
echo "delays and other orders: $((seed)) seeds, the same weights"

# A call that fails.
short=("${options[@]}" -o train.steps=2 -o train.checkpoint_steps=1)
must "$train" "${short[@]}" --out short
right=0 named=0
fails() { # RANKS SETTINGS RANK N
    local code=0 settings="$2 PMPI_FAIL=$3:$4"
    rm -rf run
    layered "$1" "$settings" "$train" "${short[@]}" --out run >fails.log 2>&1 || code=$?
    if [ $code = 0 ] && ! grep -q 'error:' fails.log; then
        metrics_are_same short run
        right=$((right + 1))
    elif [ $code != 0 ] && [ $code -lt 124 ] && [ "$(grep -c 'error:' fails.log)" = 1 ] &&
        grep -q 'error: .*MPI' fails.log; then
        named=$((named + 1))
    else
        cat fails.log
        fail "$settings at $1 ranks: exit code $code, expected the right weights or one error"
    fi
}
for settings in SW2_SHARED=on SW2_SHARED=off; do
    for ranks in 2 3; do
        must layered $ranks $settings "$train" "${short[@]}" --out counted.$ranks.$settings
        for ((rank = 0; rank < ranks; rank++)); do
            read -r calls _ <"pmpi/calls.$rank"
            [ "$calls" -gt 30 ] || fail "$calls calls only"
            cut -d' ' -f1 "pmpi/calls.$rank" >"calls.$ranks.$rank"
        done
        for ((rank = 0; rank < ranks; rank++)); do
            calls=$(cat "calls.$ranks.$rank")
            step=1
            [ -n "${SW2_TEST_LONG:-}" ] || step=$((calls / 3))
            for ((n = 1 + rank; n <= calls; n += step)); do
                # MPICH's mpirun waits for the others when a rank leaves before MPI_Init.
                [ $n != 1 ] || [ -z "$is_mpich" ] || continue
                fails $ranks "$settings" $rank $n
            done
        done
    done
done
echo "failing calls: $right ended with the right weights, $named with one named error"
