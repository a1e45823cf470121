#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/train.sbatch in a real Slurm of this one machine: a signal before the time limit saves a
# checkpoint, the job goes back into the queue, starts again and ends with the digests of an
# unbroken run. Needs root and Debian's slurmctld, slurmd, slurm-client and munge; else skipped.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
. "$SW2_SOURCE/tests/support/slurm.sh"
slurm_or_skip
slurm_start

epochs=20
[ -z "$quick" ] || epochs=6
must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
run=(mnist -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=64
    -o train.log_every=1 -o train.epochs=$epochs)
must at 3 "$train" "${run[@]}" --out whole
# What may be waited for here, on this machine, in this build, however busy.
patience=$((60 + 10 * SECONDS))

submit 3 run --time=60 -- "${run[@]}"
step_is() { # at least
    [ -e run/metrics.jsonl ] &&
        tail -n 1 run/metrics.jsonl | awk -F '"step":' -v n="$1" '{ exit !($2 + 0 >= n) }'
}
until_true $patience 'step 20' step_is 20
scancel --batch --signal=USR1 "$job" # as --signal=B:USR1@120 does
until_true $patience 'the checkpoint' log_has 'back into the queue'
log_has '^stopped by SIGUSR1 after step' || { slurm_logs; fail "not stopped by the signal"; }
until_true $patience 'the job in the queue' job_is PENDING
scontrol update "jobid=$job" StartTime=now # Slurm lets a requeued job wait for two minutes
until_true $patience 'the end of the job' job_is COMPLETED
log_has 'start 2: 3 tasks' && log_has 'resumed from' || { slurm_logs; fail "not resumed"; }
metrics_are_whole run $epochs
metrics_are_same whole run
echo "saved, requeued, resumed: $(tail -n 1 run/metrics.csv | sed 's/.*,//')"
