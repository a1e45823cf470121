// SPDX-License-Identifier: MIT
// What the texts made from the rows of a command line share: --help (cli_help.c), man pages
// (cli_manual.c), completions for bash and zsh (cli_complete.c).
#ifndef SW2_TRAINER_CLI_PRIVATE_H
#define SW2_TRAINER_CLI_PRIVATE_H

#include <stdio.h>

#include "trainer/cli.h"

struct cli_exit_code {
    int code;
    const char *text;
};
extern const struct cli_exit_code cli_exit_codes[]; // ends with text NULL

const char *cli_value_name(const struct cli_option *option); // "FILE"; not of a flag
bool cli_is_flag(const struct cli_option *option);
bool cli_is_on(const struct cli_option *option); // a flag that --no-name turns off
bool cli_has_letter(const struct cli *cli, char letter);
// "import" of "sw2-data import".
const char *cli_command_name(const struct cli *command);
// Help, then what follows from the row: default, bounds, choices.
void cli_row_text(const struct cli_option *option, char *out, size_t bytes);
// The first sentence of `about`, on one line, without its full stop.
void cli_summary(const struct cli *cli, char *out, size_t bytes);

// Each writes one text whole.
void cli_write_manual(FILE *out, const struct cli *cli); // man page, section 1
void cli_write_bash(FILE *out, const struct cli *cli);
void cli_write_zsh(FILE *out, const struct cli *cli);

#endif
