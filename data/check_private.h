// SPDX-License-Identifier: MIT
// Shared by check.c (what is said) and check_scan.c (what is counted); by no one else.
#ifndef SW2_DATA_CHECK_PRIVATE_H
#define SW2_DATA_CHECK_PRIVATE_H

#include "data/check.h"
#include "data/import_private.h"
#include "data/row_digest.h"

struct check_row {
    uint64_t key; // digest of the input
    uint64_t row;
};

// What one pass over a side finds.
struct check_scan {
    struct dataset *dataset;
    const char *name; // "train", "test"
    uint64_t n_rows;
    struct check_row *rows;                  // (n_rows), by key, then row
    uint64_t *count;                         // (n_classes) rows of each class
    uint64_t n_not_finite, first_not_finite; // values; row of the first
    uint64_t n_bad_targets, first_bad_target;
    uint64_t n_blank, first_blank;
    float *least, *most; // (c) of each channel
    struct import_stats stats;
    struct row_digest digest;
};

#define CHECK_CHUNKS_BYTES 256
// How a data set is stored, and whether that suits shuffled reading: "in chunks of ...".
enum check_level check_chunks(const struct h5_info *info, char text[CHECK_CHUNKS_BYTES]);

enum status check_scan_init(struct check_scan *scan, struct dataset *dataset, const char *name);
enum status check_scan_run(struct check_scan *scan, const struct import_progress *progress);
void check_scan_free(struct check_scan *scan); // also closes the data set

#endif
