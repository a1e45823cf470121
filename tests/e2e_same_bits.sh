#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The promise: the same weights, optimiser state and metrics after every epoch, bit for bit, at any
# number of ranks and any bucket size; for every small recipe, shortened, on made-up data whose
# number of rows divides by nothing.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

all_ranks="2 3 4 5 7 8"
few_ranks="3 8"
[ -z "$quick" ] || all_ranks=3 few_ranks=3

must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
must "$data" generate colour.h5 --shape 32x32x3 --rows 211 --test-rows 61
grey=(-o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=32)
colour=(-o data.train=colour.h5:/train -o data.test=colour.h5:/test -o train.batch=32)
n_runs=0

run() { # FOLDER RANKS RECIPE OPTION...
    local folder=$1 ranks=$2
    shift 2
    must at "$ranks" "$train" "$@" --out "$folder" --resume never -q
    n_runs=$((n_runs + 1))
}

# same NAME RANKS EPOCHS RECIPE OPTION...: one rank, and then each of RANKS, whole and the same.
same() {
    local name=$1 ranks=$2 epochs=$3
    shift 3
    run "$name.1" 1 "$@"
    metrics_are_whole "$name.1" "$epochs"
    for n in $ranks; do
        run "$name.$n" "$n" "$@"
        metrics_are_same "$name.1" "$name.$n"
        cmp "$name.1/recipe.yaml" "$name.$n/recipe.yaml"
    done
    echo "$name: the same at 1 $ranks ranks ($(tail -n 1 "$name.1/metrics.csv" | sed 's/.*,//'))"
}

# What the layers and transforms are that the recipes below do not use.
cat >zoo.yaml <<'END'
name: zoo
data:
  train: colour.h5:/train
  test: colour.h5:/test
  transforms:
    - colour: {brightness: 0.2, contrast: 0.2, saturation: 0.2}
    - normalize: {}
    - crop: {pad: 2}
    - cutout: {size: 5}
features:
  - conv: {out: 16, kernel: 3, stride: 2, pad: 1}
  - gelu: {}
  - conv: {out: 16, kernel: 3, pad: 2, dilation: 2, groups: 16}
  - silu: {}
  - avgpool: {kernel: 3, stride: 2, pad: 1}
  - conv: {out: 24, kernel: 1, groups: 2, bias: false}
  - batchnorm: {}
  - leaky_relu: {}
head:
  - globalpool: {}
  - dense: {out: 70} # large enough that weights are not packed, gradients go right into the sum
  - silu: {}
  - dropout: {rate: 0.2}
  - dense: {out: 10}
loss: {softmax: {class_weights: [1, 1, 2, 1, 1, 1, 3, 1, 1, 0.5]}}
train: {batch: 48, grains: 16, steps: 9, optimizer: adamw, lr: 0.01, weight_decay: 0.01}
END

# First weights from the data, a bias that freezes in mid-run, lookahead, averaged views.
cat >clock.yaml <<'END'
name: clock
data:
  train: colour.h5:/train
  test: colour.h5:/test
  transforms: [normalize: {}, crop: {pad: 2, border: reflect}, flip: {alternate: true}]
features:
  - whiten: {bias_epochs: 1.5}
  - gelu: {}
  - conv: {out: 32, kernel: 3, pad: 1, bias: false, init: dirac}
  - maxpool: {kernel: 4}
  - batchnorm: {scale: false, bias_lr: 16}
  - gelu: {}
  - maxpool: {kernel: 7}
head:
  - dense: {out: 10, bias: false}
  - scale: {factor: 0.2}
train: {batch: 32, grains: 16, epochs: 3, nesterov: true, momentum: 0.85, lr: 0.3, decay_all: true,
  weight_decay: 0.001, schedule: triangle, lookahead: 4, ema: 0.5, tta: shift}
END

same digits "$all_ranks" 2 digits -o train.epochs=2
if [ -z "$quick" ]; then
    for recipe in mnist fashion fashion_filterbank fashion_learned_linear; do
        same $recipe "$all_ranks" 2 $recipe "${grey[@]}" -o train.steps=45
    done
    for recipe in cifar10 cifar10_vgg; do
        same $recipe "$all_ranks" 2 $recipe "${colour[@]}" -o train.steps=9
    done
fi
same zoo "$all_ranks" 3 zoo.yaml
same clock "$all_ranks" 3 clock.yaml
same adamw "$few_ranks" 2 fashion "${grey[@]}" -o train.steps=40 -o train.optimizer=adamw \
    -o train.nesterov=false -o train.lr=0.002 -o train.clip_norm=1 -o train.schedule=onecycle
same lars "$few_ranks" 2 fashion "${grey[@]}" -o train.steps=40 -o train.optimizer=lars \
    -o train.nesterov=false -o train.lr=5 -o train.ema=0.9
same clip "$few_ranks" 2 fashion "${grey[@]}" -o train.steps=40 -o train.clip_norm=0.1 \
    -o train.ema=0.95 -o train.decoupled=true -o train.decay_all=true
SW2_ISA=base same base "$few_ranks" 2 digits -o train.epochs=2

# Operands in bf16, where the machine has it; odd grains too (24 = 8 grains x 3).
has_bf16=
bf16=(-o train.precision=bf16)
if "$train" digits --plan "${bf16[@]}" >/dev/null 2>&1; then
    has_bf16=1
    same bf16 "$all_ranks" 2 digits -o train.epochs=2 "${bf16[@]}"
    same bf16_zoo "$few_ranks" 3 zoo.yaml "${bf16[@]}"
    if [ -z "$quick" ]; then
        same bf16_mnist "$few_ranks" 2 mnist "${grey[@]}" -o train.steps=45 "${bf16[@]}"
        same bf16_cifar10 "$few_ranks" 2 cifar10 "${colour[@]}" -o train.steps=9 "${bf16[@]}" \
            -o train.batch=24
    fi
else
    echo "bf16: skipped, this machine has no AVX512_BF16"
fi

# Buckets: compared with the first run of mnist, whose recipe differs in nothing else.
for kib in 1 4 64 4096; do
    for n in ${few_ranks% *}; do
        [ -z "$quick" ] || break
        run "bucket$kib.$n" "$n" mnist "${grey[@]}" -o train.steps=45 -o train.bucket_kib=$kib
        metrics_are_same mnist.1 "bucket$kib.$n"
    done
done

# And these do differ: what is compared above says something.
different() {
    metrics_are_whole "$1" 2
    [ "$(sed 's/.*,//' "$1/metrics.csv" | sort -u | wc -l)" = 3 ] || fail "$1: digests repeat"
    ! diff <(sed 's/.*,//' "$1/metrics.csv") <(sed 's/.*,//' "$2/metrics.csv") >difference ||
        fail "$1 and $2 have the same digests"
    [ "$(grep -c '^<' difference)" = 2 ] || fail "$1 and $2 share a digest"
}
run seed2 3 digits -o train.epochs=2 --seed 2
different seed2 digits.1
run grains4 3 digits -o train.epochs=2 -o train.grains=4
different grains4 digits.1
different base.1 digits.1
[ -z "$has_bf16" ] || different bf16.1 digits.1
echo "$n_runs runs compared"
