// SPDX-License-Identifier: MIT
// Completions for bash and zsh from the same rows as --help: names of options, their values where
// they are words, files and folders, commands, names of installed recipes.
#include <ctype.h>
#include <string.h>

#include "trainer/cli_private.h"

// What a value or an argument can be, from its name: "auto|model|ema" are words, "auto|never|FILE"
// words and files, "DIR" folders, "KEY=VALUE" and "N" nothing that could be listed.
struct values {
    char words[256]; // with spaces between
    bool has_files, has_folders, has_recipes;
};

static struct values values_of(const char *name)
{
    struct values values = {.has_files = strstr(name, "FILE") || strstr(name, "CHECKPOINT") ||
                                         strstr(name, "INPUT") || strstr(name, "SOURCE") ||
                                         strstr(name, "PATH") || strstr(name, "RUN") ||
                                         strstr(name, "DATA") || strstr(name, "OUT") ||
                                         strstr(name, ".h5") || strstr(name, ".yaml"),
                            .has_folders = strstr(name, "DIR") || strstr(name, "FOLDER"),
                            .has_recipes = strstr(name, "RECIPE")};
    values.has_files = values.has_files || values.has_recipes;
    if (!strchr(name, '|'))
        return values;
    size_t used = 0;
    for (const char *word = name; *word;) {
        size_t n = strcspn(word, "|");
        if (!isupper((unsigned char)word[0]) && used + n + 2 < sizeof values.words)
            used += (size_t)snprintf(values.words + used, sizeof values.words - used, "%s%.*s",
                                     used ? " " : "", (int)n, word);
        word += n + (word[n] == '|');
    }
    return values;
}

static struct values values_of_option(const struct cli_option *option)
{
    if (option->row.choices)
        return values_of(option->row.choices);
    return values_of(cli_value_name(option));
}

// sw2_train of "sw2-train", sw2_data_import of "sw2-data import".
static void write_identifier(FILE *out, const char *program)
{
    for (const char *c = program; *c; c++)
        fputc(isalnum((unsigned char)*c) ? *c : '_', out);
}

// bash.

static const char *const bash_helpers =
    "_sw2_recipes() { # PROGRAM: names of the recipes installed with it\n"
    "    local program file\n"
    "    program=$(type -P \"$1\") && program=$(readlink -f \"$program\") || return\n"
    "    for file in \"${program%/*}\"/../share/sw2/recipes/*.yaml; do\n"
    "        file=${file##*/}\n"
    "        [ \"$file\" = '*.yaml' ] || echo \"${file%.yaml}\"\n"
    "    done\n"
    "}\n"
    "_sw2_offer() { # WORDS FILES: files is f (any), d (folders) or empty\n"
    "    local IFS=$' \\t\\n' line\n"
    "    while read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -W \"$1\" -- \"$cur\")\n"
    "    [ -z \"$2\" ] && return\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    while read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -\"$2\" -- \"$cur\")\n"
    "}\n";

static void write_bash_values(FILE *out, const struct values *values)
{
    fprintf(out, "_sw2_offer \"%s%s\" '%s'", values->words,
            values->has_recipes ? " $(_sw2_recipes \"$program\")" : "",
            values->has_files     ? "f"
            : values->has_folders ? "d"
                                  : "");
}

static void write_bash_names(FILE *out, const struct cli *cli)
{
    for (size_t i = 0; i < cli->n_options; i++) {
        const struct cli_option *option = &cli->options[i];
        fprintf(out, "--%s%s ", cli_is_on(option) ? "no-" : "", option->row.name);
    }
    fputs("--help --version", out);
}

// A function that completes the options and arguments of a program or command.
static void write_bash_function(FILE *out, const struct cli *cli)
{
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs("() {\n    case $prev in\n", out);
    for (size_t i = 0; i < cli->n_options; i++) {
        const struct cli_option *option = &cli->options[i];
        if (cli_is_flag(option))
            continue;
        struct values values = values_of_option(option);
        fprintf(out, "        --%s", option->row.name);
        if (option->letter)
            fprintf(out, " | -%c", option->letter);
        fputs(")\n            ", out);
        write_bash_values(out, &values);
        fputs("\n            return ;;\n", out);
    }
    fputs("    esac\n    case $cur in\n        -*) _sw2_offer \"", out);
    write_bash_names(out, cli);
    fputs("\" '' ;;\n        *) ", out);
    struct values values = values_of(cli->arguments ? cli->arguments : "");
    values.words[0] = '\0';
    write_bash_values(out, &values);
    fputs(" ;;\n    esac\n}\n", out);
}

static void write_bash_commands(FILE *out, const struct cli *cli)
{
    for (size_t i = 0; i < cli->n_commands; i++)
        write_bash_function(out, &cli->commands[i]);
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs("() {\n    if [ \"$COMP_CWORD\" = 1 ]; then\n        _sw2_offer \"", out);
    for (size_t i = 0; i < cli->n_commands; i++)
        fprintf(out, "%s ", cli_command_name(&cli->commands[i]));
    fputs("help --help --version\" ''\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; i < cli->n_commands; i++) {
        fprintf(out, "        %s) _", cli_command_name(&cli->commands[i]));
        write_identifier(out, cli->commands[i].program);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n", out);
}

void cli_write_bash(FILE *out, const struct cli *cli)
{
    fprintf(out, "# bash completion of %s; made by %s --help=bash\n%s", cli->program, cli->program,
            bash_helpers);
    if (cli->n_commands > 0)
        write_bash_commands(out, cli);
    else
        write_bash_function(out, cli);
    // bash takes "--name=value" for three words.
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs("_complete() {\n"
          "    local program=$1 cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    [ \"$cur\" != = ] || { cur='' prev='=' COMP_WORDS[COMP_CWORD]=''\n"
          "        prev=${COMP_WORDS[COMP_CWORD - 1]}; }\n"
          "    [ \"$prev\" != = ] || prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    COMPREPLY=()\n    _",
          out);
    write_identifier(out, cli->program);
    fputs("\n}\ncomplete -F _", out);
    write_identifier(out, cli->program);
    fprintf(out, "_complete %s\n", cli->program);
}

// zsh.

// Help as the part of a spec in brackets, within single quotes.
static void write_zsh_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\'')
            fputs("'\\''", out);
        else if (*c == '[' || *c == ']' || *c == ':' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else
            fputc(*c == '\n' ? ' ' : *c, out);
    }
}

// ":message:action" of a value or of arguments.
static void write_zsh_values(FILE *out, const char *name, const struct values *values)
{
    fputc(':', out);
    write_zsh_text(out, name);
    if (values->has_recipes)
        fputs(":_sw2_recipes_or_files", out);
    else if (values->words[0] && values->has_files)
        fprintf(out, ":{_alternative \"words\\:word\\:(%s)\" \"files\\:file\\:_files\"}",
                values->words);
    else if (values->words[0])
        fprintf(out, ":(%s)", values->words);
    else
        fputs(values->has_files ? ":_files" : values->has_folders ? ":_files -/" : ": ", out);
}

static void write_zsh_option(FILE *out, const struct cli_option *option)
{
    bool is_repeated = option->row.type == OPTION_STRINGS;
    const char *no = cli_is_on(option) ? "no-" : "";
    bool is_flag = cli_is_flag(option);
    fputs("        ", out);
    if (is_repeated)
        fputs("'*'", out);
    else if (option->letter)
        fprintf(out, "'(-%c --%s%s)'", option->letter, no, option->row.name);
    if (option->letter)
        fprintf(out, "{-%c%s,--%s%s%s}'[", option->letter, is_flag ? "" : "+", no, option->row.name,
                is_flag ? "" : "=");
    else
        fprintf(out, "'--%s%s%s[", no, option->row.name, is_flag ? "" : "=");
    write_zsh_text(out, option->row.help);
    fputc(']', out);
    if (!is_flag) {
        struct values values = values_of_option(option);
        write_zsh_values(out, cli_value_name(option), &values);
    }
    fputs("' \\\n", out);
}

static void write_zsh_function(FILE *out, const struct cli *cli)
{
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs("() {\n    _arguments -s -S \\\n", out);
    for (size_t i = 0; i < cli->n_options; i++)
        write_zsh_option(out, &cli->options[i]);
    fputs("        '--help[print a short help]' '--version[print the version]' \\\n        '*",
          out);
    struct values values = values_of(cli->arguments ? cli->arguments : "");
    values.words[0] = '\0';
    write_zsh_values(out, "argument", &values);
    fputs("'\n}\n", out);
}

static void write_zsh_commands(FILE *out, const struct cli *cli)
{
    for (size_t i = 0; i < cli->n_commands; i++)
        write_zsh_function(out, &cli->commands[i]);
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs("() {\n    if ((CURRENT == 2)); then\n        local -a commands=(\n", out);
    for (size_t i = 0; i < cli->n_commands; i++) {
        char summary[512];
        cli_summary(&cli->commands[i], summary, sizeof summary);
        fprintf(out, "            '%s:", cli_command_name(&cli->commands[i]));
        write_zsh_text(out, summary);
        fputs("'\n", out);
    }
    fputs("        )\n        _describe command commands\n        return\n    fi\n"
          "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n",
          out);
    for (size_t i = 0; i < cli->n_commands; i++) {
        fprintf(out, "        %s) _", cli_command_name(&cli->commands[i]));
        write_identifier(out, cli->commands[i].program);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n", out);
}

void cli_write_zsh(FILE *out, const struct cli *cli)
{
    fprintf(out,
            "#compdef %s\n# zsh completion of %s; made by %s --help=zsh\n"
            "_sw2_recipes_or_files() {\n"
            "    local program=${commands[%s]:A}\n"
            "    local -a names=(${program:h}/../share/sw2/recipes/*.yaml(N:t:r))\n"
            "    _alternative \"recipes:recipe:($names)\" 'files:file:_files'\n}\n",
            cli->program, cli->program, cli->program, cli->program);
    if (cli->n_commands > 0)
        write_zsh_commands(out, cli);
    else
        write_zsh_function(out, cli);
    fputs("_", out);
    write_identifier(out, cli->program);
    fputs(" \"$@\"\n", out);
}
