#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# From a fresh Debian 12 to a trained network: packages, build, data, training on two ranks.
# Run it again and it goes on where it was. Without Debian's dataset-fashion-mnist it trains the
# embedded digits. usage: bash scripts/run.sh
set -euo pipefail
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"
cd "$SOURCE"

show() { # prints the command, then runs it
    echo "+ $*"
    "$@"
}

# The last number of a column of metrics.csv.
metric() {
    awk -F, -v want="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == want) at = i }
        NR > 1 && at && $at != "" { value = $at } END { print value }' "$1"
}

packages_for_build
build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=OFF
mpi_environment
start=$SECONDS

package=/usr/share/datasets/fashion-mnist
data=build/data/fashion.h5
recipe=digits
options=()
if [ -d $package ] || packages_install "${packages_data[@]}" && [ -d $package ]; then
    recipe=fashion
    mkdir -p build/data
    [ -e $data ] || show build/sw2-data import $package $data
    options=(-o "data.train=$data:/train" -o "data.test=$data:/test")
else
    echo "Fashion-MNIST cannot be had here: training the embedded digits."
fi

# A folder for each version of the recipe: a run is resumed with the recipe it began with.
out=runs/$recipe-$(sha256sum <"models/recipes/$recipe.yaml" | cut -c 1-8)
ranks=$(cores)
[ "$ranks" -le 2 ] || ranks=2
show mpirun -np "$ranks" build/sw2-train $recipe --out "$out" "${options[@]}"

accuracy=$(metric "$out/metrics.csv" test_accuracy)
[ -n "$accuracy" ] || {
    echo "no test accuracy in $out/metrics.csv" >&2
    exit 1
}
echo "Test accuracy of $recipe: $accuracy ($((SECONDS - start)) s from the build's end; $out)"
