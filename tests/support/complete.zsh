# SPDX-License-Identifier: MIT
# What zsh offers: complete.zsh PROGRAMS COMPLETIONS LINE WORD types LINE and tab into a zsh of its
# own, whose PATH starts with the first folder and whose fpath with the second, and prints what it
# shows until WORD is there. Exit code 1: it never was.
zmodload zsh/zpty
line=$3 word=$4
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($2 \$fpath); path=($1 \$path); autoload -Uz compinit
compinit -u -D; bindkey '^I' list-choices; LISTMAX=1000; stty -echo cols 200; echo rea''dy"
zpty -r -m shell shown '*ready*'
zpty -n -w shell "$line"$'\t'
shown='' piece='' tries=0
while [[ $shown != *$word* ]] && ((++tries < 400)); do
    zpty -r -t shell piece && shown+=$piece || sleep 0.05
done
zpty -d shell
print -r -- "$shown"
[[ $shown == *$word* ]]
