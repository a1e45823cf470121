#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --audit and --verify change no bit and find nothing where nothing is wrong, at any number of ranks
# and threads, with messages and with shared memory. --replay computes recorded steps again: the
# same digests at any number of ranks, from a checkpoint or from the start; and names the first one
# that a record has otherwise. (What is found of flipped bits: mpi_test_faults.)
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

options=(digits -q -o train.epochs=3 -o train.ema=0.9 -o train.clip_norm=4
    -o train.checkpoint_every=2)
run() { # FOLDER RANKS OPTION...
    local folder=$1 ranks=$2
    shift 2
    must at "$ranks" "$train" "${options[@]}" --out "$folder" --resume never "$@"
}

run plain 1 --verify 0 --record 0
[ ! -e plain/digests.jsonl ] || fail "digests though --record is 0"
checks=0
same() { # RANKS OPTION...
    run other "$@"
    metrics_are_same plain other
    checks=$((checks + 1))
}
same 1 --audit 1
same 1 --audit 1 --threads 2
same 2 --audit 1
SW2_SHARED=off same 2 --audit 0.3 --verify 7
if [ -z "$quick" ]; then
    SW2_SHARED=off same 3 --audit 1
    same 3 --audit 0.5 --threads 2
    SW2_SHARED=off same 4 --audit 1
fi

# Recorded at two ranks.
run run 2 --record 10
metrics_are_same plain run
[ "$(wc -l <run/digests.jsonl)" = 6 ] || fail "expected the digests of 6 steps of 66"
find run -type f | sort | xargs md5sum >before
replay() { # RANKS STEP OPTION...: output in replay.log
    local ranks=$1
    shift
    at "$ranks" "$train" "${options[@]}" --out "${of:-run}" --replay "$@" >replay.log 2>&1
}
for ranks in 1 3; do
    options=("${options[@]/-q/--no-force}") # what it says is wanted
    replay $ranks 50 || fail "$(cat replay.log)"
    grep -q "replay from run/checkpoints/step-0000000044.h5" replay.log || fail "$(cat replay.log)"
    grep -Eq "step 50: all [0-9]+ digests are those recorded" replay.log || fail "$(cat replay.log)"
done
replay 2 40 --resume never || fail "$(cat replay.log)" # which is for runs
grep -q "replay from the initial weights" replay.log || fail "$(cat replay.log)"
find run -type f | sort | xargs md5sum | diff before - || fail "a replay changed the run"

# Other digests: the first one in the order of computation is named.
cp run/digests.jsonl right.jsonl
wrong() { # NAME...: other digits in step 50, at these
    cp right.jsonl run/digests.jsonl
    for name in "$@"; do
        sed -i "/^{.step.:50,/s|\"$name\":\"....|\"$name\":\"0bad|" run/digests.jsonl
    done
    code=0
    replay 1 50 || code=$?
    [ $code = 5 ] || fail "exit code $code, expected 5: $(tail -n 1 replay.log)"
}
wrong "gradient conv1/weight" "gradient batchnorm2/bias" "sum conv1/weight" "momentum dense1/bias"
grep -q "step 50: 4 of .* first 'gradient batchnorm2/bias': recorded 0bad" replay.log ||
    fail "$(tail -n 1 replay.log)"
wrong "weights after conv1/weight" "forward maxpool1"
grep -q "first 'forward maxpool1'" replay.log || fail "$(tail -n 1 replay.log)"
wrong "input" "weights before conv2/weight"
grep -q "first 'weights before conv2/weight'.*computed in an earlier step" replay.log ||
    fail "$(tail -n 1 replay.log)"
cp right.jsonl run/digests.jsonl

# What cannot be replayed.
refused() { # TEXT STEP
    code=0
    replay 1 "$2" || code=$?
    [ $code = 2 ] || fail "exit code $code, expected 2: $(tail -n 1 replay.log)"
    grep -q "$1" replay.log || fail "$(tail -n 1 replay.log)"
}
refused "step 51 is not recorded in run/digests.jsonl, the nearest that is: 50" 51
SW2_ISA=base refused "another instruction set" 50
mv run/digests.jsonl gone.jsonl
refused "No such file" 50

# A resumed run goes on with its record, and repeats no step in it.
must at 1 "$train" "${options[@]}" --out part --resume never --record 10 -o train.steps=66
cp part/digests.jsonl whole.jsonl
rm part/checkpoints/step-0000000066.h5 part/checkpoints/best.h5
must at 2 "$train" "${options[@]}" --out part --record 10 -o train.steps=66
diff whole.jsonl part/digests.jsonl || fail "a resumed run recorded other digests"
echo "$checks audited runs, the same bits; replays name what differs"

# What lies in the places of frozen tensors (averages that were saved) is no part of a sum.
options=(digits -o train.epochs=2 -o train.ema=0.9 -o 'train.freeze=[conv1]'
    -o train.checkpoint_steps=9)
run frozen 2 --record 5
for ranks in 1 2; do
    of=frozen replay $ranks 40 || fail "frozen: $(tail -n 1 replay.log)"
done
