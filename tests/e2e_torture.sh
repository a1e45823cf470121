#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A dozen of each kind of scripts/torture.sh: kills, system calls that fail, a full disk.
set -euo pipefail
if [ -n "${SW2_TEST_QUICK:-}" ]; then # sanitizer builds
    exec bash "$SW2_SOURCE/scripts/torture.sh" 3 0
fi
exec bash "$SW2_SOURCE/scripts/torture.sh" 12 6
