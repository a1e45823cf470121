#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What asks a run to stop, in each of its phases: signals to the process, to one rank, to mpirun; a
# limit of CPU time; the end of a batch job that Slurm told in advance; Ctrl-C once and twice. What
# was stopped goes on and ends with the metrics and digests of the unbroken run.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
must "$data" generate long.h5 --shape 28x28x1 --rows 256 --test-rows 9000 # 4 steps, 1125 chunks
per_epoch=15
run=(mnist -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=64
    -o train.log_every=1 -o train.epochs=5)
tested=(mnist -o data.train=long.h5:/train -o data.test=long.h5:/test -o train.batch=64
    -o train.log_every=1 -o train.epochs=2)

# wait_until command...: while the job runs.
wait_until() {
    local deadline=$((SECONDS + longest))
    until "$@"; do
        kill -0 $launched 2>/dev/null || { cat "$log"; fail "ended before: $*"; }
        [ $SECONDS -lt $deadline ] || { cat "$log"; fail "hangs before: $*"; }
        sleep 0.01
    done
}
step_is() { [ "$(steps_of "$folder")" -ge "$1" ]; }
catches() { # signal 10 (USR1), so all of them: the last handler is there
    local mask
    [ "/proc/$1/exe" -ef "$(command -v bash)" ] && return 1 # not yet: bash catches signals, too
    mask=$(sed -n 's/^SigCgt:\t//p' "/proc/$1/status" 2>/dev/null)
    [ -n "$mask" ] && [ $((0x${mask: -8} & 0x800000)) != 0 ]
}
a_rank() {
    local children
    children=$(ranks_of $launched)
    # shellcheck disable=SC2086
    set -- $children
    echo "${2:-$launched}"
}

says() { grep -q -- "$1" "$log" || { cat "$log"; fail "not said: $1"; }; }

must "$train" "${run[@]}" --out whole
metrics_are_whole whole 5
must at 2 "$train" "${tested[@]}" --out whole_tested

# (MPICH's mpirun dies of USR2 itself: there it is sent to a rank, or is another signal.)
# One run, stopped by one signal after the other, at other ranks each time.
stopped_by() { # RANKS SIGNAL NAME TARGET
    start "$1" run "${run[@]}"
    wait_until step_is $((first + 4))
    case $4 in
        job) kill "-$2" $launched ;;
        rank) kill "-$2" "$(a_rank)" ;;
    esac
    ended 75
    says "^stopped by $3 after step [0-9]*; a checkpoint is saved"
    [ "$(grep -c '^stopped' "$log")" = 1 ] || { cat "$log"; fail "more than one message"; }
}
stopped_by 1 XCPU SIGXCPU job
stopped_by 3 USR1 SIGUSR1 job
stopped_by 2 USR2 SIGUSR2 "$([ -n "$is_mpich" ] && echo rank || echo job)"
stopped_by 4 XCPU SIGXCPU rank
stopped_by 1 TERM SIGTERM job
stopped_by 3 TERM SIGTERM rank
stopped_by 1 INT Ctrl-C job
says '^sw2-train: stopping at the end of the step.*Ctrl-C again stops at once$'
must at 2 "$train" "${run[@]}" --out run
metrics_are_same whole run
echo "seven signals, one run"

# Before the first step: nothing is lost either.
second_rank_catches() {
    local children
    children=$(ranks_of $launched)
    # shellcheck disable=SC2086
    set -- $children
    target=${2:-}
    [ -n "$target" ] && [ "/proc/$target/exe" -ef "$train" ] && catches "$target"
}
for ranks in 1 3; do
    start $ranks early "${run[@]}"
    target=$launched
    if [ $ranks = 1 ]; then
        wait_until catches $launched
    else
        wait_until second_rank_catches
    fi
    kill -USR1 "$target"
    ended 75
    says '^stopped by SIGUSR1 \(before the first step\|after step\)'
done
must "$train" "${run[@]}" --out early
metrics_are_same whole early

# In the middle of an evaluation: it is made anew, its epoch's row is written once.
rows() { wc -l <"$1/metrics.csv"; }
left=0
evaluation_left() { # RANKS SIGNAL STEP
    start "$1" tested "${tested[@]}"
    [ "$first" -lt "$3" ] || wait_until grep -q '^resumed from' "$log"
    wait_until step_is "$3"
    kill "-$2" $launched
    ended 75
    says "^stopped by SIG$2 \(after step $3;\|before the first step\)"
    [ "$(rows tested)" -gt $(($3 / 4)) ] || left=$((left + 1))
}
evaluation_left 1 TERM 4
evaluation_left 3 USR1 4
evaluation_left 2 "$([ -n "$is_mpich" ] && echo USR1 || echo USR2)" 8
[ $left -gt 0 ] || fail "no evaluation was left"
must at 3 "$train" "${tested[@]}" --out tested
says_twice() { [ "$(grep -c "$1" "$2")" = 2 ]; }
metrics_are_same whole_tested tested
says_twice '"type":"epoch"' tested/metrics.jsonl || fail "an epoch was recorded more than once"
must "$train" "${tested[@]}" --out tested
grep -q 'is complete (8 steps)' must.log || { cat must.log; fail "not complete"; }
echo "left $left evaluations"

# Ctrl-C again: at once, wherever it is. First in the start, held up by a reader who does not read.
mkfifo full
exec 9<>full
head -c 1048576 /dev/zero | timeout 1 dd of=full bs=4096 oflag=nonblock status=none 2>dd.log || true
log=twice.log
"$train" "${tested[@]}" --out twice >full 2>"$log" &
launched=$!
wait_until catches $launched
kill -INT $launched
wait_until grep -q 'Ctrl-C again stops at once' "$log"
kill -INT $launched
ended 130
exec 9>&-

# Then while it trains, evaluates and saves; unless the 5 ms until the second one were enough to
# stop with a checkpoint.
ends=(0 0)
for ((try = 0; try < 6; try++)); do
    start 1 twice "${tested[@]}" -o train.epochs=1000 -o train.checkpoint_steps=1
    wait_until grep -q '^run ' "$log"
    [ $((try % 2)) = 0 ] || wait_until step_is $((first + try))
    while kill -INT $launched 2>/dev/null; do sleep 0.005; done
    ended "130 75"
    ! grep -q 'stopped by' "$log" || ends[0]=$((ends[0] + 1))
    grep -q 'stopped by' "$log" || ends[1]=$((ends[1] + 1))
done
echo "Ctrl-C again stops at once (${ends[1]} times, ${ends[0]} times the checkpoint was faster)"

# A limit of CPU time.
(ulimit -St 1 && exec "$train" "${run[@]}" -o train.epochs=900 --out cpu) >cpu.log 2>&1 &
launched=$! log=cpu.log
ended 75
says '^stopped by SIGXCPU'

# The batch job's end: stopped before it, started again, and again; at least one step each time.
export SLURM_JOB_END_TIME
stops=0
for ranks in 2 3 1 4 2; do
    SLURM_JOB_END_TIME=$(($(date +%s) + 11))
    log=limit.log code=0
    at $ranks "$train" "${run[@]}" --out limit >limit.log 2>&1 || code=$?
    [ $code != 0 ] || break
    [ $code = 75 ] || { cat limit.log; fail "exit code $code"; }
    says '^stopped by SLURM_JOB_END_TIME (in -*[0-9]* s; kept free: [0-9.]* s, for steps of'
    [ -e "$(ls limit/checkpoints/step-*.h5 | tail -n 1)" ] || fail "nothing was saved"
    stops=$((stops + 1))
done
[ $stops -gt 0 ] || fail "the time limit stopped nothing"
SLURM_JOB_END_TIME=$(($(date +%s) - 5)) must at 3 "$train" "${run[@]}" --out limit
grep -q 'complete' must.log || grep -q 'warning: SLURM_JOB_END_TIME [0-9]* was [0-9]* s ago' \
    must.log || { cat must.log; fail "an end in the past"; }
metrics_are_same whole limit
SLURM_JOB_END_TIME=soon must "$train" "${run[@]}" -o train.epochs=2 --out soon
grep -q "warning: SLURM_JOB_END_TIME 'soon' is not a number" must.log || fail "no time, no warning"
echo "stopped $stops times before the job's end"
