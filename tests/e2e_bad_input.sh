#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bad input, each at one rank and at three: the documented exit code, one message that says what is
# wrong, no hang, nothing half-written.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

rank_counts="1 3"
cases=0

# bad CODE WORDS command...: WORDS is a regular expression; the message stands on stderr, on one
# line. (mpirun -q adds nothing of its own.)
bad() {
    local code=$1 words=$2 got ranks at_ranks=$rank_counts
    shift 2
    # Sanitizers make every process slow to end: then the cases take turns.
    [ -z "$quick" ] || [ "$rank_counts" != "1 3" ] || at_ranks=$((1 + cases % 2 * 2))
    for ranks in $at_ranks; do
        got=0
        rm -rf out
        at "$ranks" timeout -k 5 60 "$@" >stdout 2>stderr || got=$?
        # This machine may have fewer cores than three, which is said and is no part of it.
        sed -i '/: warning: [0-9]* ranks share [0-9]* cores\{0,1\} of host /d' stderr
        [ $got = "$code" ] && [ "$(grep -c 'error:' stderr)" = 1 ] && [ "$(wc -l <stderr)" = 1 ] &&
            grep -q -e "error: .*$words" stderr || {
            cat stdout stderr
            fail "$ranks ranks, exit code $got; expected $code and one error with '$words' from: $*"
        }
        [ -z "$(find . -name '*.tmp*' -o -name '*.part')" ] || fail "half-written files from: $*"
    done
    cases=$((cases + 1))
}

must "$data" generate good.h5 --shape 28x28x1 --rows 300 --test-rows 60
good=(-o data.train=good.h5:/train -o data.test=good.h5:/test -o train.batch=16)

# recipe FILE: the text of stdin with ordinary data and training; a dense head, if it has none.
recipe() {
    {
        echo 'data: {train: good.h5:/train, test: good.h5:/test, transforms: [{normalize: {}}]}'
        cat
    } >"$1"
    grep -q '^loss:' "$1" || echo 'loss: {softmax: {}}' >>"$1"
    grep -q '^head:' "$1" || echo 'head: [{dense: {out: 10}}]' >>"$1"
    grep -q '^train:' "$1" || echo 'train: {batch: 16, epochs: 2}' >>"$1"
}
bad_recipe() { # CODE WORDS, and the recipe's text on stdin
    recipe bad.yaml
    bad "$1" "$2" "$train" bad.yaml --out out
    [ ! -e out ] || fail "a bad recipe made a run folder"
}

# The command line.
bad 2 "recipe 'nosuch' not found" "$train" nosuch
bad 2 "unknown option '--sede', did you mean '--seed'" "$train" --sede 3
bad 2 "--seed.*'many'" "$train" --seed many
bad 2 "unexpected argument 'b'" "$train" a b
bad 2 "unknown key 'epohcs' in train, did you mean 'epochs'" "$train" -o train.epohcs=3
bad 2 "unknown key 'tarin' in the recipe, did you mean 'train'" "$train" -o tarin.epochs=3
bad 2 "'lr' in train is 'fast', expected a number" "$train" -o train.lr=fast
bad 2 "'lr' in train is '-1', expected 0 to" "$train" -o train.lr=-1
bad 2 "'optimizer' in train is 'sdg', did you mean 'sgd'" "$train" -o train.optimizer=sdg
bad 2 "'schedule' in train is 'cosin', did you mean 'cosine'" "$train" -o train.schedule=cosin
bad 2 'train.epochs' "$train" -o train.epochs
bad 2 'batch: 100 is not a multiple of grains: 8.*96 and 104' "$train" -o train.batch=100
bad 2 'grains: 6 is not a power of two.*4 and 8' "$train" -o train.grains=6
bad 2 'batch: 4 samples cannot be cut into 8 grains' "$train" -o train.batch=4
bad 2 'warmup of 20 epochs.*epochs: 15' "$train" -o train.warmup=20
bad 2 'nesterov is an option of optimizer: sgd' "$train" -o train.optimizer=lars
bad 2 'precision: bf16 .*precision: fp32' env SW2_ISA=avx2 "$train" -o train.precision=bf16
if "$train" digits --plan -o train.precision=bf16 >/dev/null 2>&1; then
    # shellcheck disable=SC2016
    one_without='[ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-1}}" = 1 ] && export SW2_ISA=avx512
        exec "$0" "$@"'
    bad 2 'precision: bf16 .*rank [01] (.*): SW2_ISA is avx512.*precision: fp32' \
        bash -c "$one_without" "$train" digits -o train.precision=bf16
fi
bad 2 'too few for one step' "$train" digits -o train.batch=8192

# The recipe's text: the line is named.
bad_recipe 2 "bad.yaml:3: unknown layer 'cnov', did you mean 'conv'" <<'END'
features:
  - cnov: {out: 8, kernel: 3}
END
bad_recipe 2 "bad.yaml:3: unknown key 'kernle' in .*conv.*, did you mean 'kernel'" <<'END'
features:
  - conv: {out: 8, kernle: 3}
END
bad_recipe 2 "bad.yaml:4: .*'out'.* 'many'" <<'END'
features:
  - relu: {}
  - conv: {out: many, kernel: 3}
END
bad_recipe 2 "bad.yaml:3: layer conv lacks 'out'" <<'END'
features:
  - conv: {kernel: 3}
END
bad_recipe 2 "bad.yaml:4: .*unknown loss 'sotfmax', did you mean 'softmax'" <<'END'
features: [{relu: {}}]

loss: {sotfmax: {}}
END
bad_recipe 2 "bad.yaml:2: unknown key 'feature' in the recipe, did you mean 'features'" <<'END'
feature: [{relu: {}}]
END
bad_recipe 2 'bad.yaml:3: .*train' <<'END'
features: [{relu: {}}]
train: [1, 2]
END
bad_recipe 2 'bad.yaml:[34]: ' <<'END'
features:
  - conv: {out: 8, kernel: 3
head: [{dense: {out: 10}}]
END
bad_recipe 2 'bad.yaml:3: .*features' <<'END'
features: [{relu: {}}]
features: [{relu: {}}]
END
: >nothing.yaml
bad 2 'nothing.yaml' "$train" nothing.yaml
printf 'a: \377\376\n' >bytes.yaml
bad 2 'bytes.yaml' "$train" bytes.yaml

# Shapes that do not fit: layer and shapes are named.
bad_recipe 2 "layer 'conv1' .*kernel 40 x 40 .*28 x 28 x 1" <<'END'
features: [{conv: {out: 8, kernel: 40}}]
END
bad_recipe 2 "layer 'maxpool1' (line 2): kernel 1x3 does not fit its input of 1x1x1" <<'END'
features: [{globalpool: {}}, {maxpool: {kernel: 3}}]
END
bad_recipe 2 "layer 'conv1' (line 2): .*groups" <<'END'
features: [{conv: {out: 8, kernel: 3, groups: 3}}]
END
bad_recipe 2 "layer 'add1' (line 4): .*the first is 26x26x8 .*input 2 is 28x28x8" <<'END'
features:
  - conv: {out: 8, kernel: 1}
  - residual:
      body:
        - conv: {out: 8, kernel: 3}
END
bad_recipe 2 'gives 7 logits.*10 classes' <<'END'
features: [{relu: {}}]
head: [{dense: {out: 7}}]
END

# Data: missing, empty, truncated, damaged, something else, out of range.
with() { # CODE WORDS OPTION...
    local code=$1 words=$2
    shift 2
    bad "$code" "$words" "$train" mnist "${good[@]}" --out out "$@"
}
head -c 100000 good.h5 >cut.h5
echo 'not HDF5' >text.h5
: >empty.h5
# The superblock stays, then rubbish that is the same each time.
{ head -c 40 good.h5 && printf '%0600d' 7 && tail -c +641 good.h5; } >damaged.h5
# Labels are int64 0, 1, 2 ... in a row: one of them becomes negative, or not what there should be.
labels=$(grep -obUaP '(\x00|\x01|\x02|\x03|\x04|\x05|\x06|\x07|\x08|\x09)\x00{7}(.\x00{7}){90}' \
    good.h5 | head -n 1 | cut -d : -f 1 || true)
[ -n "$labels" ] || fail "no labels found in good.h5"
poke() { # FILE OFFSET BYTES
    cp good.h5 "$1"
    # shellcheck disable=SC2059
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
poke negative.h5 $((labels + 80)) '\377\377\377\377\377\377\377\377'
poke large.h5 $((labels + 80)) '\143'
with 3 'no data file nosuch.h5' -o data.train=nosuch.h5
with 3 'empty.h5 is empty' -o data.train=empty.h5
with 3 'text.h5 is not an HDF5 file' -o data.train=text.h5
with 3 'cut.h5 is truncated' -o data.train=cut.h5
with 3 'damaged.h5.* damaged' -o data.train=damaged.h5
mkdir folder.h5
with 3 'cannot open folder.h5: not a regular file' -o data.train=folder.h5
with 3 "has no group '/trian'" -o data.train=good.h5:/trian
with 3 "no '/train/pictures'" -o data.input=pictures
with 3 "'/train/labels' is -1 in row 10, expected a class" -o data.train=negative.h5:/train
with 3 "'/train/labels' is 99 in row 10, expected a class from 0 to 9" \
    -o data.train=large.h5:/train -o data.n_classes=10
with 3 "'/test/labels' is 9 .*" -o data.n_classes=9 -o data.train=good.h5:/test
with 3 'cut.h5' -o data.test=cut.h5
must "$data" generate other.h5 --shape 20x20x1 --rows 60
with 3 '28 x 28 x 1.*20 x 20 x 1' -o data.test=other.h5:/train
with 2 'not enough\|too few for one step' -o data.train=other.h5:/train -o data.test= \
    -o train.batch=128
with 2 "unknown transform 'filp', did you mean 'flip'" -o 'data.transforms=[{filp: {}}]'

# Ranks, folders, checkpoints, numbers.
rank_counts=9
bad 2 '9 ranks, 8 grains' "$train" mnist "${good[@]}"
rank_counts="1 3"
touch out_of_way
bad 1 "'out_of_way" "$train" mnist "${good[@]}" --out out_of_way/x
bad 1 "'/proc/x'" "$train" mnist "${good[@]}" --out /proc/x
[ "$(id -u)" = 0 ] || {
    mkdir locked && chmod 500 locked
    bad 1 "'locked" "$train" mnist "${good[@]}" --out locked/x
}
bad 3 'nosuch.h5' "$train" mnist "${good[@]}" --out out --resume nosuch.h5
bad 3 'good.h5 is no whole checkpoint' "$train" mnist "${good[@]}" --out out --resume good.h5
bad 4 'lr' "$train" mnist "${good[@]}" --out out -o train.lr=1e6 -o train.warmup=0
[ -z "$(find out -name 'step-*')" ] || fail "a checkpoint of weights that are not finite"
for target in checkpoints metrics.csv; do # something else in the way
    rm -rf taken && mkdir taken && mkdir taken/metrics.csv && touch taken/checkpoints
    [ $target = checkpoints ] || rm taken/checkpoints
    bad 1 "taken/$target" "$train" mnist "${good[@]}" --out taken
done

# A full disk: the metrics', or all of it. Nothing else may go on as if the run were saved.
short=(-o train.steps=10 -o train.warmup=0)
rm -rf taken && mkdir taken && ln -s /dev/full taken/metrics.csv
bad 1 "taken/metrics.csv.*No space left" "$train" mnist "${good[@]}" "${short[@]}" --out taken
# What was there before it filled up stays.
full_disk() { # RANKS FOLDER
    local got=0
    at "$1" "$train" mnist "${good[@]}" "${short[@]}" --out "$2/x" >stdout 2>stderr || got=$?
    [ $got = 1 ] && [ "$(grep -c 'error:' stderr)" = 1 ] &&
        grep -q 'error: cannot write .*checkpoints/.*\(File too large\|No space left\)' stderr &&
        [ -z "$(find "$2" -name '*.tmp*')" ] || {
        cat stdout stderr && ls -lR "$2"
        fail "full disk, $1 ranks, exit code $got"
    }
    rm -rf "${2:?}/x"
    cases=$((cases + 1))
}
mkdir small
(ulimit -f 300 && full_disk 1 small) # as KiB a file
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=300k tmpfs small 2>/dev/null; then
    trap 'umount "$work/small"; clean_up' EXIT
    full_disk 1 small
    full_disk 3 small
    rank_counts=1
    bad 1 'small/new.h5' "$data" generate small/new.h5
    [ ! -e small/new.h5 ] || fail "half a data file"
else
    echo "not checked: a full disk at 3 ranks (needs root, and mount)"
fi

# The other programs are one process.
rank_counts=1
bad 2 "unknown command 'improt', did you mean 'import'" "$data" improt
bad 2 "unknown option '--shpae', did you mean '--shape'" "$data" generate x.h5 --shpae 3
bad 2 "x.txt" "$data" generate x.txt
bad 2 "rows.*'0'" "$data" generate x.h5 --rows 0
bad 3 'nosuch' "$data" import nosuch x.h5
bad 3 'text.h5: no importer knows this file' "$data" import text.h5 x.h5
bad 3 'cut.h5 is truncated' "$data" info cut.h5
bad 3 'large.h5' "$data" check large.h5
bad 1 '/proc/x.h5' "$data" generate /proc/x.h5
mkdir none
bad 3 'none' "$data" import none x.h5
printf 'a,b,c\n1,2,0\n1,x,1\n' >bad.csv
bad 3 'bad.csv.*3' "$data" import bad.csv x.h5
printf '\0\0\010\003\0\0\0\002' >bad-images-idx3-ubyte
bad 3 'bad-images-idx3-ubyte' "$data" import bad-images-idx3-ubyte bad-images-idx3-ubyte x.h5
[ ! -e x.h5 ] || fail "half a data file"
bad 2 'CHECKPOINT' "$evaluate"
rank_counts="1 3"
bad 3 'nosuch.h5' "$evaluate" nosuch.h5 good.h5
bad 3 'good.h5 is no whole checkpoint' "$evaluate" good.h5 good.h5
must "$train" mnist "${good[@]}" "${short[@]}" --out trained
checkpoint=trained/checkpoints/step-0000000010.h5
bad 3 'cut.h5' "$evaluate" $checkpoint cut.h5
bad 2 "dense1/weight' is 1152 x 10, this network's is 512 x 10" \
    "$evaluate" $checkpoint other.h5:/train
head -c 20000 $checkpoint >cut_checkpoint.h5
bad 3 'cut_checkpoint.h5' "$evaluate" cut_checkpoint.h5
echo "$cases bad inputs, each with one message"
