#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Holds the sources to the project's rules: which folder may include what, lengths of files,
# functions and lines, the licence line. Prints each violation as file:line: text; exit 1 if any.
# usage: check_style.sh [FOLDER]   (tests/e2e_style.sh plants violations in a copy)
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

max_file=500     # lines of a file: fewer
max_function=60  # lines of a function, signature included: fewer
max_columns=100  # of a line: no more

mapfile -t code < <(find comm data models trainer tests -name '*.[ch]' -o -name '*.def' | sort)
mapfile -t all < <(printf '%s\n' "${code[@]}" &&
    find scripts tests .ci -name '*.sh' -o -name '*.py' -o -name run -o -name '*.sbatch' \
        -o -name CMakeLists.txt | sort &&
    find models/recipes scripts/bench -name '*.yaml' && ls CMakeLists.txt)
[ ${#code[@]} -gt 0 ] || {
    echo "no sources in $PWD"
    exit 1
}

# Who may include what: our own folders, then the headers of others.
includes() {
    awk '
    function bad(why) { print FILENAME ":" FNR ": " why ": " $0 }
    BEGIN {
        may["comm"] = " comm "; may["data"] = " comm data "; may["models"] = " comm models "
        may["trainer"] = " comm data models trainer "
        may["tests"] = " comm data models trainer tests "
        home["mpi.h"] = "^comm/[^/]*[.]c$|^tests/bench_reduce[.]c$|^tests/support/pmpi/"
        home["hdf5.h"] = "^data/h5(_private[.]h|[a-z_]*[.]c)$"
        home["cblas.h"] = home["libxsmm.h"] = "^models/kernels/gemm_[a-z_]*[.]c$"
        home["dnnl.h"] = "^tests/bench/conv_dnnl[.]c$"
        home["yaml.h"] = "^comm/yaml[a-z_]*[.]c$"
        home["xxhash.h"] = "^comm/digest[.]c$"
        home["Random123/philox.h"] = "^comm/random[.]c$"
        home["png.h"] = home["jpeglib.h"] = "^data/image_[a-z_]*[.]c$|^tests/support/import_"
        home["zlib.h"] = "^data/(stream|h5_chunk)[.]c$|^tests/support/import_"
    }
    /^[ \t]*#[ \t]*include/ {
        split(FILENAME, path, "/"); folder = path[1]
        if (match($0, /"[^"]*"/)) {
            name = substr($0, RSTART + 1, RLENGTH - 2)
            if (name == "embedded_recipe.h" && FILENAME == "trainer/recipe.c") next # generated
            if (name ~ /^report_(css|js)\.h$/ && FILENAME == "trainer/report/page.c") next
            n = split(name, target, "/")
            if (n < 2 || name ~ /[.][.]/)
                bad("include from the repository root")
            else if (!index(may[folder], " " target[1] " "))
                bad(folder " must not include " target[1])
        } else if (match($0, /<[^>]*>/)) {
            name = substr($0, RSTART + 1, RLENGTH - 2)
            if ((name in home) && FILENAME !~ home[name])
                bad("only " home[name] " may include it")
        }
    }' "${code[@]}"
}

# A function, in this style, has its braces alone in the first column; its first line is the first
# one after a blank, a comment, a brace or the preprocessor.
lengths() {
    awk -v max_file=$max_file -v max_function=$max_function -v max_columns=$max_columns '
    function end_file() {
        if (last >= max_file && name !~ /[.](yaml|py)$/)
            print name ":" last ": a file of " last " lines; fewer than " max_file " are allowed"
    }
    FNR == 1 { end_file(); name = FILENAME; start = 1; open = 0 }
    { last = FNR }
    length > max_columns {
        print FILENAME ":" FNR ": " length " columns; at most " max_columns " are allowed"
    }
    FILENAME !~ /[.][ch]$/ { next }
    open && /^}/ {
        n = FNR - start + 1
        if (n >= max_function)
            print FILENAME ":" start ": a function of " n " lines; fewer than " max_function \
                " are allowed"
        open = 0
    }
    /^{/ { open = 1 }
    !open && (/^$/ || /^[}#]/ || /^ *\/\// || /;$/ || /\\$/) { start = FNR + 1 }
    END { end_file() }' "${all[@]}"
}

# Scripts have it after "#!"; recipes are read by people, and need none.
licence() {
    local file
    for file in "${code[@]}" "${all[@]}"; do
        case $file in
            *.yaml | *CMakeLists.txt | .ci/run) continue ;;
        esac
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT$' ||
            echo "$file:1: the line 'SPDX-License-Identifier: MIT' is missing"
    done | sort -u
}

found=$(includes; lengths; licence)
if [ -n "$found" ]; then
    echo "$found"
    echo "$(wc -l <<<"$found") violations of the style"
    exit 1
fi
echo "${#code[@]} sources hold to the style"
