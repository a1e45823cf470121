// SPDX-License-Identifier: MIT
// Checks of statuses and messages, for tests of what goes wrong.
#ifndef SW2_TESTS_EXPECT_H
#define SW2_TESTS_EXPECT_H

#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

// Fails the running test with the recorded error unless status is OK. `what` names the case.
void expect_ok(enum status status, const char *what);
// The status, and a message of one line with each of the texts that `parts` holds, divided by '|'.
void expect_error(enum status status, enum status wanted, const char *parts, const char *what);

// n numbers in [-1, 1) from a linear congruential generator; to be freed.
float *floats_make(size_t n, uint32_t start);

// What is written to stdout between begin and end; malloc'ed.
void capture_begin(void);
char *capture_end(void);

// A fresh folder, removed with all in it by folder_remove. malloc'ed.
char *folder_make(void);
void folder_remove(char *folder); // frees the text too

char *file_text(const char *path); // whole file, malloc'ed; fails the test when it is not there
void file_write(const char *path, const char *text);

#endif
