// SPDX-License-Identifier: MIT
// The commands of sw2-data that write nothing: info and check, as text or JSON. Called by way of
// the table in data_commands.c.
#ifndef SW2_TRAINER_DATA_INSPECT_H
#define SW2_TRAINER_DATA_INSPECT_H

#include "trainer/cli.h"

enum { DATA_INFO_OPTIONS_N = 1, DATA_CHECK_OPTIONS_N = 2 };
extern const struct cli_option data_info_options[DATA_INFO_OPTIONS_N];
extern const struct cli_option data_check_options[DATA_CHECK_OPTIONS_N];
enum status data_run_info(int argc, char **argv);
enum status data_run_check(int argc, char **argv);

#endif
