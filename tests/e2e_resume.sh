#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs that are stopped or killed in the middle of an epoch and go on at another number of ranks
# end with the digests and metrics of the unbroken run. And what cannot go on says why.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
must "$data" generate other.h5 --shape 28x28x1 --rows 1013 --test-rows 211 --seed 2
per_epoch=15 # steps: 1013 rows in batches of 64
common=(-o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=64
    -o train.log_every=1 -o train.checkpoint_steps=7 -o train.keep=3)
plain=(mnist "${common[@]}" -o train.epochs=8)
rich=(fashion "${common[@]}" -o train.epochs=6 -o train.optimizer=adamw -o train.nesterov=false
    -o train.lr=0.001 -o train.ema=0.97 -o train.clip_norm=1)

# wait_for FOLDER STEP: until that step is logged, and not the end of an epoch.
wait_for() {
    local deadline=$((SECONDS + 120)) step
    while :; do
        step=$(steps_of "$1")
        [ "$step" -lt "$2" ] || [ $((step % per_epoch)) -gt $((per_epoch - 4)) ] || return 0
        kill -0 $launched 2>/dev/null || { cat "$log"; fail "$1 ended before step $2"; }
        [ $SECONDS -lt $deadline ] || { cat "$log"; fail "$1 hangs before step $2"; }
        sleep 0.01
    done
}

# A process of the job: of the ranks, the second one, where there are several.
one_rank() {
    local children
    children=$(ranks_of $launched)
    # shellcheck disable=SC2086
    set -- $children
    echo "${2:-${1:-$launched}}"
}

# stopped_in_the_middle: by what the program said, and by what lies there.
stopped_in_the_middle() { # FOLDER
    local step
    step=$(sed -n 's/^stopped by .* after step \([0-9]*\);.*/\1/p' "$log")
    [ -n "$step" ] && [ $((step % per_epoch)) != 0 ] || { cat "$log"; fail "not mid-epoch: $step"; }
    ! grep -q 'error' "$log" || { cat "$log"; fail "a stop is no error"; }
    [ "$(grep -c '^stopped' "$log")" = 1 ] || { cat "$log"; fail "more than one message"; }
    [ -e "$(printf '%s/checkpoints/step-%010d.h5' "$1" "$step")" ] || fail "no checkpoint of $step"
}

resumed_to_the_end() { # RANKS FOLDER REFERENCE ARGUMENT...
    local ranks=$1 folder=$2 reference=$3
    shift 3
    must at "$ranks" "$train" "$@" --out "$folder"
    grep -q 'resumed from' must.log || { cat must.log; fail "$folder was not resumed"; }
    metrics_are_same "$reference" "$folder"
    [ -z "$(find "$folder" -name '*.tmp*')" ] || fail "temporary files in $folder"
    cmp "$reference/recipe.yaml" "$folder/recipe.yaml"
}

must "$train" "${plain[@]}" --out whole
metrics_are_whole whole 8
must at 3 "$train" "${rich[@]}" --out whole_rich
metrics_are_whole whole_rich 6

# Stopped by a signal: to the process alone, to mpirun, to one rank of several.
start 1 term "${plain[@]}"
wait_for term 20
kill -TERM $launched
ended 75
stopped_in_the_middle term
resumed_to_the_end 3 term whole "${plain[@]}"

start 3 usr1 "${rich[@]}"
wait_for usr1 20
kill -USR1 $launched
ended 75
stopped_in_the_middle usr1
start 4 usr1 "${rich[@]}" # and once more, at other ranks
wait_for usr1 $((first + 4))
kill -TERM "$(one_rank)"
ended 75
stopped_in_the_middle usr1
resumed_to_the_end 1 usr1 whole_rich "${rich[@]}"
echo "stopped runs go on"

hydra_killed=${is_mpich:+ 9} # MPICH's mpirun says the signal's number
# Killed: alone, and one rank of several. A file that was being written then is cleaned up.
start 1 kill1 "${plain[@]}"
wait_for kill1 24
kill -9 $launched
ended 137
touch kill1/checkpoints/step-0000000028.h5.tmp.1
resumed_to_the_end 5 kill1 whole "${plain[@]}"
start 4 kill4 "${rich[@]}"
wait_for kill4 24
kill -9 "$(one_rank)"
ended "137 1 134$hydra_killed"
resumed_to_the_end 2 kill4 whole_rich "${rich[@]}"
echo "killed runs go on"

# Killed again and again, at any moment, also while starting or saving.
RANDOM=1
kills=0
for ((try = 0; try < 10; try++)); do
    ranks=$((1 + RANDOM % 3))
    [ -z "$quick" ] || break
    start $ranks often "${plain[@]}"
    while [ $((try % 2)) = 1 ] && [ "$(steps_of often)" -lt $((first + 8)) ] &&
        kill -0 $launched; do
        sleep 0.01 # every second time not before its first checkpoint
    done 2>/dev/null
    sleep "0.$((1 + RANDOM % 7))"
    if kill -0 $launched 2>/dev/null; then
        kill -9 "$(one_rank)" 2>/dev/null && kills=$((kills + 1))
    fi
    ended "0 1 134 137$hydra_killed"
done
must at 3 "$train" "${plain[@]}" --out often
[ -n "$quick" ] || grep -q 'resumed from' must.log || fail "nothing was left of $kills runs"
metrics_are_same whole often
echo "killed $kills times at any moment"

# The newest checkpoint damaged: the one before it is taken, and it is said.
must "$train" "${plain[@]}" --out damaged
rm damaged/checkpoints/step-0000000120.h5
printf 'x' | dd of=damaged/checkpoints/step-0000000119.h5 bs=1 seek=5000 conv=notrunc status=none
resumed_to_the_end 3 damaged whole "${plain[@]}"
grep -q 'warning: .*step-0000000119' must.log || { cat must.log; fail "the damage was not named"; }
grep -q 'resumed from .*step-0000000112' must.log || fail "not resumed from the one before"

# From a file, into a new folder: what follows is the same.
must at 2 "$train" "${plain[@]}" --out from_file --resume whole/checkpoints/step-0000000112.h5
[ "$(metrics_of whole | tail -n 1)" = "$(metrics_of from_file | tail -n 1)" ] ||
    fail "resumed from a file: other numbers"

# What changes in mid-run goes on where it was: lookahead, EMA, a bias that freezes after an epoch
# and a half, flips that alternate. From each checkpoint there is.
cat >clock.yaml <<'END'
name: clock
data: {train: "grey.h5:/train", test: "grey.h5:/test",
  transforms: [normalize: {}, crop: {pad: 2, border: reflect}, flip: {alternate: true}]}
features: [whiten: {bias_epochs: 1.5}, gelu: {}, maxpool: {kernel: 3},
  conv: {out: 16, kernel: 3, bias: false, init: dirac},
  batchnorm: {scale: false, bias_lr: 16}, globalpool: {}]
head: [dense: {out: 10}]
train: {batch: 64, epochs: 3, lr: 0.2, schedule: triangle, lookahead: 4, ema: 0.9, tta: flip,
  checkpoint_steps: 7, keep: 9}
END
must "$train" clock.yaml --out clock
for step in 14 21 28 42; do
    must at 3 "$train" clock.yaml --out clock.$step \
        --resume clock/checkpoints/step-00000000$step.h5
    [ "$(metrics_of clock | tail -n 1)" = "$(metrics_of clock.$step | tail -n 1)" ] ||
        fail "resumed at step $step: other numbers"
done

# Complete: nothing to do, nothing changed. Anew: the old checkpoints are put aside.
cp -r whole complete
must at 2 "$train" "${plain[@]}" --out complete
grep -q 'is complete (120 steps): nothing to do' must.log || { cat must.log; fail "not complete"; }
cmp whole/metrics.csv complete/metrics.csv
must at 2 "$train" "${plain[@]}" --out complete --resume never
! grep -q 'resumed' must.log || fail "--resume never was resumed"
metrics_are_same whole complete
[ -e complete/checkpoints.old-1/step-0000000120.h5 ] || fail "checkpoints were not put aside"

# refused RANKS WORDS ARGUMENT...: another recipe, seed or data.
refused() {
    local ranks=$1 words=$2 code=0
    shift 2
    at "$ranks" "$train" "$@" >refused.log 2>&1 || code=$?
    [ $code = 2 ] && [ "$(grep -c 'error:' refused.log)" = 1 ] &&
        grep -q "error: .*$words" refused.log || {
        cat refused.log
        fail "exit code $code, expected 2 and one message with '$words'"
    }
}
for ranks in 1 3; do
    refused $ranks 'recipe key train.lr: 0.1, this run has 0.05' "${plain[@]}" --out whole \
        -o train.lr=0.05
    refused $ranks 'recipe key train.seed: 1, this run has 3' "${plain[@]}" --out whole --seed 3
    refused $ranks 'features.0.conv.out: 32, this run has 16' "${plain[@]}" --out whole \
        -o features.0.conv.out=16
    refused $ranks 'recipe key data.train: grey.h5' "${plain[@]}" --out whole \
        -o data.train=other.h5:/train
done
raw=("${common[@]}" digits -o train.steps=20 -o 'data.transforms=[]')
must "$train" "${raw[@]}" --out raw
mv grey.h5 kept.h5 && cp other.h5 grey.h5 # the recipe is the same, the rows are not
refused 3 'data.transforms' "${plain[@]}" --out whole # its mean is not
for ranks in 1 3; do
    refused $ranks 'made with training data of fingerprint [0-9a-f]*, this run has [0-9a-f]*$' \
        "${raw[@]}" --out raw
done
mv kept.h5 grey.h5
grep -q 'lr: 0.1$' whole/recipe.yaml || fail "a refused run has changed recipe.yaml"
[ "$(wc -l <whole/starts.jsonl)" = 1 ] || fail "a refused run is noted as a start"
metrics_are_same whole term # nobody has touched it
must at 2 "$train" "${plain[@]}" --out term -o train.lr=0.05 --force
grep -q 'warning: .*train.lr' must.log || { cat must.log; fail "--force did not warn"; }
# In the middle of an epoch that has fewer steps now: the next one begins.
rm whole/checkpoints/step-000000012?.h5 whole/checkpoints/step-0000000119.h5
for ranks in 1 3; do
    rm -rf forced && cp -r whole forced
    must at $ranks "$train" "${plain[@]}" --out forced -o train.batch=512 --force
    grep -q 'resumed from .*: epoch 9, step 0 (112 steps' must.log ||
        grep -q 'is complete' must.log || { cat must.log; fail "--force with other steps"; }
done
echo "what cannot go on says why"
