#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Ranks that are stopped, loop or block in I/O are named, with what they did, and the job ends:
# exit code 1, no process left, the rings of all ranks that live in the run's folder. What is only
# slow, or stopped for a while together with all else, is not.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
[ -z "$quick" ] || { echo "skipped: sanitizers do not go with LD_PRELOAD"; exit 77; }

preload=$(find "$SW2_BIN/tests" -name '*preload_hang.so' | head -n 1)
[ -n "$preload" ] || fail "no preload_hang.so in $SW2_BIN/tests"
must "$data" generate grey.h5 --shape 28x28x1 --rows 509 --test-rows 64
endless=(mnist -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=32
    -o train.epochs=100000 -o train.eval_every=0 -o train.checkpoint_every=0 --watchdog 1.5)
patience=240 # s, on a machine that does much else; 1.5 s suffice on one that does not

# start RANKS RANK:KIND ARGUMENT...: in the background; $launched, $log and the processes $ranks.
start() {
    local n=$1 what=$2
    shift 2
    rm -rf run go
    log=run.log
    local run=(env SW2_HANG="$what:$work/go" LD_PRELOAD="$preload" "$train" "${endless[@]}"
        --out run)
    if [ "$n" = 1 ]; then
        "${run[@]}" "$@" >$log 2>&1 &
        launched=$!
        ranks=("$launched")
    else
        mpirun -q -np "$n" "${run[@]}" "$@" >$log 2>&1 &
        launched=$!
    fi
    wait_steps 8
    sleep 1.5 # a few words of each rank's watchdog have gone to the others meanwhile
    [ "$n" = 1 ] || read -ra ranks <<<"$(ranks_of $launched)"
    [ "${#ranks[@]}" = "$n" ] || fail "$n ranks, but processes ${ranks[*]}"
}

# wait_steps N: until N more steps are logged than now.
wait_steps() {
    local first deadline=$((SECONDS + patience))
    first=$(steps)
    until [ "$(steps)" -ge $((first + $1)) ]; do
        kill -0 "$launched" 2>/dev/null || { cat $log; fail "ended in step $(steps)"; }
        [ $SECONDS -lt $deadline ] || { cat $log; fail "no step after $(steps)"; }
        sleep 0.05
    done
}

steps() {
    [ -e run/metrics.jsonl ] || { echo 0; return; }
    tail -n 1 run/metrics.jsonl | sed -n 's/.*"step":\([0-9]*\).*/\1/p' | grep . || echo 0
}

# ends CODE: in time, with that code, and no process is left.
ends() {
    local code=0 deadline=$((SECONDS + patience)) process
    while kill -0 "$launched" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || { cat $log; fail "does not end"; }
        sleep 0.05
    done
    wait "$launched" || code=$?
    [ "$code" = "$1" ] || { cat $log; fail "exit code $code instead of $1"; }
    for process in "${ranks[@]}"; do
        for ((i = 0; i < 100; i++)); do
            grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$process/status" || break
            sleep 0.05
        done
        [ "$i" -lt 100 ] || fail "process $process is left"
    done
}

# says RANK TEXT...: one message, which names the rank; and its ring and all others are there.
says() {
    local rank=$1 text
    shift
    [ "$(grep -c 'error:' $log)" = 1 ] || { cat $log; fail "not one message"; }
    grep -q "error: rank $rank (host [^ ]*, process ${ranks[$rank]})" $log ||
        { cat $log; fail "rank $rank, process ${ranks[$rank]}, is not named"; }
    for text in "$@"; do
        grep -q "error:.*$text" $log || { cat $log; fail "'$text' is not said"; }
    done
}

rings() { # RANK...
    local rank
    for rank in "$@"; do
        grep -qs 'grain' "run/hang-rank-$rank.txt" || { ls run; fail "no ring of rank $rank"; }
    done
}

# Stopped: a rank, rank 0, and both judges at once.
start 3 9:none -o train.log_every=1
kill -STOP "${ranks[2]}"
ends 1
says 2 'silent for' 'it is stopped' 'step [0-9]'
rings 0 1
start 3 9:none -o train.log_every=1
kill -STOP "${ranks[0]}"
ends 1
says 0 'silent for' 'it is stopped' 'step [0-9]'
rings 1 2
start 4 9:none -o train.log_every=1
kill -STOP "${ranks[0]}" "${ranks[1]}"
ends 1
says 0 'silent for' "rank 1 (host [^ ]*, process ${ranks[1]})"
rings 2 3
echo "stopped ranks are named"

# Loops, in the main thread and in another; a lone process, too.
start 2 1:loop -o train.log_every=1
touch go
ends 1
# The loop is in the next memset of the main thread, in a grain or the update.
says 1 'no progress for' 'main thread: \(grain .*backward of layer\|update of step\)' 'it runs' \
    '1 of 2 ranks wait'
rings 0 1
start 1 0:worker -o train.log_every=1 --threads 2
touch go
ends 1
says 0 'no progress for' 'worker 1: grain' 'it runs'
rings 0
echo "loops are named"

# Blocked in I/O; and where nobody reads what is said, the job ends all the same.
start 2 1:read -o train.log_every=1
touch go
ends 1
says 1 'no progress for' 'reading thread: reads rows' 'file server' '1 of 2 ranks wait'
rings 0 1
start 1 0:stderr -o train.log_every=1 -o train.steps=99999999
touch go
ends 1
rings 0
echo "blocked ranks are named"

# No alarm: all stand still for longer than the patience, then go on; reads that are slow.
start 3 1:slow -o train.log_every=1
kill -STOP "${ranks[@]}"
sleep 4
kill -CONT "${ranks[@]}"
wait_steps 4
touch go
wait_steps 4
kill -9 "$launched"
wait "$launched" 2>/dev/null || true
! grep -q 'error:' $log || { cat $log; fail "a false alarm"; }
# A terminal that is paused, or a pager: for longer than what is slow may take.
{
    "$train" digits -o train.epochs=100 -o train.log_every=1 --watchdog 0.25 --out paged 2>&1 ||
        echo "code $?"
} | { sleep 19 && cat; } >paged.log
! grep 'error:\|^code' paged.log || fail "an alarm while a pager waits"
echo "no false alarm"
