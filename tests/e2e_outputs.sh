#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What programs write: never over what they read, in place where a device or pipe is named, behind
# links; and what is lost on standard output is an error.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
predict=$SW2_BIN/sw2-predict export=$SW2_BIN/sw2-export

must "$train" digits -q --out run -o train.epochs=2
must "$data" generate d.h5 --shape 8x8x1 --rows 64 --test-rows 32
cp run/checkpoints/best.h5 k.h5
cp -r run whole && cp d.h5 whole/d.h5 && cp k.h5 whole/k.h5

# refused CODE WORDS COMMAND...: alone; one message.
refused() {
    local want=$1 words=$2 code=0
    shift 2
    "$@" 2>refused.err || code=$?
    [ $code = "$want" ] && [ "$(grep -c 'error:' refused.err)" = 1 ] &&
        grep -q -- "$words" refused.err ||
        fail "exit code $code, expected $want and '$words': $*: $(cat refused.err)"
}
refused 2 "'k.h5' is read from" "$evaluate" k.h5 --json k.h5
refused 2 "'./k.h5' is read from" "$predict" k.h5 d.h5:/test -O ./k.h5
refused 2 "'d.h5' is read from ('d.h5:/test')" "$predict" k.h5 d.h5:/test -O d.h5
refused 2 "'k.h5' is read from" "$export" k.h5 k.h5 -f npz
cmp k.h5 whole/k.h5
cmp d.h5 whole/d.h5

# A link leads to the file; a pipe is written into.
echo before >real.json
ln -s real.json link.json
must "$evaluate" run --json link.json # a run's folder is as good as its checkpoints'
[ -L link.json ] && grep -q accuracy real.json || fail "a link is not followed"
echo before >real.h5
ln -s real.h5 link.h5
must "$data" generate link.h5 --shape 8x8x1 --rows 64
[ -L link.h5 ] && must "$data" info real.h5
mkfifo pipe
cat pipe >piped.json &
must "$evaluate" run --json pipe
wait $!
cmp piped.json real.json
[ -p pipe ] || fail "a pipe is replaced"

# A start that fails leaves no new folder, and takes nothing from one that was there.
refused 3 "missing.h5" "$train" digits -q --out fresh --resume missing.h5
refused 3 "missing.h5" "$train" digits -q --out fresh -o train.init_from=missing.h5
refused 2 "fresh/digests.jsonl" "$train" digits -q --out fresh --replay 3
[ ! -e fresh ] || fail "left behind: $(ls -a fresh)"
mkdir -p mine && echo keep >mine/note
refused 3 "missing.h5" "$train" digits -q --out mine --resume missing.h5
grep -q keep mine/note

# Standard output on a full disk, or closed.
lost() { # COMMAND...
    refused 1 'cannot write to standard output' "$@" >/dev/full
    refused 1 'cannot write to standard output' "$@" >&-
}
lost "$evaluate" run
lost "$data" info d.h5
lost "$data" info d.h5 --json
lost "$data" check d.h5
lost "$train" digits --plan
lost "$train" --help=man
lost "$export" run x.onnx --json
must "$data" generate closed.h5 --shape 8x8x1 --rows 64 >&-
must "$data" info closed.h5
"$data" info d.h5 | true # who has seen enough loses nothing

# Names that are no UTF-8 are JSON all the same.
printf 'P5 8 8 255\n%064d' 0 >$'b\xff.pgm'
"$predict" run $'b\xff.pgm' -f jsonl >names.jsonl
iconv -f UTF-8 -t UTF-8 names.jsonl >/dev/null || fail "JSON that is no UTF-8: $(cat names.jsonl)"
grep -q 'b\\u00ff.pgm' names.jsonl || fail "$(cat names.jsonl)"

# A run that waits for another one's folder obeys signals.
start 1 busy digits -q -o train.epochs=100000
other=$launched
until [ -e busy/metrics.jsonl ]; do sleep 0.05; done
code=0
timeout -s TERM 2 "$train" digits --out busy >waits.log 2>&1 || code=$?
[ $code = 124 ] && grep -q "^stopped by SIGTERM" waits.log || fail "$(cat waits.log)"
kill -9 "$other"
wait "$other" 2>/dev/null || true

# What cannot be trained on.
refused 2 'its run is complete' "$train" digits -o train.epochs=2 --out new --resume run/checkpoints
refused 2 'label_smoothing is 1' "$train" digits --plan -o 'loss={softmax: {label_smoothing: 1}}'
refused 2 "unknown loss 'sotfmax', did you mean 'softmax'" "$train" digits --plan -o loss=sotfmax
refused 2 'is a folder' "$train" whole
refused 2 'takes no value' "$train" --version=3
refused 2 'control character' "$train" digits --plan -o $'name=a\nb'
{ printf '\xef\xbb\xbf' && cat "$SW2_SOURCE/models/recipes/digits.yaml"; } >mark.yaml
must "$train" mark.yaml --plan
must "$train" digits --plan -o data.test="$SW2_SOURCE/data/digits.h5:/train"
grep -q 'warning: data.test is the training data' must.log || fail "nothing said of the test data"
echo "outputs are kept apart from inputs, and losses are told"
