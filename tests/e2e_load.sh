#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Many ranks on one machine start, train, save, stop, resume and end with one rank's bits; a run of
# many short epochs leaves memory, descriptors and threads where they were.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

ranks=64
[ -z "$quick" ] || ranks=12
must "$data" generate tiny.h5 --shape 8x8x1 --rows 192 --test-rows 70
cat >many.yaml <<END
name: many
data: {train: "$work/tiny.h5:/train", test: "$work/tiny.h5:/test"}
features: [conv: {out: 8, kernel: 3, pad: 1}, batchnorm: {}, relu: {}]
head: [dense: {out: 10}]
train: {batch: 64, grains: 64, epochs: 6, lr: 0.02, log_every: 1, checkpoint_steps: 2}
END
longest=400
must "$train" many.yaml --out one
mpirun -q -np $ranks "$train" many.yaml --out many >many.log 2>&1 &
launched=$!
deadline=$((SECONDS + longest))
until [ -e many/metrics.jsonl ] && grep -q '"step":2' many/metrics.jsonl; do
    kill -0 $launched 2>/dev/null || { cat many.log; fail "$ranks ranks ended early"; }
    [ $SECONDS -lt $deadline ] || { cat many.log; fail "$ranks ranks hang"; }
    sleep 0.1
done
kill -USR1 $launched
code=0
wait $launched || code=$?
[ $code = 0 ] || [ $code = 75 ] || { cat many.log; fail "exit code $code of $ranks ranks"; }
must at $ranks "$train" many.yaml --out many
grep -q 'resumed from\|is complete' must.log || { cat must.log; fail "not resumed"; }
metrics_are_same one many
echo "$ranks ranks: stopped with $code, resumed, the same bits"

[ -z "$quick" ] || exit 0 # a sanitizer's own memory grows
sed -e 's/grains: 64/grains: 8/' -e 's/checkpoint_steps: 2/checkpoint_every: 10/' \
    -e 's/log_every: 1, //' many.yaml >short.yaml
bash "$SW2_SOURCE/scripts/soak.sh" 1500 2 short.yaml
