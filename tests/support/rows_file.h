// SPDX-License-Identifier: MIT
// Small HDF5 files with known numbers, for tests of data/.
#ifndef SW2_TESTS_ROWS_FILE_H
#define SW2_TESTS_ROWS_FILE_H

#include <stdint.h>

#include "data/dataset.h"

enum fill {
    FILL_PIXELS,  // rows_file_pixel(position)
    FILL_CLASSES, // row % 10
    FILL_ONE_HOT, // row % width
    FILL_FLOATS,  // row / 4 + column
    FILL_ONES,    // row % 10 + 1
    FILL_ZEROS
};

struct part {
    const char *key;
    enum h5_type type;
    int rank;
    uint64_t dim[5];
    enum fill fill;
    // One element that differs: flat position + 1 (0: none) and its value.
    uint64_t odd;
    double odd_value;
};

// Whole numbers from 0 to 250 without a short period.
double rows_file_pixel(uint64_t position);
// Writes the parts up to the first without a key; fails the test when it cannot.
void rows_file_write(const char *path, const struct part *parts, size_t n);
// n images (n, h, w, c) and labels in group /train, as sw2-data writes them.
void rows_file_images(const char *path, uint64_t n, uint64_t h, uint64_t w, uint64_t c,
                      enum h5_type type);

#endif
