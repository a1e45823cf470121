#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Software 1.0 beside 2.0: human-engineered features (none but the pixels, a filter bank, histograms
# of oriented gradients) with a learned linear head, against learned features, on digits, fashion
# and cifar10; tested on the test set as it is, and translated, rotated, noisy and dimmed.
# usage: bash scripts/compare_software1.sh OUT [DATA...]
#   DATA: digits, or NAME=FILE.h5 for fashion and cifar10 (default: digits, and data/fashion.h5 and
#   data/cifar10.h5 where they are). BUILD=build; LAUNCH="mpirun -np 2" starts the trainer; PYTHON
#   is one with h5py and numpy (/usr/bin/python3, with Debian's packages).
# Writes OUT/software1.{md,json,svg}; runs lie in OUT/<data>-<features> and are gone on with.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
out=${1:?usage: compare_software1.sh OUT [DATA...]}
shift
build=${BUILD:-$SOURCE/build}
read -r -a launch <<<"${LAUNCH:-}"
mkdir -p "$out"
if [ $# = 0 ]; then
    set -- digits
    for name in fashion cifar10; do
        [ ! -f "data/$name.h5" ] || set -- "$@" "$name=data/$name.h5"
    done
fi

linear='head:
  - dense: {out: 10}
loss: {softmax: {}}
train: {batch: 128, grains: 8, epochs: 10, optimizer: sgd, momentum: 0.9, nesterov: true,
        lr: 0.01, weight_decay: 0.0005, schedule: cosine, warmup: 1}'

# recipe_of DATA FEATURES FILE CELL: where its recipe lies.
recipe_of() {
    local path=$out/$1-$2.yaml
    [ "$2" != learned ] || {
        case $1 in
            cifar10) echo cifar10_fast ;;
            *) echo "$1" ;;
        esac
        return
    }
    {
        echo "name: $1_$2"
        echo "data: {train: \"$3:/train\", test: \"$3:/test\", transforms: [{normalize: {}}]}"
        case $2 in
            filterbank)
                echo "features:"
                echo "  - filterbank: {filters: [sobel_x, sobel_y, laplacian, gaussian], kernel: 3,"
                echo "      numbers: [[0.25, 0, -0.25, 0.5, 0, -0.5, 0.25, 0, -0.25],"
                echo "                [0.25, 0.5, 0.25, 0, 0, 0, -0.25, -0.5, -0.25]]}"
                echo "  - relu: {}"
                echo "  - avgpool: {kernel: 2}"
                ;;
            hog)
                echo "features:"
                echo "  - hog: {cell: $4, bins: 9}"
                ;;
        esac
        echo "$linear"
    } >"$path"
    [ "$2" != hog ] ||
        sed -i 's/lr: 0.01, weight_decay: 0.0005/lr: 0.1, weight_decay: 0.0001/' "$path"
    echo "$path"
}

for data in "$@"; do
    name=${data%%=*} file=${data#*=}
    cell=4
    [ "$name" != digits ] || { file=$SOURCE/data/digits.h5; cell=2; }
    file=$(realpath "$file")
    [ -f "$out/$name-test.h5" ] || "${PYTHON:-/usr/bin/python3}" \
        "$SOURCE/scripts/distort.py" "$file" "$out/$name-test.h5"
    for features in pixels filterbank hog learned; do
        run=$out/$name-$features options=()
        recipe=$(recipe_of "$name" $features "$file" $cell)
        [ "$features-$name" != learned-cifar10 ] || options=(-o train.epochs=6)
        echo "== $name, $features"
        "${launch[@]}" "$build/sw2-train" "$recipe" --out "$run" -q \
            -o "data.train=$file:/train" -o "data.test=$file:/test" "${options[@]}"
        for test in clean translated rotated noisy dimmed; do
            "$build/sw2-eval" "$run/checkpoints/best.h5" "$out/$name-test.h5:/$test" \
                --json "$run/$test.json" >/dev/null
        done
    done
done
python3 "$SOURCE/scripts/software1_report.py" "$out" "${@%%=*}"
