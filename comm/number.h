// SPDX-License-Identifier: MIT
// Numbers as text and back, whatever the locale: recipes, command lines, CSV, JSON.
#ifndef SW2_COMM_NUMBER_H
#define SW2_COMM_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#define NUMBER_BYTES 32

// The whole text is a decimal number ([+-] digits [. digits] [e [+-] digits]) that a double can
// hold, rounded to nearest; else false and *problem says why ("expected a number"): static text.
// No hexadecimal, no "nan", no "inf".
bool number_double(const char *text, double *out, const char **problem);
bool number_int(const char *text, int64_t *out, const char **problem); // [+-] digits, exact

// Shortest text that number_double reads back to the same bits. value: finite.
void number_text(double value, char out[NUMBER_BYTES]);

#endif
