#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A long run must leave memory, descriptors and threads where they were: trains EPOCHS epochs on
# RANKS ranks and looks at every rank, from a tenth of the run on. Prints the most that each had
# first and in the end; exit code 1 where anything grew.
#   usage: bash scripts/soak.sh [EPOCHS [RANKS [RECIPE [OPTION...]]]]   (10000 epochs of digits, 2)
# SW2_BIN: the build folder (build). The run is in a folder of its own, which goes away.
set -euo pipefail
epochs=${1:-10000} ranks=${2:-2} recipe=${3:-digits}
shift $(($# < 3 ? $# : 3))
source_folder=$(cd "$(dirname "$0")/.." && pwd)
train=$(realpath "${SW2_BIN:-$source_folder/build}")/sw2-train
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
case $recipe in *.yaml) recipe=$(realpath "$recipe") ;; esac
work=$(mktemp -d)
trap 'kill $job 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
job=

mpirun -q --oversubscribe --bind-to none -np "$ranks" "$train" "$recipe" --out "$work/run" \
    -o train.epochs="$epochs" "$@" >"$work/log" 2>&1 &
job=$!

epoch() { # done so far
    tail -n 1 "$work/run/metrics.csv" 2>/dev/null | cut -d, -f1 | grep -x '[0-9]*' || echo 0
}
# Ranks are children of mpirun, or of its helpers.
descendants() { # PID
    local child
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        echo "$child"
        descendants "$child"
    done
}
# "pid KiB-of-its-own KiB-resident descriptors threads" of each rank.
sample() {
    local pid
    for pid in $(descendants $job); do
        [ "/proc/$pid/exe" -ef "$train" ] || continue
        awk -v pid="$pid" -v fds="$(ls "/proc/$pid/fd" 2>/dev/null | wc -l)" '
            /^RssAnon/ { own = $2 } /^RssShmem/ { own += $2 } /^VmRSS/ { rss = $2 }
            /^Threads/ { threads = $2 }
            END { if (rss && threads && fds) print pid, own, rss, fds, threads }' \
            "/proc/$pid/status" 2>/dev/null || true
    done
}
while kill -0 $job 2>/dev/null; do
    [ "$(epoch)" -lt $((epochs / 10)) ] || [ "$(epoch)" -ge "$epochs" ] || sample >>"$work/samples"
    sleep 0.05
done
code=0
wait $job || code=$?
job=
[ $code = 0 ] && [ "$(epoch)" = "$epochs" ] || {
    tail -n 5 "$work/log"
    echo "FAILED: exit code $code"
    exit 1
}

touch "$work/samples"
# The most of the last quarter of the samples against that of the first. Own memory may move by 512
# KiB: the system's libraries make buffers when they first need them; and a look may find one file
# or thread more that comes and goes with each test or checkpoint.
awk -v epochs="$epochs" '
    function most(p, column, from, to,    i, m) {
        for (i = from; i <= to; i++)
            m = at[p, i, column] > m ? at[p, i, column] : m
        return m + 0
    }
    { n[$1]++; for (c = 2; c <= 5; c++) at[$1, n[$1], c] = $c + 0 }
    END {
        if (NR == 0) print "FAILED: no rank was seen"
        name[2] = "own KiB"; name[3] = "resident KiB"; name[4] = "descriptors"; name[5] = "threads"
        for (p in n) {
            ranks++
            quarter = int((n[p] + 3) / 4)
            printf "a rank, %d samples over %d epochs:", n[p], epochs
            for (c = 2; c <= 5; c++) {
                first = most(p, c, 1, quarter)
                last = most(p, c, n[p] - quarter + 1, n[p])
                printf "%s %s %d, in the end %d", (c > 2 ? ";" : ""), name[c], first, last
                if (c != 3 && last > first + (c == 2 ? 512 : 2)) grown = grown " " name[c]
            }
            printf "\n"
            if (n[p] < 4) { print "FAILED: too few samples, give more epochs"; bad = 1 }
        }
        if (grown) print "FAILED: grown:" grown
        exit bad || grown || !ranks
    }' "$work/samples"
echo "nothing grew"
