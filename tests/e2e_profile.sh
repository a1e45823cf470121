#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# --profile: the table's shares add up to the step, the trace is JSON with every rank's layers
# inside its steps, and the weights are the same bits as without.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

command -v python3 >/dev/null || {
    echo "no python3 to read the trace with"
    exit 77
}
steps=25 # more than a trace takes
must "$data" generate d.h5 --shape 16x16x3 --rows 300 --test-rows 40
cat >net.yaml <<'END'
name: net
data: {train: "d.h5:/train", test: "d.h5:/test", transforms: [{normalize: {}}]}
features:
  - conv: {out: 16, kernel: 3, pad: 1}
  - batchnorm: {}
  - relu: {}
  - residual: {body: [{conv: {out: 16, kernel: 3, pad: 1, bias: false}}, {batchnorm: {}}]}
  - relu: {}
  - maxpool: {kernel: 2}
head: [{globalpool: {}}, {dense: {out: 10, name: 'a "name"'}}]
train: {batch: 16, grains: 4, epochs: 1, lr: 0.01}
END

check() { # FOLDER RANKS
    # Kinds of work add up to the step; each line is rounded to 0.01 us.
    awk '/^by kind of work/ { on = 1; next }
        /^  the step / { step = $3; on = 0 }
        on { for (i = 1; i <= NF && $i !~ /%$/; i++); sum += $(i - 1); n++ }
        END { exit !(n >= 8 && step > 0 && sum - step < 0.01 * n && step - sum < 0.01 * n) }' \
        "$1/profile.txt" || fail "shares do not add up in $1/profile.txt"
    grep -q "^everything that is not convolution or dense: " "$1/profile.txt"
    [ "$(awk 'length > 100' "$1/profile.txt")" = "" ] || fail "lines of more than 100 columns"
    for name in conv1 batchnorm1 maxpool1 'a "name"'; do
        grep -q "^$name " "$1/profile.txt" || fail "no row of $name in $1/profile.txt"
    done
    python3 - "$1/trace.json" "$2" <<'END'
import json, sys
events = json.load(open(sys.argv[1]))["traceEvents"]
ranks = int(sys.argv[2])
spans = [e for e in events if e["ph"] == "X"]
assert {e["pid"] for e in spans} == set(range(ranks)), "ranks"
for rank in range(ranks):
    mine = [e for e in spans if e["pid"] == rank and e["tid"] == 0]
    steps = sorted((e for e in mine if e["name"] == "step"), key=lambda e: e["ts"])
    assert len(steps) == 20, "%d steps of rank %d" % (len(steps), rank)
    names = [e["name"] for e in mine]
    grains = names.count("conv1 forward") // 20
    assert 0 < grains <= 4 // ranks + 1, grains
    for part in ("conv1 forward", "conv1 backward weights", "conv2 backward",
                 "batchnorm2 backward", "loss"):
        assert names.count(part) == 20 * grains, (part, names.count(part), rank)
    laps = sorted((e for e in mine if e["name"] != "step"), key=lambda e: e["ts"])
    for a, b in zip(laps, laps[1:]):  # one after another, without gaps
        assert abs(a["ts"] + a["dur"] - b["ts"]) < 0.01, (a, b)
    flights = [e for e in spans if e["pid"] == rank and e["name"] == "sum over ranks"]
    assert len(flights) == (20 if ranks > 1 else 0), len(flights)
END
}

options=(net.yaml --resume never -o "train.steps=$steps")
must "$train" "${options[@]}" --out plain
[ ! -e plain/profile.txt ] && [ ! -e plain/trace.json ]
for ranks in 1 2 3; do
    must at "$ranks" "$train" "${options[@]}" --out "p$ranks" --profile
    metrics_are_same plain "p$ranks"
    check "p$ranks" "$ranks"
done
"$train" "${options[@]}" --out one --profile -o train.steps=1 | grep -q "profile of rank 0: 1 steps"
"$train" --help | grep -q -- --profile
echo "profiles of 1, 2 and 3 ranks: whole, and the same bits"
