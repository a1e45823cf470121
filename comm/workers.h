// SPDX-License-Identifier: MIT
// The workers of a rank: the main thread and N - 1 threads beside it that carry out one task
// together. Owns the threads and which core each runs on. Used by the trainer; only worker 0, the
// main thread, may call MPI.
#ifndef SW2_COMM_WORKERS_H
#define SW2_COMM_WORKERS_H

#include "comm/group.h"

struct workers;

// Collective. n >= 1 workers on every rank. Where a host has fewer cores than workers, rank 0 warns
// once. n > 1: where the cores that this process may use suffice, each worker gets one of its own
// (ranks of one host that share their cores take turns); where they do not, nobody is pinned.
// STATUS_ERROR: a thread cannot be started.
enum status workers_init(struct workers **workers, struct group *group, int n);
void workers_free(struct workers *workers);       // ends the threads; NULL is allowed
int workers_count(const struct workers *workers); // NULL: 1

// What a task is: called once for each worker. Tasks hand errors up like all else.
typedef enum status worker_task(void *context, int worker);

// Local, main thread: runs the task on all workers at once and returns when all are through, with
// the status and the error text of the lowest worker that failed. workers NULL: the caller alone.
enum status workers_run(struct workers *workers, worker_task *task, void *context);
// The same, but one worker after the other: for what must not run twice at a time, but should
// touch its memory first on the core where it will be used.
enum status workers_each(struct workers *workers, worker_task *task, void *context);

// Part `worker` of [0, n) when it is cut evenly, in multiples of `unit` (the last part may end with
// less): [*begin, *end).
void workers_part(const struct workers *workers, int worker, size_t n, size_t unit, size_t *begin,
                  size_t *end);

// The calling thread may run on all cores that the process started with: for threads that a pinned
// worker starts.
void workers_unpin_self(void);

#endif
