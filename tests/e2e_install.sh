#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a cluster installs: programs that find recipes and data wherever the folder was moved, with
# the sources gone; man pages and completions that know every option; the module; the package.
set -euo pipefail
. "$(dirname "$0")/support/e2e.sh"
[ -z "$quick" ] || {
    echo "skipped: the ordinary build tests it, and sanitizers make packages of their own"
    exit 77
}
[ -d "$SW2_BIN/texts" ] || {
    echo "skipped: this build makes no texts"
    exit 77
}
must cmake --install "$SW2_BIN" --prefix "$work/first"
mv first moved # to where nobody was told
prefix=$work/moved
mapfile -t programs < <(cd "$SW2_SOURCE/trainer" && ls *_main.c | sed 's/_main.c$//; s/^/sw2-/')

# Without the sources and the build, where we may hide them.
hidden() {
    # shellcheck disable=SC2016
    unshare -m bash -c 'for folder in "$0" "$1"; do
            [ ! -d "$folder" ] || mount -t tmpfs none "$folder" || exit 1
        done
        shift && exec "$@"' "$SW2_SOURCE" "$SW2_BIN" "$@"
}
hide=
hidden true 2>/dev/null && hide=hidden || echo "(the sources can't be hidden here)"
must $hide "$prefix/bin/sw2-train" --out one
must $hide "$prefix/bin/sw2-train" digits --out two
cmp one/recipe.yaml two/recipe.yaml
[ "$(metrics_of one)" = "$(metrics_of two)" ] || fail "digits by name is another recipe"
[ -z "$hide" ] || grep -q "$prefix/.*share/sw2/recipes/digits.yaml" must.log || {
    cat must.log
    fail "another recipe than the installed one"
}
for recipe in "$SW2_SOURCE"/models/recipes/*.yaml; do
    cmp "$recipe" "$prefix/share/sw2/recipes/${recipe##*/}"
done
must $hide "$prefix/bin/sw2-eval" one/checkpoints/best.h5
echo "runs from where it was moved${hide:+, without its sources}"

# Man pages: each program and option; nothing that a formatter objects to.
for program in "${programs[@]}"; do
    page=$work/$program.1
    zcat -f "$prefix/share/man/man1/$program.1"* >"$page" && [ -s "$page" ] ||
        fail "$program has no man page"
    ! command -v mandoc >/dev/null || must mandoc -T lint -W warning "$page"
    ! command -v man >/dev/null || ! man -l --warnings -P cat "$page" 2>&1 >shown | grep . ||
        fail "man objects to $page"
    texts=$("$prefix/bin/$program" --help)
    for command in $(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\)  .*/\1/p' <<<"$texts"); do
        texts+=$("$prefix/bin/$program" "$command" --help)
    done
    while read -r option; do
        grep -q -F -e "${option//-/\\-}" "$page" || fail "$page says nothing of $option"
        [[ $option == *[* ]] || grep -q -F -e "$option" \
            "$prefix/share/bash-completion/completions/$program" || fail "bash: no $option"
        [ "$option" = --help ] || [[ $option == *[* ]] || grep -q -F -e "$option" \
            "$prefix/share/zsh/site-functions/_$program" || fail "zsh: no $option"
    done < <(grep -o -E '^  .{4}--[][a-z-]+' <<<"$texts" | grep -o -e '--.*' | sort -u)
done
code=0
"$train" --help=troff >help.log 2>&1 || code=$?
[ $code = 2 ] && grep -q "error: --help is 'troff', expected help|man|bash|zsh" help.log ||
    fail "--help=troff: exit code $code, $(cat help.log)"
echo "man pages of ${#programs[@]} programs"

# offers LINE WORDS: what bash completes at the end of LINE are these, of all that it offers.
offers() {
    local got
    # shellcheck disable=SC2016
    got=$(PATH=$prefix/bin:$PATH bash -c '
        . "$1/share/bash-completion/completions/$2"
        compopt() { :; }
        spaced=${3//=/ = }
        read -ra COMP_WORDS <<<"$spaced"
        [ "${3% }" = "$3" ] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        ${4}_complete "$2"
        [ ${#COMPREPLY[@]} = 0 ] || printf "%s\n" "${COMPREPLY[@]}"' x "$prefix" "${1%% *}" "$1" \
        "_$(tr - _ <<<"${1%% *}")" | sort | tr '\n' ' ')
    [ "$got" = "$2" ] || fail "bash completes '$1' by '$got', expected '$2'"
}
touch rows.h5 notes.txt && mkdir runs
offers 'sw2-train --res' '--resume '
offers 'sw2-train --resume n' 'never notes.txt '
offers 'sw2-train --resume=n' 'never notes.txt '
offers 'sw2-train mnist_' 'mnist_fast '
offers 'sw2-train --out r' 'runs '
offers 'sw2-train -o tr' ''
offers 'sw2-data ' '--help --version check generate help import info '
offers 'sw2-data import rows' 'rows.h5 '
offers 'sw2-data import --spl' '--split '
offers 'sw2-predict --format ' 'csv jsonl text '
offers 'sw2-predict -f j' 'jsonl '
if command -v zsh >/dev/null; then
    zsh_offers() { # LINE WORD
        timeout 60 zsh -f "$SW2_SOURCE/tests/support/complete.zsh" "$prefix/bin" \
            "$prefix/share/zsh/site-functions" "$1" "$2" >zsh.log || {
            cat -v zsh.log
            fail "zsh completes '$1' without '$2'"
        }
    }
    zsh_offers 'sw2-train --re' 'newest good checkpoint'
    zsh_offers 'sw2-train --resume ' never
    zsh_offers 'sw2-train mn' mnist_fast
    zsh_offers 'sw2-data ' generate
    zsh_offers 'sw2-data import --sp' split
    zsh_offers 'sw2-predict --format=' jsonl
    echo "completions of bash and zsh"
else
    echo "completions of bash (no zsh here)"
fi

# The module: by the real command, else by a stand-in for its few words.
module_file=$(echo "$prefix"/share/sw2/modulefiles/sw2/*)
if command -v tclsh >/dev/null; then
    cat >module.tcl <<'END'
set ModulesCurrentModulefile [lindex $argv 0]
proc module-whatis {text} {}
proc conflict {name} {}
proc prepend-path {name value} { puts "$name=$value" }
proc setenv {name value} { puts "$name=$value" }
source $ModulesCurrentModulefile
END
    tclsh module.tcl "$module_file" >module.log
    [ "$(sed -n 's/^PATH=//p' module.log)" = "$prefix/bin" ] &&
        grep -q "^SW2_ROOT=$prefix$" module.log ||
        fail "the module sets $(cat module.log)"
    [ -d "$(sed -n 's/^MANPATH=//p' module.log)/man1" ] || fail "no man pages of the module"
    echo "module"
fi

# The package: made, unpacked elsewhere, run. scripts/packaging/check_deb.sh installs it.
if command -v dpkg-shlibdeps >/dev/null; then
    must cpack -G DEB --config "$SW2_BIN/CPackConfig.cmake" -B "$work/packages"
    dpkg-deb -x packages/sw2_*.deb unpacked
    must $hide "$work/unpacked/usr/bin/sw2-train" digits --out three
    [ "$(metrics_of one)" = "$(metrics_of three)" ] || fail "the package trains other weights"
    depends=$(dpkg-deb -f packages/sw2_*.deb Depends)
    for library in libhdf5 libyaml libxxhash libopenblas $([ -n "$is_mpich" ] && echo mpich ||
        echo libopenmpi); do
        [[ $depends == *$library* ]] || fail "the package does not depend on $library: $depends"
    done
    [ -e "unpacked/usr/share/zsh/vendor-completions/_sw2-train" ] || fail "not where zsh looks"
    echo "package of $(stat -c %s packages/sw2_*.deb) bytes"
fi
