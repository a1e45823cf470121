#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fine-tuning: weights of another run, a new head, frozen layers bit for bit as they were, rates by
# layer; the same bits at any number of ranks and after a stop; and one clear error for what does
# not fit.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
export=$SW2_BIN/sw2-export

# array FILE.c NAME: the numbers of an array of the exported source, which has them in full.
array() {
    awk -v name="$2" '$4 ~ "^" name "\\[" { on = 1; next } /^};/ { on = 0 } on' "$1"
}
# source RUN: RUN.c, of its newest checkpoint.
source_of() {
    must "$export" "$1/checkpoints" "$1.c" --name net
}
same() {
    cmp <(array "$1.c" "$3") <(array "$2.c" "$3") || fail "$3 of $1 and $2 differ"
    [ "$(array "$1.c" "$3" | wc -l)" -gt 0 ] || fail "no $3 in $1.c"
}
differ() {
    ! cmp -s <(array "$1.c" "$3") <(array "$2.c" "$3") || fail "$3 of $1 and $2 are the same"
}
digest_of() { tail -1 "$1/metrics.csv" | tr , '\n' | grep -- '^[0-9a-f]\{16\}-'; }

base=(-o train.epochs=1 -o train.warmup=0 -o data.test= -q)
must "$train" "${base[@]}" --out first
source_of first

# Everything is taken, nothing learns but the head, which is new.
tune=("${base[@]}" -o train.seed=9 -o train.init_from=first/checkpoints)
must "$train" "${tune[@]}" -o 'train.init_skip=[head]' -o 'train.freeze=[features]' --out head
source_of head
for array in conv1_weight conv2_weight batchnorm1_scale batchnorm1_shift batchnorm2_scale; do
    same first head $array
done
differ first head dense1_weight

# Some frozen (statistics, too), others not; a slow layer; any number of ranks.
some=("${tune[@]}" -o 'train.freeze=[conv1, batchnorm1]' -o 'train.lr_scale=[conv2=0.1]')
for ranks in 1 2 4; do
    at $ranks "$train" "${some[@]}" --out some-$ranks >some.log 2>&1 || fail "$(cat some.log)"
    [ "$(digest_of some-$ranks)" = "$(digest_of some-1)" ] || fail "$ranks ranks: other weights"
done
source_of some-1
same first some-1 conv1_weight
same first some-1 batchnorm1_scale
same first some-1 batchnorm1_shift
differ first some-1 conv2_weight
differ first some-1 batchnorm2_shift

# A rate that is 1 changes nothing, another one does.
must "$train" "${tune[@]}" -o 'train.lr_scale=[conv2=1]' --out one
must "$train" "${tune[@]}" --out none
must "$train" "${tune[@]}" -o 'train.lr_scale=[features=0.1]' --out slow
source_of one && source_of none && source_of slow
for array in conv1_weight conv2_weight dense1_weight; do
    same one none $array
    differ slow none $array
done

# Stopped and resumed on other ranks, the first weights no longer there: the same bits.
stopped=("${some[@]}" -o train.checkpoint_steps=5 -o train.keep=100)
must "$train" "${stopped[@]}" --out whole
mkdir -p cut/checkpoints
cp whole/checkpoints/step-0000000010.h5 cut/checkpoints/
mv first gone
at 2 "$train" "${stopped[@]}" --out cut >cut.log 2>&1 || fail "$(cat cut.log)"
mv gone first
[ "$(digest_of cut)" = "$(digest_of whole)" ] || fail "resumed: other weights"

# The average of the weights starts from the given ones, too (lr 0: they stay).
must "$train" "${tune[@]}" -o train.ema=0.99 -o train.lr=0 --out mean
source_of mean
same first mean conv1_weight
same first mean dense1_weight

# Another head by its shape, from a file; the layers' own keys.
cat >other.yaml <<'END'
name: other
data: {train: "data.h5:/train"}
features:
  - conv: {out: 32, kernel: 3, pad: 1, bias: false, frozen: true}
  - batchnorm: {frozen: true}
  - relu: {}
  - conv: {out: 64, kernel: 3, pad: 1, bias: false, lr_scale: 0.1}
  - batchnorm: {}
  - relu: {}
  - maxpool: {kernel: 2}
head:
  - dense: {out: 4}
train: {batch: 16, grains: 2, epochs: 1}
END
must "$data" generate data.h5 --shape 10x10x1 --classes 4 --rows 64
first=$(echo first/checkpoints/step-*.h5)
must "$train" other.yaml -o "train.init_from=$first" -o 'train.init_skip=[dense1]' -q --out other
source_of other
same first other conv1_weight
same first other batchnorm1_shift

# refused CODE TEXT ARGUMENT...: one line that says so.
refused() { refuses "$train" "$1" "$2" --out never "${@:3}"; } # CODE TEXT ARGUMENT...
refused 2 "'/model/dense1/weight' is 1024 x 10, this network's is 1600 x 4, train.init_skip" \
    other.yaml -o "train.init_from=$first"
refused 2 "init_skip: 'dense7' fits no layer" "${tune[@]}" -o 'train.init_skip=[dense7]'
refused 2 "freeze: 'conv3' fits no layer, did you mean" "${tune[@]}" -o 'train.freeze=[conv3]'
refused 2 'every layer is frozen' "${tune[@]}" -o 'train.freeze=[features, head]'
refused 3 "init_from: no checkpoint in 'nowhere'" -o train.init_from=nowhere
head -c 3000 "$first" >damaged.h5
refused 3 'damaged.h5' -o train.init_from=damaged.h5
echo "frozen bits, new heads, rates by layer, 3 rank counts, a resume, 6 refusals"
