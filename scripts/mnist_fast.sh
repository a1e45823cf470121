#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# MNIST from a cold start: wall seconds from the command to its end (start-up, training, test, the
# checkpoint) and the test accuracy, for each seed and way of using two cores.
# usage: bash scripts/mnist_fast.sh MNIST.h5 [SEEDS]      (sw2-data import made MNIST.h5)
# Prints lines "threads|ranks SEED SECONDS ACCURACY", then the medians; exit 1 below 99 %.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
data=$(realpath "$1") seeds=${2:-1 2 3 4 5}
build=${BUILD:-$SOURCE/build}
mpi_environment
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

run() { # WAY SEED COMMAND...
    local way=$1 seed=$2 start end
    shift 2
    start=$(date +%s%N)
    "$@" "$build/sw2-train" "$SOURCE/models/recipes/mnist_fast.yaml" --seed "$seed" \
        --threads "$([ "$way" = threads ] && echo 2 || echo 1)" --out "$folder/run" --resume never \
        -o "data.train=$data:/train" -o "data.test=$data:/test" >"$folder/log"
    end=$(date +%s%N)
    awk -v way="$way" -v seed="$seed" -v ns=$((end - start)) '
        /best test accuracy/ { for (i = 1; i < NF; i++) if ($i == "accuracy") accuracy = $(i + 1) }
        END { printf "%s %d %.2f %s\n", way, seed, ns / 1e9, accuracy }' "$folder/log"
}

for seed in $seeds; do
    run threads "$seed" env
    run ranks "$seed" mpirun -q -np 2
done | tee "$folder/all"
awk '{ at[$1] = at[$1] " " $3; n[$1]++; low = NR == 1 || $4 < low ? $4 : low }
    END { for (way in at) { split(at[way], v, " "); for (i = 1; i <= n[way]; i++)
              for (k = i + 1; k <= n[way]; k++) if (v[k] < v[i]) { t = v[i]; v[i] = v[k]; v[k] = t }
              printf "two %s: median %.2f s, worst %.2f s\n", way, v[int((n[way] + 1) / 2)],
                     v[n[way]] }
          printf "lowest accuracy %.2f %%\n", low; exit low < 99 }' "$folder/all"
