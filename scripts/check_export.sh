#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every recipe (or those named): trained for two steps on generated data of its shape, exported by
# sw2-export, and computed by ONNX Runtime, Keras, NumPy and compiled C: differences below 1e-4 of
# what sw2-predict says. Needs PyPI once, for its own environment.
#
#   scripts/check_export.sh [RECIPE...]
#   BUILD=build VENV=build/venv-export KERAS_BACKEND=numpy
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$source_dir/build}
venv=${VENV:-$build/venv-export}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q onnx onnxruntime keras jax scipy h5py numpy
fi
build=$(cd "$build" && pwd)
if [ $# = 0 ]; then
    for file in "$source_dir"/models/recipes/*.yaml; do
        set -- "$@" "$(basename "$file" .yaml)"
    done
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0
for recipe in "$@"; do
    shape= size=small rows=16
    case $recipe in
    digits*) ;;
    mnist* | fashion*) shape=28x28x1 classes=10 ;;
    cifar10*) shape=32x32x3 classes=10 ;;
    imagenet*) shape=224x224x3 classes=1000 size=large rows=8 ;;
    *) echo "$recipe: which shape has its data?" && exit 2 ;;
    esac
    options=(-o train.steps=2 -o train.warmup=0 -o train.lr=0.001 -o train.batch=16
        -o train.grains=2 --out "run-$recipe" -q)
    test=$source_dir/data/digits.h5:/test
    if [ "$shape" ]; then
        [ -f "data-$shape.h5" ] || "$build/sw2-data" generate "data-$shape.h5" --shape $shape \
            --classes $classes --rows 64 --test-rows $rows >/dev/null
        test=data-$shape.h5:/test
        options+=(-o "data.train=data-$shape.h5:/train" -o "data.test=$test")
    fi
    "$build/sw2-train" "$source_dir/models/recipes/$recipe.yaml" "${options[@]}" >"$recipe.log" ||
        { cat "$recipe.log" && exit 1; }
    printf '%-24s' "$recipe"
    "$venv/bin/python" "$source_dir/scripts/check_export.py" "$build" \
        "run-$recipe/checkpoints" "$test" $size || failed=1
    rm -rf "run-$recipe"
done
exit $failed
