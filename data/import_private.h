// SPDX-License-Identifier: MIT
// Shared by import*.c; by no one else.
#ifndef SW2_DATA_IMPORT_PRIVATE_H
#define SW2_DATA_IMPORT_PRIVATE_H

#include "data/import.h"

// Where each source row goes, and back.
struct import_order {
    uint64_t n_train, n_test; // of this source
    uint32_t *row;            // (n_train + n_test): source row that becomes row i; the test rows
                              // follow the training rows
    uint32_t *place;          // the inverse
};

// Cuts `split` (see import_config) off, by class where there are classes, and shuffles both parts.
// is_test: all rows are test rows (a second source), split is not looked at.
enum status import_order_init(struct import_order *order, const struct import_source *source,
                              const struct import_config *config, bool is_test);
void import_order_free(struct import_order *order);

// Wraps a uint8 source so that its rows are h x w. The source is taken over, also on error.
enum status import_resize(struct import_source *source, size_t h, size_t w, bool is_nearest);

// Makes the test source speak of the training source's shape and classes. STATUS_DATA.
enum status import_match(struct import_source *train, struct import_source *test);

// Mean and standard deviation of a channel over rows, in any order: exact for uint8.
struct import_stats {
    size_t c;
    bool is_u8;
    uint64_t n_not_finite;
    uint64_t *n;                    // (c) values
    uint64_t *sum, *square;         // (c) uint8
    double *shift, *fsum, *fsquare; // (c) float32: of value - shift, the first finite value
};
enum status import_stats_init(struct import_stats *stats, size_t c, bool is_u8);
void import_stats_free(struct import_stats *stats);
void import_stats_add(struct import_stats *stats, const void *input, size_t pixels);
// (c) each; of values scaled to 0..1 for uint8.
void import_stats_end(const struct import_stats *stats, double *mean, double *deviation);

#endif
