#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Test accuracy of recipes over seeds: the command behind the README's accuracy table.
# usage: bash scripts/accuracy.sh DATA OUT RECIPE [SEEDS [RANKS]]
#   DATA   folder with mnist.h5, fashion.h5, cifar10.h5 as sw2-data import makes them
#   OUT    folder for the runs (resumed where they were left)
#   RECIPE mnist, fashion, cifar10, ...     SEEDS "1 2 3"     RANKS 2
# Further options for sw2-train in OPTIONS, as OPTIONS="-o train.epochs=5".
set -euo pipefail
. "$(dirname "$0")/environment.sh"
data=$1 out=$2 recipe=$3 seeds=${4:-1 2 3} ranks=${5:-2}
build=${BUILD:-$SOURCE/build}
mpi_environment

train=$(sed -n 's/^ *train: *"data\/\([^:"]*\):.*/\1/p' "$SOURCE/models/recipes/$recipe.yaml")
mkdir -p "$out"
for seed in $seeds; do
    # shellcheck disable=SC2086
    mpirun -q -np "$ranks" "$build/sw2-train" "$SOURCE/models/recipes/$recipe.yaml" --seed "$seed" \
        --out "$out/$recipe-$seed" -o "data.train=$data/$train:/train" \
        -o "data.test=$data/$train:/test" ${OPTIONS:-} >"$out/$recipe-$seed.log" ||
        { tail -3 "$out/$recipe-$seed.log" >&2; exit 1; }
done
for seed in $seeds; do
    awk -F, -v seed="$seed" 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
        NR > 1 { last = $column["test_accuracy"]; n++; seconds = $column["seconds"] }
        END { printf "%d %.6f %d %.0f\n", seed, last, n, seconds }' "$out/$recipe-$seed/metrics.csv"
done | awk -v recipe="$recipe" -v ranks="$ranks" '
    { printf "%s seed %d: %.2f %% after %d epochs, %d s\n", recipe, $1, 100 * $2, $3, $4
      sum += $2; n++ }
    END { printf "%s: mean of %d seeds on %d ranks: %.2f %%\n", recipe, n, ranks, 100 * sum / n }'
