// SPDX-License-Identifier: MIT
// sw2-data info: groups, data sets and attributes of an HDF5 file, as text
// or JSON. Called by data_inspect.c.
#ifndef SW2_TRAINER_DATA_INFO_H
#define SW2_TRAINER_DATA_INFO_H

#include "comm/error.h"

// Prints with log_line. STATUS_DATA: not an HDF5 file.
enum status data_info(const char *path);

// One JSON object on stdout: "file", and "train" and "test", each null or "path", "rows", "shape"
// (h, w, c), "input", "target", "classes" (names, where there are some), "mean", "std",
// "fingerprint".
enum status data_info_json(const char *path);

#endif
