#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Training speed beside its peers on the same cores, in interleaved rounds: kernels against oneDNN,
# whole steps against PyTorch, the canonical sum against MPI_Allreduce, memory, cold start, loader.
# Prints tables and writes JSON; at most 15 minutes.
# usage: bash scripts/bench.sh [--peer debian|pip] [--rounds N] [--only SECTION,...] [--json FILE]
#        [--mnist FILE.h5]
# --peer pip: the newest PyTorch of PyPI, in a virtual environment outside the repository
# (SW2_VENV, default ~/.cache/sw2/venv-torch: several GB). Sections: see scripts/bench.py.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
. "$SOURCE/scripts/packages.sh"

peer=debian
options=()
while [ $# -gt 0 ]; do
    case $1 in
        --peer) peer=$2 && shift ;;
        --rounds | --only | --json | --mnist) options+=("$1" "$2") && shift ;;
        *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done

packages_for_build "${packages_test[@]}" "${packages_bench[@]}"
cd "$SOURCE"
build build -DCMAKE_BUILD_TYPE=Release -DSW2_TESTS=ON
mpi_environment
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS OMP_NUM_THREADS # for all sides alike
unset OMPI_MCA_hwloc_base_binding_policy # here each rank has its core
case $peer in
    debian) python=/usr/bin/python3 ;;
    pip)
        venv=${SW2_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/sw2/venv-torch}
        python=$venv/bin/python
        if ! "$python" -c 'import torch, torchvision' 2>/dev/null; then
            packages_install python3-venv
            echo "Installing PyTorch from PyPI into $venv"
            python3 -m venv "$venv"
            "$python" -m pip install --quiet torch torchvision numpy
        fi
        ;;
    *) echo "--peer $peer: debian or pip" >&2 && exit 2 ;;
esac
exec python3 scripts/bench.py --build "$SOURCE/build" --python "$python" "${options[@]}"
