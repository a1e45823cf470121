#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds everything and runs all tests. usage: bash scripts/test.sh [--ci | STEP] [ctest's options]
# --ci also builds with clang, and builds and tests a part (every program, some rank counts) with
# AddressSanitizer and UBSan, ThreadSanitizer, and with MPICH, fuzzes each reader for a moment, and
# has what is exported read by TensorBoard, ONNX Runtime and Keras, where PyPI is at hand.
# STEP is one of these alone: clang, sanitizers, threads, mpich, fuzz, readers; of mpich, alone, it
# is all tests. The last line is ctest's summary of the full tests.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"
cd "$SOURCE"

steps=tests
case ${1:-} in
    --ci)
        steps="tests clang sanitizers threads mpich fuzz readers"
        shift
        ;;
    clang | sanitizers | threads | mpich | fuzz | readers)
        steps=$1
        shift
        ;;
esac
jobs=$(cores)
mpi_environment
failed=()

# step NAME command...: runs it with its time; a failure is kept for the end.
step() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    "$@" || failed+=("$name")
    echo "== $name: $((SECONDS - start)) s"
}

packages=("${packages_test[@]}")
[ "$steps" = tests ] || packages+=("${packages_ci[@]}")
packages_for_build "${packages[@]}"

tests_step() { # the rest are ctest's options
    build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON &&
        ctest --test-dir build -j "$jobs" --output-on-failure --no-tests=error "$@" |
        tee build/ctest.log
}

clang_step() {
    CC=clang build build-clang -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O0 -DSW2_TESTS=ON
}

# Open MPI and its helpers leave memory behind at exit; ours must not. To tell one from the other
# needs whole stacks, which take most of a short run's time: so unit tests, without Open MPI, do
# with short ones, and leaks are not looked for where a test starts tens of jobs of a program that
# other tests start too. Slurm's part is timing, of the same signals that e2e_signals sends.
sanitizers_step() {
    build build-sanitize -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1 -DSW2_SANITIZE=ON \
        -DSW2_TESTS=ON || return 1
    local run=(ctest --test-dir build-sanitize -j "$jobs" --output-on-failure --no-tests=error)
    local code=0 many='audit|bad_input|hang|load|not_finite|resume|same_bits|signals|start'
    many="^e2e_($many|torture|watchdog)\$"
    export UBSAN_OPTIONS=print_stacktrace=1 SW2_TEST_QUICK=1
    export LSAN_OPTIONS=suppressions=$SOURCE/tests/sanitize.supp:print_suppressions=0
    # The guess at where a thread's dynamic variables are (intercept_tls_get_addr) can be wrong
    # with this glibc, and then the leak check itself crashes.
    export ASAN_OPTIONS=intercept_tls_get_addr=0
    "${run[@]}" -R '^test_' || code=1
    ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0 \
        "${run[@]}" -E "^test_|_np[2578]$|^e2e_(style|slurm)$|$many" || code=1
    ASAN_OPTIONS=detect_leaks=0 "${run[@]}" -R "$many" || code=1
    unset UBSAN_OPTIONS SW2_TEST_QUICK LSAN_OPTIONS ASAN_OPTIONS
    return $code
}

# The tests of what has threads, then training with all of them at work: alone, where all that
# threads share is seen, and on two ranks, whose memory between each other it knows nothing of.
threads_step() {
    local threads='loader|workers|events|watch|checkpoint|writer|log|progress|samples|signal|stop'
    mapfile -t programs < <(cd tests && find . -name 'test_*.c' -printf '%f\n' |
        sed -n -E "s/^(test_[a-z_]*($threads)[a-z_]*)\.c$/\1/p")
    BUILD_TARGETS="sw2-train sw2-eval ${programs[*]}" build build-threads -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_C_FLAGS=-O1 -DSW2_SANITIZE=thread -DSW2_TESTS=ON || return 1
    local work code=0 digests
    work=$(mktemp -d)
    local train=(build-threads/sw2-train digits --threads 2 -o train.warmup=0 -o train.steps=12
        -o train.checkpoint_steps=3)
    export TSAN_OPTIONS=exitcode=66:ignore_noninstrumented_modules=1
    {
        ctest --test-dir build-threads -j "$jobs" --output-on-failure --no-tests=error \
            -R "^($(IFS='|' && echo "${programs[*]}"))$" &&
            "${train[@]}" --out "$work/one" >"$work/log" &&
            build-threads/sw2-eval "$work/one/checkpoints/best.h5" >"$work/eval.log" &&
            mpirun -q -np 2 "${train[@]}" --out "$work/two" >>"$work/log" &&
            digests=$(grep -o 'digest [0-9a-f-]*' "$work/log") &&
            [ "$(sort -u <<<"$digests" | wc -l)" = 1 ]
    } || {
        code=1
        tail -n 60 "$work"/*log
    }
    rm -rf "$work"
    unset TSAN_OPTIONS
    return $code
}

# In CI the ranks' agreements and sums, faults between them, signals and the same bits.
mpich_step() {
    build build-mpich -DCMAKE_BUILD_TYPE=Release -DSW2_MPI=mpich -DSW2_TESTS=ON || return 1
    local some=(-R 'mpi_test_.*_np[38]$|^e2e_(group|resume|same_bits)$')
    [ "$steps" != mpich ] || some=()
    SW2_TEST_QUICK=$([ "$steps" = mpich ] || echo 1) \
        ctest --test-dir build-mpich -j "$jobs" --output-on-failure --no-tests=error \
        "${some[@]}" "$@"
}

fuzz_step() {
    bash scripts/fuzz.sh 4
}

# In an environment of their own outside the sources. Small recipes: scripts/check_export.sh alone
# takes all.
readers_step() {
    local venv=${XDG_CACHE_HOME:-$HOME/.cache}/sw2-train/readers log
    log=$(mktemp)
    if ! { [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"; } >"$log" 2>&1 ||
        ! timeout 300 "$venv/bin/pip" install -q numpy h5py scipy jax keras onnx onnxruntime \
            tensorboard >>"$log" 2>&1; then
        echo "skipped: cannot install the readers from PyPI: $(tail -n 1 "$log")"
        rm -f "$log"
        return 0
    fi
    rm -f "$log"
    build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON || return 1
    local code=0
    SW2_TENSORBOARD_PYTHON=$venv/bin/python ctest --test-dir build --output-on-failure \
        --no-tests=error -R '^e2e_tensorboard$' || code=1
    VENV=$venv bash scripts/check_export.sh digits mnist fashion_hog cifar10_fast || code=1
    return $code
}

for name in $steps; do
    [ "$name" = tests ] || [ "$name" = "$steps" ] || set -- # ctest's options are for the first
    step "$name" "${name}_step" "$@"
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
case " $steps " in
    *" tests "*) grep -E '^[0-9]+% tests passed' build/ctest.log | tail -n 1 ;;
esac
