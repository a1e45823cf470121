#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# `mpirun` of the tests of a MPICH build (-DSW2_MPI=mpich), installed as BUILD/launch/mpirun: takes
# the few options of Open MPI's that tests use, and lets crowded ranks yield (yield.c).
set -euo pipefail
here=$(dirname "$0")
options=()
while [ $# -gt 0 ]; do
    case $1 in
        -q | --oversubscribe) ;;
        --bind-to) shift ;;
        -x) # a name, or name=value, for all ranks
            case $2 in
                *=*) options+=(-genv "${2%%=*}" "${2#*=}") ;;
                *) options+=(-genv "$2" "${!2:-}") ;;
            esac
            shift
            ;;
        -np | -n)
            options+=(-np "$2")
            shift
            ;;
        *) break ;;
    esac
    shift
done
preload=${LD_PRELOAD:+$LD_PRELOAD:}$here/yield.so
exec "@MPIEXEC_EXECUTABLE@" "${options[@]}" -genv LD_PRELOAD "$preload" "$@"
