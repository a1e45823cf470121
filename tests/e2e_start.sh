#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Jobs whose ranks are set up differently: found at start, before anything is written, and named in
# one message. Ranks that share cores: one warning.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"

mkdir a b
must "$data" generate a/grey.h5 --shape 8x8x1 --rows 64 --test-rows 16
must "$data" generate b/grey.h5 --shape 8x8x1 --rows 64 --test-rows 16 --seed 2
cat >small.yaml <<'END'
name: small
data: {train: "grey.h5:/train", test: "grey.h5:/test"}
head: [flatten: {}, dense: {out: 10}]
train: {batch: 16, grains: 8, epochs: 1}
END
cp small.yaml a && cp small.yaml b
run=(small.yaml --out "$work/out")

# refused CODE WORDS arguments of mpirun: one message, soon, and nothing written.
refused() {
    local expected=$1 words=$2 code=0
    shift 2
    timeout -k 5 $longest mpirun -q "$@" >refused.log 2>&1 || code=$?
    [ $code = "$expected" ] && [ "$(grep -c 'error:' refused.log)" = 1 ] &&
        grep -q "error: .*$words" refused.log && [ ! -e out ] || {
        cat refused.log
        fail "exit code $code, expected $expected and one message with '$words'"
    }
}

cp "$train" other-train && echo >>other-train
host=$(hostname -s)
refused 2 "differ in their program: ranks 0-1 ($host): sw2-train .* digest .*; rank 2 ($host): " \
    -np 2 -wdir "$work/a" "$train" "${run[@]}" : -np 1 -wdir "$work/a" ./../other-train "${run[@]}"
refused 2 "differ in their program: rank 0 ($host): sw2-train .*; rank 1 ($host): sw2-eval" \
    -np 1 -wdir "$work/a" "$train" "${run[@]}" : -np 1 -wdir "$work/a" "$evaluate" "${run[@]}"
for other in "small.yaml --out $work/out --seed 3" '--help' "--out $work/out"; do
    # shellcheck disable=SC2086
    refused 2 "differ in their arguments: rank 0 ($host): small.yaml.*; rank 1 ($host): .*$other;" \
        -np 1 -wdir "$work/a" "$train" "${run[@]}" : -np 1 -wdir "$work/a" "$train" $other
done
refused 3 "differ in their training data: rank 0 ($host): 'grey.h5:/train': 64 rows, .*; rank 1 " \
    -np 1 -wdir "$work/a" "$train" "${run[@]}" : -np 1 -wdir "$work/b" "$train" "${run[@]}"
code=0
SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 "$train" "${run[@]}" >lonely.log 2>&1 || code=$?
[ $code = 2 ] && grep -q 'started 4 tasks but MPI sees one.*srun --mpi=pmix' lonely.log ||
    { cat lonely.log; fail "lonely runs: exit code $code"; }

# crowd RANKS CORES: the warning, if there are more ranks than cores, once.
crowd() {
    (cd a && must taskset -c "$2" mpirun -q -np "$1" "$train" "${run[@]}" --resume never)
    grep -c "warning: $1 ranks share 1 core of host $host: start fewer ranks there" a/must.log ||
        true
}
first=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
[ "$(crowd 3 "$first")" = 1 ] || { cat a/must.log; fail "no warning of shared cores, or several"; }
(cd a && must "$train" "${run[@]}" --resume never)
! grep -q 'share' a/must.log || { cat a/must.log; fail "a warning without a reason"; }
echo "differing ranks are named, crowded cores too"
