#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/train.sbatch in a real Slurm of this one machine: a signal before the time limit saves a
# checkpoint, the job goes back into the queue, starts again and ends with the digests of an
# unbroken run. So does a job that sees its end come: by a SLURM_JOB_END_TIME that the test sets,
# and with SW2_TEST_LONG=1 by a real limit of a minute (Slurm knows no shorter one).
# Needs root and Debian's slurmctld, slurmd, slurm-client and munge; else skipped.
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
began=$SECONDS
must at 3 "$train" "${run[@]}" --out whole
took=$((SECONDS - began))
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
# Until the requeued job has ended.
goes_on() {
    until_true $patience 'the job in the queue' job_is PENDING
    sleep 2 # what the job held is revoked up to this second: started in it, it would not run
    scontrol update "jobid=$job" StartTime=now # Slurm lets a requeued job wait for two minutes
    until_true $patience 'the end of the job' job_is COMPLETED
    log_has 'start 2: 3 tasks' && log_has 'resumed from' || { slurm_logs; fail "not resumed"; }
}
goes_on
metrics_are_whole run $epochs
metrics_are_same whole run
echo "saved, requeued, resumed: $(tail -n 1 run/metrics.csv | sed 's/.*,//')"

# No signal: the job's end is known. In the second start it is past, as that of a job whose time was
# extended, and ignored.
end=$(($(date +%s) + 10 + took / 2))
SW2_LAUNCH="env SLURM_JOB_END_TIME=$end mpirun -np 3" submit 3 limit --time=60 -- "${run[@]}"
until_true $patience 'the checkpoint' log_has 'back into the queue'
log_has '^stopped by SLURM_JOB_END_TIME (in -*[0-9]* s; kept free: 1' || {
    slurm_logs
    fail "not stopped by the time limit"
}
until_true $patience 'the end' eval "[ \$(date +%s) -gt $end ]"
goes_on
log_has 'warning: SLURM_JOB_END_TIME [0-9]* was [0-9]* s ago' || { slurm_logs; fail "no warning"; }
metrics_are_same whole limit
echo "stopped before the job's end, requeued, resumed"
[ -n "${SW2_TEST_LONG:-}" ] || exit 0

many=$((epochs * 80 / (took > 0 ? took : 1)))
longest=600
must at 3 "$train" "${run[@]}" -o train.epochs=$many --out whole_minute
patience=600
# (A signal that nobody minds: Slurm may send it up to a minute early.)
submit 3 minute --time=1 --signal=B:28@1 -- "${run[@]}" -o train.epochs=$many
until_true $patience 'the end of the first minute' log_has 'back into the queue'
log_has '^stopped by SLURM_JOB_END_TIME' || { slurm_logs; fail "not stopped by the limit"; }
while ! job_is COMPLETED; do # as often as it takes
    # (It may have started by itself meanwhile.)
    ! job_is PENDING || { sleep 2; scontrol update "jobid=$job" StartTime=now || true; }
    ! job_is 'FAILED\|TIMEOUT\|CANCELLED' || { slurm_logs; fail "the job ended otherwise"; }
    sleep 1
done
metrics_are_same whole_minute minute
echo "a limit of a minute: $(grep -c 'back into the queue' "$log") times requeued, the same digests"
