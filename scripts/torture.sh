#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kills runs, and breaks the disk under them, until they should have lost something.
#   scripts/torture.sh [KILLS [CALLS [SEED]]]       default: 200 kills, every system call
#   1. KILLS times a run is killed with SIGKILL at a random instant (the program alone, one rank,
#      all ranks at once, mpirun) and started again with a random number of ranks
#   2. killed at the n-th system call of the save path, for every n (CALLS: for so many of them)
#   3. the n-th system call, or all from there on, end in an error of the disk, for every n
#   4. a disk that fills up in the middle of a run, and has room again (root only: mounts one)
#   5. every flipped bit and every truncation of a small checkpoint
# Every run must end with the digests, metrics and last checkpoint of the unbroken run, leave no
# temporary file and no process. Needs a built tree: SW2_BIN names it (default build).
set -euo pipefail
SW2_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SW2_BIN=$(realpath "${SW2_BIN:-$SW2_SOURCE/build}")
kills=${1:-200} calls=${2:-all} seed=${3:-$RANDOM}
# Kills do not care what the files lie on, and fsync is slow on disks.
[ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm
. "$SW2_SOURCE/tests/support/e2e.sh"
exec 2>stderr # full of bash's obituaries
# What killed ranks leave of Open MPI's goes away with the work folder.
export OMPI_MCA_btl_vader_backing_directory=$work OMPI_MCA_orte_tmpdir_base=$work
faults=$SW2_BIN/tests/libsw2_save_faults.so
RANDOM=$seed
echo "seed $seed"

must "$data" generate grey.h5 --shape 28x28x1 --rows 613 --test-rows 111
cat >job.yaml <<'END'
name: torture
data: {train: "grey.h5:/train", test: "grey.h5:/test"}
features: [conv: {out: 8, kernel: 3, stride: 2, bias: false}, batchnorm: {}, relu: {},
  globalpool: {}]
head: [dense: {out: 10}]
train: {batch: 64, epochs: 8, lr: 0.1, momentum: 0.9, ema: 0.9, checkpoint_steps: 5, keep: 2,
  log_every: 1}
END
short=(-o train.epochs=2 -o train.keep=1)
declare -A count # of kind and outcome
note() { count[$1]=$((${count[$1]:-0} + 1)); }
ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# whole_again REFERENCE FOLDER LOG: nothing differs, nothing is left. Only records that a disk did
# not take until the run's end, and said so, are lost.
whole_again() {
    local last
    last=$(basename "$(find "$1/checkpoints" -name 'step-*' | sort | tail -n 1)")
    if [ -n "${4:-}" ] && grep -q 'warning: cannot write .*metrics' "$3"; then
        note "records lost, and said so"
    else
        metrics_are_same "$1" "$2"
    fi
    grep -q 'put off' "$3" || cmp "$1/checkpoints/$last" "$2/checkpoints/$last" ||
        fail "$2: another last checkpoint"
    [ -z "$(find "$2" -name '*.tmp*')" ] || { find "$2"; fail "temporary files in $2"; }
}

# ---- 1. random instants

must "$train" job.yaml --out whole
declare -A lasts # ms of an unbroken run, by ranks
length_of() {    # RANKS: into $length
    local begin
    if [ -z "${lasts[$1]:-}" ]; then
        begin=$(ms)
        must at "$1" "$train" job.yaml --out "length$1"
        lasts[$1]=$(($(ms) - begin))
        whole_again whole "length$1" must.log
    fi
    length=${lasts[$1]}
}

# victims KIND PROCESS: of the job that PROCESS (mpirun or the program) is.
victims() {
    local ranks
    read -ra ranks <<<"$(children_of "$2")"
    case $1 in
        alone | mpirun) echo "$2" ;;
        rank) echo "${ranks[RANDOM % (${#ranks[@]} + 1)]:-$2}" ;;
        all) echo "${ranks[*]:-$2}" ;;
    esac
}

# ended PROCESS: within two minutes, and thirty times what an unbroken run took.
ended() {
    guard "$1" $((120 + ${length:-0} * 30 / 1000)) run.log
    code=0
    wait "$1" 2>/dev/null || code=$?
    kill $guard 2>/dev/null || true
    [ ! -e hung ] || { cat run.log; fail "a run hangs"; }
    [ ! -e alone ] || note "mpirun waited for itself, all ranks were gone (OpenPMIx 4.2)"
}

# broken_run FOLDER: starts, kills, says whether it got to its end ($code 0).
broken_run() {
    local kinds=(rank all mpirun) kind ranks=$((1 + RANDOM % 5)) launched delay
    kind=${kinds[RANDOM % 3]}
    length_of $ranks
    if [ $ranks = 1 ]; then
        kind=alone
        "$train" job.yaml --out "$1" >run.log 2>&1 &
    else
        mpirun -q -np $ranks "$train" job.yaml --out "$1" >run.log 2>&1 &
    fi
    launched=$!
    delay=$((RANDOM * length / 32768))
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    local who
    who=$(victims $kind $launched)
    # shellcheck disable=SC2086
    if kill -0 $launched 2>/dev/null && kill -9 $who 2>/dev/null; then
        killed=$((killed + 1))
        note "killed: $kind"
    fi
    ended $launched
    cat run.log >>"$1.log"
    if grep -q 'resumed from' run.log; then note "then: resumed"; fi
}

killed=0 ends=0
while [ $killed -lt "$kills" ]; do
    rm -rf job job.log
    touch job.log
    code=1
    for ((i = 0; i < 4 && code != 0 && killed < kills; i++)); do
        broken_run job
    done
    must at $((1 + RANDOM % 5)) "$train" job.yaml --out job
    cat must.log >>job.log
    ! grep -q 'warning: .*trying the one before' job.log || fail "a kill left a damaged file"
    whole_again whole job job.log
    ends=$((ends + 1))
    [ $((ends % 10)) != 0 ] || echo "$SECONDS s: $killed kills"
done
echo "$SECONDS s: $killed kills at random instants, $ends runs: the digests of the unbroken one"

# ---- 2. and 3.: at system calls

# faulty FOLDER MATCH EXCEPT AT WHAT FOR: one process; into $code, run.log.
faulty() {
    code=0
    LD_PRELOAD="$faults" SW2_FAULT_MATCH="$2" SW2_FAULT_EXCEPT="$3" SW2_FAULT_AT="$4" \
        SW2_FAULT_DO="$5" SW2_FAULT_FOR="$6" SW2_FAULT_COUNT="$work/calls" \
        timeout -k 5 120 "$train" job.yaml "${short[@]}" --out "$1" >run.log 2>&1 || code=$?
}

go_on() { # FOLDER
    must at $((1 + RANDOM % 3)) "$train" job.yaml "${short[@]}" --out "$1"
    cat run.log must.log >both.log
    whole_again brief "$1" both.log "${2:-}"
}

# Steps of the newest checkpoint in FOLDER; 0: none.
newest_in() {
    find "$1/checkpoints" -name 'step-*.h5' -printf '%f\n' 2>/dev/null |
        sed 's/[^0-9]*0*\([0-9]*\).*/\1/' | sort -n | tail -n 1 | grep . || echo 0
}

# Killed before a call (tear: in the middle of a write). $resumed: where the last one went on.
kill_at() { # MATCH EXCEPT CALL
    local whats=(kill tear) what newest
    what=${whats[RANDOM % 2]}
    rm -rf fault
    faulty fault "$1" "$2" "$3" $what 1
    [ $code = 137 ] || { cat run.log; fail "not killed at call $3 on $1: exit code $code"; }
    note "killed: at a system call ($what)"
    newest=$(newest_in fault)
    go_on fault
    # A kill damages nothing and takes nothing back: a file that has its name is whole. Calls of the
    # writing thread come in the same order in each run; those of the others do not wait for it.
    local from
    from=$(sed -n 's/.*(\([0-9]*\) steps\( done\)*).*/\1/p' must.log | head -n 1)
    ! grep -q 'trying the one before' must.log || { cat must.log; fail "call $3: damage"; }
    [ "${from:-0}" = "$newest" ] || fail "call $3: resumed from step ${from:-0}, not $newest"
    [ "$2" != : ] || [ "$newest" -ge "$resumed" ] ||
        fail "call $3: resumed from step $newest after $resumed"
    resumed=$newest
}

# One error, or errors from there on: the run goes on and says it once, or ends with one message.
error_at() { # MATCH EXCEPT CALL
    local errors=(EIO ENOSPC EROFS EDQUOT EACCES) error many=$((RANDOM % 2)) warnings gone=1
    error=${errors[RANDOM % 5]}
    rm -rf fault
    faulty fault "$1" "$2" "$3" "$error" $many
    warnings=$(grep 'warning:' run.log | grep -vc TensorBoard || true)
    [ "$(grep -c 'warning:.*TensorBoard' run.log)" -le 1 ] ||
        { cat run.log; fail "call $3 on $1, $error: TensorBoard is lost more than once"; }
    if [ $code = 0 ]; then
        [ "$warnings" -le 2 ] || { cat run.log; fail "call $3 on $1, $error: many warnings"; }
        ! grep -q 'error:' run.log || { cat run.log; fail "an error, and exit code 0"; }
        note "$error: went on, $warnings warnings"
        [ -z "$(find fault -name '*.tmp*')" ] || note "$error: a temporary file stayed until later"
    else
        [ $code -le 3 ] && [ "$(grep -c 'error:' run.log)" = 1 ] || {
            cat run.log
            fail "call $3 on $1, $error: exit code $code, expected one message"
        }
        note "$error: ended with a message"
    fi
    [ $code = 0 ] && [ $many = 0 ] || gone=
    go_on fault "$gone"
}

# at_calls WHAT MATCH EXCEPT: for every call there, or for $calls of them.
at_calls() {
    local n i total step=1
    resumed=0
    rm -rf fault
    faulty fault "$2" "$3" 0 none 1
    [ $code = 0 ] || { cat run.log; fail "the library alone"; }
    total=$(cat calls)
    [ "$calls" = all ] || step=$((total / calls + 1))
    for ((n = 1 + RANDOM % step, i = 0; n <= total; n += step, i++)); do
        "$1" "$2" "$3" $n
    done
    echo "$SECONDS s: $1: $i of $total system calls on files of '$2'"
}

if [ "$calls" = 0 ]; then
    echo "not asked for: system calls"
elif [ -e "$faults" ]; then
    must "$train" job.yaml "${short[@]}" --out brief
    at_calls kill_at fault/checkpoints :
    at_calls kill_at fault fault/checkpoints
    at_calls error_at fault/checkpoints :
    at_calls error_at fault fault/checkpoints
else
    echo "not checked: system calls ($faults is not built)"
fi

# ---- 4. a full disk

full_disk() {
    local launched
    dd if=/dev/zero of=small/fill bs=1k count=8100 status=none
    "$train" job.yaml -o train.epochs=400 --out small/job >run.log 2>&1 &
    launched=$!
    for ((i = 0; i < 6000; i++)); do
        ! grep -q 'warning: no checkpoint at step .*No space left' run.log || break
        kill -0 $launched 2>/dev/null || break
        sleep 0.01
    done
    rm small/fill
    ended $launched
    [ "$(grep -c 'warning: no checkpoint' run.log)" = 1 ] || {
        grep -v ^epoch run.log
        fail "full disk: not one warning"
    }
    if [ $code = 0 ]; then
        grep -q 'warning: checkpoints can be written again' run.log ||
            fail "full disk: not said that saving works again"
    else # the run was faster than this script
        [ $code = 1 ] && [ "$(grep -c 'error: .*is not saved' run.log)" = 1 ] || {
            grep -v ^epoch run.log
            fail "full disk: exit code $code"
        }
    fi
    must "$train" job.yaml -o train.epochs=400 --out small/job
    must "$train" job.yaml -o train.epochs=400 --out roomy
    whole_again roomy small/job run.log
    echo "$SECONDS s: a full disk: one warning, training went on, exit code $code"
}
mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=8m tmpfs small 2>/dev/null; then
    trap 'umount -l "$work/small"; clean_up' EXIT
    full_disk
else
    echo "not checked: a full disk (needs root, and mount)"
fi

# ---- 5. damage

if [ "$calls" = all ]; then
    SW2_TEST_FULL=1 "$SW2_BIN/tests/test_checkpoint_damage" 2>&1 | grep '^damage' ||
        fail "test_checkpoint_damage"
fi

# No process of a killed job lives on; ranks need a second to see that mpirun is gone.
processes() {
    local one
    for one in /proc/[0-9]*; do
        [ "$(readlink "$one/exe")" != "$(realpath "$train")" ] ||
            [ "$(readlink "$one/cwd")" != "$work" ] || echo "${one#/proc/}"
    done
}
for ((i = 0; i < 100; i++)); do
    [ -n "$(processes)" ] || break
    sleep 0.1
done
[ -z "$(processes)" ] || fail "processes are left: $(processes)"

for what in "${!count[@]}"; do
    echo "  ${count[$what]} x $what"
done | sort -k 3
echo "0 failures"
