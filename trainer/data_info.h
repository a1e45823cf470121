// SPDX-License-Identifier: MIT
// sw2-data info: groups, data sets and attributes of an HDF5 file, as text. Called by
// data_commands.c.
#ifndef SW2_TRAINER_DATA_INFO_H
#define SW2_TRAINER_DATA_INFO_H

#include "comm/error.h"

// Prints with log_line. STATUS_DATA: not an HDF5 file.
enum status data_info(const char *path);

#endif
