#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-explain: the same bytes at any number of ranks, complete folders, measures that make sense,
# and one clear error for what cannot be.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
explain=$SW2_BIN/sw2-explain

must "$train" -o train.epochs=3 --out run
file=run/checkpoints/best.h5
for i in 1 2 3 4 5; do
    mkdir -p pictures
    awk -v seed="$i" 'BEGIN { srand(seed); print "P2 8 8 255"
        for (k = 0; k < 64; k++) print int(256 * rand()) }' >pictures/$i.pgm
done

# All methods and measures; everything is there, and the folder has the same bytes at any number of
# ranks, also where a picture is damaged.
head -c 40 pictures/3.pgm >pictures/bad.pgm
all=(--quality --sanity 2 --keep-going --steps 20 --samples 8 --rows 4)
for ranks in 1 2 4; do
    code=0
    at $ranks "$explain" $file pictures --out out$ranks "${all[@]}" >log.$ranks 2>err.$ranks ||
        code=$?
    [ $code = 3 ] || fail "exit code $code where one picture is damaged: $(cat err.$ranks)"
    grep -q '1 of 6 inputs could not be read; out' err.$ranks
done
for ranks in 2 4; do
    diff -r out1 out$ranks || fail "other bytes at $ranks ranks"
done
[ "$(find out1 -name '*.png' | wc -l)" = 48 ] # 5 inputs, 8 methods and channels; 2 sheets; filters
[ "$(find out1 -name '*.tmp.*' | wc -l)" = 0 ]
[ "$(wc -l <out1/explanations.jsonl)" = 6 ]
grep -c '"error": "pictures/bad.pgm: ' out1/explanations.jsonl | grep -qx 1
grep -q 'layer .*positions' log.1
grep -q 'random4' log.1
for name in explanations.h5 summary.json filters.png sheet-0001.png sheet-0002.png; do
    [ -s out1/$name ] || fail "no $name"
done
# The pictures are pictures: the importer reads them all.
mkdir -p import/a && cp out1/00000[0-4]-*adxinput.png import/a
must "$data" import import pictures.h5

# JSON for scripts, with HDF5 rows as inputs.
must "$data" generate rows.h5 --shape 8x8x1 --rows 20
"$explain" $file rows.h5:/train --out rows -m integrated,gradcam --no-overlays --json - \
    >summary.json
cmp summary.json rows/summary.json
[ "$(find rows -type f | wc -l)" = 6 ] # 2 sheets, filters, HDF5, lines, summary
if command -v python3 >/dev/null; then
    python3 - <<'END'
import json
summary = json.load(open("out1/summary.json"))
assert summary["inputs"] == 5 and summary["bad"] == 1 and summary["filters"], summary
assert summary["completeness"] < 0.1, summary["completeness"]
assert len(summary["quality"]) == 8 and len(summary["sanity"]) == 8
for name, measures in summary["quality"].items():
    assert 0 <= measures["deletion"] <= 1 and 0 <= measures["insertion"] <= 1, name
    assert 0 <= measures["unexplained"] <= 1 and -1 <= measures["sensitivity_n"] <= 1, name
lines = [json.loads(line) for line in open("out1/explanations.jsonl")]
assert [line["number"] for line in lines] == list(range(6))
assert sum("sanity" in line for line in lines) == 2
assert all(line["class"] == line["predicted"] for line in lines if "class" in line)
END
fi

# The digits' own test set: integrated gradients order pixels better than the activations alone
# (deletion), and gradients of a network with random weights look otherwise.
"$explain" $file "$SW2_SOURCE/data/digits.h5:/test" --out digits --quality --sanity 12 \
    --no-overlays -m gradient,gradxinput,integrated,smoothgrad,activation >digits.log
awk '/^ *integrated grad\. / { ig = $3; for (i = NF - 3; i <= NF; i++) if ($i > 0.5) bad = 1 }
    /^ *activation / { act = $2 }
    END { exit bad || !(ig > 0 && ig < 0.8 * act) }' digits.log || {
    cat digits.log
    fail "measures of digits"
}

# A chosen class, another layer; the folder must be new or forced, and an earlier run goes.
must "$explain" $file pictures/1.pgm --out again --class 7
grep -q '"class": 7, ' again/explanations.jsonl
touch again/notes.txt
must "$explain" $file pictures/1.pgm --out again --force -m gradcam -l conv1 -c 2
[ "$(cd again && echo *)" = "000000-gradcam.png explanations.h5 explanations.jsonl filters.png \
notes.txt sheet-0001.png summary.json" ] || fail "left: $(cd again && echo *)"

# refused CODE TEXT ARGUMENT...: one line that says so, and no folder.
refused() {
    refuses "$explain" "$@" --out none
    [ ! -e none/summary.json ] || fail "a summary in spite of: $*"
    rm -rf none
}
refused 2 "unknown layer 'conv11', did you mean 'conv1'" $file pictures/1.pgm -l conv11
refused 2 "'dense1' gives 10 numbers without positions" $file pictures/1.pgm -l dense1
refused 2 "knows no class 'cat'" $file pictures/1.pgm --class cat
refused 2 'network has outputs 0 to 9' $file pictures/1.pgm --class 10
refused 2 "unknown method 'gradcan', did you mean 'gradcam'" $file pictures/1.pgm -m \
    occlusion,gradcan
refused 3 'bad.pgm' $file pictures
printf 'P5 3 2 255\nabcdef' >small.pgm
refused 3 'small.pgm: is 2x3, expected 8x8 (fit: ' $file small.pgm
refused 3 'nowhere.png: No such file' $file nowhere.png
must "$data" generate grey.h5 --shape 28x28x1 --rows 20
refused 3 'rows are 28x28x1 of uint8, the network was trained on 8x8x1' $file grey.h5:/train
head -c 3000 $file >damaged.h5
refused 3 'damaged.h5' damaged.h5 pictures/1.pgm
code=0
"$explain" $file pictures/1.pgm --out again 2>refused.err || code=$?
[ $code = 2 ] || fail "exit code $code for a folder that exists"
grep -q "folder 'again' exists: .*--force" refused.err
code=0
"$explain" $file pictures/1.pgm --out nowhere/out 2>refused.err || code=$?
[ $code = 1 ] || fail "exit code $code for a folder that cannot be"
grep -q "cannot make the folder 'nowhere/out'" refused.err
echo "8 methods, 3 rank counts, 12 refusals"
