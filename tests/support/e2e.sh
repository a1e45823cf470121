# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: MIT
# What the e2e_*.sh share: programs, a work folder that goes away, runs at any number of ranks,
# comparing what runs left. Sourced.

SW2_SOURCE=${SW2_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
: "${SW2_BIN:?names the build folder}"
train=$SW2_BIN/sw2-train
data=$SW2_BIN/sw2-data
evaluate=$SW2_BIN/sw2-eval
quick=${SW2_TEST_QUICK:-} # sanitizer builds: fewer cases
longest=120               # seconds of a run; only one that hangs takes so long
[ -z "$quick" ] || longest=480

. "$SW2_SOURCE/tests/support/launch.sh"

work=$(mktemp -d)
clean_up() {
    # A subshell that is killed before it has forgotten its parent's traps must not clean up.
    [ "$BASHPID" = "$$" ] || return 0
    jobs -p | xargs -r kill -9 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND"' ERR
cd "$work"

fail() {
    echo "FAILED: $*"
    exit 1
}

# at RANKS command...: alone, or under mpirun; never for more than $longest seconds.
at() {
    local ranks=$1
    shift
    if [ "$ranks" = 1 ]; then
        timeout -k 5 $longest "$@"
    else
        timeout -k 5 $longest mpirun -q -np "$ranks" "$@"
    fi
}

# must command...: quiet, unless it fails.
must() {
    "$@" >must.log 2>&1 || {
        local code=$?
        cat must.log
        fail "exit code $code from: $*"
    }
}

# The columns of FOLDER/metrics.csv that do not depend on the clock.
metrics_of() {
    awk -F, 'NR == 1 { n = NF; for (i = 1; i <= n; i++) timed[i] = $i ~ /seconds|_per_s|_s$/ }
        { line = ""; for (i = 1; i <= n; i++) if (!timed[i]) line = line $i ","; print line }' \
        "$1/metrics.csv"
}

# metrics_are_whole FOLDER EPOCHS: a row an epoch, in order, each with loss and digest.
metrics_are_whole() {
    awk -F, -v epochs="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $1 != NR - 1 || $at["train_loss"] == "" || $at["test_loss"] == "" ||
            $at["digest"] !~ /^[0-9a-f]+-[0-9a-f]+$/ || length($at["digest"]) != 33 { bad = 1 }
        END { exit bad || NR != epochs + 1 }' "$1/metrics.csv" || {
        cat "$1/metrics.csv"
        fail "$1/metrics.csv: expected a whole row for each of $2 epochs"
    }
}

# metrics_are_same A B: exactly, but for the times.
metrics_are_same() {
    diff <(metrics_of "$1") <(metrics_of "$2") >difference || {
        cat difference
        fail "$1 and $2 differ"
    }
}

# refuses PROGRAM CODE TEXT ARGUMENT...: on two ranks, with that exit code and one message that says
# so; left in refused.out and refused.err.
refuses() {
    local program=$1 want=$2 text=$3 code=0
    shift 3
    at 2 "$program" "$@" >refused.out 2>refused.err || code=$?
    [ $code = "$want" ] || fail "exit code $code, not $want: $*: $(cat refused.err)"
    [ "$(grep -c "$(basename "$program"): error" refused.err)" = 1 ] || fail "not one error: $*"
    grep -q -- "$text" refused.err || fail "$(cat refused.err)"
}

# Steps that FOLDER's log has seen.
steps_of() {
    [ -e "$1/metrics.jsonl" ] || { echo 0; return; }
    tail -n 1 "$1/metrics.jsonl" | sed -n 's/.*"step":\([0-9]*\).*/\1/p' | grep . || echo 0
}

# start RANKS FOLDER ARGUMENT...: training in the background. $launched is the process (mpirun or
# the program), $log its output, $folder the run, $first the steps that were done before.
start() {
    local ranks=$1
    folder=$2
    log=$2.log
    shift 2
    first=$(steps_of "$folder")
    if [ "$ranks" = 1 ]; then
        "$train" "$@" --out "$folder" >"$log" 2>&1 &
    else
        mpirun -q -np "$ranks" "$train" "$@" --out "$folder" >"$log" 2>&1 &
    fi
    launched=$!
}

children_of() { cat /proc/"$1"/task/*/children 2>/dev/null || true; }

# OpenPMIx 4.2 inside mpirun waits for itself for ever when ranks die while they connect to it; then
# no rank is left, and it has said so.
mpirun_is_alone() { # PROCESS LOG
    local child
    grep -q 'PMIX ERROR: UNREACHABLE in .*ptl_base_connection_hdlr' "$2" || return 1
    for child in $(children_of "$1"); do
        grep -q '^State:.Z' "/proc/$child/status" 2>/dev/null || return 1
    done
}

# guard PROCESS SECONDS LOG: kills it after so long (the file "hung" is there then), and an mpirun
# that has been alone for ten seconds ("alone"). In the background, as $guard.
guard() {
    rm -f alone hung
    (
        for ((s = 0, alone = 0; s < $2 && alone < 10; s++)); do
            sleep 1
            if mpirun_is_alone "$1" "$3"; then alone=$((alone + 1)); else alone=0; fi
        done
        if [ $alone = 10 ]; then touch alone; else touch hung; fi
        kill -9 "$1"
    ) >/dev/null 2>&1 & # holds no pipe of ctest
    guard=$!
}

# ended CODES: waits for what was started, at most ${longest:-120} s; the exit code is one of them.
ended() {
    local code=0
    guard $launched "${longest:-120}" "$log"
    wait $launched 2>/dev/null || code=$?
    kill $guard 2>/dev/null || true
    # MPICH's mpirun, once it has passed on a signal, forgets its ranks' exit code one time in 40.
    [ -z "$is_mpich" ] || [ $code != 0 ] || ! grep -q '^stopped by' "$log" || code=75
    case " $1 " in
        *" $code "*) ;;
        *) cat "$log" && fail "exit code $code instead of $1" ;;
    esac
}
