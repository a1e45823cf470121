// SPDX-License-Identifier: MIT
// The command line by table: one row per option drives parsing, --help and defaults. Used by the
// mains of sw2-train, sw2-data (with commands) and sw2-eval. Knows no option of its own but --help
// (-h; --help=man|bash|zsh: a man page, completions) and --version.
//
//     static const struct cli_option options[] = {
//         {{"out", OPTION_STRING, offsetof(struct args, out), "runs", 0, 0, NULL,
//           "folder of the run"}, 'O', "DIR"},
//         {{"option", OPTION_STRINGS, offsetof(struct args, overrides), "", 0, 0, NULL,
//           "set a key of the recipe; may be repeated"}, 'o', "KEY=VALUE"},
//     };
//     static const struct cli cli = {.program = "sw2-train", .arguments = "[RECIPE.yaml]", ...};
//     TRY(cli_parse(&parsed, &cli, argc, argv, &args));
//     if (parsed->is_done) return STATUS_OK; // --help or --version was printed
//
// Accepted: --name VALUE, --name=VALUE, -n VALUE, -nVALUE; --flag, --no-flag, --flag=false for
// OPTION_BOOL; -- ends the options. A single - is an argument. Later values win, but OPTION_STRINGS
// collects each occurrence as one text, in order. Texts are taken as they are (a file named "[x]"
// is no list); OPTION_INTS and OPTION_FLOATS take 1,2,3.
//
// Help and version go through log_line: after group_init rank 0 alone speaks.
#ifndef SW2_TRAINER_CLI_H
#define SW2_TRAINER_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/options.h"

struct cli_option {
    // name without dashes; help: one line, shown with default and bounds. fallback NULL:
    // OPTION_STRING becomes NULL, OPTION_STRINGS empty, any other type must be given.
    // OPTION_NODE is not allowed.
    struct option row;
    char letter;       // of the short form; 0: none
    const char *value; // how help names the value ("FILE"); NULL: from the type
};

struct cli {
    const char *program;   // "sw2-train", or of a command "sw2-data import"
    const char *arguments; // after [options] in the usage line: "[RECIPE.yaml]"; may be NULL
    const char *about;     // what it is: one or more lines
    const struct cli_option *options;
    size_t n_options;
    size_t min_arguments, max_arguments; // positional ones; CLI_ANY: no limit
    const char *examples;                // lines shown indented by two; may be NULL
    const char *version;                 // text of --version; NULL: "<program> <SW2_VERSION>"
    char *(*version_text)(void);         // instead: makes it (malloc'ed), for run-time versions
    const struct cli *commands;          // for cli_select; program "sw2-data import" is "import"
    size_t n_commands;
};
#define CLI_ANY ((size_t)-1)

struct cli_parsed {
    const struct cli *cli;
    bool is_done;                    // --help or --version was asked for and printed
    struct option_strings arguments; // positional, borrowed from argv
    bool *is_given;                  // (n_options) the row stood on the command line
    struct yaml *memory;             // of lists
};

// Reads argv[1..argc) into *out (the struct the rows' offsets are of), defaults first. Values are
// borrowed from argv and *parsed: they live until cli_free. STATUS_USAGE: "unknown option
// '--epohcs', did you mean '--epochs'? (see sw2-train --help)". With is_done set *out may lack
// required options.
enum status cli_parse(struct cli_parsed **parsed, const struct cli *cli, int argc, char **argv,
                      void *out);
void cli_free(struct cli_parsed *parsed); // NULL is allowed
bool cli_is_given(const struct cli_parsed *parsed, const char *name);

// For programs with commands: the one that argv[1] names; then cli_parse(*command, argc - 1, argv +
// 1). Prints --help, help and --version itself: then *command is NULL and STATUS_OK is returned.
// STATUS_USAGE: none given (lists them), or unknown (names the nearest).
enum status cli_select(const struct cli *cli, int argc, char **argv, const struct cli **command);

// The whole main of a program whose ranks do one thing together: starts the group, parses into
// *args (all zero), runs, ends. Returns the exit code. run: collective.
struct group;
typedef enum status cli_run(struct group *group, const void *args,
                            const struct option_strings *arguments);
int cli_main(const struct cli *cli, int argc, char **argv, void *args, cli_run *run);

// What is made from the rows. All but the first are for the build, which installs them.
enum cli_text { CLI_HELP, CLI_MANUAL, CLI_BASH, CLI_ZSH };
#define CLI_TEXTS "help|man|bash|zsh" // --help=man: a man page; bash, zsh: completions

// The text of --help, or of --help=KIND; malloc'ed. NULL: out of memory.
char *cli_help(const struct cli *cli, enum cli_text kind);

#endif
