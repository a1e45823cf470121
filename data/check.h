// SPDX-License-Identifier: MIT
// Data lint: what is wrong, or will surprise, in a data set before hours of training. Works on
// sw2's own files and on files of others (dataset.h infers). Used by sw2-data check.
#ifndef SW2_DATA_CHECK_H
#define SW2_DATA_CHECK_H

#include "data/import.h"

// NOTE: for information. WARNING: training will run, but look at it. ERROR: training would fail or
// learn nonsense.
enum check_level { CHECK_NOTE, CHECK_WARNING, CHECK_ERROR };

struct check_config {
    const char *path; // FILE[:/group]; without a group the training and test parts are found
    const char *test; // FILE[:/group] of the test part; NULL: in path
    void (*say)(void *context, enum check_level level, const char *text); // one finding
    void *context;
    struct import_progress progress;
};

struct check_result {
    size_t n_warnings, n_errors;
    uint64_t n_train, n_test; // rows looked at
};

// Looks for: labels out of range or not whole (by dataset_open), NaN and Inf, classes without rows
// or of very different sizes, constant channels, blank rows, rows twice in a part and their
// contradicting labels, rows in both parts, content that differs from its digest, mean and std that
// differ from the data, unlucky chunks. Reads everything once; 24 bytes a row of memory.
// Findings go to say; the status tells only whether the checks could be made (STATUS_DATA: the file
// cannot be opened or read).
enum status check_run(const struct check_config *config, struct check_result *result);

#endif
