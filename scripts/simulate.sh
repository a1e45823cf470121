#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Scale, rehearsed: the trainer itself, built for SimGrid's SMPI, on a simulated cluster.
#   bash scripts/simulate.sh N [RECIPE ...]     bits on min(N, 64) ranks, then weak scaling to N
#   bash scripts/simulate.sh --bits [N] [RECIPE]  N ranks (default 64, digits) against one
#   bash scripts/simulate.sh --check            a prediction for 2 ranks against a real run here
# Cluster: one rank a host, hosts on a fat tree of 12.5 GB/s links (100 Gbit/s) and 1 us each, 32
# hosts and 16 uplinks a leaf switch: two to four links between hosts, twice oversubscribed.
# --bits computes all of it. Else one rank computes first, alone, and its CPU times (a tape) stand
# for computation: messages and all of the program around them are real, large buffers are folded.
# Folders: build/smpi, build/simulate, for --check build; SW2_SMPI_BIN, SW2_SIMULATE_WORK and
# SW2_BIN name others, of which the builds are used as they are.
set -euo pipefail
shopt -s inherit_errexit
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"
cd "$SOURCE"

bucket_mib=8 # buckets: fewer messages to simulate than with the default's 1 MiB
usage="usage: bash scripts/simulate.sh N [RECIPE ...] | --bits [N] [RECIPE] | --check"
work=${SW2_SIMULATE_WORK:-build/simulate}
mkdir -p "$work"
bin=${SW2_SMPI_BIN:-build/smpi}

prepare() {
    if [ -z "${SW2_SMPI_BIN:-}" ]; then
        packages_for_build "${packages_simulate[@]}"
        build build/smpi -DCMAKE_BUILD_TYPE=Release -DSW2_SMPI=ON
    fi
    export OPENBLAS_NUM_THREADS=1
}

# platform N [LINK_BANDWIDTH LATENCY]: N hosts on the fat tree; with two arguments more one host of
# N cores, whose ranks exchange messages through its memory.
platform() {
    local leaves=$((($1 + 31) / 32)) loop="" link='bw="12.5GBps" lat="1us"' tree
    tree="topology=\"FAT_TREE\" topo_parameters=\"2;32,$leaves;1,16;1,1\""
    local hosts=$((leaves * 32)) cores=1
    if [ $# = 3 ]; then
        hosts=1 cores=$1 tree="" loop="loopback_bw=\"${2}Bps\" loopback_lat=\"${3}s\""
    fi
    cat >"$work/platform.xml" <<XML
<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="cluster" prefix="node" suffix="" radical="0-$((hosts - 1))" speed="100Gf"
    core="$cores" $link $loop $tree/>
</platform>
XML
    local rank
    for ((rank = 0; rank < $1; rank++)); do
        echo "node$((rank % hosts))"
    done >"$work/hosts"
}

# simulated N COMPUTING ARGUMENT...: sw2-train on the platform's first N places. COMPUTING yes: CPU
# times pass on the simulated clock; no: only a tape's do. Every message takes 0.5 us on each side.
simulated() {
    local n=$1 computing=$2
    shift 2
    "${pin[@]}" smpirun -np "$n" -platform "$work/platform.xml" -hostfile "$work/hosts" \
        --log=root.thres:error --cfg=smpi/host-speed:100Gf --cfg=smpi/shared-malloc:local \
        --cfg=smpi/simulate-computation:"$computing" --cfg=smpi/test:1e-7 \
        --cfg=smpi/os:0:5e-7:0 --cfg=smpi/ois:0:5e-7:0 --cfg=smpi/or:0:5e-7:0 \
        --cfg=smpi/coll-selector:ompi --cfg=smpi/bcast:binomial_tree "${network[@]}" \
        "$bin/sw2-train" "$@" >"$work/log" 2>&1 || {
        local code=$?
        cat "$work/log" >&2
        echo "smpirun ended with $code" >&2
        return 1
    }
}
network=()
pin=()

# ---- the same bits

digest() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "digest") at = i } END { print $at }' \
        "$1/metrics.csv"
}

bits() { # N RECIPE
    local n=$1 recipe=$2 ranks start=$SECONDS
    local options=(--resume never -o train.batch=128 -o train.grains=64 -o train.epochs=2)
    platform "$n"
    for ranks in 1 "$n"; do
        rm -rf "$work/bits$ranks"
        simulated "$ranks" yes "$recipe" --out "$work/bits$ranks" "${options[@]}"
        printf 'weights of %s, %5d simulated rank(s): %s\n' "$recipe" "$ranks" \
            "$(digest "$work/bits$ranks")"
    done
    [ "$(digest "$work/bits1")" = "$(digest "$work/bits$n")" ] || {
        echo "the weights differ" >&2
        return 1
    }
    echo "the same, bit for bit ($((SECONDS - start)) s)"
}

# ---- times

# Data of the shape that a recipe wants, generated: ROWS of them at least.
data_of() { # RECIPE ROWS
    local shape classes
    case $(basename "$1" .yaml) in
        imagenet*) shape=224x224x3 classes=1000 ;;
        cifar* | resnet20*) shape=32x32x3 classes=10 ;;
        *) shape=28x28x1 classes=10 ;;
    esac
    local file=$work/$shape-$2.h5
    [ -e "$file" ] || {
        rm -f "$work/$shape"-*.h5
        platform 1
        smpirun -np 1 -platform "$work/platform.xml" -hostfile "$work/hosts" \
            --log=root.thres:error "$bin/sw2-data" generate "$file" --shape $shape \
            --classes $classes --rows "$2" >"$work/log" 2>&1 || {
            cat "$work/log" >&2
            return 1
        }
    }
    echo "$file"
}

# Options of a run that is timed: every step logged, constant learning rate.
timed() { # DATA BATCH GRAINS STEPS
    options=(--resume never -q -o "data.train=$1:/train" -o data.test= -o train.warmup=0
        -o train.checkpoint_every=0 -o train.log_every=1 -o "train.batch=$2" -o "train.grains=$3"
        -o "train.steps=$4" -o train.bucket_kib=$((bucket_mib * 1024)))
}

# Median seconds of a step of a run, the first one left out: over spells of five steps where there
# are enough, because the log counts milliseconds.
step_of() {
    sed -n 's/.*"type":"step".*"step":[0-9]*,"seconds":\([0-9.e-]*\),.*/\1/p' "$1/metrics.jsonl" |
        awk '{ at[NR] = $1 } END {
            spell = NR > 12 ? 5 : 1
            for (i = 1; i + spell <= NR; i++) print (at[i + spell] - at[i]) / spell }' | sort -g |
        awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# Samples of a grain as the recipe has them.
grain_of() {
    local file=$1
    [ -e "$file" ] || file=models/recipes/$1.yaml
    awk '/[ {]batch:/ { s = $0; sub(/.*batch: */, "", s); batch = s + 0 }
        /[ {]grains:/ { s = $0; sub(/.*grains: */, "", s); grains = s + 0 }
        END { print int(batch / (grains ? grains : 8)) }' "$file"
}

# Records the tape of a recipe with grains of M samples into $work/tape.
record() { # RECIPE DATA M STEPS
    platform 1
    timed "$2" "$3" 1 "$4"
    rm -rf "$work/record" "$work/tape"
    SW2_TAPE_RECORD=$work/tape simulated 1 yes "$1" --out "$work/record" "${options[@]}"
}

# Predicted seconds of a step on N ranks of the platform, each with GRAINS of M samples.
predict() { # RECIPE DATA M N GRAINS STEPS
    timed "$2" $(($3 * $4 * $5)) $(($4 * $5)) "$6"
    rm -rf "$work/predict"
    # Without LIBXSMM, whose kernels nobody would call: each takes a mapping of its own a rank.
    SW2_GEMM=ref SW2_TAPE_PLAY=$work/tape simulated "$4" no "$1" --out "$work/predict" \
        "${options[@]}"
    step_of "$work/predict"
}

scaling() { # RECIPE MOST
    local recipe=$1 most=$2 n m data one start seconds
    m=$(grain_of "$recipe")
    data=$(data_of "$recipe" $((m * (most > 8 ? most : 8))))
    record "$recipe" "$data" "$m" 6
    echo "weak scaling of $recipe, one grain of $m samples a rank:"
    printf '%8s %14s %12s %12s %12s\n' ranks "seconds a step" images/s efficiency simulated
    for n in $(printf '%s\n' 1 16 128 1024 "$most" | sort -nu); do
        [ "$n" -le "$most" ] || break
        start=$SECONDS
        platform "$n"
        seconds=$(predict "$recipe" "$data" "$m" "$n" 1 3)
        [ "$n" != 1 ] || one=$seconds
        awk -v n="$n" -v s="$seconds" -v m="$m" -v one="$one" -v took=$((SECONDS - start)) \
            'BEGIN { printf "%8d %14.4f %12.1f %10.1f %% %10d s\n", n, s, n * m / s,
                100 * one / s, took }'
    done
}

# ---- the prediction against the machine

# The tape of one rank, while another that knows nothing of it keeps the second core as busy: ranks
# of a host share its memory.
record_beside() { # RECIPE DATA M STEPS
    (
        work=$work/beside pin=(taskset -c 0)
        mkdir -p "$work"
        record "$@"
    ) &
    pin=(taskset -c 1)
    record "$@"
    pin=()
    wait
}

# Appends to FILE the seconds of all cores so far: in all, and those of programs that this script
# did not start.
cores_seconds() { # FILE
    times >"$work/times" # of this shell: not in a pipe
    awk -v hz="$(getconf CLK_TCK)" '
        NR == FNR { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); own += t[1] * 60 + t[2] } }
        /^cpu / { busy = ($2 + $3 + $4 + $7 + $8 + $9) / hz
            print busy + ($5 + $6) / hz, busy - own }' "$work/times" /proc/stat >>"$1"
}

# Rounds in turn, and the least of each figure: on a shared machine that is the undisturbed one.
check() {
    local recipe=scripts/bench/resnet20_projection.yaml m=16 rounds=5 round
    local data latency bandwidth others
    if [ -z "${SW2_BIN:-}" ]; then
        packages_for_build "${packages_test[@]}"
        build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON
    fi
    local programs=${SW2_BIN:-build}
    mpi_environment
    unset OMPI_MCA_hwloc_base_binding_policy
    data=$(data_of $recipe 5120)
    rm -f "$work"/rounds.*
    for ((round = 0; round < rounds; round++)); do
        record_beside $recipe "$data" $m 40
        mpirun -q -np 2 --bind-to core "$programs/tests/bench_pingpong" >"$work/pingpong"
        read -r latency bandwidth <"$work/pingpong"
        platform 2 "$bandwidth" "$latency"
        network=(--cfg=smpi/bw-factor:0:1 --cfg=smpi/lat-factor:0:1)
        predict $recipe "$data" $m 2 4 16 >>"$work/rounds.predicted"
        network=()
        timed "$data" 128 8 40
        : >"$work/cores"
        cores_seconds "$work/cores"
        rm -rf "$work/real"
        # By messages, as between hosts; in shared memory there would be none.
        SW2_SHARED=off mpirun -q -np 2 --bind-to core "$programs/sw2-train" $recipe \
            --out "$work/real" "${options[@]}"
        cores_seconds "$work/cores"
        others=$(awk 'NR > 1 { printf "%.0f", 100 * ($2 - busy) / ($1 - all) }
            { all = $1; busy = $2 }' "$work/cores")
        step_of "$work/real" >>"$work/rounds.real"
        echo "round $((round + 1)): a grain $(awk '/^lap/ { s += $3 } END { print s }' \
            "$work/tape") s, ping-pong $latency s and $bandwidth bytes/s;" \
            "a step: predicted $(tail -n 1 "$work/rounds.predicted") s," \
            "real $(tail -n 1 "$work/rounds.real") s (other programs: $others % of the cores)"
    done
    paste <(sort -g "$work/rounds.predicted") <(sort -g "$work/rounds.real") | head -n 1 | awk '{
        off = 100 * ($1 / $2 - 1)
        printf "resnet20, batch 128, 2 ranks: predicted %.4f s a step, real %.4f s: %+.1f %%\n",
            $1, $2, off
        exit off > 10 || off < -10 }' || {
        echo "the prediction is more than 10 % off; where other programs run, that means little" >&2
        return 1
    }
}

case ${1:-} in
    --check) prepare && check ;;
    --bits) prepare && bits "${2:-64}" "${3:-digits}" ;;
    [1-9]*)
        most=$1
        shift
        [ $# -gt 0 ] || set -- imagenet_resnet50
        prepare
        bits $((most < 64 ? most : 64)) digits
        for recipe in "$@"; do
            scaling "$recipe" "$most"
        done
        ;;
    *) echo "$usage" >&2 && exit 2 ;;
esac
