#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Flips random bits while a small network trains and counts what --audit and --verify find and whom
# they name: of N faults a quarter each alone, at two and three ranks with messages, and at two with
# shared memory.
#   scripts/inject_faults.sh [N [BUILD]]   N: 1000; BUILD: build, with SW2_TESTS=ON
# Columns: faults that change the weights (or stop the run); of those, found/named by each audit
# rate (with --verify 100) and by --verify alone; and of the harmless ones, found and named at rate
# 1. "audit: ...": bits of the second computation, which change no weights but must be named too.
set -euo pipefail
n=${1:-1000}
build=${2:-build}
program=$build/tests/mpi_test_faults
[ -x "$program" ] || {
    echo "$program is not there: build with -DSW2_TESTS=ON"
    exit 2
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none
code=0
SW2_SHARED=on "$program" $((n / 4)) 1 || code=$?
SW2_SHARED=off mpirun -q -np 2 "$program" $((n / 4)) 2 || code=$?
SW2_SHARED=off mpirun -q -np 3 "$program" $((n / 4)) 3 || code=$?
SW2_SHARED=on mpirun -q -np 2 "$program" $((n / 4)) 4 || code=$?
exit $code
