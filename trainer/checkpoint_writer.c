// SPDX-License-Identifier: MIT
// Saving in the background: a snapshot at a step boundary, written by a thread of rank 0. Owns the
// snapshot's memory, the thread, and what a person is told of saves that fail. Called by the
// training loop through checkpoint.h.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/events.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "comm/workers.h"
#include "trainer/checkpoint_private.h"

#define WAIT_SECONDS 3     // for the save before, unless this one must be
#define RETRY_SECONDS 60.0 // after a save that failed
#define REMIND_SECONDS 3600.0
#define TEXT_BYTES 1024
#define NAME_ROOM 192 // of a file in the folder, its temporary name with host and process included

// How one job ended. The thread's error record is its own, so texts are kept here.
struct result {
    uint64_t step;
    double seconds;
    unsigned failed;       // of enum checkpoint_files
    char text[TEXT_BYTES]; // of the last of them
    char left[TEXT_BYTES]; // an old file could not be removed; else ""
};

// What was said of saves that failed, so that it is said once.
struct trouble {
    uint64_t n;   // saves in a row
    bool is_step; // also of a step's file, not of best.h5 alone
    double said_at, retry_at;
    double left_at; // said of old files; 0: never
};

struct checkpoint_writer {
    struct group *group;
    const char *folder;
    size_t keep, n; // n: floats of a vector
    int n_states;
    // rank 0:
    struct snapshot snapshot;
    struct contents contents;
    char *path[2], *open_path; // of a step file, of best.h5
    struct result result;
    struct trouble trouble;
    double seconds; // of the longest job
    uint64_t saved; // step of the newest whole file of this run
    bool has_saved, has_thread, has_put_off, is_best_lost;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    unsigned job;  // files to write; 0: none. Guarded by the mutex
    bool must_end; // the same
    unsigned told; // files of a job that has been started and not been looked at since; 0: none
};

// ---- one job, in the thread

static void job_fail(struct result *result, unsigned file)
{
    result->failed |= file;
    snprintf(result->text, sizeof result->text, "%s", error_text());
}

static enum status file_write(struct checkpoint_writer *w, const char *path)
{
    snprintf(w->open_path, strlen(w->folder) + NAME_ROOM, "%s.tmp.%s.%ld", path, w->group->host,
             (long)getpid());
    return snapshot_write(&w->snapshot, &w->contents, w->folder, path, w->open_path);
}

// The best first: a run killed in between finds it again as the best, never lacks it.
static void files_write(struct checkpoint_writer *w, unsigned files)
{
    struct result *result = &w->result;
    const uint64_t step = w->snapshot.meta.global_step;
    *result = (struct result){.step = step};
    snprintf(w->path[0], strlen(w->folder) + NAME_ROOM, "%s/best.h5", w->folder);
    if (files & CHECKPOINT_BEST && file_write(w, w->path[0]) != STATUS_OK)
        job_fail(result, CHECKPOINT_BEST);
    if (!(files & CHECKPOINT_STEP))
        return;
    folder_step_name(w->folder, step, w->path[1], strlen(w->folder) + NAME_ROOM);
    if (file_write(w, w->path[1]) != STATUS_OK)
        job_fail(result, CHECKPOINT_STEP);
    else if (folder_prune(w->folder, step, w->keep) != STATUS_OK)
        snprintf(result->left, sizeof result->left, "%s", error_text());
}

static void job_run(struct checkpoint_writer *w, unsigned files)
{
    double start = group_time();
    files_write(w, files);
    w->result.seconds = group_time() - start;
}

static void *thread_run(void *context)
{
    struct checkpoint_writer *w = context;
    events_attach(EVENTS_WRITER, 0, EVENTS_IDLE, "has no checkpoint to write");
    workers_unpin_self();
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (!w->job && !w->must_end)
            pthread_cond_wait(&w->work, &w->mutex);
        if (!w->job)
            break;
        unsigned files = w->job;
        pthread_mutex_unlock(&w->mutex);
        events_begin(EVENTS_SLOW, "writes a checkpoint", w->snapshot.meta.global_step);
        job_run(w, files);
        events_end();
        pthread_mutex_lock(&w->mutex);
        w->job = 0;
        pthread_cond_broadcast(&w->done);
    }
    pthread_mutex_unlock(&w->mutex);
    events_detach();
    return NULL;
}

static void job_start(struct checkpoint_writer *w, unsigned files)
{
    w->told = files;
    if (!w->has_thread) {
        job_run(w, files);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->job = files;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
}

// Until nothing is being written; seconds < 0: however long it takes. False: it still is.
static bool job_wait(struct checkpoint_writer *w, int seconds)
{
    struct timespec until;
    int result = 0;
    if (!w->has_thread)
        return true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds > 0 ? seconds : 0;
    events_begin(EVENTS_THREAD, "waits for the writer of checkpoints", EVENTS_WRITER);
    pthread_mutex_lock(&w->mutex);
    while (w->job && result == 0)
        result = seconds < 0 ? pthread_cond_wait(&w->done, &w->mutex)
                             : pthread_cond_timedwait(&w->done, &w->mutex, &until);
    bool is_done = !w->job;
    pthread_mutex_unlock(&w->mutex);
    events_end();
    return is_done;
}

// ---- what is said

static void trouble_tell(struct checkpoint_writer *w, double now)
{
    const struct result *r = &w->result;
    struct trouble *trouble = &w->trouble;
    const unsigned long long step = r->step, saved = w->saved;
    bool is_step = r->failed & CHECKPOINT_STEP;
    trouble->n++;
    if (is_step) {
        trouble->is_step = true;
        trouble->retry_at = now + RETRY_SECONDS;
    }
    if (trouble->n > 1 && now - trouble->said_at < REMIND_SECONDS)
        return;
    trouble->said_at = now;
    if (!is_step)
        log_warn("no best.h5 at step %llu: %s; training goes on", step, r->text);
    else if (w->has_saved)
        log_warn("no checkpoint at step %llu: %s; training goes on, that of step %llu stands, "
                 "saving is tried again",
                 step, r->text, saved);
    else
        log_warn("no checkpoint at step %llu: %s; training goes on, saving is tried again", step,
                 r->text);
}

// Of a job that has ended.
static void result_tell(struct checkpoint_writer *w, double now)
{
    const struct result *r = &w->result;
    unsigned files = w->told;
    w->told = 0;
    if (!files)
        return;
    w->is_best_lost = w->is_best_lost || r->failed & CHECKPOINT_BEST;
    w->seconds = r->seconds > w->seconds ? r->seconds : w->seconds;
    if (files & CHECKPOINT_STEP && !(r->failed & CHECKPOINT_STEP)) {
        w->has_saved = true;
        w->saved = r->step;
    }
    if (r->failed) {
        trouble_tell(w, now);
        return;
    }
    if (w->trouble.is_step && !(files & CHECKPOINT_STEP))
        return; // a best.h5 is not what was missing
    if (w->trouble.n > 0)
        log_warn("%s can be written again: that of step %llu stands (before it %llu could not be "
                 "written)",
                 files & CHECKPOINT_STEP ? "checkpoints" : "best.h5", (unsigned long long)r->step,
                 (unsigned long long)w->trouble.n);
    w->trouble.n = 0;
    w->trouble.is_step = false;
    w->trouble.retry_at = 0;
    if (!r->left[0] || (w->trouble.left_at > 0 && now - w->trouble.left_at < REMIND_SECONDS))
        return;
    w->trouble.left_at = now;
    log_warn("%s", r->left);
}

// ---- from outside

bool checkpoint_writer_is_busy(struct checkpoint_writer *w)
{
    if (w->group->rank != 0 || !w->has_thread)
        return false;
    pthread_mutex_lock(&w->mutex);
    bool is_busy = w->job != 0;
    pthread_mutex_unlock(&w->mutex);
    return is_busy;
}

double checkpoint_writer_seconds(const struct checkpoint_writer *w)
{
    return w->seconds;
}

bool checkpoint_writer_poll(struct checkpoint_writer *w, double now)
{
    if (w->group->rank != 0 || checkpoint_writer_is_busy(w))
        return false;
    result_tell(w, now);
    return w->trouble.retry_at > 0 && now >= w->trouble.retry_at;
}

// Everything that is saved, on rank 0.
static void snapshot_take(struct checkpoint_writer *w, struct update *update, const float *params)
{
    struct snapshot *snapshot = &w->snapshot;
    bool is_writer = w->group->rank == 0;
    if (is_writer)
        memcpy(snapshot->vector[0], params, w->n * sizeof *params);
    for (int i = 0; i < w->n_states; i++) {
        const float *state = update_state_gather(update, i);
        if (is_writer)
            memcpy(snapshot->vector[1 + i], state, w->n * sizeof *state);
    }
}

// What rank 0's last job came to: of the step file, or of the best where it is alone.
static enum status job_status(const struct checkpoint_writer *w)
{
    unsigned must = w->told & CHECKPOINT_STEP ? CHECKPOINT_STEP : CHECKPOINT_BEST;
    CHECK(!(w->result.failed & must), STATUS_ERROR, "%s", w->result.text);
    return STATUS_OK;
}

// May rank 0 take a snapshot now? must_wait: yes, however long the job before it takes.
static enum checkpoint_taken turn_take(struct checkpoint_writer *w, bool must_wait)
{
    if (!job_wait(w, must_wait ? -1 : WAIT_SECONDS)) {
        if (!w->has_put_off)
            log_warn("a checkpoint is put off: the one before is still being written after %d s",
                     WAIT_SECONDS);
        w->has_put_off = true;
        return CHECKPOINT_PUT_OFF;
    }
    result_tell(w, group_time());
    bool is_lost = w->is_best_lost;
    w->is_best_lost = false;
    return is_lost ? CHECKPOINT_BEST_LOST : CHECKPOINT_TAKEN;
}

enum status checkpoint_writer_save(struct checkpoint_writer *w, unsigned files, bool is_final,
                                   struct checkpoint_meta *meta, struct update *update,
                                   const float *params, enum checkpoint_taken *taken)
{
    ASSERT(meta->n_metrics <= CHECKPOINT_METRICS_MAX && files);
    bool is_writer = w->group->rank == 0;
    bool must_wait = is_final || files & CHECKPOINT_BEST; // the best weights are there only now
    *taken = is_writer ? turn_take(w, must_wait) : CHECKPOINT_TAKEN;
    group_broadcast(w->group, taken, sizeof *taken, 0);
    if (*taken != CHECKPOINT_TAKEN)
        return STATUS_OK;
    meta->digest = update_digest(update, params);
    if (is_writer)
        w->snapshot.meta = *meta;
    snapshot_take(w, update, params);
    if (is_writer)
        job_start(w, files);
    if (!is_final)
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (is_writer) {
        job_wait(w, -1);
        status = job_status(w);
        if (status == STATUS_OK)
            result_tell(w, group_time());
        w->told = 0; // an error of the step file is told by whom it stops
    }
    return group_agree(w->group, status);
}

// ---- begin and end

// Tensors end here; what is behind is padding.
static size_t vector_floats(const struct model_param *list, size_t n_list)
{
    const struct param *last = n_list > 0 ? list[n_list - 1].param : NULL;
    return last ? last->offset + last->count : 0;
}

size_t checkpoint_writer_bytes(const struct model_param *list, size_t n_list, size_t n_states)
{
    return (1 + n_states) *
           (vector_floats(list, n_list) * sizeof(float) + n_list * sizeof(struct contents_entry));
}

static enum status memory_plan(struct checkpoint_writer *w, const struct update *update)
{
    struct snapshot *snapshot = &w->snapshot;
    snapshot->n_vectors = 1 + w->n_states;
    size_t room = strlen(w->folder) + NAME_ROOM;
    for (int v = 0; v < snapshot->n_vectors; v++) {
        snapshot->state[v] = v > 0 ? update_state_name(update, v - 1) : NULL;
        TRY(memory_alloc(&snapshot->vector[v], w->n, sizeof(float), "snapshot for checkpoints"));
    }
    TRY(contents_reserve(&w->contents, (size_t)snapshot->n_vectors * snapshot->n_list));
    for (int i = 0; i < 2; i++)
        TRY(memory_alloc(&w->path[i], room, 1, "name of a checkpoint"));
    return memory_alloc(&w->open_path, room, 1, "name of a checkpoint");
}

// Without the thread (a limit of the system, or a rehearsal) a save takes the loop's time.
static void thread_start(struct checkpoint_writer *w)
{
    sigset_t all, before;
    if (rehearsal_is_built())
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // signals go to the main thread
    int why = pthread_create(&w->thread, NULL, thread_run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->has_thread = why == 0;
    if (why != 0)
        log_warn("cannot start the thread that writes checkpoints: %s; training waits for them",
                 strerror(why));
}

static void locks_init(struct checkpoint_writer *w)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum status checkpoint_writer_init(struct checkpoint_writer **writer, struct group *group,
                                   const char *folder, size_t keep, const struct update *update,
                                   const struct model_param *list, size_t n_list)
{
    struct checkpoint_writer *w = NULL;
    *writer = NULL;
    enum status status = memory_alloc(&w, 1, sizeof *w, "writer of checkpoints");
    if (status == STATUS_OK) {
        locks_init(w);
        w->group = group;
        w->folder = folder;
        w->keep = keep;
        w->n = vector_floats(list, n_list);
        w->n_states = update_n_states(update);
        w->snapshot.list = list;
        w->snapshot.n_list = n_list;
        if (group->rank == 0)
            status = memory_plan(w, update);
    }
    status = group_agree(group, status);
    if (status == STATUS_OK && group->rank == 0)
        thread_start(w);
    if (status == STATUS_OK)
        *writer = w;
    else
        checkpoint_writer_free(w);
    return status;
}

void checkpoint_writer_free(struct checkpoint_writer *w)
{
    if (!w)
        return;
    if (w->has_thread) {
        pthread_mutex_lock(&w->mutex);
        w->must_end = true;
        pthread_cond_signal(&w->work);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL); // after what it is writing
    }
    if (w->group->rank == 0)
        result_tell(w, group_time());
    for (size_t v = 0; v < 1 + UPDATE_STATES_MAX; v++)
        free(w->snapshot.vector[v]);
    contents_free(&w->contents);
    free(w->path[0]);
    free(w->path[1]);
    free(w->open_path);
    pthread_cond_destroy(&w->done);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

enum status checkpoint_save(struct group *group, const char *folder, size_t keep, bool is_best,
                            struct checkpoint_meta *meta, struct update *update,
                            const struct model_param *list, size_t n_list, const float *params)
{
    struct checkpoint_writer *w;
    enum checkpoint_taken taken;
    TRY(checkpoint_writer_init(&w, group, folder, keep, update, list, n_list));
    enum status status = checkpoint_writer_save(w, is_best ? CHECKPOINT_BEST : CHECKPOINT_STEP,
                                                true, meta, update, params, &taken);
    checkpoint_writer_free(w);
    return status;
}
