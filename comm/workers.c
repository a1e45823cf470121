// SPDX-License-Identifier: MIT
// A pool of threads that run one task together. A worker without a task spins for some
// microseconds, because the next one usually comes at once, and then sleeps.
#include "comm/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/affinity.h"
#include "comm/events.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "comm/spin.h"

#define SPIN_ROUNDS 4000u // some tens of microseconds

struct worker {
    struct workers *pool;
    pthread_t thread;
    int number;
    enum status status; // of the last task, and its error
    char text[4096], place[256];
};

struct workers {
    int n, n_started; // threads: n_started
    struct affinity_place place;
    bool has_pinned; // its workers, the main thread among them
    bool is_crowded; // fewer cores than workers: spinning would only be in the way
    struct worker *worker;
    worker_task *task;
    void *context;
    int only;              // worker that runs the task, -1: all
    _Atomic unsigned turn; // grows by one with each task
    atomic_int left;       // threads that have not finished it
    atomic_int sleepers;
    bool must_end;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
};

static cpu_set_t process_cores; // before anyone was pinned
static bool is_pinned;

void workers_unpin_self(void)
{
    if (is_pinned)
        pthread_setaffinity_np(pthread_self(), sizeof process_cores, &process_cores);
}

int workers_count(const struct workers *workers)
{
    return workers ? workers->n : 1;
}

void workers_part(const struct workers *workers, int worker, size_t n, size_t unit, size_t *begin,
                  size_t *end)
{
    size_t units = (n + unit - 1) / unit, count = (size_t)workers_count(workers);
    *begin = units * (size_t)worker / count * unit;
    *end = units * ((size_t)worker + 1) / count * unit;
    *begin = *begin < n ? *begin : n;
    *end = *end < n ? *end : n;
}

// The threads.

static void task_run(struct worker *worker)
{
    struct workers *pool = worker->pool;
    worker->status = STATUS_OK;
    if (pool->only >= 0 && pool->only != worker->number)
        return;
    events_begin(EVENTS_WORK, "task", 0);
    worker->status = pool->task(pool->context, worker->number);
    events_end();
    if (worker->status == STATUS_OK)
        return;
    snprintf(worker->text, sizeof worker->text, "%s", error_text());
    snprintf(worker->place, sizeof worker->place, "%s", error_place());
}

// Until the turn is another than `seen`.
static void turn_wait(struct workers *pool, unsigned seen)
{
    for (unsigned rounds = 0; rounds < SPIN_ROUNDS && !pool->is_crowded;) {
        if (atomic_load(&pool->turn) != seen)
            return;
        spin_wait(&rounds);
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1); // before the look at the turn; the waker does it after
    while (atomic_load(&pool->turn) == seen)
        pthread_cond_wait(&pool->woken, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *thread_run(void *context)
{
    struct worker *worker = context;
    struct workers *pool = worker->pool;
    events_attach(EVENTS_WORKER, worker->number, EVENTS_IDLE, "rests");
    for (unsigned seen = 0;; seen++) {
        turn_wait(pool, seen);
        if (pool->must_end)
            break;
        task_run(worker);
        atomic_fetch_sub(&pool->left, 1);
    }
    events_detach();
    return NULL;
}

static void turn_next(struct workers *pool)
{
    atomic_store(&pool->left, pool->n_started);
    atomic_fetch_add(&pool->turn, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->mutex);
}

// The lowest worker's error becomes this thread's.
static enum status status_take(const struct workers *pool)
{
    for (int i = 0; i < pool->n; i++) {
        const struct worker *worker = &pool->worker[i];
        if (worker->status == STATUS_OK)
            continue;
        if (i > 0) {
            char place[sizeof worker->place];
            snprintf(place, sizeof place, "%s", worker->place);
            char *colon = strrchr(place, ':');
            int line = colon ? atoi(colon + 1) : 0;
            if (colon)
                *colon = '\0';
            error_set(worker->status, place, line, "%s", worker->text);
        }
        return worker->status;
    }
    return STATUS_OK;
}

static enum status run(struct workers *pool, worker_task *task, void *context, int only)
{
    if (!pool)
        return task(context, 0);
    pool->task = task;
    pool->context = context;
    pool->only = only;
    turn_next(pool);
    task_run(&pool->worker[0]);
    events_begin(EVENTS_THREAD, "waits for the other workers", EVENTS_WORKER);
    for (unsigned rounds = 0; atomic_load(&pool->left) > 0;)
        spin_wait(&rounds);
    events_end();
    return status_take(pool);
}

enum status workers_run(struct workers *workers, worker_task *task, void *context)
{
    return run(workers, task, context, -1);
}

enum status workers_each(struct workers *workers, worker_task *task, void *context)
{
    for (int i = 0; i < workers_count(workers); i++)
        TRY(run(workers, task, context, i));
    return STATUS_OK;
}

// Start and end.

static void pin(pthread_t thread, int core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)core, &one);
    pthread_setaffinity_np(thread, sizeof one, &one); // a wish: without it all works as well
}

static void place_show(const struct affinity_seat *seat, const struct affinity_place *place, int n)
{
    int ranks = place->n_workers / n;
    const char *plural = place->n_cores > 1 ? "s" : "";
    if (n == 1)
        log_warn(
            "%d ranks share %d core%s of host %s: start fewer ranks there; or, where mpirun has "
            "bound ranks to the same core, --bind-to none",
            ranks, place->n_cores, plural, seat->host);
    else
        log_warn(
            "%d threads (%d rank%s x %d) share %d core%s of host %s: use fewer threads; or, where "
            "mpirun has bound ranks to a core each, --bind-to none",
            place->n_workers, ranks, ranks > 1 ? "s" : "", n, place->n_cores, plural, seat->host);
}

// All ranks know all seats, so rank 0 can warn for all, once.
static void cores_look(struct workers *pool, struct group *group, struct affinity_seat *seats)
{
    struct affinity_seat own = {0};
    snprintf(own.host, sizeof own.host, "%s", group->host);
    if (sched_getaffinity(0, sizeof own.cores, &own.cores) != 0)
        CPU_ZERO(&own.cores);
    group_allgather(group, &own, sizeof own, seats);
    for (int rank = 0; rank < group->size && group->rank == 0; rank++) {
        if (rank > 0 && memcmp(&seats[rank], &seats[rank - 1], sizeof *seats) == 0)
            continue;
        struct affinity_place place = affinity_place_of(seats, group->size, rank, pool->n);
        if (place.n_workers <= place.n_cores)
            continue;
        place_show(&seats[rank], &place, pool->n);
        break;
    }
    pool->place = affinity_place_of(seats, group->size, group->rank, pool->n);
    pool->is_crowded = pool->place.n_workers > pool->place.n_cores;
    if (pool->is_crowded)
        spin_patience = SPIN_CROWDED;
}

static void cores_take(struct workers *pool, const struct affinity_seat *own)
{
    if (!pool->place.is_pinned)
        return;
    process_cores = own->cores;
    is_pinned = pool->has_pinned = true;
    pin(pthread_self(), affinity_core(&own->cores, pool->place.first));
    for (int i = 1; i < pool->n; i++)
        pin(pool->worker[i].thread, affinity_core(&own->cores, pool->place.first + i));
}

// Signals go to the main thread, which has the handlers.
static enum status threads_start(struct workers *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = 0;
    for (int i = 1; i < pool->n && why == 0; i++) {
        struct worker *worker = &pool->worker[i];
        why = pthread_create(&worker->thread, NULL, thread_run, worker);
        pool->n_started += why == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(why == 0, STATUS_ERROR, "cannot start thread %d of %d: %s", pool->n_started + 2, pool->n,
          strerror(why));
    return STATUS_OK;
}

static enum status pool_make(struct workers **out, int n)
{
    struct workers *pool = NULL;
    *out = NULL;
    TRY(memory_alloc(&pool, 1, sizeof *pool, "workers"));
    pool->n = n;
    pool->only = -1;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->woken, NULL);
    enum status status = memory_alloc(&pool->worker, (size_t)n, sizeof *pool->worker, "workers");
    for (int i = 0; status == STATUS_OK && i < n; i++)
        pool->worker[i] = (struct worker){.pool = pool, .number = i};
    if (status != STATUS_OK)
        workers_free(pool);
    else
        *out = pool;
    return status;
}

enum status workers_init(struct workers **out, struct group *group, int n)
{
    ASSERT(n >= 1);
    struct workers *pool = NULL;
    struct affinity_seat *seats = NULL;
    enum status status = pool_make(&pool, n);
    if (status == STATUS_OK)
        status = memory_alloc(&seats, (size_t)group->size, sizeof *seats, "cores of ranks");
    status = group_agree(group, status);
    if (status == STATUS_OK && (n > 1 || (group->size > 1 && !rehearsal_is_built())))
        cores_look(pool, group, seats);
    if (status == STATUS_OK && n > 1) {
        status = group_agree(group, threads_start(pool));
        if (status == STATUS_OK)
            cores_take(pool, &seats[group->rank]);
    }
    free(seats);
    if (status != STATUS_OK)
        workers_free(pool);
    *out = status == STATUS_OK ? pool : NULL;
    return status;
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    workers->must_end = true;
    turn_next(workers);
    if (workers->has_pinned) { // the main thread is as free as before
        workers_unpin_self();
        is_pinned = false;
    }
    for (int i = 1; i <= workers->n_started; i++)
        pthread_join(workers->worker[i].thread, NULL);
    pthread_mutex_destroy(&workers->mutex);
    pthread_cond_destroy(&workers->woken);
    free(workers->worker);
    free(workers);
}
