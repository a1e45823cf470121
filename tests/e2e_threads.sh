#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Threads of a rank: the same weights, state and metrics, bit for bit, at any ranks x threads, by
# shared memory and by messages; resumed with other threads; what cannot be says so, once.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
grey=(-o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=32)
n_runs=0

run() { # FOLDER RANKS THREADS RECIPE OPTION...
    local folder=$1 ranks=$2 threads=$3
    shift 3
    must at "$ranks" "$train" "$@" --threads "$threads" --out "$folder" --resume never -q
    n_runs=$((n_runs + 1))
}

# same NAME "RANKSxTHREADS..." EPOCHS RECIPE OPTION...
same() {
    local name=$1 ways=$2 epochs=$3 way
    shift 3
    run "$name" 1 1 "$@"
    metrics_are_whole "$name" "$epochs"
    for way in $ways; do
        run "$name.$way" "${way%x*}" "${way#*x}" "$@"
        metrics_are_same "$name" "$name.$way"
        cmp <(grep -v 'threads:' "$name/recipe.yaml") \
            <(grep -v 'threads:' "$name.$way/recipe.yaml")
    done
    echo "$name: the same at $ways ranks x threads"
}

all="1x2 1x3 1x4 2x2 3x2 2x4 1x8 2x1"
few="1x3 3x2"
[ -z "$quick" ] || all=$few
same digits "$all" 2 digits -o train.epochs=2
same ema "$few" 2 fashion "${grey[@]}" -o train.steps=40 -o train.optimizer=lars \
    -o train.nesterov=false -o train.lr=5 -o train.ema=0.9 -o train.clip_norm=1
SW2_SHARED=off same messages "2x1 3x1 2x2 3x2" 2 digits -o train.epochs=2 -o train.bucket_kib=16
metrics_are_same digits messages
same slots "1x2 2x3" 2 digits -o train.epochs=2 -o train.slots=1
metrics_are_same digits slots

# Resumed with other ranks and threads, mid-epoch, without being forced.
per_epoch=(digits -o train.epochs=4 -o train.checkpoint_steps=5 -o train.keep=9)
must "$train" "${per_epoch[@]}" --out whole
resume() { # RANKS THREADS: from the middle of the second epoch
    local folder=resumed.$1x$2
    cp -r whole "$folder"
    find "$folder/checkpoints" -name '*.h5' ! -name 'step-*0.h5' -delete
    while [ "$(find "$folder/checkpoints" -name 'step-*' | sort | tail -n 1 |
        sed 's/.*step-0*//; s/\.h5//')" -gt 65 ]; do
        rm "$(find "$folder/checkpoints" -name 'step-*' | sort | tail -n 1)"
    done
    must at "$1" "$train" "${per_epoch[@]}" --threads "$2" --out "$folder"
    grep -q 'resumed from' must.log || { cat must.log; fail "$folder was not resumed"; }
    ! grep -q 'warning: checkpoint' must.log || { cat must.log; fail "$folder: a warning"; }
    metrics_are_same whole "$folder"
}
resume 1 3
resume 2 2

# More workers than grains: one message with the numbers, and the exit code of a wrong recipe.
refused() { # RANKS THREADS WORDS
    local code=0
    at "$1" "$train" digits --threads "$2" --plan >refused.log 2>&1 || code=$?
    [ $code = 2 ] && [ "$(grep -c 'error:' refused.log)" = 1 ] &&
        grep -q "error: more threads than grains: .*$3" refused.log || {
        cat refused.log
        fail "exit code $code, expected 2 and one message with '$3'"
    }
}
refused 1 9 '1 rank x 9 threads are 9 workers, a batch has 8 grains; use at most 8 threads a rank'
refused 3 3 '3 ranks x 3 threads are 9 workers, .* use at most 2 threads a rank'

# Fewer cores than threads: a warning, once, and the same bits all the same.
taskset -c "$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')" "$train" digits -o train.epochs=2 \
    --threads 2 --out crowded -q >crowded.log 2>&1 || { cat crowded.log; fail "crowded"; }
[ "$(grep -c 'warning: 2 threads .* share 1 core of host' crowded.log)" = 1 ] || {
    cat crowded.log
    fail "no warning of too many threads"
}
metrics_are_same digits crowded

# The reader fails: every worker hears of it, and there is one message.
cp grey.h5 torn.h5
torn=(mnist -o data.train=torn.h5:/train -o data.test= -o train.batch=32 -o train.epochs=50)
for way in 1x2 2x2; do
    cp grey.h5 torn.h5
    code=0
    (at "${way%x*}" timeout 60 "$train" "${torn[@]}" --threads "${way#*x}" --out "torn.$way" \
        -o train.log_every=1 >torn.log 2>&1) &
    launched=$!
    for ((i = 0; i < 2000; i++)); do
        [ ! -s "torn.$way/metrics.jsonl" ] || break
        sleep 0.01
    done
    truncate -s 5000 torn.h5
    wait $launched || code=$?
    [ $code = 3 ] && [ "$(grep -c 'error:' torn.log)" = 1 ] || {
        cat torn.log
        fail "a torn file at $way: exit code $code, expected 3 and one message"
    }
done
echo "$n_runs runs compared"
