// SPDX-License-Identifier: MIT
// The prefetch thread and its ring of items. What an item is made of is in loader_fill.c. Called by
// the training loop and the evaluation.
#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "data/loader_private.h"

#define SLOTS_AUTO 4

struct loader {
    struct loader_fill fill; // of the thread, while it runs
    struct loader_slot *slot;
    size_t slots;
    pthread_t thread;
    bool is_running; // a thread is there to be joined; with one slot: loader_seek was called
    bool is_held;    // the consumer holds the slot at `taken`
    double waited;
    // Under the mutex from here on. Counts since the thread's start; slot of count i: i % slots.
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t made, taken; // made - taken items wait or are held
    bool must_stop;
    enum status status; // of the thread, and the text of its error
    char text[4096];
};

static size_t slots_of(const struct loader_config *config)
{
    if (rehearsal_is_built()) // simulated ranks share one thread
        return 1;
    return config->slots ? config->slots : SLOTS_AUTO;
}

static size_t slot_bytes(const struct loader_config *config)
{
    size_t n = loader_item_rows(config);
    return n *
           (loader_values(config) * sizeof(float) + loader_target_bytes(config) + sizeof(uint64_t));
}

size_t loader_bytes(const struct loader_config *config)
{
    return slots_of(config) * slot_bytes(config) + loader_fill_bytes(config);
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
    TRY(memory_alloc(&loader->slot, loader->slots, sizeof *loader->slot, "batches"));
    for (size_t i = 0; i < loader->slots; i++)
        TRY(slot_init(&loader->slot[i], config));
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
    pthread_cond_init(&loader->changed, NULL);
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
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
    pthread_join(loader->thread, NULL);
    loader->is_running = false;
}

void loader_free(struct loader *loader)
{
    if (!loader)
        return;
    thread_stop(loader);
    for (size_t i = 0; loader->slot && i < loader->slots; i++) {
        free(loader->slot[i].x);
        free(loader->slot[i].target);
        free(loader->slot[i].row);
    }
    free(loader->slot);
    loader_fill_free(&loader->fill);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->mutex);
    free(loader);
}

// ---- the thread

// The slot to fill next, once there is room; NULL: stop.
static struct loader_slot *slot_wait(struct loader *loader)
{
    pthread_mutex_lock(&loader->mutex);
    while (!loader->must_stop && loader->made - loader->taken == loader->slots)
        pthread_cond_wait(&loader->changed, &loader->mutex);
    struct loader_slot *slot =
        loader->must_stop ? NULL : &loader->slot[loader->made % loader->slots];
    pthread_mutex_unlock(&loader->mutex);
    return slot;
}

static void *thread_run(void *context)
{
    struct loader *loader = context;
    struct loader_slot *slot = NULL;
    bool is_more = true;
    while (is_more && (slot = slot_wait(loader))) {
        enum status status = loader_fill_next(&loader->fill, slot);
        pthread_mutex_lock(&loader->mutex);
        if (status == STATUS_OK) {
            loader->made++;
        } else {
            loader->status = status;
            snprintf(loader->text, sizeof loader->text, "%s", error_text());
        }
        // An error or the end of an evaluation is the last that is made.
        is_more = status == STATUS_OK && slot->n > 0;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
    }
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
    loader->made = loader->taken = 0;
    loader->is_held = loader->must_stop = false;
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
static bool item_make(struct loader *loader)
{
    if (loader->status != STATUS_OK)
        return false;
    if (loader->made > 0 && loader->slot->n == 0)
        return true; // the end, again
    double begin = now();
    loader->status = loader_fill_next(&loader->fill, loader->slot);
    loader->waited += now() - begin;
    if (loader->status != STATUS_OK) {
        snprintf(loader->text, sizeof loader->text, "%s", error_text());
        return false;
    }
    loader->made++;
    return true;
}

// Gives the held slot back and waits for the next; false: the thread has failed.
static bool item_wait(struct loader *loader)
{
    if (loader->slots == 1)
        return item_make(loader);
    pthread_mutex_lock(&loader->mutex);
    if (loader->is_held) {
        loader->taken++;
        loader->is_held = false;
        pthread_cond_broadcast(&loader->changed);
    }
    if (loader->made == loader->taken && loader->status == STATUS_OK) {
        double begin = now();
        while (loader->made == loader->taken && loader->status == STATUS_OK)
            pthread_cond_wait(&loader->changed, &loader->mutex);
        loader->waited += now() - begin;
    }
    bool is_there = loader->made > loader->taken;
    pthread_mutex_unlock(&loader->mutex);
    return is_there;
}

enum status loader_next(struct loader *loader, struct batch *batch)
{
    ASSERT(loader->is_running);
    if (!item_wait(loader))
        FAIL(loader->status, "%s", loader->text);
    const struct loader_slot *slot = &loader->slot[loader->taken % loader->slots];
    loader->is_held = slot->n > 0; // the end stays, so that asking again gives it again
    *batch = (struct batch){.n = slot->n,
                            .x = slot->x,
                            .target = slot->target,
                            .row = slot->row,
                            .epoch = slot->epoch,
                            .step = slot->step,
                            .grain = slot->grain};
    return STATUS_OK;
}

double loader_waited(const struct loader *loader)
{
    return loader->waited;
}
