#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How a job of several ranks starts and ends: exit code, one message, no hang.
set -euo pipefail
. "$(dirname "$0")/support/launch.sh"
program=$SW2_BIN/tests/mpi_test_group
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# expect CODE SECONDS MESSAGE command...: the exit code, within the time, the message exactly once
# and no other line of the program.
expect() {
    local code=$1 seconds=$2 message=$3 got=0
    shift 3
    timeout "$seconds" "$@" >"$out" 2>&1 || got=$?
    local lines
    lines=$(grep -c -F 'mpi_test_group: ' "$out" || true)
    if [ "$got" != "$code" ] || [ "$(grep -c -F -- "$message" "$out" || true)" != 1 ] ||
        [ "$lines" -gt 1 ]; then
        echo "expected exit code $code and once '$message' from: $*"
        echo "got exit code $got and:"
        cat "$out"
        exit 1
    fi
}

run() { # the rest are arguments of expect, with the number of ranks after the message
    local code=$1 seconds=$2 message=$3 ranks=$4
    shift 4
    expect "$code" "$seconds" "$message" mpirun -q -np "$ranks" "$program" "$@"
}

run 2 20 "error: unknown key 'x'" 4 usage
run 75 20 'run again' 4 stop
run 3 20 'error: bad file (on rank 2)' 3 agreed
for how in busy waiting; do # the others don't know, and do not come
    run 3 20 '] mpi_test_group: error: bad file' 3 "$how"
    grep -q '\[rank 2 ' "$out"
done
expect 3 2 'error: bad file' "$program" agreed

# Instruction sets: lowered by one rank, so for all; an unknown name is refused once.
one_low='[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && export SW2_ISA=base; exec "$0" isa'
expect 0 20 'isa base, MPI 1' mpirun -q -np 3 bash -c "$one_low" "$program"
SW2_ISA=base expect 0 2 'isa base, MPI 0' "$program" isa
SW2_ISA=mmx expect 2 2 "unknown instruction set 'mmx'" "$program" isa
one_bad='[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && export SW2_ISA=mmx; exec "$0" isa'
expect 2 20 "unknown instruction set 'mmx'" mpirun -q -np 3 bash -c "$one_bad" "$program"
one_bad='[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 1 ] && export SW2_SHARED=maybe; exec "$0" isa'
expect 2 20 "SW2_SHARED is 'maybe', expected on or off" \
    mpirun -q -np 3 bash -c "$one_bad" "$program"

# Lonely runs: the launcher says several, MPI says one.
SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 expect 2 5 'the launcher started 4 tasks' "$program" isa
# (A lonely MPI_Init starts threads that end while LeakSanitizer looks at them: that crashes it.)
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 OMPI_COMM_WORLD_SIZE=3 \
    OMPI_COMM_WORLD_RANK=0 expect 2 20 'the launcher started 3 tasks' "$program"
got=0
SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 "$program" isa >"$out" 2>&1 || got=$?
[ "$got" = 2 ] && [ ! -s "$out" ] || { echo "task 2 of 4 spoke or exited with $got"; exit 1; }

# Without a launcher MPI is not started.
SLURM_NTASKS=4 expect 0 1 'MPI 0' "$program" isa
expect 0 20 'MPI 1' mpirun -q -np 1 "$program" isa
echo "starts and ends as it should"
