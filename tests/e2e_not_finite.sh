#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Steps whose loss or gradient is not finite: all ranks stop alike before anything is changed, and
# say in which step, layer and grain it began and for which rows of the data; or, by the recipe,
# leave such steps out, with the same bits at any number of ranks and after a resume.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

# table OUT.csv BAD...: 320 rows of 4x4 floats of three classes; rows BAD hold a NaN.
table() {
    local out=$1
    shift
    awk -v bad=" $* " 'BEGIN {
        srand(7)
        for (i = 0; i < 16; i++) printf "p%d,", i
        print "label"
        for (row = 0; row < 320; row++) {
            for (i = 0; i < 16; i++) {
                x = rand() + (i % 3 == row % 3)
                printf i == 5 && index(bad, " " row " ") ? "nan," : x ",", x
            }
            print row % 3
        }
    }' >"$out"
}
table good.csv
table bad.csv 17 150 151
for name in good bad; do
    must "$data" import $name.csv $name.h5 --shape 4x4x1 --targets class
done
cat >small.yaml <<'END'
name: small
data: {train: "good.h5:/train", transforms: []}
features: [conv: {out: 8, kernel: 3, pad: 1}, relu: {}, conv: {out: 8, kernel: 3, pad: 1}]
head: [dense: {out: 3}]
train: {batch: 32, grains: 4, epochs: 4, lr: 0.05, log_every: 1, checkpoint_steps: 3, keep: 99}
END
sed 's/good.h5/bad.h5/' small.yaml >bad.yaml

# ends CODE RANKS command...: one message, the same at any number of ranks but for the rank named.
ends() {
    local expected=$1 ranks=$2 code=0
    shift 2
    at "$ranks" "$@" >ends.log 2>&1 || code=$?
    [ $code = "$expected" ] || { cat ends.log; fail "exit code $code instead of $expected: $*"; }
    [ "$expected" = 0 ] || [ "$(grep -c 'error:' ends.log)" = 1 ] ||
        { cat ends.log; fail "not one message"; }
    sed -n 's/, rank [0-9]*; /; /; s/ (on rank [0-9]*)//; /error:/p' ends.log >message.$ranks
}
says() { grep -q -- "$1" ends.log || { cat ends.log; fail "not said: $1"; }; }
last_good() { # what lies there is whole, and of steps before that of the message
    local step last
    step=$(sed -n 's/.* in step \([0-9]*\).*/\1/p' ends.log | head -n 1)
    last=$(ls "$1/checkpoints" | sed -n 's/step-0*\([0-9]*\)\.h5/\1/p' | sort -n | tail -n 1)
    [ "${last:-0}" -lt "$step" ] || fail "a checkpoint of step $last, not finite in $step"
    [ -z "$last" ] || must "$evaluate" "$1" --data good.h5:/train
}

# NaN in three rows: found in the data, at every number of ranks.
for ranks in 1 2 3 4; do
    ends 4 $ranks "$train" bad.yaml --out nan.$ranks
    says 'error: the loss is NaN in step [0-9]* (epoch 1, step [0-9]* of it), the data themselves'
    says "are not finite, for rows* \(17\|150\|151\)\(, 1[57][01]*\)* of 'bad.h5"
    cmp message.1 message.$ranks || { cat message.1 message.$ranks; fail "other words"; }
    last_good nan.$ranks
done
# A sample that the first layers make infinite: the layer is named, and the sample alone.
table big.csv
awk -F, -v OFS=, 'NR == 102 { for (i = 1; i <= 16; i++) $i = 3e38 } 1' big.csv >bigger.csv
must "$data" import bigger.csv big.h5 --shape 4x4x1 --targets class
for ranks in 1 3; do
    ends 4 $ranks "$train" small.yaml -o data.train=big.h5:/train --out big.$ranks
    says "it begins in the output of layer 'conv1', for row 100 of 'big.h5"
    cmp message.1 message.$ranks || { cat message.1 message.$ranks; fail "other words"; }
done
# A loss that is finite (in double), and a gradient that is not.
awk -F, -v OFS=, 'NR == 102 { for (i = 1; i <= 16; i++) $i = 1e25 } 1' big.csv >steep.csv
must "$data" import steep.csv steep.h5 --shape 4x4x1 --targets class
sed -e '/^features/d' -e 's/^train:/loss: {mse: {}}\ntrain:/' small.yaml >steep.yaml
for ranks in 1 3; do
    ends 4 $ranks "$train" steep.yaml -o data.train=steep.h5:/train --out steep.$ranks
    says "error: the gradient of 'dense1/weight' is not finite in step [0-9]*, it begins in the"
    says "gradient of 'dense1/weight', for rows .*\b100\b.* (grain .*1 of 4 grains)"
    cmp message.1 message.$ranks || { cat message.1 message.$ranks; fail "other words"; }
done
# A rate that explodes.
for ranks in 1 2 3 4; do
    ends 4 $ranks "$train" small.yaml -o train.lr=1e6 --out lr.$ranks
    says 'in step [0-9]*.* it begins in the \(output of layer\|gradient of\|loss\).*lower train.lr'
    cmp message.1 message.$ranks || { cat message.1 message.$ranks; fail "other words"; }
    last_good lr.$ranks
done
echo "stopped alike: $(sed 's/.*error: //' message.4)"

# Left out: the same bits at any number of ranks, each epoch's three (or fewer) bad steps counted.
skip=(bad.yaml -o train.not_finite=skip)
for ranks in 1 2 3 4; do
    ends 0 $ranks "$train" "${skip[@]}" --out skip.$ranks
    says 'warning: the loss is NaN in step.*row.*; the step is skipped$'
    says 'warning: \([4-9]\|1[0-2]\) steps were left out'
    metrics_are_same skip.1 skip.$ranks
done
ends 0 3 "$train" "${skip[@]}" --threads 1 -o train.optimizer=adamw -o train.ema=0.9 --out adam.3
ends 0 1 "$train" "${skip[@]}" -o train.optimizer=adamw -o train.ema=0.9 --out adam.1
metrics_are_same adam.1 adam.3
skipped=$(sed -n 's/.*"skipped":\([0-9]*\).*/\1/p' skip.1/metrics.jsonl | tail -n 1)
! grep -q '"type":"epoch".*"train_loss":null' skip.1/metrics.jsonl ||
    fail "sums of skipped steps were counted"

# Resumed at every checkpoint there is, at other ranks: the same end, the same count.
for step in 03 18 36; do
    ends 0 $((1 + 10#$step % 4)) "$train" "${skip[@]}" --out resumed.$step \
        --resume skip.1/checkpoints/step-00000000$step.h5
    [ "$(metrics_of skip.1 | tail -n 1)" = "$(metrics_of resumed.$step | tail -n 1)" ] ||
        fail "resumed at step $step: other numbers"
    says "warning: $skipped steps were left out"
done

# Too many in a row stop the run all the same: after ten.
all=$(seq 0 319)
# shellcheck disable=SC2086
table all.csv $all
must "$data" import all.csv all.h5 --shape 4x4x1 --targets class
for ranks in 1 3; do
    ends 4 $ranks "$train" small.yaml -o data.train=all.h5:/train -o train.not_finite=skip \
        -o train.epochs=2 --out all.$ranks
    says 'in step 11 (epoch 2, step 1 of it).*and the 10 steps before were skipped, too'
done
# ... and a resume counts on from where it was.
ends 4 2 "$train" small.yaml -o data.train=all.h5:/train -o train.not_finite=skip \
    -o train.epochs=2 --out all.1
says 'in step 11 '
echo "skipped $skipped steps of 40, the same bits"
