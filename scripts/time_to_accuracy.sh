#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Accuracy against minutes of cifar10_fast, by sw2-train and by PyTorch on the same cores, over
# seeds: runs in turn, then a table, OUT/time_to_accuracy.json and OUT/time_to_accuracy.svg.
# usage: bash scripts/time_to_accuracy.sh DATA.h5 OUT [--seeds "1 2 3 4 5"] [--peer-seeds "1 2 3"]
#        [--ranks 2] [--minutes M] [--epochs E] [--peer-bf16] [--python PYTHON] [--report]
#        [--options "-o KEY=VALUE ..."]
#   DATA.h5       as sw2-data import makes it (groups train and test)
#   --minutes M   both programs get as many epochs as fit (measured first), not the same number
#   --report      no runs: the table and the picture of what lies in OUT
# Runs of sw2-train resume where they were left; a peer's run that is complete is not repeated.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
data=$(realpath "$1") out=$2
shift 2
seeds="1 2 3 4 5" peer_seeds="1 2 3" ranks=2 minutes='' epochs='' python=/usr/bin/python3 runs=true
options=() peer=()
while [ $# -gt 0 ]; do
    case $1 in
        --seeds) seeds=$2 && shift ;;
        --peer-seeds) peer_seeds=$2 && shift ;;
        --ranks) ranks=$2 && shift ;;
        --minutes) minutes=$2 && shift ;;
        --epochs) epochs=$2 && shift ;;
        --peer-bf16) peer+=(--bf16) ;;
        --python) python=$2 && shift ;;
        --options) read -r -a options <<<"$2" && shift ;;
        --report) runs=false ;;
        *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done
build=${BUILD:-$SOURCE/build}
recipe=$SOURCE/models/recipes/cifar10_fast.yaml
mpi_environment
mkdir -p "$out"
ours=(mpirun -q -np "$ranks" "$build/sw2-train" "$recipe" -o "data.train=$data:/train"
    -o "data.test=$data:/test" "${options[@]}")
theirs=("$python" "$SOURCE/scripts/peer_cifar10_fast.py" "$data" "${peer[@]}")

# Images a second of either program over a few steps.
speed_ours() {
    rm -rf "$out/probe"
    "${ours[@]}" --out "$out/probe" --resume never -o train.steps=8 -o train.lookahead=0 \
        -o train.tta=off -o data.test= -o train.checkpoint_every=0 >/dev/null
    sed -n 's/.*"type":"epoch".*"images_per_s":\([0-9.]*\).*/\1/p' "$out/probe/metrics.jsonl"
}
speed_theirs() {
    "${theirs[@]}" "$@" --steps 6 2>/dev/null | sed -n 's/.*"images_per_s": \([0-9.]*\).*/\1/p'
}
# Epochs of 49,152 images that fit; each ends in a test of 10,000, forward only.
epochs_of() { # IMAGES_PER_S
    awk -v speed="$1" -v minutes="$minutes" \
        'BEGIN { n = int(minutes * 60 * speed / (49152 + 3500)); print n < 1 ? 1 : n }'
}

if $runs; then
    our_epochs=() their_epochs=()
    if [ -n "$epochs" ]; then
        our_epochs=(-o "train.epochs=$epochs") their_epochs=(--epochs "$epochs")
    fi
    if [ -n "$minutes" ]; then
        our_epochs=(-o "train.epochs=$(epochs_of "$(speed_ours)")")
        echo "sw2-train: ${our_epochs[1]} in $minutes minutes"
    fi
    for seed in $seeds; do
        "${ours[@]}" "${our_epochs[@]}" --seed "$seed" --out "$out/sw2-$seed" \
            >"$out/sw2-$seed.log" || { tail -3 "$out/sw2-$seed.log" >&2; exit 1; }
        tail -n 2 "$out/sw2-$seed.log"
    done
    if [ -n "$peer_seeds" ]; then
        # Processes (DDP) or threads, whichever is faster here.
        by_processes=$(speed_theirs --processes "$ranks")
        by_threads=$(speed_theirs --threads "$ranks")
        echo "PyTorch: $by_processes images/s by $ranks processes, $by_threads by $ranks threads"
        how=(--processes "$ranks") speed=$by_processes
        awk -v a="$by_processes" -v b="$by_threads" 'BEGIN { exit !(b > a) }' &&
            how=(--threads "$ranks") speed=$by_threads
        [ -z "$minutes" ] || their_epochs=(--epochs "$(epochs_of "$speed")")
    fi
    for seed in $peer_seeds; do
        file=$out/torch-$seed.jsonl
        ! grep -q '"tta"' "$file" 2>/dev/null || continue
        "${theirs[@]}" "${how[@]}" "${their_epochs[@]}" --seed "$seed" --tta >"$file.tmp"
        mv "$file.tmp" "$file"
        tail -n 1 "$file"
    done
fi
python3 "$SOURCE/scripts/accuracy_report.py" time "$out"
