#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-eval: the same report at any number of ranks, the numbers that training wrote, and a
# confusion matrix that all the rest follows from.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

must "$data" generate grey.h5 --shape 28x28x1 --rows 503 --test-rows 211
run=(fashion -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=32
    -o train.steps=20 -o train.epochs=4 -o train.ema=0.8)
must at 2 "$train" "${run[@]}" --out run
file=run/checkpoints/step-0000000020.h5

# A grain has 4 samples in this run, and so had its tests.
at 1 "$evaluate" $file --chunk 4 --json - >report.1
for ranks in 2 3 5 8; do
    at $ranks "$evaluate" $file --chunk 4 --json - >report.$ranks
    cmp report.1 report.$ranks
done
must at 3 "$evaluate" run/checkpoints --chunk 4 --json report.folder # the newest one
diff <(sed 's/"checkpoint": "[^"]*"//' report.1) <(sed 's/"checkpoint": "[^"]*"//' report.folder)

value() { # FILE KEY
    sed -n "s/^{.*\"$2\": \([0-9.e+-]*\).*/\1/p" "$1"
}
column() { # of the last row
    awk -F, -v want="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == want) at = i }
        END { print $at }' run/metrics.csv
}
for name in loss accuracy top5; do
    awk -v a="$(value report.1 $name)" -v b="$(column test_$name)" 'BEGIN {
        exit !(a != "" && b != "" && a - b < 1e-12 && b - a < 1e-12) }' ||
        fail "$name: evaluated $(value report.1 $name), in training $(column test_$name)"
done

# check FILE: rows are the truth; samples, accuracy, precision and recall follow.
check() {
    grep -A 100 '"confusion"' "$1" | tail -n +2 | tr -d '][},' >matrix
    awk -v samples="$(value "$1" samples)" -v accuracy="$(value "$1" accuracy)" '
        function near(a, b) { return a - b < 1e-9 && b - a < 1e-9 }
        FNR == NR { for (j = 1; j <= NF; j++) { n[FNR, j] = $j; row[FNR] += $j; column[j] += $j
            all += $j }; right += $FNR; classes = FNR; next }
        /"class":/ {
            gsub(/[{},\]]/, ""); k = $2 + 1; seen++
            for (i = 1; i < NF; i++) field[$i] = $(i + 1)
            if (field["\"samples\":"] != row[k] ||
                !near(field["\"precision\":"], column[k] ? n[k, k] / column[k] : 0) ||
                !near(field["\"recall\":"], row[k] ? n[k, k] / row[k] : 0)) {
                print "class " k - 1 " does not follow from the matrix"; bad = 1 }
        }
        END {
            if (classes != 10 || seen != 10 || all != samples || samples != 211 ||
                !near(accuracy, right / all)) {
                print classes " classes, " all " of " samples " samples, " right " right"; bad = 1 }
            exit bad
        }' matrix "$1" || { cat "$1"; fail "the report contradicts itself"; }
}
check report.1

# The averaged weights are others than the last ones, and auto takes them.
at 1 "$evaluate" $file --chunk 4 --json - --weights ema >report.ema
cmp report.1 report.ema
at 3 "$evaluate" $file --chunk 4 --json - --weights model >report.model
check report.model
[ "$(value report.1 loss)" != "$(value report.model loss)" ] || fail "EMA and model are alike"

# As text, and on other data: the training rows have another count.
at 3 "$evaluate" $file grey.h5:/train >text
grep -q '503 samples' text && grep -q 'confusion matrix' text || { cat text; fail "no report"; }
echo "the same report at 1 2 3 5 8 ranks, loss $(value report.1 loss)"

# Trained in bf16: evaluated in it where the machine can, else in fp32 with a warning.
if "$train" digits --plan -o train.precision=bf16 >/dev/null 2>&1; then
    must at 1 "$train" digits -o train.epochs=2 -o train.precision=bf16 --out bf16 -q
    at 3 "$evaluate" bf16/checkpoints --json - >report.bf16
    SW2_ISA=avx2 at 3 "$evaluate" bf16/checkpoints --json - >report.fp32 2>warning
    grep -q 'warning: trained with precision: bf16.*SW2_ISA is avx2.*fp32' warning &&
        [ "$(wc -l <warning)" = 1 ] || { cat warning; fail "expected one warning"; }
    awk -v a="$(value report.bf16 loss)" -v b="$(value report.fp32 loss)" 'BEGIN {
        exit !(a != b && a - b < 0.01 && b - a < 0.01) }' || fail "bf16 and fp32: losses"
fi
