// SPDX-License-Identifier: MIT
// Numbers as text, whatever the locale; shared by options.c and options_write.c.
#ifndef SW2_COMM_OPTIONS_PRIVATE_H
#define SW2_COMM_OPTIONS_PRIVATE_H

#include "comm/options.h"

#define OPTION_DOUBLE_BYTES 32
#define OPTION_BOUNDS_BYTES 80

// The whole text is a decimal number that a double can hold; else false and *problem says why
// ("expected a number").
bool option_double(const char *text, double *out, const char **problem);
bool option_int(const char *text, int64_t *out, const char **problem);

// Shortest text that option_double reads back to the same bits.
void option_double_text(double value, char out[OPTION_DOUBLE_BYTES]);

// Names of "a|b|c": n is how many; each malloc'ed in one block with the array. NULL: out of memory.
char **option_choices(const char *choices, size_t *n);

// "0 to 1", "at least 1", "" from the bounds of a row.
void option_bounds(const struct option *option, char out[OPTION_BOUNDS_BYTES]);

#endif
