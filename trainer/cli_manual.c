// SPDX-License-Identifier: MIT
// Man pages of section 1, in the macros of man(7), from the same rows as --help. A program with
// commands has one page for all of them.
#include <string.h>

#include "trainer/cli_private.h"

static const struct {
    const char *name, *text;
} variables[] = {
    {"SW2_ISA", "base, avx2, avx512 or avx512_bf16: lowers the instruction set, on all ranks."},
    {"SW2_GEMM", "xsmm, blas or ref: the inner kernel of convolutions and dense layers."},
    {"SW2_SHARED", "off: ranks of one host send messages instead of reading each other's memory."},
    {"NO_COLOR", "If set and not empty, output has no colours."},
};

static const char *const others[] = {"sw2-train",   "sw2-data",    "sw2-eval",
                                     "sw2-predict", "sw2-explain", "sw2-report",
                                     "sw2-export",  "sw2-import",  "sw2-shrink"};

// Text of people as roff: no escape, no request, hyphens that can be copied.
static void write_text(FILE *out, const char *text)
{
    bool is_start = true;
    for (const char *c = text; *c; c++) {
        if (is_start && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else
            fputc(*c, out);
        is_start = *c == '\n';
    }
}

static void write_styled(FILE *out, char font, const char *text)
{
    fprintf(out, "\\f%c", font);
    write_text(out, text);
    fputs("\\fR", out);
}

static void write_tagged(FILE *out, const char *tag, const char *text)
{
    fputs(".TP\n", out);
    write_styled(out, 'B', tag);
    fputc('\n', out);
    write_text(out, text);
    fputc('\n', out);
}

// The page's title: sw2-train of "sw2-train".
static void write_title(FILE *out, const struct cli *cli)
{
    char summary[512];
    cli_summary(cli, summary, sizeof summary);
    fputs(".TH ", out);
    for (const char *c = cli->program; *c; c++)
        fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
    fprintf(out, " 1 %s \"sw2 %s\" \"User Commands\"\n.SH NAME\n", SW2_DATE, SW2_VERSION);
    write_text(out, cli->program);
    fputs(" \\- ", out);
    if (summary[0] >= 'A' && summary[0] <= 'Z' && summary[1] >= 'a')
        summary[0] = (char)(summary[0] - 'A' + 'a');
    write_text(out, summary);
    fputc('\n', out);
}

static void write_usage(FILE *out, const struct cli *cli)
{
    write_styled(out, 'B', cli->program);
    if (cli->n_commands == 0)
        fputs(" [\\fIOPTIONS\\fR]", out);
    if (cli->arguments) {
        fputc(' ', out);
        write_styled(out, 'I', cli->arguments);
    }
    fputc('\n', out);
}

static void write_option(FILE *out, const struct cli_option *option)
{
    char text[512];
    fputs(".TP\n", out);
    if (option->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", option->letter);
    fprintf(out, "\\fB\\-\\-%s", cli_is_on(option) ? "[no\\-]" : "");
    write_text(out, option->row.name);
    fputs("\\fR", out);
    if (!cli_is_flag(option)) {
        fputc(' ', out);
        write_styled(out, 'I', cli_value_name(option));
    }
    fputc('\n', out);
    cli_row_text(option, text, sizeof text);
    write_text(out, text);
    fputc('\n', out);
}

static void write_options(FILE *out, const struct cli *cli)
{
    for (size_t i = 0; i < cli->n_options; i++)
        write_option(out, &cli->options[i]);
}

static void write_commands(FILE *out, const struct cli *cli)
{
    if (cli->n_commands > 0)
        fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < cli->n_commands; i++) {
        const struct cli *command = &cli->commands[i];
        fputs(".SS ", out);
        write_text(out, cli_command_name(command));
        fputc('\n', out);
        write_usage(out, command);
        fputs(".PP\n", out);
        write_text(out, command->about);
        fputc('\n', out);
        write_options(out, command);
    }
}

// Lines as they are.
static void write_examples(FILE *out, const struct cli *cli)
{
    if (!cli->examples)
        return;
    fputs(".SH EXAMPLES\n.nf\n", out);
    write_text(out, cli->examples);
    fputs("\n.fi\n", out);
}

void cli_write_manual(FILE *out, const struct cli *cli)
{
    write_title(out, cli);
    fputs(".SH SYNOPSIS\n", out);
    write_usage(out, cli);
    fputs(".SH DESCRIPTION\n", out);
    write_text(out, cli->about);
    fputc('\n', out);
    write_commands(out, cli);
    fputs(".SH OPTIONS\n", out);
    write_options(out, cli);
    write_tagged(out, cli_has_letter(cli, 'h') ? "--help" : "-h, --help", "print a short help");
    write_tagged(out, "--version", "print the version and those of the libraries");
    write_examples(out, cli);
    fputs(".SH EXIT STATUS\n", out);
    for (const struct cli_exit_code *exit = cli_exit_codes; exit->text; exit++) {
        char code[16];
        snprintf(code, sizeof code, "%d", exit->code);
        write_tagged(out, code, exit->text);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        write_tagged(out, variables[i].name, variables[i].text);
    fputs(".SH SEE ALSO\n", out);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i], cli->program) != 0) {
            write_styled(out, 'B', others[i]);
            fputs("(1),\n", out);
        }
    fputs("\\fBmpirun\\fR(1)\n", out);
}
