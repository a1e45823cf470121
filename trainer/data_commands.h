// SPDX-License-Identifier: MIT
// The commands of sw2-data. Each reads its own command line (argv[0] is the command) and returns
// the program's exit code as status. Called by data_main.c.
#ifndef SW2_TRAINER_DATA_COMMANDS_H
#define SW2_TRAINER_DATA_COMMANDS_H

#include "trainer/cli.h"

enum data_command { DATA_IMPORT, DATA_INFO, DATA_CHECK, DATA_GENERATE, DATA_COMMANDS_N };

extern const struct cli data_clis[DATA_COMMANDS_N]; // options and help
extern enum status (*const data_runs[DATA_COMMANDS_N])(int argc, char **argv);

// Ctrl-C, TERM and HUP set a flag that import_tick's callback sees: the work ends, temporary files
// are removed. A file-size limit becomes a write error.
void data_catch_signals(void);

#endif
