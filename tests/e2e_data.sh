#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-data as a person uses it: import, info, check, generate; interrupted, on a full disk, with bad
# input: each its exit code and one message, and nothing half-written.
set -euo pipefail
bin=${SW2_BIN:?folder of the programs}/sw2-data
source_folder=${SW2_SOURCE:?folder of the sources}
work=$(mktemp -d "${TMPDIR:-/tmp}/sw2-e2e-data-XXXXXX")
trap 'umount "$work/disk" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "e2e_data: $*" >&2
    exit 1
}

# expect CODE PATTERN COMMAND...: exit code, exactly one line on stderr that matches (none for 0).
expect() {
    local code=$1 pattern=$2 got=0
    shift 2
    "$@" >out.txt 2>err.txt || got=$?
    [ "$got" = "$code" ] || fail "exit code $got, expected $code: $* ($(cat err.txt))"
    if [ "$code" = 0 ]; then
        [ ! -s err.txt ] || fail "message without error: $* ($(cat err.txt))"
        grep -q -- "$pattern" out.txt || fail "no '$pattern' in the output of $*: $(cat out.txt)"
    else
        [ "$(wc -l <err.txt)" = 1 ] || fail "not one message: $* ($(cat err.txt))"
        grep -q "^sw2-data: error: .*$pattern" err.txt || fail "no '$pattern': $(cat err.txt)"
    fi
}

no_leftovers() {
    local left
    left=$(find . -name '*.tmp.*' | head -1)
    [ -z "$left" ] || fail "left behind: $left"
}

# --- help
expect 0 'Commands:' "$bin" --help
for command in import info check generate; do
    expect 0 "Usage: sw2-data $command" "$bin" "$command" --help
    expect 0 "Usage: sw2-data $command" "$bin" help "$command"
done
expect 0 'sw2-data' "$bin" --version
expect 2 "a command is missing" "$bin"
expect 2 "did you mean 'import'" "$bin" imprt
expect 2 "did you mean '--split'" "$bin" import a b.h5 --spilt 0.1
expect 2 "ends in .h5" "$bin" import a.csv b.csv
expect 2 "needs 2 arguments" "$bin" import a.h5

# --- a table of 300 rows, a folder of pictures
awk 'BEGIN { print "width,height,kind"; for (i = 0; i < 300; i++)
    print i % 17 + i / 1000 "," i * 7 % 23 "," (i % 3 ? "round" : "flat") }' >table.csv
mkdir -p photos/dark photos/light
for i in 1 2 3 4 5; do
    { printf 'P5 4 3 255\n'; printf "\\x0$i%.0s" {1..12}; } >photos/dark/$i.pgm
    { printf 'P5 4 3 255\n'; printf "\\xf$i%.0s" {1..12}; } >photos/light/$i.pgm
done
expect 0 '240 training and 60 test rows of 1x1x2 float32, 2 classes' \
    "$bin" import table.csv table.h5 --split 0.2 --shuffle
expect 0 'classes    2: flat, round' "$bin" info table.h5
expect 0 'as test data: table.h5:/test: 60 rows' "$bin" info table.h5
expect 0 '0 errors, 0 warnings' "$bin" check table.h5
expect 0 '10 training rows of 4x4x1 uint8' "$bin" import photos photos.h5 --resize 4x4
expect 0 '10 rows are blank' "$bin" check photos.h5
expect 3 'found 1 error or warnings' "$bin" check --strict photos.h5
expect 0 '12 training and 4 test rows of 6x5x3' \
    "$bin" generate made.h5 --shape 6x5x3 --classes 4 --rows 12 --test-rows 4
expect 0 'no test row is a training row' "$bin" check made.h5
# the same again is the same file; over an older one
cp table.h5 before.h5
expect 0 '240 training' "$bin" import table.csv table.h5 --split 0.2 --shuffle
cmp table.h5 before.h5 || fail "the same import gave another file"
expect 0 '240 training' "$bin" import table.csv table.h5 --split 0.2 --shuffle --seed 2
! cmp -s table.h5 before.h5 || fail "another seed gave the same file"
cp before.h5 table.h5

# --- the embedded digits: whole, and what the script makes from the source
expect 0 '0 errors, 0 warnings' "$bin" check "$source_folder/data/digits.h5"
expect 0 '1437 x 8 x 8 x 1' "$bin" info "$source_folder/data/digits.h5"

# For scripts.
json() { # COMMAND... then a python expression of the answer d
    local expression=${*: -1} code=0
    "$bin" "${@:1:$#-1}" --json >answer.json 2>answer.err || code=$?
    command -v python3 >/dev/null || return 0
    python3 -c 'import json, sys; d = json.load(open("answer.json")); code = int(sys.argv[2])
assert eval(sys.argv[1]), d' "$expression" $code || {
        echo "FAILED: $*"
        cat answer.json answer.err
        exit 1
    }
}
json info table.h5 'd["test"]["rows"] == 60 and d["train"]["classes"] == ["flat", "round"]'
json info "$source_folder/data/digits.h5" \
    'd["train"]["shape"] == [8, 8, 1] and d["train"]["input"] == "uint8"'
json check table.h5 'code == 0 and d["errors"] == 0 and d["train_rows"] > 0 and d["findings"]'
json check photos.h5 --strict 'code == 3 and [f for f in d["findings"] if f["level"] == "warning"]'
if [ -e "${SW2_DATA:-}/digits8x8/digits.csv.gz" ]; then
    grep digest out.txt >digests.txt
    bash "$source_folder/scripts/make_digits.sh" "$SW2_DATA/digits8x8" digits.h5 >/dev/null
    expect 0 '1437 x 8 x 8 x 1' "$bin" info digits.h5
    grep digest out.txt | cmp - digests.txt || fail "make_digits.sh makes another digits.h5"
else
    echo "e2e_data: digits.h5 is not made anew: no digits8x8/digits.csv.gz below \$SW2_DATA"
fi

# --- bad input: exit codes, one message, the old output untouched
printf 'a,b\n1,2\nx,3\n' >bad.csv
printf '\x00\x00\x08\x03\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00\x02abc' >x-images-idx3-ubyte
printf '\x00\x00\x08\x01\x00\x00\x00\x05\x01\x02\x03\x04\x05' >x-labels-idx1-ubyte
head -c 100 photos/dark/1.pgm >photos.txt
mkdir -p torn/a torn/b
cp photos/dark/1.pgm torn/a
head -c 15 photos/light/1.pgm >torn/b/1.pgm
head -c 1000 table.h5 >torn.h5
expect 3 'bad.csv: line 3, column 1 (a)' "$bin" import bad.csv table.h5
expect 3 'truncated' "$bin" import x-images-idx3-ubyte table.h5
expect 3 'b/1.pgm: truncated' "$bin" import torn table.h5
expect 3 'nothing.csv: No such file' "$bin" import nothing.csv table.h5
expect 3 'no importer knows' "$bin" import photos.txt table.h5
expect 3 'torn.h5' "$bin" info torn.h5
expect 3 'torn.h5' "$bin" check torn.h5
expect 3 'nothing.h5' "$bin" check nothing.h5
expect 3 'photos.txt' "$bin" info photos.txt
expect 2 'did you mean .folder.' "$bin" import photos table.h5 --format foldr
expect 2 'expected sizes like 32x32' "$bin" import photos table.h5 --resize 32by32
expect 2 'no training row' "$bin" import table.csv table.h5 --split 300
expect 2 'did you mean .width' "$bin" import table.csv table.h5 --target widht
expect 2 'both input and output' "$bin" import table.h5 table.h5 --format csv
expect 1 'cannot write none/out.h5' "$bin" import table.csv none/out.h5
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod 555 locked
    expect 1 'cannot write locked/out.h5' "$bin" import table.csv locked/out.h5
fi
cmp table.h5 before.h5 || fail "a failed import changed its output"
no_leftovers

# --- a full disk: a limit on file size stands for it, and a small disk where we may mount one
limited() {
    (ulimit -f 2 && exec "$@") # 2 KiB or 1 KiB blocks, as the shell counts
}
expect 1 'cannot write table.h5' limited "$bin" import table.csv table.h5
cmp table.h5 before.h5 || fail "a full disk changed the output"
no_leftovers
mkdir disk
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k tmpfs disk 2>/dev/null; then
    expect 1 'disk has 0 MiB free' "$bin" generate disk/a.h5 --rows 100
    dd if=/dev/zero of=disk/filler bs=1k count=50 2>/dev/null
    expect 0 'training' "$bin" import photos disk/small.h5
    [ "$(ls disk)" = "filler
small.h5" ] || fail "left on the disk: $(ls disk)"
    umount disk
fi

# --- interrupted: exit code 1, nothing written
for signal in INT TERM HUP; do
    got=0
    # bash starts background jobs with INT ignored
    (trap - INT; exec "$bin" generate big.h5 --shape 224x224x3 --rows 10000 >out.txt 2>err.txt) &
    pid=$!
    for _ in $(seq 100); do
        compgen -G 'big.h5.tmp.*' >/dev/null && break
        sleep 0.05
    done
    compgen -G 'big.h5.tmp.*' >/dev/null || fail "generate did not start"
    kill -"$signal" "$pid"
    wait "$pid" || got=$?
    [ "$got" = 1 ] || fail "SIG$signal: exit code $got, expected 1 ($(cat err.txt))"
    [ "$(cat err.txt)" = "sw2-data: error: interrupted: nothing written" ] || fail "$(cat err.txt)"
    [ ! -e big.h5 ] || fail "SIG$signal left big.h5"
    no_leftovers
done
echo "e2e_data: ok"
