#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Event files for TensorBoard: its own reader (Python's tensorboard, or that of
# SW2_TENSORBOARD_PYTHON) finds the numbers of metrics.jsonl and histograms of weights and
# gradients, the same at any number of ranks, also of a run that was resumed.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
python=${SW2_TENSORBOARD_PYTHON:-python3}
command -v "$python" >/dev/null || {
    echo "skipped: no $python"
    exit 77
}
check="$SW2_SOURCE/tests/support/check_events.py"

must at 3 "$train" -o train.epochs=4 --histograms 2 --out three
"$python" "$check" three 2
must "$train" -o train.epochs=4 --out plain
"$python" "$check" plain
! "$train" -o train.epochs=4 --histograms -1 --out plain 2>refused.err || fail "--histograms -1"
grep -q -- '--histograms' refused.err || fail "$(cat refused.err)"

# Killed in the fourth epoch and resumed: what the first process said of steps that the second did
# again is dropped.
cp -r three killed
rm killed/checkpoints/step-*88.h5 killed/checkpoints/best.h5
must "$train" -o train.epochs=4 --histograms 2 --out killed
[ "$(ls killed/tensorboard | wc -l)" = 4 ] || fail "expected two files of each process"
"$python" "$check" killed 2
metrics_are_same three killed

# A folder that cannot be made costs a warning, not the run.
mkdir blocked
echo >blocked/tensorboard
"$train" -o train.epochs=2 --out blocked >blocked.out 2>blocked.err || fail "the run is lost"
grep -q "TensorBoard will see no more" blocked.err || fail "$(cat blocked.err)"
metrics_are_whole blocked 2
