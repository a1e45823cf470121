#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Debian packages: which ones, and installing those that are missing. Sourced by run.sh, test.sh
# and bench.sh; alone it installs groups: bash scripts/packages.sh build test
# "a|b" means either of them.
# shellcheck disable=SC2034,SC2120

packages_build=(gcc libc6-dev cmake ninja-build pkg-config libopenmpi-dev openmpi-bin
    libopenblas-dev libxsmm-dev libhdf5-dev libyaml-dev libxxhash-dev librandom123-dev libpng-dev
    "libjpeg62-turbo-dev|libjpeg-dev" zlib1g-dev)
packages_test=(libcmocka-dev)
# gcc brings its own sanitizers; plots as PNG; a browser; what checks man pages, completions, module
packages_ci=(clang "libclang-rt-14-dev|libclang-rt-dev" librsvg2-dev chromium libmpich-dev mpich
    valgrind mandoc zsh tcl dpkg-dev file python3-venv)
packages_data=(dataset-fashion-mnist)
packages_simulate=(libsimgrid-dev)
packages_bench=(python3-torch python3-torchvision libdnnl-dev)

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# One word a line of those that are not installed.
packages_missing() {
    local entry name
    for entry in "$@"; do
        for name in ${entry//|/ }; do
            package_is_installed "$name" && continue 2
        done
        echo "$entry"
    done
}

# The first of "a|b" that can be had; else the first.
package_choose() {
    local name
    for name in ${1//|/ }; do
        if apt-cache policy "$name" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "${1%%|*}"
}

# How to become root, as words for a command line; fails where there is no way.
packages_root() {
    if [ "$(id -u)" = 0 ]; then
        return 0
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        echo sudo
    else
        return 1
    fi
}

# packages_install NAME...: installs what is missing. 0: all there; else one message and
# 1: could not be installed, 2: not a Debian (no apt-get).
packages_install() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "This is not a Debian (no apt-get). Please install what these packages contain: $*" >&2
        return 2
    fi
    local missing=() names=() entry root
    mapfile -t missing < <(packages_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! root=$(packages_root); then
        echo "Missing packages, and neither root nor sudo to install them. Please have run:" >&2
        echo "    apt-get install ${missing[*]%%|*}" >&2
        return 1
    fi
    echo "Installing ${missing[*]%%|*}"
    local log
    log=$(mktemp)
    local apt=(${root:+sudo} env DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=300 -qq)
    "${apt[@]}" update >"$log" 2>&1 || true # old lists may do
    for entry in "${missing[@]}"; do
        names+=("$(package_choose "$entry")")
    done
    if ! "${apt[@]}" install -y --no-install-recommends "${names[@]}" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        echo "apt-get could not install: ${names[*]}" >&2
        return 1
    fi
    rm -f "$log"
}

# What building needs. Elsewhere than on Debian it is enough that CMake finds everything.
packages_for_build() { # more packages as arguments; SOURCE is the repository
    local status=0
    packages_install "${packages_build[@]}" "$@" || status=$?
    [ $status != 2 ] || ! command -v cmake >/dev/null || {
        local try has_tests=OFF
        try=$(mktemp -d)
        [ $# = 0 ] || has_tests=ON
        if cmake -S "$SOURCE" -B "$try" -DSW2_TESTS=$has_tests >"$try/log" 2>&1; then
            echo "CMake finds all of it here: going on." >&2
            status=0
        else
            grep -A 3 -m 1 'CMake Error' "$try/log" >&2 || true
        fi
        rm -rf "$try"
    }
    return $status
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    [ $# -gt 0 ] || set -- build test
    wanted=()
    for group in "$@"; do
        case $group in
            build | test | ci | data | simulate | bench) declare -n list="packages_$group" ;;
            *)
                echo "unknown group '$group': build, test, ci, data, simulate or bench" >&2
                exit 2
                ;;
        esac
        wanted+=("${list[@]}")
    done
    packages_install "${wanted[@]}"
fi
