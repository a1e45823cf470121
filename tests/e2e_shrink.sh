#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-shrink: a faster network at nearly the same accuracy, an ordinary run; stopped, it goes on at
# any number of ranks; and one clear error for what cannot be.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
shrink=$SW2_BIN/sw2-shrink
predict=$SW2_BIN/sw2-predict

must "$train" -o train.epochs=6 --out run
file=run/checkpoints/best.h5
must at 2 "$shrink" $file --speedup 1.5 --epochs 2 --last-epochs 2 --out small
accuracy() { "$evaluate" "$1" | sed -n 's/.*accuracy *\([0-9.]*\) %.*/\1/p' | head -1; }
before=$(accuracy $file)
after=$(accuracy small/round-2/checkpoints/best.h5)
awk -v a="$before" -v b="$after" 'BEGIN { exit !(a > 90 && b > a - 5) }' ||
    fail "accuracy $before became $after"
awk -F, 'NR == 2 { flops = $5 } END { exit !(NR == 4 && $2 >= 1.3 && $5 < flops) }' \
    small/shrink.csv || fail "$(cat small/shrink.csv)"
grep -q '<svg' small/shrink.svg || fail "no plot"
! command -v python3 >/dev/null || python3 -c 'import json; json.load(open("small/shrink.json"))'

# What is left of a channel or two less is nearly what was there, without any training on.
must "$shrink" $file --speedup 1.2 --rounds 1 --last-epochs 1 --lr 0.00001 --out still
awk -v b="$(accuracy still/round-1/checkpoints/best.h5)" 'BEGIN { exit !(b > 70) }' ||
    fail "the weights are not those of the network before"

# The result is a run like any other.
must "$train" small/round-2/recipe.yaml --plan
must "$predict" small/round-2/checkpoints/best.h5 "$SW2_SOURCE/data/digits.h5:/test" -O answers
metrics_are_whole small/round-1 2
[ "$(sed -n 's/.*"name": "\(.*\)".*/\1/p;s/^name: //p' small/round-2/recipe.yaml)" = digits-x1.5 ]

# Stopped in a round, the same command goes on with the network that it had chosen, here on more
# ranks, to the same weights.
must "$shrink" $file --speedup 1.3 --rounds 1 --last-epochs 2 --out whole
cp -r whole stopped
rm stopped/shrink.* stopped/round-1/metrics.* stopped/round-1/checkpoints/best.h5
ls stopped/round-1/checkpoints/step-*.h5 | tail -n +2 | xargs -r rm
must at 3 "$shrink" $file --speedup 1.3 --rounds 1 --last-epochs 2 --out stopped
[ "$(tail -n 1 stopped/round-1/metrics.csv | sed 's/.*,//')" = \
    "$(tail -n 1 whole/round-1/metrics.csv | sed 's/.*,//')" ] || fail "another network"

# Of residual blocks as narrow as a vector of the machine, whole bodies go.
cat >blocks.yaml <<'END'
name: blocks
data: {train: "digits.h5:/train", test: "digits.h5:/test", transforms: [{normalize: {}}]}
features:
  - conv: {out: 16, kernel: 3, pad: 1, bias: false}
  - batchnorm: {}
  - relu: {}
  - repeat:
      times: 4
      layers:
        - residual:
            body:
              - conv: {out: 16, kernel: 3, pad: 1, bias: false}
              - batchnorm: {}
              - relu: {}
              - conv: {out: 16, kernel: 3, pad: 1, bias: false}
              - batchnorm: {}
        - relu: {}
head:
  - globalpool: {}
  - dense: {out: 10}
train: {batch: 64, grains: 8, epochs: 4, lr: 0.1, schedule: cosine, warmup: 1}
END
ln -s "$SW2_SOURCE/data/digits.h5" .
must "$train" blocks.yaml --out blocks
must "$shrink" blocks/checkpoints/best.h5 --epochs 2 --last-epochs 8 --out shallow
last=shallow/round-2
grep -q 'residual body of add[1-4] gone' must.log || fail "no body is gone"
awk -F, 'END { exit !($2 >= 1.6) }' shallow/shrink.csv || fail "$(cat shallow/shrink.csv)"
bodies=$(grep -c -- '- add:' $last/recipe.yaml || true)
[ "$bodies" -lt 3 ] || fail "$bodies bodies are left"
before=$(accuracy blocks/checkpoints/best.h5)
after=$(accuracy $last/checkpoints/best.h5)
awk -v a="$before" -v b="$after" 'BEGIN { exit !(a > 85 && b > a - 5) }' ||
    fail "accuracy $before became $after"
must "$train" $last/recipe.yaml --plan
must "$predict" $last/checkpoints/best.h5 digits.h5:/test -O answers

refused() { refuses "$shrink" "$@"; } # CODE TEXT ARGUMENT...
refused 2 'cannot be reached' $file --speedup 90 --rounds 1 --out much
[ ! -e much/round-1 ] || fail "half a round"
refused 3 "none.h5" none.h5 --out nothing
refused 2 '--speedup' $file --speedup 0.5
head -c 1000 $file >cut.h5
refused 3 'cut.h5' cut.h5 --out nothing
