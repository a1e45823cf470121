#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Does a faster convolution cost accuracy? cifar10_fast (or another recipe) with direct fp32
# convolutions, with Winograd, and in bf16, over seeds: mean, deviation and standard error of the
# test accuracy after the last epoch, and the paired difference from direct. A seed gives all modes
# the same first weights, order of rows and augmentation.
# usage: bash scripts/accuracy_modes.sh DATA.h5 OUT [SEEDS [EPOCHS [RECIPE]]]
#   SEEDS "1 2 3 4 5"   EPOCHS 4   RECIPE cifar10_fast   MODES="direct winograd bf16" in the
#   environment chooses; JOBS=2: runs at a time, one process each (bits do not depend on that)
# Complete runs are kept; the table is printed again from what lies in OUT.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
data=$(realpath "$1") out=$2 seeds=${3:-1 2 3 4 5} epochs=${4:-4} recipe=${5:-cifar10_fast}
build=${BUILD:-$SOURCE/build}
jobs_at_once=${JOBS:-2}
mkdir -p "$out"

run() { # MODE SEED
    local mode=$1 seed=$2 name=$1-$2
    local options=(-o train.winograd=off)
    case $mode in
        direct) ;;
        winograd) options=(-o train.winograd=auto) ;;
        bf16) options=(-o train.precision=bf16) ;;
        *) echo "unknown mode $mode: direct, winograd, bf16" >&2 && return 2 ;;
    esac
    ! grep -q 'done in' "$out/$name.log" 2>/dev/null || return 0
    "$build/sw2-train" "$SOURCE/models/recipes/$recipe.yaml" --seed "$seed" --out "$out/$name" \
        -o "data.train=$data:/train" -o "data.test=$data:/test" -o "train.epochs=$epochs" \
        -o train.eval_every=0 -o train.tta=shift "${options[@]}" >"$out/$name.log" ||
        { tail -3 "$out/$name.log" >&2; return 1; }
}

for seed in $seeds; do
    for mode in ${MODES:-direct winograd bf16}; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs_at_once" ]; do wait -n; done
        run "$mode" "$seed" &
    done
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n; done
python3 "$SOURCE/scripts/accuracy_report.py" modes "$out"
