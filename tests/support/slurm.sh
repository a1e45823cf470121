# shellcheck shell=bash disable=SC2034,SC2154,SC2016
# SPDX-License-Identifier: MIT
# A Slurm of this one machine for the time of a test: own sockets, ports and folders, so that it
# meets no other. Sourced after e2e.sh; its logs lie in $work, and all its processes carry
# SLURM_CONF=$work/slurm.conf in their environment, by which they are found in the end.

slurm_or_skip() {
    local program
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
}

# Processes of this Slurm, jobs included, but for this script and zombies.
slurm_processes() { # CONF
    local folder
    for folder in /proc/[0-9]*; do
        [ "${folder#/proc/}" != "$$" ] || continue
        grep -s -q -z -x -F "SLURM_CONF=$1" "$folder/environ" || continue
        [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "$folder/status" 2>/dev/null)" != Z ] || continue
        echo "${folder#/proc/}"
    done
}

# Asks the daemons to end, waits for them, and ends by force what is left of daemons and jobs.
slurm_stop() {
    local left i
    [ -e "$work/slurm.conf" ] || return 0
    scancel --full --user=root >/dev/null 2>&1 || true
    jobs -p | xargs -r kill 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do
        [ -n "$(jobs -rp)" ] || break
        sleep 0.1
    done
    unset SLURM_CONF # of what this function starts
    for ((i = 0; i < 5; i++)); do
        left=$(slurm_processes "$work/slurm.conf")
        [ -n "$left" ] || break
        # shellcheck disable=SC2086
        kill -9 $left 2>/dev/null || true
        sleep 0.1
    done
}

# Whatever ends the script, SIGKILL included, its Slurm goes with it: this runs apart, not as a
# child.
slurm_guard() {
    (
        trap - EXIT ERR
        setsid bash -c "$(declare -f slurm_processes)"'
            while kill -0 "$1" 2>/dev/null; do sleep 0.5; done
            for _ in 1 2 3 4 5; do
                left=$(slurm_processes "$2/slurm.conf")
                [ -n "$left" ] || break
                kill -9 $left
                sleep 0.2
            done
            rm -rf "$2"' guard "$$" "$work" >/dev/null 2>&1 </dev/null &
    )
}

# free_port FIRST: a port that nobody listens at, below those that the system gives to anyone.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done
    echo "$port"
}

slurm_write_conf() {
    local host=$1
    cat >slurm.conf <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port $((12000 + $$ % 9000)))
SlurmdPort=$(free_port $((22000 + $$ % 9000)))
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
}

slurm_logs() {
    tail -n 15 slurmctld.log slurmd.log munged.log munged.out 2>/dev/null || true
    cat sw2-train-*.log 2>/dev/null || true
}

# until_true SECONDS WHAT command...: waits for the command to succeed.
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >until.log 2>&1; do
        [ $SECONDS -lt $deadline ] || {
            slurm_logs
            cat until.log
            fail "waited too long for: $what"
        }
        sleep 0.2
    done
}

node_is_idle() { sinfo -h -o %T | grep -q idle; }

slurm_start() {
    local host
    host=$(hostname -s)
    mkdir state spool
    chmod 755 . state spool
    head -c 1024 /dev/urandom >munge.key && chmod 400 munge.key
    slurm_write_conf "$host"
    slurm_guard
    trap 'slurm_stop; clean_up' EXIT
    export SLURM_CONF=$work/slurm.conf
    munged --force --foreground --socket="$work/munge.socket" --key-file="$work/munge.key" \
        --pid-file="$work/munged.pid" --log-file="$work/munged.log" \
        --seed-file="$work/munge.seed" >munged.out 2>&1 &
    until_true 60 'munged' test -S munge.socket
    slurmctld -D >slurmctld.out 2>&1 &
    slurmd -D -N "$host" >slurmd.out 2>&1 &
    until_true 120 'the node' node_is_idle
}

# submit RANKS FOLDER OPTION_OF_SBATCH... -- ARGUMENT...: sets $job and $log.
submit() {
    local ranks=$1 folder=$2 options=()
    shift 2
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    job=$(SW2_TRAIN=$train SW2_OUT=$work/$folder sbatch --parsable --ntasks="$ranks" \
        --overcommit --chdir="$work" "${options[@]}" "$SW2_SOURCE/scripts/train.sbatch" "$@")
    log=sw2-train-$job.log
}

job_is() { scontrol show job "$job" | grep -q "JobState=$1"; }
log_has() { grep -q "$1" "$log"; }
