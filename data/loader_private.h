// SPDX-License-Identifier: MIT
// Between loader.c (thread, ring) and loader_fill.c (what an item is made of); for no one else.
#ifndef SW2_DATA_LOADER_PRIVATE_H
#define SW2_DATA_LOADER_PRIVATE_H

#include "comm/tree.h"
#include "data/loader.h"

// One item: loader_item_rows rows of each.
struct loader_slot {
    float *x;
    void *target;
    uint64_t *row;
    size_t n; // 0: the end of an evaluation
    uint32_t epoch;
    uint64_t step;
    int grain;
};

// One grain stream and the raw rows of its current window.
struct loader_stream {
    struct order_stream order;
    struct order_window window;
    bool is_set, is_loaded; // order is of the epoch; window is in memory
    void *raw;              // window rows in block order
    uint64_t *row;          // their numbers
    uint32_t *permutation;
};

// A worker's next item.
struct loader_place {
    uint32_t epoch;
    uint64_t step;       // or chunk
    int grain;           // counted from first_grain
    struct tree_run run; // of its grains, counted so
};

struct loader_fill {
    struct loader_config config;
    size_t values, target_bytes, row_bytes; // of one row
    bool is_u8;
    struct loader_stream *stream; // n_grains; training
    void *raw;                    // chunk rows; evaluation
    float *scratch;
    int workers;
    struct loader_place *next; // (workers)
};

size_t loader_item_rows(const struct loader_config *config); // most rows of an item
size_t loader_values(const struct loader_config *config);
size_t loader_target_bytes(const struct loader_config *config);

enum status loader_fill_init(struct loader_fill *fill, const struct loader_config *config);
void loader_fill_free(struct loader_fill *fill);
size_t loader_fill_bytes(const struct loader_config *config);
void loader_fill_seek(struct loader_fill *fill, uint32_t epoch, uint64_t step);
// Fills the slot with the worker's next item and moves to the one after it.
enum status loader_fill_next(struct loader_fill *fill, int worker, struct loader_slot *slot);
// Of any place, by grain counted from 0 over all.
enum status loader_fill_at(struct loader_fill *fill, uint32_t epoch, uint64_t step, int grain,
                           struct loader_slot *slot);
int loader_workers(const struct loader_config *config);

#endif
