#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-predict: what sw2-eval counts, the same for pictures and for the rows made of them, at any
# number of ranks; and one clear error for what it cannot read.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
predict=$SW2_BIN/sw2-predict

must "$train" -o train.epochs=3 --out run
file=run/checkpoints/best.h5
test_rows=$SW2_SOURCE/data/digits.h5:/test

# Accuracy over the answers is sw2-eval's.
"$predict" $file "$test_rows" -k 1 -f csv >answers.csv
"$evaluate" $file --json report.json >/dev/null
"$evaluate" $file "$test_rows" --json report2.json >/dev/null
cmp <(grep -A 99 confusion report.json) <(grep -A 99 confusion report2.json)
tail -n +2 answers.csv | cut -d, -f3 | sort | uniq -c | awk '{ print $2, $1 }' >predicted
grep -A 99 '"confusion"' report.json | tail -n +2 | tr -d '][},' |
    awk '{ for (j = 1; j <= NF; j++) n[j - 1] += $j }
        END { for (j = 0; j < 10; j++) if (n[j]) print j, n[j] }' >counted
cmp predicted counted
[ "$(tail -n +2 answers.csv | wc -l)" = "$(awk '{ s += $2 } END { print s }' counted)" ]

# Pictures, and the rows of the data set that is made of them: the same answers.
for class in 0 1 2; do
    mkdir -p pictures/$class
    for i in 1 2 3 4 5; do
        awk -v seed=$((class * 10 + i)) 'BEGIN { srand(seed); print "P2 8 8 255"
            for (k = 0; k < 64; k++) print int(256 * rand()) }' >pictures/$class/$i.pgm
    done
done
must "$data" import pictures rows.h5
"$predict" $file pictures -f csv --chunk 4 | cut -d, -f2- >from.pictures
"$predict" $file rows.h5:/train -f csv --chunk 4 | cut -d, -f2- >from.rows
cmp from.pictures from.rows
[ "$(wc -l <from.rows)" = 46 ] # a head, and three classes for each of 15
awk -F, 'NR > 1 { sum[int((NR - 2) / 3)] += $4; if ($4 > last && $1 > 1) bad = 1; last = $4 }
    END { for (i in sum) if (sum[i] > 1.000001 || sum[i] <= 0) bad = 1; exit bad }' from.rows

# The same bytes at any number of ranks, also where a picture is damaged.
head -c 40 pictures/1/3.pgm >pictures/1/cut.pgm
code=0
"$predict" $file pictures rows.h5:/train \
    -f jsonl --keep-going --chunk 3 >one.jsonl 2>one.err || code=$?
[ $code = 3 ] || fail "exit code $code where one picture is damaged"
grep -c '"error": "pictures/1/cut.pgm: ' one.jsonl | grep -qx 1
for ranks in 2 3 5; do
    at $ranks "$predict" $file pictures rows.h5:/train \
    -f jsonl --keep-going --chunk 3 -O many.jsonl \
        >/dev/null 2>&1 && fail "no exit code"
    cmp one.jsonl many.jsonl
done
python3 -c 'import json, sys
lines = [json.loads(line) for line in open("one.jsonl")]
assert len(lines) == 31 and sum("error" in line for line in lines) == 1' 2>python.err ||
    ! command -v python3 >/dev/null || fail "no JSON lines: $(cat python.err)"

refused() { refuses "$predict" "$@"; } # CODE TEXT ARGUMENT...
refused 3 'cut.pgm' $file pictures
printf 'P5 3 2 255\nabcdef' >small.pgm
refused 3 'small.pgm: is 2x3, expected 8x8 (fit: ' $file small.pgm
must "$predict" $file small.pgm --fit crop
must "$predict" $file small.pgm --fit stretch
refused 3 'is neither a picture' $file run/metrics.csv
refused 3 'nowhere.png: No such file' $file nowhere.png
mkdir empty
refused 3 'empty: holds no picture' $file empty
refused 2 'fit' $file small.pgm --fit squeeze
must "$data" generate grey.h5 --shape 28x28x1 --rows 20
refused 3 'rows are 28x28x1 of uint8, the network was trained on 8x8x1' $file grey.h5:/train
head -c 3000 $file >damaged.h5
refused 3 'damaged.h5' damaged.h5 small.pgm
refused 1 "cannot write 'nowhere/out'" $file small.pgm --fit crop -O nowhere/out
echo "15 pictures and their rows, 4 rank counts, 10 refusals"
