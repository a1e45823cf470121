# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Makes `mpirun` the launcher of the build in $SW2_BIN, with more ranks than cores allowed. Sourced.

# By hand as under ctest.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none

is_mpich=
if [ -x "$SW2_BIN/launch/mpirun" ]; then
    is_mpich=1
    PATH=$SW2_BIN/launch:$PATH
fi

# ranks_of PID: the ranks' processes of an mpirun, in order, on one line. Between MPICH's and its
# ranks there is one more process.
ranks_of() {
    local children
    children=$(cat "/proc/$1/task/"*/children)
    if [ -n "$is_mpich" ] && [ -n "$children" ]; then
        children=$(cat "/proc/${children%% *}/task/"*/children)
    fi
    echo "$children" | tr '\n' ' '
}
