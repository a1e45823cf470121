#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The sources hold to scripts/check_style.sh, and that script finds what it should: each planted
# violation is reported once, with its file, and nothing else is.
set -euo pipefail
source_folder=${SW2_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
check=$source_folder/scripts/check_style.sh
bash "$check" "$source_folder"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{comm,data,models/kernels,models/recipes,trainer,tests,scripts/bench,.ci}
cd "$work"
cat >clean.c <<'END'
// SPDX-License-Identifier: MIT
#include "comm/error.h"

struct thing {
    int a;
};

int main(void)
{
    return 0;
}
END
touch CMakeLists.txt models/recipes/a.yaml scripts/bench/a.yaml
for folder in comm data models/kernels trainer tests; do cp clean.c $folder/clean.c; done
bash "$check" . >out || { cat out; echo "a clean tree was refused"; exit 1; }

# planted FILE WORDS: with the text of stdin as FILE there is one violation, of FILE, with WORDS.
planted() {
    cat >"$1"
    if bash "$check" . >out || [ "$(grep -c '^[^ ]*:[0-9]*: ' out)" != 1 ] ||
        ! grep -q "^$1:.*$2" out; then
        cat out
        echo "expected one violation in $1 with '$2'"
        exit 1
    fi
    rm "$1"
}

include() { # FILE WORDS INCLUDE...
    local file=$1 words=$2
    shift 2
    { echo '// SPDX-License-Identifier: MIT' && printf '#include %s\n' "$@"; } |
        planted "$file" "$words"
}

function_of() { # lines of the whole function
    echo '// SPDX-License-Identifier: MIT'
    printf 'static int\nlong_one(int a)\n{\n'
    for ((i = 4; i < $1; i++)); do echo "    a++;"; done
    echo '}'
}

file_of() { # lines
    echo '// SPDX-License-Identifier: MIT'
    for ((i = 1; i < $1; i++)); do echo "//"; done
}

include comm/x.c 'comm must not include data' '"data/h5.h"'
include comm/x.h 'comm must not include trainer' '"comm/log.h"' '"trainer/loop.h"'
include data/x.c 'data must not include models' '"models/layer.h"'
include data/x.c 'data must not include trainer' '"trainer/recipe.h"'
include models/x.c 'models must not include data' '"data/dataset.h"'
include models/kernels/x.c 'models must not include trainer' '"trainer/update.h"'
include trainer/x.c 'trainer must not include tests' '"tests/support/naive.h"'
include trainer/x.c 'from the repository root' '"loop.h"'
include data/x.c 'from the repository root' '"../comm/log.h"'
include trainer/x.c 'may include it' '<mpi.h>'
include models/x.c 'may include it' '<mpi.h>'
include data/image.c 'may include it' '<hdf5.h>'
include trainer/h5.c 'may include it' '  <hdf5.h>'
include models/kernels/conv.c 'may include it' '<cblas.h>'
include models/conv.c 'may include it' '<libxsmm.h>'
include tests/test_yaml.c 'may include it' '<yaml.h>'
function_of 60 | planted comm/x.c 'a function of 60 lines'
file_of 500 | planted data/x.h 'a file of 500 lines'
printf '// SPDX-License-Identifier: MIT\n// %98s\n' x | planted models/x.c '101 columns'
printf '# SPDX-License-Identifier: MIT\n# %99s\n' x | planted scripts/x.sh '101 columns'
echo 'int a;' | planted trainer/x.c 'SPDX'
echo 'echo' | planted tests/x.sh 'SPDX'

# What is just allowed.
function_of 59 >comm/x.c
file_of 499 >data/x.h
printf '// SPDX-License-Identifier: MIT\n#include <hdf5.h>\n// %97s\n' x >data/h5_x.c
printf '// SPDX-License-Identifier: MIT\n#include <cblas.h>\n' >models/kernels/gemm_x.c
bash "$check" . >out || { cat out; echo "what is allowed was refused"; exit 1; }
echo "22 planted violations were found"
