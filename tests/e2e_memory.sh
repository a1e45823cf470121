#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The plan of memory against what a rank really took at most: within 5 %, on one and two ranks, from
# a few megabytes to a network at 224 x 224, also with recompute.
set -euo pipefail
source "$(dirname "$0")/support/e2e.sh"

if [ -n "$quick" ]; then
    echo "skipped: a sanitizer's own memory is not in the plan"
    exit 77
fi

must "$data" generate 28.h5 --shape 28x28x1 --rows 512 --test-rows 128
must "$data" generate 32.h5 --shape 32x32x3 --rows 256 --test-rows 128
must "$data" generate 224.h5 --shape 224x224x3 --classes 1000 --rows 16 --test-rows 4

# planned RANKS RECIPE option...
planned() {
    local ranks=$1 off
    shift
    rm -rf run
    must at "$ranks" "$train" "$@" --out run -o train.warmup=0
    grep 'peak memory' must.log | sed "s/^/$ranks ranks, $1: /"
    off=$(sed -n 's/.*peak memory a rank.*(\([-+0-9.]*\) %)$/\1/p' must.log)
    awk -v off="$off" 'BEGIN { exit !(off != "" && off >= -5 && off <= 5) }' ||
        fail "$1 on $ranks ranks: the plan is $off % off"
}

for ranks in 1 2; do
    planned "$ranks" digits -o train.steps=23
    planned "$ranks" fashion -o data.train=28.h5:/train -o data.test=28.h5:/test -o train.steps=2
    planned "$ranks" cifar10 -o data.train=32.h5:/train -o data.test=32.h5:/test \
        -o train.batch=128 -o train.steps=1
    planned "$ranks" imagenet_resnet18 -o data.train=224.h5:/train -o data.test=224.h5:/test \
        -o train.batch=8 -o train.grains=4 -o train.steps=1
done
planned 1 imagenet_resnet18 -o data.train=224.h5:/train -o data.test=224.h5:/test \
    -o train.batch=8 -o train.grains=2 -o train.steps=1 -o train.recompute=on
planned 4 imagenet_resnet18 -o data.train=224.h5:/train -o data.test=224.h5:/test \
    -o train.batch=4 -o train.grains=4 -o train.steps=1
planned 1 imagenet_resnet18 -o data.train=224.h5:/train -o data.test=224.h5:/test \
    -o train.batch=8 -o train.grains=4 -o train.steps=1 -o train.threads=2
for ranks in 1 2; do
    planned "$ranks" imagenet_resnet18 -o data.train=224.h5:/train -o data.test=224.h5:/test \
        -o train.batch=4 -o train.grains=4 -o train.steps=1 --audit 1
    planned "$ranks" fashion -o data.train=28.h5:/train -o data.test=28.h5:/test \
        -o train.steps=2 --audit 1
done
# The plan alone says the same.
must "$train" imagenet_resnet18 --plan -o data.train=224.h5:/train -o data.test=224.h5:/test \
    -o train.batch=8 -o train.grains=2 -o train.steps=1 -o train.recompute=on -o train.warmup=0
grep -q 'memory a rank: [0-9]* MiB: activations' must.log || fail "--plan shows no memory"
echo "plans are within 5 % of what ranks take"
