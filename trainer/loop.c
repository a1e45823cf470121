// SPDX-License-Identifier: MIT
#include "trainer/loop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/events.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "trainer/board.h"
#include "trainer/checkpoint.h"
#include "trainer/ledger.h"
#include "trainer/finetune.h"
#include "trainer/progress.h"
#include "trainer/signals.h"
#include "trainer/step.h"

#define SAVE_BYTES_PER_S 50e6 // a guess, until a save was measured

struct loop {
    struct session *s;
    const struct loop_config *config;
    int n_metrics;
    uint64_t epoch, step, global;  // next step: of this epoch; steps done in the whole run
    double sums[LOSS_METRICS_MAX]; // of the epoch so far
    double samples;
    struct step one;
    struct progress progress;
    struct run_log *log;
    struct board *board; // TensorBoard's
    struct checkpoint_writer *writer;
    double start, epoch_start, epoch_waited, last_save;
    uint64_t epoch_steps; // of this process in this epoch, for images/s
    struct best {
        bool is_there;
        double value;
        uint64_t epoch;
    } best, best_before, best_kept; // now; until this epoch; if the file of the last is lost
    uint64_t saved_at;
    bool is_put_off; // a save, while the one before was being written
    int signal;
    bool is_open; // the last step of the epoch (or run) is done, its end is not: epoch_end comes
                  // next
    double step_seconds, snapshot_seconds; // of the longest one lately
};

static void longest_take(double *longest, double seconds)
{
    *longest = seconds > 0.95 * *longest ? seconds : 0.95 * *longest;
}

// Tells how long before the batch job's end the run must stop.
static void limit_look(const struct loop *l)
{
    const struct session *s = l->s;
    double written = checkpoint_writer_seconds(l->writer);
    if (!(written > 0))
        written = (double)checkpoint_bytes(s->update, s->list, s->n_list) / SAVE_BYTES_PER_S;
    signals_limit_margin(l->step_seconds, l->snapshot_seconds + written);
}

// By rank 0's clock: not while a file is being written, so that time alone never makes a run wait.
static bool save_is_due_by_time(const struct loop *l)
{
    double every = l->s->recipe->train.checkpoint_seconds, now = group_time();
    if (l->s->group->rank != 0)
        return false;
    bool is_again = checkpoint_writer_poll(l->writer, now) || l->is_put_off;
    bool is_due = is_again || (every > 0 && now - l->last_save >= every);
    return is_due && !checkpoint_writer_is_busy(l->writer);
}

static enum status step_do(struct loop *l, bool *save_due)
{
    struct step_news news = {.save_due = save_is_due_by_time(l)};
    double start = group_time();
    events_step(l->global + 1);
    enum status status = step_run(&l->one, l->epoch, l->step, l->global, &news);
    events_end();
    TRY(status);
    longest_take(&l->step_seconds, group_time() - start);
    limit_look(l);
    *save_due = news.save_due;
    if (!l->signal)
        l->signal = news.signal;
    for (int m = 0; m < l->n_metrics && !news.is_skipped; m++)
        l->sums[m] += news.sums[m];
    l->samples += news.is_skipped ? 0 : (double)l->s->order.batch;
    l->global++;
    l->step++;
    l->epoch_steps++;
    l->is_open = l->step == l->s->order.steps || l->global >= l->s->steps;
    return STATUS_OK;
}

static void means(const struct loop *l, double out[LOSS_METRICS_MAX])
{
    for (int m = 0; m < l->n_metrics; m++)
        out[m] = l->samples > 0 ? l->sums[m] / l->samples : NAN;
}

static struct run_record record_make(const struct loop *l, const double *train)
{
    double now = group_time(), took = now - l->epoch_start;
    return (struct run_record){
        .epoch = l->epoch + 1,
        .step = l->global,
        .seconds = now - l->start,
        .lr = schedule_lr(&l->s->schedule, l->global > 0 ? l->global - 1 : 0),
        .train = train,
        .images_per_s = took > 0 ? (double)l->epoch_steps * (double)l->s->order.batch / took : 0,
        .waited_s = loader_waited(l->s->loader) - l->epoch_waited,
        .skipped = l->one.skipped,
    };
}

static void record_write(struct loop *l, const struct run_record *record)
{
    bool is_told = run_log_record(l->log, record);
    board_record(l->board, record, is_told);
}

static void step_show(struct loop *l)
{
    double now = group_time(), train[LOSS_METRICS_MAX];
    if (!progress_is_due(&l->progress, l->global, now))
        return;
    means(l, train);
    struct run_record record = record_make(l, train);
    if (progress_step(&l->progress, &record, now))
        record_write(l, &record);
}

static struct checkpoint_meta meta_make(const struct loop *l)
{
    const struct session *s = l->s;
    bool is_end = l->step == s->order.steps && !l->is_open;
    bool has_sums = l->is_open || (!is_end && l->global < s->steps); // resume() goes by it
    struct checkpoint_meta meta = {
        .next_epoch = is_end ? l->epoch + 1 : l->epoch,
        .next_step = is_end ? 0 : l->step,
        .global_step = l->global,
        .versions = "sw2 " SW2_VERSION,
        .n_metrics = has_sums ? (size_t)l->n_metrics + 1 : 0,
        .has_best = l->best.is_there,
        .best = l->best.value,
        .best_epoch = l->best.epoch,
        .skipped = l->one.skipped,
        .skipped_in_row = l->one.skipped_in_row,
    };
    session_describe(s, &meta);
    meta.metrics[0] = l->samples;
    memcpy(meta.metrics + 1, l->sums, (size_t)l->n_metrics * sizeof *l->sums);
    return meta;
}

static enum status files_save(struct loop *l, unsigned files, bool is_final,
                              enum checkpoint_taken *taken)
{
    struct session *s = l->s;
    struct best fresh = l->best;
    for (;;) {
        struct checkpoint_meta meta = meta_make(l);
        TRY(checkpoint_writer_save(l->writer, files, is_final, &meta, s->update, s->params, taken));
        if (*taken != CHECKPOINT_BEST_LOST)
            return STATUS_OK;
        l->best_before = l->best_kept;
        l->best = files & CHECKPOINT_BEST ? fresh : l->best_kept;
    }
}

// Saves in the background: an error there is a warning of the writer. That of the last step, or
// before a stop, is awaited, and an error there is the caller's.
static enum status save(struct loop *l, unsigned files)
{
    bool is_final = l->signal || l->global >= l->s->steps;
    enum checkpoint_taken taken;
    if (l->saved_at == l->global && l->global > 0)
        files &= ~(unsigned)CHECKPOINT_STEP;
    if (!files)
        return STATUS_OK;
    double start = group_time();
    profile_mark(l->s->profile, PROFILE_BETWEEN);
    events_begin(EVENTS_SLOW, "saves a checkpoint", l->global);
    progress_note(&l->progress, "saving a checkpoint");
    enum status status = files_save(l, files, is_final, &taken);
    progress_note(&l->progress, "");
    events_end();
    profile_mark(l->s->profile, PROFILE_CHECKPOINT);
    longest_take(&l->snapshot_seconds, group_time() - start);
    if (status != STATUS_OK)
        return error_add(status, "so the run up to step %llu is not saved",
                         (unsigned long long)l->global);
    if (files & CHECKPOINT_STEP)
        l->last_save = group_time();
    l->is_put_off = taken == CHECKPOINT_PUT_OFF;
    if (files & CHECKPOINT_BEST && l->is_put_off)
        l->best = l->best_before; // which best.h5 still holds
    else if (files & CHECKPOINT_BEST)
        l->best_kept = l->best_before;
    if (files & CHECKPOINT_STEP && !l->is_put_off)
        l->saved_at = l->global;
    return STATUS_OK;
}

static bool evaluation_is_due(const struct loop *l)
{
    int64_t every = l->s->recipe->train.eval_every;
    bool is_last = l->global >= l->s->steps;
    return l->s->evaluator && (is_last || (every > 0 && (l->epoch + 1) % (uint64_t)every == 0));
}

static bool is_better(const struct loop *l, const double *test)
{
    const struct loss_ops *ops = model_loss(l->s->model)->ops;
    int which = ops->n_metrics > 1 ? 1 : 0;
    if (!isfinite(test[which]))
        return false;
    return !l->best.is_there ||
           (ops->metrics[which].higher_is_better ? test[which] > l->best.value
                                                 : test[which] < l->best.value);
}

// A stop in the middle leaves *is_left; the next run evaluates from the start.
static enum status evaluate(struct loop *l, double test[LOSS_METRICS_MAX], bool *is_left)
{
    struct session *s = l->s;
    *is_left = l->signal != 0;
    if (*is_left)
        return STATUS_OK;
    profile_mark(s->profile, PROFILE_BETWEEN);
    progress_note(&l->progress, "evaluating");
    enum status status = session_evaluate(s, false, test);
    profile_mark(s->profile, PROFILE_EVALUATE);
    if (status != STATUS_STOPPED)
        return status;
    *is_left = true;
    l->signal = evaluator_stopped_by(s->evaluator);
    progress_note(&l->progress, "");
    return STATUS_OK;
}

// After the last step of an epoch (or of the run): evaluate, show, record, keep the best. A stop
// during the evaluation leaves the epoch open.
static enum status epoch_end(struct loop *l, bool *is_best)
{
    struct session *s = l->s;
    double train[LOSS_METRICS_MAX], test[LOSS_METRICS_MAX];
    char digest[40];
    means(l, train);
    struct run_record record = record_make(l, train);
    record.is_epoch = true;
    if (evaluation_is_due(l)) {
        TRY(evaluate(l, test, &l->is_open));
        if (l->is_open)
            return STATUS_OK;
        record.test = test;
        *is_best = is_better(l, test);
    }
    l->is_open = false;
    struct update_digest both = update_digest(s->update, s->params);
    snprintf(digest, sizeof digest, "%016llx-%016llx", (unsigned long long)both.params,
             (unsigned long long)both.state);
    record.digest = digest;
    record.seconds = group_time() - l->start;
    progress_epoch(&l->progress, &record, group_time());
    record_write(l, &record);
    if (*is_best) {
        double value = test[model_loss(s->model)->ops->n_metrics > 1];
        l->best_before = l->best;
        l->best = (struct best){true, value, l->epoch + 1};
    }
    return STATUS_OK;
}

static void epoch_begin(struct loop *l)
{
    l->epoch_start = group_time();
    l->epoch_waited = loader_waited(l->s->loader);
    l->epoch_steps = 0;
}

static enum status stopped(const struct loop *l)
{
    FAIL(STATUS_STOPPED,
         "stopped by %s after step %llu; a checkpoint is saved: run the same command again "
         "with --out %s to go on",
         signals_describe(l->signal), (unsigned long long)l->global, l->config->folder->path);
}

// Of the finished and saved run.
static enum status show_averaged(struct loop *l)
{
    enum status status = session_show_averaged(l->s);
    if (status == STATUS_STOPPED)
        FAIL(status, "stopped by %s in the last test; the run is complete and saved in %s",
             signals_describe(evaluator_stopped_by(l->s->evaluator)), l->config->folder->path);
    return status;
}

static void summary_show(const struct loop *l)
{
    const struct loss_ops *ops = model_loss(l->s->model)->ops;
    progress_summary(&ops->metrics[ops->n_metrics > 1], group_time() - l->start,
                     l->best.is_there ? l->best.epoch : 0, l->best.value,
                     l->config->folder->checkpoints, l->one.skipped);
}

static enum status train(struct loop *l)
{
    struct session *s = l->s;
    uint64_t every = train_config_checkpoint_steps(&s->recipe->train, s->order.steps);
    epoch_begin(l);
    profile_start(s->profile);
    events_turn(EVENTS_SLOW, "is between steps", 0);
    while (l->global < s->steps || l->is_open) {
        bool save_due = false;
        if (!l->is_open) {
            TRY(step_do(l, &save_due));
            step_show(l);
            if (l->is_open)
                board_histograms(l->board, l->epoch + 1, l->global);
        }
        bool is_end = l->is_open, is_best = false;
        if (is_end)
            TRY(epoch_end(l, &is_best));
        bool is_last = l->global >= s->steps && !l->is_open;
        bool is_due = save_due || is_last || l->signal || (every > 0 && l->global % every == 0);
        TRY(save(l, (is_due ? CHECKPOINT_STEP : 0) | (is_best ? CHECKPOINT_BEST : 0)));
        if (is_last) {
            summary_show(l);
            return show_averaged(l);
        }
        if (l->signal)
            return stopped(l);
        if (is_end) {
            l->epoch++;
            l->step = 0;
            l->samples = 0;
            memset(l->sums, 0, sizeof l->sums);
            epoch_begin(l);
        }
    }
    return STATUS_OK;
}

// Takes weights, state and position from a checkpoint, if there is one to take.
static enum status resume(struct loop *l)
{
    struct session *s = l->s;
    const struct loop_config *config = l->config;
    if (config->resume == RESUME_NEVER)
        return finetune_start(s);
    struct checkpoint *file;
    const char *path =
        config->resume == RESUME_FILE ? config->resume_file : config->folder->checkpoints;
    TRY(checkpoint_open(&file, s->group, path));
    CHECK(file || config->resume != RESUME_FILE, STATUS_DATA, "--resume: no checkpoint in '%s'",
          path);
    if (!file)
        return finetune_start(s);
    const struct checkpoint_meta *meta = checkpoint_meta(file);
    struct checkpoint_expect expect = {
        .recipe = s->recipe->resolved,
        .train = dataset_fingerprint(s->train_set),
        .test = s->test_set ? dataset_fingerprint(s->test_set) : "",
        .isa = session_kernels(s),
        .force = config->force,
    };
    enum status status = checkpoint_check(file, &expect);
    if (status == STATUS_OK)
        status = checkpoint_load(file, s->update, s->list, s->n_list, s->params, s->n);
    if (status == STATUS_OK) {
        bool is_over = meta->next_step > s->order.steps; // other data or batch, by force
        l->epoch = meta->next_epoch + is_over;
        l->step = is_over ? 0 : meta->next_step;
        l->global = meta->global_step;
        l->best = (struct best){meta->has_best, meta->best, meta->best_epoch};
        l->one.skipped = meta->skipped;
        l->one.skipped_in_row = meta->skipped_in_row;
        if (meta->n_metrics == (size_t)l->n_metrics + 1 && !is_over) {
            l->samples = meta->metrics[0];
            memcpy(l->sums, meta->metrics + 1, (size_t)l->n_metrics * sizeof *l->sums);
            l->is_open = l->step == s->order.steps || l->global >= s->steps;
        }
        l->saved_at = l->is_open ? 0 : l->global; // open: not as it will be
        log_line("resumed from %s: epoch %llu, step %llu (%llu steps done)", checkpoint_path(file),
                 (unsigned long long)l->epoch + 1, (unsigned long long)l->step,
                 (unsigned long long)l->global);
    }
    bool is_own = strncmp(checkpoint_path(file), config->folder->checkpoints,
                          strlen(config->folder->checkpoints)) == 0;
    checkpoint_close(file);
    CHECK(status != STATUS_OK || is_own || l->global < s->steps || l->is_open, STATUS_USAGE,
          "--resume %s: its run is complete (%llu steps); to train on: train.init_from", path,
          (unsigned long long)l->global);
    return status;
}

// What may stop the run from here on. Rank 0's clock counts.
static void stops_open(struct loop *l)
{
    struct session *s = l->s;
    if (s->group->rank == 0 && !rehearsal_is_built())
        signals_limit_read();
    if (s->evaluator)
        evaluator_stop_by(s->evaluator, signals_pending);
}

// A signal that came while data were opened and memory was planned. Not the time limit: each start
// does a step, so that a job that is started again and again comes to an end.
static enum status stop_early(const struct loop *l)
{
    int signal = signals_pending();
    CHECK(!signal || signal == SIGNALS_TIME_LIMIT, STATUS_STOPPED,
          "stopped by %s before the first step; nothing is lost: run the same command again with "
          "--out %s to go on",
          signals_describe(signal), l->config->folder->path);
    return STATUS_OK;
}

static enum status digests_open(struct loop *l)
{
    struct ledger *ledger = audit_ledger(l->one.audit);
    char path[RUN_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/digests.jsonl", l->config->folder->path);
    if (!ledger || l->s->group->rank != 0)
        return STATUS_OK;
    return ledger_open(ledger, path, l->global);
}

static enum status loop_start(struct loop *l)
{
    struct session *s = l->s;
    const char *folder = l->config->folder->checkpoints;
    TRY(checkpoint_folder_open(s->group, folder));
    TRY(checkpoint_writer_init(&l->writer, s->group, folder, (size_t)s->recipe->train.keep,
                               s->update, s->list, s->n_list));
    TRY(resume(l));
    if (l->config->begin)
        TRY(l->config->begin(l->config->context));
    audit_start(l->one.audit, l->global);
    const struct loss_ops *ops = model_loss(s->model)->ops;
    struct progress_config shown = {
        .epochs = (s->steps + s->order.steps - 1) / s->order.steps,
        .steps_per_epoch = s->order.steps,
        .steps = s->steps,
        .steps_done = l->global,
        .log_every = (uint64_t)s->recipe->train.log_every,
        .metrics = ops->metrics,
        .n_metrics = (size_t)l->n_metrics,
    };
    l->start = l->last_save = group_time();
    progress_init(&l->progress, &shown, l->start);
    enum status status = STATUS_OK;
    if (s->group->rank == 0)
        status = run_log_open(&l->log, l->config->folder->path, ops->metrics, (size_t)l->n_metrics,
                              l->global, l->is_open);
    if (status == STATUS_OK)
        status = board_init(&l->board, l->config->folder, s, l->config->histograms, l->global);
    if (status == STATUS_OK)
        status = digests_open(l);
    TRY(group_agree(s->group, status));
    if (l->global >= s->steps && !l->is_open) {
        log_line("the run in %s is complete (%llu steps): nothing to do; --resume never or another "
                 "--out starts anew",
                 l->config->folder->path, (unsigned long long)l->global);
        return STATUS_OK;
    }
    stops_open(l);
    status = stop_early(l);
    if (status == STATUS_OK)
        status = loader_seek(s->loader, (uint32_t)l->epoch, l->step);
    return group_agree(s->group, status);
}

enum status loop_run(struct session *session, const struct loop_config *config)
{
    struct loop l = {.s = session, .config = config};
    l.n_metrics = model_loss(session->model)->ops->n_metrics;
    enum status status = group_agree(session->group, step_init(&l.one, session));
    if (status == STATUS_OK)
        status = audit_init(&l.one.audit, session, &config->audit);
    if (status == STATUS_OK)
        status = loop_start(&l);
    if (status == STATUS_OK)
        status = train(&l);
    if (status == STATUS_OK)
        status = rehearsal_save();
    checkpoint_writer_free(l.writer);
    run_log_end(l.log, status);
    board_free(l.board);
    audit_free(l.one.audit);
    step_free(&l.one);
    return status;
}
