// SPDX-License-Identifier: MIT
// The prefetch thread and its rings of items, one for each worker. What an item is made of is in
// loader_fill.c. Called by the training loop and the evaluation.
#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/events.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "comm/workers.h"
#include "data/loader_private.h"

#define SLOTS_AUTO 4
#define SLOTS_AUTO_BYTES ((size_t)4 << 20)

// Of one worker.
struct ring {
    struct loader_slot *slot; // (slots)
    bool is_held;             // the worker holds the slot at `taken`
    double waited;
    // Under the mutex from here on. Counts since the thread's start; slot of count i: i % slots.
    uint64_t made, taken; // made - taken items wait or are held
    bool is_ended;        // the end of an evaluation has been made
};

struct loader {
    struct loader_fill fill; // of the thread, while it runs
    struct ring *ring;       // (workers)
    int workers;
    size_t slots; // of a ring
    pthread_t thread;
    bool is_running; // a thread is there to be joined; with one slot: loader_seek was called
    pthread_mutex_t mutex;
    pthread_cond_t ready, room; // for workers, for the thread
    bool is_resting;            // the thread waits until a ring is half empty; all under the mutex
    bool must_stop;
    enum status status; // of the thread, and the text of its error
    char text[4096];
};

static size_t slot_bytes(const struct loader_config *config)
{
    size_t n = loader_item_rows(config);
    return n *
           (loader_values(config) * sizeof(float) + loader_target_bytes(config) + sizeof(uint64_t));
}

// Two steps' items of a worker, if they are small: a thread that reads far ahead can sleep longer.
static size_t slots_auto(const struct loader_config *config)
{
    int workers = loader_workers(config);
    size_t wanted = config->order ? 2 * (size_t)(config->n_grains + workers - 1) / (size_t)workers
                                  : 2 * SLOTS_AUTO;
    size_t most = SLOTS_AUTO_BYTES / slot_bytes(config);
    wanted = wanted < most ? wanted : most;
    return wanted > SLOTS_AUTO ? wanted : SLOTS_AUTO;
}

static size_t slots_of(const struct loader_config *config)
{
    if (rehearsal_is_built()) // simulated ranks share one thread
        return 1;
    if (config->slots == 1 && loader_workers(config) > 1)
        return 2; // only the thread may read
    return config->slots ? config->slots : slots_auto(config);
}

size_t loader_bytes(const struct loader_config *config)
{
    return (size_t)loader_workers(config) * slots_of(config) * slot_bytes(config) +
           loader_fill_bytes(config);
}

// ---- memory

static enum status slot_init(struct loader_slot *slot, const struct loader_config *config)
{
    size_t n = loader_item_rows(config);
    TRY(memory_alloc(&slot->x, n * loader_values(config), sizeof(float), "inputs of a batch"));
    TRY(memory_alloc(&slot->target, n, loader_target_bytes(config), "targets of a batch"));
    return memory_alloc(&slot->row, n, sizeof *slot->row, "rows of a batch");
}

static enum status loader_alloc(struct loader *loader, const struct loader_config *config)
{
    loader->slots = slots_of(config);
    loader->workers = loader_workers(config);
    TRY(memory_alloc(&loader->ring, (size_t)loader->workers, sizeof *loader->ring, "batches"));
    for (int w = 0; w < loader->workers; w++) {
        struct ring *ring = &loader->ring[w];
        TRY(memory_alloc(&ring->slot, loader->slots, sizeof *ring->slot, "batches"));
        for (size_t i = 0; i < loader->slots; i++)
            TRY(slot_init(&ring->slot[i], config));
    }
    return loader_fill_init(&loader->fill, config);
}

enum status loader_init(struct loader **out, const struct loader_config *config)
{
    struct loader *loader = NULL;
    *out = NULL;
    ASSERT(config->order ? config->order->n_rows == dataset_rows(config->dataset) &&
                               config->n_grains > 0 && config->first_grain >= 0 &&
                               config->first_grain + config->n_grains <= config->order->grains
                         : config->chunk > 0);
    struct sample_shape got = dataset_shape(config->dataset);
    struct sample_shape expected = transforms_shape(config->transforms);
    CHECK(got.h == expected.h && got.w == expected.w && got.c == expected.c, STATUS_DATA,
          "rows of %s are %zux%zux%zu, but those trained on %zux%zux%zu",
          dataset_path(config->dataset), got.h, got.w, got.c, expected.h, expected.w, expected.c);
    TRY(memory_alloc(&loader, 1, sizeof *loader, "loader"));
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->ready, NULL);
    pthread_cond_init(&loader->room, NULL);
    enum status status = loader_alloc(loader, config);
    if (status != STATUS_OK)
        loader_free(loader);
    else
        *out = loader;
    return status;
}

static void thread_stop(struct loader *loader)
{
    if (!loader->is_running || loader->slots == 1)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->must_stop = true;
    pthread_cond_signal(&loader->room);
    pthread_mutex_unlock(&loader->mutex);
    pthread_join(loader->thread, NULL);
    loader->is_running = false;
}

void loader_free(struct loader *loader)
{
    if (!loader)
        return;
    thread_stop(loader);
    for (int w = 0; loader->ring && w < loader->workers; w++) {
        struct loader_slot *slot = loader->ring[w].slot;
        for (size_t i = 0; slot && i < loader->slots; i++) {
            free(slot[i].x);
            free(slot[i].target);
            free(slot[i].row);
        }
        free(slot);
    }
    free(loader->ring);
    loader_fill_free(&loader->fill);
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->room);
    pthread_mutex_destroy(&loader->mutex);
    free(loader);
}

// ---- the thread

// The worker with fewest items left that has room for one; -1: all are full; -2: all are at the
// end.
static int worker_find(const struct loader *loader)
{
    int best = -2;
    size_t least = loader->slots;
    for (int w = 0; w < loader->workers; w++) {
        const struct ring *ring = &loader->ring[w];
        if (ring->is_ended)
            continue;
        size_t left = (size_t)(ring->made - ring->taken);
        best = best == -2 ? -1 : best;
        if (left < least) {
            least = left;
            best = w;
        }
    }
    return best;
}

// The worker to read for next, once there is room; -2: stop.
static int worker_wait(struct loader *loader)
{
    int worker;
    pthread_mutex_lock(&loader->mutex);
    while ((worker = loader->must_stop ? -2 : worker_find(loader)) == -1) {
        loader->is_resting = true;
        pthread_cond_wait(&loader->room, &loader->mutex);
    }
    loader->is_resting = false;
    pthread_mutex_unlock(&loader->mutex);
    return worker;
}

static void *thread_run(void *context)
{
    struct loader *loader = context;
    enum status status = STATUS_OK;
    workers_unpin_self();
    events_attach(EVENTS_LOADER, 0, EVENTS_IDLE, "has read ahead");
    for (int worker; status == STATUS_OK && (worker = worker_wait(loader)) >= 0;) {
        struct ring *ring = &loader->ring[worker];
        struct loader_slot *slot = &ring->slot[ring->made % loader->slots];
        events_begin(EVENTS_READ, "reads rows for a batch", ring->made);
        status = loader_fill_next(&loader->fill, worker, slot);
        events_end();
        pthread_mutex_lock(&loader->mutex);
        if (status == STATUS_OK) {
            ring->made++;
            ring->is_ended = slot->n == 0; // the last that is made
        } else {
            loader->status = status;
            snprintf(loader->text, sizeof loader->text, "%s", error_text());
        }
        pthread_cond_broadcast(&loader->ready);
        pthread_mutex_unlock(&loader->mutex);
    }
    events_detach();
    return NULL;
}

// Signals go to the main thread, which has the handlers.
static enum status thread_start(struct loader *loader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&loader->thread, NULL, thread_run, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(why == 0, STATUS_ERROR, "cannot start the thread that reads data: %s", strerror(why));
    loader->is_running = true;
    return STATUS_OK;
}

enum status loader_seek(struct loader *loader, uint32_t epoch, uint64_t step)
{
    thread_stop(loader);
    for (int w = 0; w < loader->workers; w++) {
        struct ring *ring = &loader->ring[w];
        ring->made = ring->taken = 0;
        ring->is_held = ring->is_ended = false;
    }
    loader->must_stop = loader->is_resting = false;
    loader->status = STATUS_OK;
    loader_fill_seek(&loader->fill, epoch, step);
    loader->is_running = loader->slots == 1;
    return loader->is_running ? STATUS_OK : thread_start(loader);
}

// ---- the consumer

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

// Without a thread: makes the next item now; false: that failed, now or before.
static bool item_make(struct loader *loader, struct ring *ring)
{
    if (loader->status != STATUS_OK)
        return false;
    if (ring->made > 0 && ring->slot->n == 0)
        return true; // the end, again
    double begin = now();
    events_begin(EVENTS_READ, "reads rows for a batch", ring->made);
    loader->status = loader_fill_next(&loader->fill, 0, ring->slot);
    events_end();
    ring->waited += now() - begin;
    if (loader->status != STATUS_OK) {
        snprintf(loader->text, sizeof loader->text, "%s", error_text());
        return false;
    }
    ring->made++;
    return true;
}

// Gives the held slot back and waits for the next; false: the thread has failed.
static bool item_wait(struct loader *loader, struct ring *ring)
{
    if (loader->slots == 1)
        return item_make(loader, ring);
    pthread_mutex_lock(&loader->mutex);
    if (ring->is_held) {
        ring->taken++;
        ring->is_held = false;
        if (loader->is_resting && ring->made - ring->taken <= loader->slots / 2)
            pthread_cond_signal(&loader->room);
    }
    if (ring->made == ring->taken && loader->status == STATUS_OK) {
        double begin = now();
        events_begin(EVENTS_THREAD, "waits for data", EVENTS_LOADER);
        while (ring->made == ring->taken && loader->status == STATUS_OK)
            pthread_cond_wait(&loader->ready, &loader->mutex);
        events_end();
        ring->waited += now() - begin;
    }
    bool is_there = ring->made > ring->taken;
    pthread_mutex_unlock(&loader->mutex);
    return is_there;
}

static struct batch batch_of(const struct loader_slot *slot)
{
    return (struct batch){.n = slot->n,
                          .x = slot->x,
                          .target = slot->target,
                          .row = slot->row,
                          .epoch = slot->epoch,
                          .step = slot->step,
                          .grain = slot->grain};
}

enum status loader_next(struct loader *loader, int worker, struct batch *batch)
{
    ASSERT(loader->is_running && worker >= 0 && worker < loader->workers);
    struct ring *ring = &loader->ring[worker];
    if (!item_wait(loader, ring))
        FAIL(loader->status, "%s", loader->text);
    const struct loader_slot *slot = &ring->slot[ring->taken % loader->slots];
    ring->is_held = slot->n > 0; // the end stays, so that asking again gives it again
    *batch = batch_of(slot);
    return STATUS_OK;
}

enum status loader_at(struct loader *loader, uint32_t epoch, uint64_t step, int grain,
                      struct batch *batch)
{
    ASSERT(loader->slots == 1 && loader->fill.config.order);
    TRY(loader_fill_at(&loader->fill, epoch, step, grain, loader->ring->slot));
    *batch = batch_of(loader->ring->slot);
    return STATUS_OK;
}

double loader_waited(const struct loader *loader)
{
    double sum = 0;
    for (int w = 0; w < loader->workers; w++)
        sum += loader->ring[w].waited;
    return sum / loader->workers;
}
