// SPDX-License-Identifier: MIT
// The prefetch thread: turns rows into batches of a grain, ahead of the consumer. One loader reads
// one data set for one rank. All memory is allocated by loader_init.
//
// Training: items are (step, grain) in ascending order, over this rank's run of grains, epoch after
// epoch. Evaluation: items are the chunks of `chunk` consecutive rows (the last may be short) of
// this rank's contiguous run of chunks, once. Several workers (threads) may take items: each has
// its own, of its part of the grains (tree_run_part), or each workers-th chunk; the one thread
// reads for the worker that has fewest left.
#ifndef SW2_DATA_LOADER_H
#define SW2_DATA_LOADER_H

#include "data/order.h"
#include "data/transform.h"

struct batch {
    size_t n;            // samples
    const float *x;      // (n, h, w, c), borrowed until the worker's next loader_next
    const void *target;  // (n, count) int32 or float
    const uint64_t *row; // (n) row numbers in the data set
    uint32_t epoch;
    uint64_t step; // within the epoch (training), or the chunk's number (evaluation)
    int grain;
};

struct loader_config {
    struct dataset *dataset; // borrowed; used by the loader's thread only, while it runs
    const struct transforms *transforms; // borrowed
    const struct order *order;           // training; NULL: evaluation
    size_t chunk;                        // evaluation: rows an item
    int first_grain, n_grains;           // training: this rank's run of grains
    uint64_t first_chunk, n_chunks;      // evaluation: this rank's chunks (n_chunks may be 0)
    int workers;                         // that take items; 0: 1
    size_t slots; // items prepared ahead for each worker; 0: at least 4; 1 (one worker only, else
                  // 2): no thread, each is made when asked for
    uint64_t seed;
};

struct loader;
// STATUS_DATA: rows of another shape than the transforms were planned for. STATUS_ERROR: memory.
enum status loader_init(struct loader **loader, const struct loader_config *config);
size_t loader_bytes(const struct loader_config *config); // memory of loader_init, for the plan
void loader_free(struct loader *loader);                 // stops the thread; NULL is allowed

// (Re)starts the thread at an item: training: first grain of (epoch, step); evaluation: first
// chunk. step may be order->steps: the next epoch's first.
enum status loader_seek(struct loader *loader, uint32_t epoch, uint64_t step);
// Next item of a worker (after loader_seek); waits if it is not ready. Evaluation: batch->n == 0
// after the last. The error of the reading thread is handed up here, to every worker.
enum status loader_next(struct loader *loader, int worker, struct batch *batch);
// Training, with one slot only: the item of any place, made now; grain: of this loader's run.
// Consecutive places of a grain cost least. Mixes with loader_next no more than loader_seek allows.
enum status loader_at(struct loader *loader, uint32_t epoch, uint64_t step, int grain,
                      struct batch *batch);
// Seconds that loader_next waited so far, mean of the workers. Not while workers are in it.
double loader_waited(const struct loader *loader);

#endif
