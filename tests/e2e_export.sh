#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# sw2-export and sw2-import without anybody else's software: the generated C, compiled and run, says
# what sw2-predict says, of networks with every kind of layer; what goes out as ONNX comes in again
# with the same bits; and one clear error for what cannot be done. (scripts/check_export.sh asks
# ONNX Runtime, Keras and NumPy.)
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
export=$SW2_BIN/sw2-export
import=$SW2_BIN/sw2-import
predict=$SW2_BIN/sw2-predict
read -ra compiler <<<"${CC:-cc}"
command -v "${compiler[0]}" >/dev/null || {
    echo "no C compiler"
    exit 77
}

must "$data" generate images.h5 --shape 13x11x3 --classes 6 --rows 48 --test-rows 8

# Every kind of layer, branches, names that are no names in C, a flatten whose channels ONNX must
# renumber through a norm, and one where it cannot.
cat >every.yaml <<'END'
name: every-kind
data: {train: "images.h5:/train", test: "images.h5:/test"}
features:
  - whiten: {kernel: 2}
  - gelu: {}
  - conv: {out: 24, kernel: 3, pad: 1, groups: 24, name: "depth-wise"}
  - conv: {out: 16, kernel: [3, 1], pad: [1, 0], groups: 2, name: "double"}
  - batchnorm: {name: "3x3 norm", eps: 1.0e-3}
  - silu: {}
  - residual:
      body:
        - conv: {out: 24, kernel: 3, stride: 2, pad: 1, bias: false}
        - batchnorm: {}
        - leaky_relu: {slope: 0.2}
        - conv: {out: 24, kernel: 3, pad: 2, dilation: 2}
      shortcut:
        - subsample: {stride: 2, out: 24}
  - relu: {}
  - branches:
      join: concat
      lists:
        - [{maxpool: {kernel: 3, stride: 2, pad: 1}}]
        - [{avgpool: {kernel: 3, stride: 2, pad: 1, count_include_pad: false}}, {relu: {}}]
        - [{avgpool: {kernel: 3, stride: 2, pad: 1}}, {conv: {out: 5, kernel: 1}}]
  - dropout: {}
head:
  - flatten: {}
  - batchnorm: {}
  - dense: {out: 20}
  - batchnorm: {scale: false}
  - relu: {}
  - dense: {out: 6, bias: false}
  - scale: {factor: 0.5}
train: {batch: 8, grains: 2, epochs: 1, lr: 0.01}
END
cat >joined.yaml <<'END'
name: joined
data: {train: "images.h5:/train", test: "images.h5:/test"}
features:
  - filterbank: {filters: [sobel_x, laplacian]}
  - conv: {out: 8, kernel: 3, name: a}
  - batchnorm: {name: b}
  - flatten: {from: a, name: f1}
  - flatten: {from: b, name: scores}
  - add: {from: [f1, scores]} # two flat ones: nothing to renumber
  - scale: {factor: -2}
head:
  - dense: {out: 6}
train: {batch: 8, grains: 2, epochs: 1, lr: 0.001, ema: 0.9}
END
# Gradients whose channel must be chosen; rows and columns that fill no cell, and none such.
cat >hog.yaml <<'END'
name: hog
data: {train: "images.h5:/train", test: "images.h5:/test", transforms: [{normalize: {}}]}
features:
  - hog: {cell: 3, bins: 5, eps: 0.2, name: coarse}
  - conv: {out: 4, kernel: 2, from: input}
  - hog: {cell: 2, bins: 4}
  - maxpool: {kernel: 2, name: half}
  - flatten: {from: coarse, name: f1}
  - flatten: {from: half, name: f2}
  - concat: {from: [f1, f2]}
head:
  - dense: {out: 6}
train: {batch: 8, grains: 2, epochs: 1, lr: 0.1}
END
cat >main.c <<'END'
#include <stdio.h>
#include "net.h"
static unsigned char raw[net_INPUTS];
static float input[net_INPUTS], scores[net_OUTPUTS], p[net_OUTPUTS];
int main(void)
{
#ifdef APART
    if (net_load("net.bin") != 0)
        return 1;
#endif
    while (fread(raw, sizeof raw, 1, stdin) == 1) {
        net_prepare(raw, input);
        net_forward(input, scores);
        net_probabilities(scores, p);
        for (int k = 0; k < net_OUTPUTS; k++)
            printf("%s,%.9g\n", net_classes[k], (double)p[k]);
    }
    return 0;
}
END

# Pictures as files for sw2-predict and as bytes for the C program.
mkdir pictures
for i in 1 2 3 4 5; do # the fifth without an edge
    awk -v seed="$i" 'BEGIN { srand(seed); print "P3 11 13 255"
        for (k = 0; k < 429; k++) print seed < 5 ? int(256 * rand()) : 77 }' >pictures/$i.ppm
    awk 'NR > 1 { printf "\\%03o", $1 }' pictures/$i.ppm >octal
    printf "$(cat octal)" >>raw
done

# answers RUN OPTION...: the compiled network's and sw2-predict's, class by class.
flags=(-std=c99 -O1 -Wall -Wextra -Werror -pedantic)
compare() {
    local run=$1 what=()
    shift
    [[ " $* " != *" --weights-apart "* ]] || what=(-DAPART)
    must "$export" "$run/checkpoints" net.c --name net --preprocess --probabilities "$@"
    must "${compiler[@]}" "${flags[@]}" "${what[@]}" main.c net.c -o net -lm
    ./net <raw >got
    "$predict" "$run/checkpoints" pictures -k 6 -f csv | tail -n +2 |
        sort -t, -k1,1 -k3,3n | cut -d, -f4,5 >want
    paste -d, got want | awk -F, -v what="$run $*" '
        { d = $2 - $4; d = d < 0 ? -d : d; most = d > most ? d : most; sum += $4 }
        $1 != $3 || d > 1e-5 { bad = 1 }
        END { if (bad || NR != 30 || sum < 4.99) { print what ": " NR ", " most; exit 1 } }' ||
        fail "the compiled network says something else"
}

for recipe in every joined hog; do
    must "$train" $recipe.yaml --out $recipe -q
    compare $recipe
    compare $recipe --fold-batchnorm
done
compare every --weights-apart

# Out as ONNX, in again, out as C: not a bit is different.
for recipe in every joined hog; do
    newest=$(echo $recipe/checkpoints/step-*.h5)
    must "$export" "$newest" $recipe.onnx
    must "$import" $recipe.yaml $recipe.onnx $recipe-again
    [ -z "$(grep 'starts anew' must.log)" ] || fail "$(cat must.log)"
    must "$export" "$newest" first.c --name net
    must "$export" $recipe-again second.c --name net
    cmp <(grep -v include first.c) <(grep -v include second.c)
    "$predict" "$newest" pictures -f csv >first.csv
    "$predict" $recipe-again pictures -f csv >second.csv
    cmp first.csv second.csv
done

# The same bytes again, and at two ranks.
must "$export" every/checkpoints one.npz
must at 2 "$export" every/checkpoints two.npz
cmp one.npz two.npz
! command -v python3 >/dev/null || [ "$(python3 -m zipfile -t one.npz)" = "Done testing" ] ||
    fail "one.npz is no good zip file"
"$export" every/checkpoints every.onnx --json | grep -q '"output": \[1, 1, 6\]' || fail "no JSON"

# A new head; a name given by hand; layers that nobody wants.
must "$import" every.yaml every.onnx new --skip dense2
grep -q 'dense2  *starts anew' must.log || fail "$(cat must.log)"
must "$import" every.yaml every.onnx new --map dense2=dense2 --json
! command -v python3 >/dev/null || python3 -c 'import json
pairs = [json.loads(line) for line in open("must.log") if line[0] == "{"][0]["layers"]
assert len(pairs) == 12 and all(pair["from"] for pair in pairs), pairs' || fail "no JSON"
sed 's/  - dense: {out: 20}/  - dense: {out: 21}/' every.yaml >more.yaml
must "$import" more.yaml every.onnx new2 --skip head --ignore 'dense*' --ignore batchnorm3 \
    --ignore batchnorm4

# refused CODE TEXT PROGRAM ARGUMENT...: one line that says so, and nothing is left.
refused() {
    local want=$1 text=$2 code=0
    shift 2
    at 2 "$@" >refused.out 2>refused.err || code=$?
    [ $code = "$want" ] || fail "exit code $code, not $want: $*: $(cat refused.err)"
    [ "$(grep -c ': error' refused.err)" = 1 ] || fail "not one error: $*: $(cat refused.err)"
    grep -q "$text" refused.err || fail "$(cat refused.err)"
    ! ls never* 2>/dev/null || fail "something is left: $*"
}
file=every/checkpoints
refused 2 'cannot tell the format' "$export" $file never.tflite
refused 2 'is for the format c' "$export" $file never.onnx --weights-apart
refused 2 'is for the formats onnx and c' "$export" $file never.npz --probabilities
refused 2 "padding that does not count" "$export" $file never.weights.h5
refused 2 "has no state 'ema'" "$export" $file never.onnx --weights ema
refused 3 "no checkpoint in 'nowhere'" "$export" nowhere never.onnx
head -c 3000 every/checkpoints/step-*.h5 >damaged.h5
refused 3 'damaged.h5' "$export" damaged.h5 never.onnx
refused 1 "cannot write 'nowhere/" "$export" $file nowhere/never.onnx
refused 2 '10 convolutions\|is 20 x\|dense layer .dense1. of the file is' \
    "$import" more.yaml every.onnx never
refused 2 'to give, the recipe has' "$import" joined.yaml every.onnx never
refused 2 "fits no layer of the recipe" "$import" every.yaml every.onnx never --skip conv77
refused 2 "fits no layer of the file" "$import" every.yaml every.onnx never --ignore fc
refused 2 "no layer 'fc'" "$import" every.yaml every.onnx never --map fc=dense2
refused 3 "cannot open 'gone.onnx'" "$import" every.yaml gone.onnx never
refused 3 'is no ONNX file' "$import" every.yaml every.yaml never
head -c 5000 every.onnx >cut.onnx
refused 3 'is no ONNX file, or damaged' "$import" every.yaml cut.onnx never
refused 2 'holds checkpoints of a run' "$import" every.yaml every.onnx every/checkpoints
refused 2 'is a folder for the checkpoint' "$import" every.yaml every.onnx never.h5
refused 3 'no arrays named weight' "$import" every.yaml images.h5 never
echo "3 networks in C, folded and not; ONNX and back; 19 refusals"
