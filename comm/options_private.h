// SPDX-License-Identifier: MIT
// Texts of a row; shared by options.c and options_text.c.
#ifndef SW2_COMM_OPTIONS_PRIVATE_H
#define SW2_COMM_OPTIONS_PRIVATE_H

#include "comm/options.h"

#define OPTION_BOUNDS_BYTES 80

// Names of "a|b|c": n is how many; each malloc'ed in one block with the array. NULL: out of memory.
char **option_choices(const char *choices, size_t *n);

// "0 to 1", "at least 1", "" from the bounds of a row.
void option_bounds(const struct option *option, char out[OPTION_BOUNDS_BYTES]);

#endif
