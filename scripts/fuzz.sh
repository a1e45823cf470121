#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fuzzes what reads files and texts, with clang's libFuzzer, AddressSanitizer and UBSan.
# usage: bash scripts/fuzz.sh [SECONDS [TARGET...]]
# SECONDS a target (default 10), one after the other; TARGET: recipe, h5, png, ... (default: all of
# tests/fuzz). What was found interesting is kept in build-fuzz/corpus for the next run; inputs
# that crash, hang or eat memory go to build-fuzz/findings. Exit 1 when there are any.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
cd "$SOURCE"
seconds=${1:-10}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_*.c; do
        name=${file##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
folder=build-fuzz
if [ -z "${SW2_FUZZ_NO_BUILD:-}" ]; then
    CC=clang BUILD_TARGETS="${targets[*]/#/fuzz_}" build $folder \
        -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS=-O1 -DSW2_FUZZ=ON
fi

seeds() { # folders of seeds of a target
    echo "tests/fuzz/corpus/$1"
    case $1 in
    recipe) echo models/recipes ;;
    h5) echo tests/golden/foreign ;;
    esac
}

found=0
for target in "${targets[@]}"; do
    program=$folder/tests/fuzz/fuzz_$target
    if [ ! -x "$program" ]; then
        echo "no fuzzer '$target' (tests/fuzz/fuzz_*.c)" >&2
        exit 2
    fi
    mkdir -p $folder/corpus/"$target" $folder/findings/"$target"
    log=$folder/findings/$target.log
    mapfile -t corpora < <(seeds "$target")
    most=8192
    [ "$target" != h5 ] && [ "$target" != checkpoint ] || most=20000
    # One process after the other, so that a fault ends one of them only.
    "$program" -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 -timeout=25 \
        -rss_limit_mb=2560 -max_len=$most -max_total_time="$seconds" \
        -artifact_prefix=$folder/findings/"$target"/ $folder/corpus/"$target" "${corpora[@]}" \
        >"$log" 2>&1 || true
    last=$(grep -a -E '^#[0-9]+: cov:' "$log" | tail -n 1 || true)
    n=$(find $folder/findings/"$target" -type f | wc -l)
    echo "$target: ${last:-no line of libFuzzer, see $log}; $n findings"
    found=$((found + n))
done
if [ "$found" -gt 0 ]; then
    echo "$found inputs in $folder/findings crash, hang or need too much memory" >&2
    exit 1
fi
