// SPDX-License-Identifier: MIT
// The text of --help, from the same rows that cli.c reads.
#include "trainer/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/options_private.h"
#include "trainer/cli_private.h"

#define HELP_WIDTH 96
#define LEFT_MAX 30 // a longer left side gets a line of its own

const struct cli_exit_code cli_exit_codes[] = {{0, "done"},
                                               {1, "run-time error"},
                                               {2, "wrong usage or recipe"},
                                               {3, "bad data or checkpoint"},
                                               {4, "loss or gradient not finite"},
                                               {5, "verification failed"},
                                               {75, "stopped with a checkpoint, run again"},
                                               {0, NULL}};

bool cli_is_flag(const struct cli_option *option)
{
    return option->row.type == OPTION_BOOL;
}

bool cli_is_on(const struct cli_option *option)
{
    return cli_is_flag(option) && option->row.fallback && strcmp(option->row.fallback, "true") == 0;
}

bool cli_has_letter(const struct cli *cli, char letter)
{
    for (size_t i = 0; i < cli->n_options; i++)
        if (cli->options[i].letter == letter)
            return true;
    return false;
}

const char *cli_value_name(const struct cli_option *option)
{
    if (option->value)
        return option->value;
    switch (option->row.type) {
    case OPTION_INT:
        return "N";
    case OPTION_FLOAT:
        return "X";
    case OPTION_CHOICE:
        return option->row.choices;
    case OPTION_INTS:
        return "N,N...";
    case OPTION_FLOATS:
        return "X,X...";
    default:
        return "TEXT";
    }
}

static void left_text(const struct cli_option *option, char *out, size_t bytes)
{
    char letter[8] = "    ";
    bool is_flag = cli_is_flag(option);
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(out, bytes, "  %s--%s%s%s%s", letter, cli_is_on(option) ? "[no-]" : "",
             option->row.name, is_flag ? "" : " ", is_flag ? "" : cli_value_name(option));
}

void cli_row_text(const struct cli_option *option, char *out, size_t bytes)
{
    const struct option *row = &option->row;
    char bounds[OPTION_BOUNDS_BYTES], fallback[64] = "", choices[128] = "";
    option_bounds(row, bounds);
    bool is_flag = row->type == OPTION_BOOL;
    bool is_required = !row->fallback && row->type != OPTION_STRING && row->type != OPTION_STRINGS;
    if (cli_is_on(option))
        snprintf(fallback, sizeof fallback, "default on");
    else if (is_required)
        snprintf(fallback, sizeof fallback, "required");
    else if (row->fallback && row->fallback[0] && !is_flag && row->type != OPTION_STRINGS)
        snprintf(fallback, sizeof fallback, "default %s", row->fallback);
    if (row->type == OPTION_CHOICE && option->value)
        snprintf(choices, sizeof choices, "%s", row->choices);
    const char *parts[] = {fallback, choices, bounds};
    size_t used = (size_t)snprintf(out, bytes, "%s", row->help);
    bool is_open = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && used < bytes; i++) {
        if (!parts[i][0])
            continue;
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", is_open ? "; " : " (", parts[i]);
        is_open = true;
    }
    if (is_open && used < bytes)
        snprintf(out + used, bytes - used, ")");
}

// Breaks text at spaces into lines of `width`, each but the first indented.
static void write_wrapped(FILE *out, const char *text, size_t indent, size_t width)
{
    while (strlen(text) > width) {
        size_t n = width;
        while (n > 0 && text[n] != ' ')
            n--;
        if (n == 0) // a word longer than a line
            n = strcspn(text, " ");
        if (text[n] == '\0')
            break;
        fprintf(out, "%.*s\n%*s", (int)n, text, (int)indent, "");
        text += n + 1;
    }
    fprintf(out, "%s\n", text);
}

static void write_row(FILE *out, const char *left, const char *right, size_t column)
{
    size_t n = strlen(left);
    if (n + 2 > column)
        fprintf(out, "%s\n%*s", left, (int)column, "");
    else
        fprintf(out, "%-*s", (int)column, left);
    write_wrapped(out, right, column, HELP_WIDTH - column);
}

// Every line of text, indented.
static void write_lines(FILE *out, const char *text, const char *indent)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        fprintf(out, "%s%.*s\n", n ? indent : "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void write_options(FILE *out, const struct cli *cli)
{
    char left[160], right[512];
    size_t column = 0;
    for (size_t i = 0; i < cli->n_options; i++) {
        left_text(&cli->options[i], left, sizeof left);
        size_t n = strlen(left) + 2;
        column = n <= LEFT_MAX + 2 && n > column ? n : column;
    }
    column = column < 18 ? 18 : column;
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < cli->n_options; i++) {
        left_text(&cli->options[i], left, sizeof left);
        cli_row_text(&cli->options[i], right, sizeof right);
        write_row(out, left, right, column);
    }
    write_row(out, cli_has_letter(cli, 'h') ? "      --help" : "  -h, --help", "print this text",
              column);
    write_row(out, "      --version", "print the version and those of the libraries", column);
}

const char *cli_command_name(const struct cli *command)
{
    const char *space = strrchr(command->program, ' ');
    return space ? space + 1 : command->program;
}

void cli_summary(const struct cli *command, char *out, size_t bytes)
{
    size_t n = 0;
    for (const char *c = command->about; *c && n + 1 < bytes; c++) {
        if (*c == '.' && (c[1] == ' ' || c[1] == '\n' || c[1] == '\0'))
            break;
        out[n++] = *c == '\n' ? ' ' : *c;
    }
    out[n] = '\0';
}

static void write_commands(FILE *out, const struct cli *cli)
{
    char left[64], right[512];
    size_t column = 0;
    fputs("\nCommands:\n", out);
    for (size_t i = 0; i < cli->n_commands; i++) {
        size_t n = strlen(cli_command_name(&cli->commands[i])) + 4;
        column = n > column ? n : column;
    }
    for (size_t i = 0; i < cli->n_commands; i++) {
        snprintf(left, sizeof left, "  %s", cli_command_name(&cli->commands[i]));
        cli_summary(&cli->commands[i], right, sizeof right);
        write_row(out, left, right, column);
    }
    fprintf(out, "\n%s COMMAND --help explains a command.\n", cli->program);
}

static void write_help(FILE *out, const struct cli *cli)
{
    if (cli->n_commands)
        fprintf(out, "Usage: %s COMMAND [OPTIONS] ...\n\n", cli->program);
    else
        fprintf(out, "Usage: %s [OPTIONS]%s%s\n\n", cli->program, cli->arguments ? " " : "",
                cli->arguments ? cli->arguments : "");
    write_lines(out, cli->about, "");
    if (cli->n_commands)
        write_commands(out, cli);
    write_options(out, cli);
    if (cli->examples) {
        fputs("\nExamples:\n", out);
        write_lines(out, cli->examples, "  ");
    }
    fputs("\nExit codes:\n", out);
    for (const struct cli_exit_code *exit = cli_exit_codes; exit->text; exit++)
        fprintf(out, "  %-2d  %s\n", exit->code, exit->text);
}

char *cli_help(const struct cli *cli, enum cli_text kind)
{
    static void (*const write[])(FILE * out,
                                 const struct cli *cli) = {[CLI_HELP] = write_help,
                                                           [CLI_MANUAL] = cli_write_manual,
                                                           [CLI_BASH] = cli_write_bash,
                                                           [CLI_ZSH] = cli_write_zsh};
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    write[kind](out, cli);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
