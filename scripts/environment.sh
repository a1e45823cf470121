# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: MIT
# What run.sh, test.sh and bench.sh share: where things are, and Open MPI on any one machine.
# Sourced.

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Cores this process may use (OMP_NUM_THREADS would change what nproc says).
cores() {
    env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc
}

# Settings of Open MPI for one machine that may be a container. Binding is left to the system: in a
# container ranks of two jobs would be bound to the same cores, and each rank's prefetch thread can
# use whatever is idle. Hardware threads count as slots, or two of them would be one.
mpi_environment() {
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
    if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then
        # Containers often forbid process_vm_readv, and then each message costs an error line.
        export OMPI_MCA_btl_vader_single_copy_mechanism=none
    fi
}

# build FOLDER OPTION...: configures (once) and builds all, or BUILD_TARGETS. Quiet but for errors
# and the time it took.
build() {
    local folder=$1 start=$SECONDS log
    shift
    mkdir -p "$folder"
    log=$folder/build.log
    # shellcheck disable=SC2086
    if ! { cmake -S "$SOURCE" -B "$folder" -G Ninja "$@" &&
        ninja -C "$folder" ${BUILD_TARGETS:-}; } >"$log" 2>&1; then
        grep -E -A 12 'CMake Error|error:|FAILED|undefined reference' "$log" | head -60 >&2 ||
            tail -n 30 "$log" >&2
        echo "building failed; all of it is in $log" >&2
        return 1
    fi
    echo "Built ${folder#"$SOURCE"/} in $((SECONDS - start)) s"
}
