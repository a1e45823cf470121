#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Training speed beside PyTorch on the same cores, in interleaved rounds: images a second on one
# core (one process, pinned) and on two ranks, medians over the rounds, and ratios, which alone
# mean something on a shared machine. Then the loader alone.
# usage: bash scripts/bench.sh [--rounds N] [--steps N] [--no-loader] [torch_bench.py]
# The peer is a script that prints a JSON line with "median_images_per_s"; without one sw2-train is
# measured alone.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"
cd "$SOURCE"

rounds=3
steps=40
has_loader=true
peer=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2 && shift ;;
        --steps) steps=$2 && shift ;;
        --no-loader) has_loader=false ;;
        -*) echo "unknown option $1" >&2 && exit 2 ;;
        *) peer=$1 ;;
    esac
    shift
done

packages_for_build "${packages_test[@]}"
build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON
mpi_environment
unset OMPI_MCA_hwloc_base_binding_policy # here each rank has its core
python=${PYTHON:-/usr/bin/python3}
if [ -z "$peer" ]; then
    peer=../shared/peers/torch_bench.py
    [ -e $peer ] || peer=
fi
if [ -z "$peer" ]; then
    echo "No torch_bench.py: sw2-train alone is measured."
elif [ ! -e "$peer" ]; then
    echo "no such file: $peer" >&2
    exit 2
elif ! "$python" -c 'import torch' 2>/dev/null && ! packages_install "${packages_bench[@]}"; then
    echo "No PyTorch: sw2-train alone is measured."
    peer=
fi

bench=build/bench
mkdir -p $bench
[ -e $bench/28.h5 ] || build/sw2-data generate $bench/28.h5 --shape 28x28x1 --rows 20000 >/dev/null
[ -e $bench/32.h5 ] || build/sw2-data generate $bench/32.h5 --shape 32x32x3 --rows 10000 >/dev/null
core=$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')

# Images a second in metrics.jsonl on stdin: the median over spells of steps, the first one (in
# which kernels are made) left out; as the peer does it.
median_of_spells() { # BATCH
    sed -n 's/.*"type":"step".*"step":\([0-9]*\),"seconds":\([0-9.e-]*\),.*/\1 \2/p' |
        awk -v batch="$1" 'NR > 1 && $2 > s { print ($1 - n) * batch / ($2 - s) }
            { n = $1; s = $2 }' |
        median
}

median() {
    sort -g | awk '{ v[NR] = $1 } END {
        if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

sw2() { # RANKS RECIPE DATA BATCH STEPS
    local out=$bench/run run=(taskset -c "$core")
    [ "$1" = 1 ] || run=(mpirun -np "$1" --bind-to core)
    rm -rf $out
    "${run[@]}" build/sw2-train "scripts/bench/$2.yaml" --out $out -q -o "data.train=$3:/train" \
        -o data.test= -o train.steps="$5" -o train.log_every=$(($5 / 8)) -o train.checkpoint_every=0
    median_of_spells "$4" <$out/metrics.jsonl
}

torch() { # PROCESSES NETWORK
    local run=(taskset -c "$core")
    [ "$1" = 1 ] || run=(env)
    "${run[@]}" "$python" "$peer" --threads 1 --processes "$1" "$2" 2>/dev/null |
        sed -n 's/.*"median_images_per_s": *\([0-9.]*\).*/\1/p'
}

# compare NAME RECIPE DATA BATCH NETWORK STEPS
compare() {
    local round n at=$bench/$2
    rm -f "$at".*
    for ((round = 1; round <= rounds; round++)); do
        for n in 1 2; do
            [ $n -le "$(cores)" ] || continue
            sw2 $n "$2" "$3" "$4" "$6" >>"$at.sw2.$n"
            [ -z "$peer" ] || torch $n "$5" >>"$at.torch.$n"
        done
    done
    row "$1, batch $4" sw2-train "$at.sw2.1" "$at.sw2.2"
    [ -n "$peer" ] || return 0
    row "" PyTorch "$at.torch.1" "$at.torch.2"
    printf '%-22s %-10s %9.2fx %9.2fx\n' "" ratio "$(ratio "$at.sw2.1" "$at.torch.1")" \
        "$(ratio "$at.sw2.2" "$at.torch.2")"
}

ratio() { # median over the rounds of A / B
    [ -e "$1" ] && [ -e "$2" ] || { echo 0; return; }
    paste "$1" "$2" | awk '$2 > 0 { print $1 / $2 }' | median
}

row() {
    local two=0
    [ ! -e "$4" ] || two=$(median <"$4")
    printf '%-22s %-10s %10.0f %10.0f %9.2fx\n' "$1" "$2" "$(median <"$3")" "$two" \
        "$(ratio "$4" "$3")"
}

echo "Images a second, medians of $rounds interleaved rounds; core $core and both."
printf '%-22s %-10s %10s %10s %10s\n' network program "one core" "two ranks" "speed-up"
compare ResNet-20 resnet20_projection $bench/32.h5 128 resnet20 "$steps"
compare "small CNN" smallcnn $bench/28.h5 64 smallcnn $((steps * 10))
if $has_loader; then
    echo
    build/tests/bench_loader
fi
