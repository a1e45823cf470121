// SPDX-License-Identifier: MIT
// What the fuzz_*.c programs share. Each defines LLVMFuzzerTestOneInput: one input through one
// reader. Linked with clang's libFuzzer (cmake -DSW2_FUZZ=ON), or with replay.c, which runs files
// of a corpus once.
#ifndef SW2_TESTS_FUZZ_H
#define SW2_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// Writes the bytes to a file of this process (one for each slot 0..3), which the next call
// replaces and the end of the process removes. Its name is borrowed.
const char *fuzz_file(int slot, const uint8_t *data, size_t n);
// Stops the program unless status is OK, or one a reader may give and has a text of one line.
void fuzz_expect(enum status status);
// A copy that ends where its memory ends, so that reads beyond are seen; malloc'ed, never NULL.
uint8_t *fuzz_copy(const uint8_t *data, size_t n);

#endif
