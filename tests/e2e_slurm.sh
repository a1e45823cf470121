#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/train.sbatch in a real Slurm of this one machine: a signal before the time limit saves a
# checkpoint, the job goes back into the queue, starts again and ends with the digests of an
# unbroken run. Needs root and Debian's slurmctld, slurmd, slurm-client and munge; else skipped.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
for program in slurmctld slurmd munged sbatch mpirun; do
    command -v $program >/dev/null || {
        echo "skipped: $program is not installed"
        exit 77
    }
done
[ "$(id -u)" = 0 ] || {
    echo "skipped: starting Slurm needs root"
    exit 77
}

# The smallest Slurm: own sockets, ports and folders, so that it meets no other.
host=$(hostname -s)
mkdir state spool
chmod 755 . state spool
head -c 1024 /dev/urandom >munge.key && chmod 400 munge.key
cat >slurm.conf <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((20000 + $$ % 20000))
SlurmdPort=$((40001 + $$ % 20000))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SchedulerParameters=sched_interval=2
MpiDefault=none
ReturnToService=2
JobRequeue=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE OverSubscribe=YES State=UP
END
export SLURM_CONF=$work/slurm.conf
munged --force --foreground --socket="$work/munge.socket" --key-file="$work/munge.key" \
    --pid-file="$work/munged.pid" --log-file="$work/munged.log" --seed-file="$work/munge.seed" \
    >munged.out 2>&1 &
for ((i = 0; i < 50; i++)); do
    [ ! -S munge.socket ] || break
    sleep 0.1
done
slurmctld -D >slurmctld.out 2>&1 &
slurmd -D -N "$host" >slurmd.out 2>&1 &

logs() {
    tail -n 15 slurmctld.log slurmd.log munged.log munged.out 2>/dev/null || true
    cat sw2-train-*.log 2>/dev/null || true
}
# until SECONDS WHAT command...: waits for the command to succeed.
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >until.log 2>&1; do
        [ $SECONDS -lt $deadline ] || {
            logs
            cat until.log
            fail "waited too long for: $what"
        }
        sleep 0.2
    done
}
node_is_idle() { sinfo -h -o %T | grep -q idle; }
until_true 30 'the node' node_is_idle

must "$data" generate grey.h5 --shape 28x28x1 --rows 1013 --test-rows 211
run=(mnist -o data.train=grey.h5:/train -o data.test=grey.h5:/test -o train.batch=64
    -o train.log_every=1 -o train.epochs=20)
must at 3 "$train" "${run[@]}" --out whole

job=$(SW2_TRAIN=$train SW2_OUT=$work/run sbatch --parsable --ntasks=3 --overcommit --time=10 \
    --chdir="$work" "$SW2_SOURCE/scripts/train.sbatch" "${run[@]}")
trap 'scancel -f "$job" 2>/dev/null || true; sleep 0.5; jobs -p | xargs -r kill; clean_up' EXIT
log=sw2-train-$job.log
step_is() { # at least
    [ -e run/metrics.jsonl ] &&
        tail -n 1 run/metrics.jsonl | awk -F '"step":' -v n="$1" '{ exit !($2 + 0 >= n) }'
}
until_true 60 'step 20' step_is 20
scancel --batch --signal=USR1 "$job" # as --signal=B:USR1@120 does
until_true 60 'the checkpoint' grep -q 'back into the queue' "$log"
grep -q '^stopped by SIGUSR1 after step' "$log" || { logs; fail "not stopped by the signal"; }
is_pending() { scontrol show job "$job" | grep -q 'JobState=PENDING'; }
until_true 60 'the job in the queue' is_pending
scontrol update "jobid=$job" StartTime=now # Slurm lets a requeued job wait for two minutes
is_complete() { scontrol show job "$job" | grep -q 'JobState=COMPLETED'; }
until_true 120 'the end of the job' is_complete
grep -q 'start 2: 3 tasks' "$log" && grep -q 'resumed from' "$log" || { logs; fail "not resumed"; }
metrics_are_whole run 20
metrics_are_same whole run
echo "saved, requeued, resumed: $(tail -n 1 run/metrics.csv | sed 's/.*,//')"
