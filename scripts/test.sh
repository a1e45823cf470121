#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds everything and runs all tests. usage: bash scripts/test.sh [--ci] [ctest's options]
# --ci also builds with clang, and builds and tests with AddressSanitizer and UBSan (a subset:
# every program, some rank counts). The last line is ctest's summary of the full tests.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"
cd "$SOURCE"

is_ci=false
if [ "${1:-}" = --ci ]; then
    is_ci=true
    shift
fi
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
! $is_ci || packages+=("${packages_ci[@]}")
packages_for_build "${packages[@]}"

release_tests() { # the rest are ctest's options
    build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON &&
        ctest --test-dir build -j "$jobs" --output-on-failure --no-tests=error "$@" |
        tee build/ctest.log
}

clang_build() {
    CC=clang build build-clang -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O0 -DSW2_TESTS=ON
}

# Open MPI and its helpers leave memory behind at exit; ours must not.
sanitizer_tests() {
    build build-sanitize -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1 -DSW2_SANITIZE=ON \
        -DSW2_TESTS=ON || return 1
    LSAN_OPTIONS=suppressions=$SOURCE/tests/sanitize.supp:print_suppressions=0 \
        ASAN_OPTIONS=fast_unwind_on_malloc=0 \
        UBSAN_OPTIONS=print_stacktrace=1 SW2_TEST_QUICK=1 \
        ctest --test-dir build-sanitize -j "$jobs" --output-on-failure --no-tests=error \
        -E "_np[2578]$|^e2e_style$"
}

step "tests" release_tests "$@"
if $is_ci; then
    step "clang" clang_build
    step "sanitizers" sanitizer_tests
fi
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
grep -E '^[0-9]+% tests passed' build/ctest.log | tail -n 1
