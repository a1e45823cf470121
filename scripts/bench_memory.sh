#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Memory planned and taken: ResNet-50 at 224 x 224, global batch 256 in 8 grains, one step on one
# rank, with and without recompute. Prints a line each; --json FILE: the same as a JSON list.
# BUILD names the build folder (default: build).
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(cd "${BUILD:-$source/build}" && pwd)
json=
while [ $# -gt 0 ]; do
    case $1 in
    --json) json=$(realpath -m "$2") && shift 2 ;;
    *) echo "usage: bench_memory.sh [--json FILE]" >&2 && exit 2 ;;
    esac
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$build/sw2-data" generate images.h5 --shape 224x224x3 --classes 1000 --rows 512 --test-rows 8 >log
rows=
for recompute in off on; do
    "$build/sw2-train" imagenet_resnet50 --out "$recompute" -o data.train=images.h5:/train \
        -o data.test=images.h5:/test -o train.batch=256 -o train.grains=8 -o train.steps=1 \
        -o train.warmup=0 -o train.recompute=$recompute >log
    line=$(grep 'peak memory a rank' log)
    activations=$(sed -n 's/^memory a rank:.* activations \([^,]*\),.*/\1/p' log)
    speed=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i }
        END { print $at["images_per_s"] }' "$recompute/metrics.csv")
    echo "  ResNet-50, 256 = 8 x 32, recompute $recompute: ${line#*: }; activations $activations;" \
        "$speed images/s"
    pair='s/.*rank: \([0-9.]*\) MiB, planned \([0-9.]*\) MiB.*/\1 \2/'
    read -r peak planned < <(sed "$pair" <<<"$line")
    rows+="${rows:+, }{\"name\": \"ResNet-50, recompute $recompute\", \"peak_mib\": $peak,"
    rows+=" \"planned_mib\": $planned, \"images_per_s\": $speed, \"most_mib\": 8192}"
done
digests=$(tail -qn 1 off/metrics.csv on/metrics.csv | sed 's/.*,//' | sort -u | wc -l)
[ "$digests" = 1 ] || { echo "recompute changed the weights" >&2 && exit 1; }
[ -z "$json" ] || echo "[$rows]" >"$json"
