// SPDX-License-Identifier: MIT
#include "trainer/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/events.h"
#include "comm/fault.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "trainer/not_finite.h"
#include "trainer/signals.h"

#define SKIPS_TOLD 10 // warnings of one process

// What a rank tells all others, before its grains' metrics.
struct step_note {
    int32_t status;   // enum status of its data
    int32_t signal;   // that asks for a stop
    int32_t save_due; // rank 0's clock says so
    int32_t unused;
};

enum status step_init(struct step *step, struct session *s)
{
    size_t size = (size_t)s->group->size, bytes = 0;
    *step = (struct step){.s = s, .n_metrics = model_loss(s->model)->ops->n_metrics};
    TRY(memory_alloc(&step->counts, size, sizeof *step->counts, "metrics"));
    for (int r = 0; r < s->group->size; r++) {
        int grains = tree_run_of(s->order.grains, s->group->size, r).count;
        step->counts[r] =
            sizeof(struct step_note) + (size_t)grains * (size_t)step->n_metrics * sizeof(double);
        bytes += step->counts[r];
    }
    TRY(memory_alloc(&step->shared, bytes, 1, "metrics"));
    TRY(memory_alloc(&step->metrics, (size_t)s->grains.count * LOSS_METRICS_MAX, sizeof(double),
                     "metrics"));
    return memory_alloc(&step->per_grain, (size_t)s->order.grains, sizeof(double), "metrics");
}

void step_free(struct step *step)
{
    free(step->counts);
    free(step->shared);
    free(step->metrics);
    free(step->per_grain);
}

// What backward's hook needs to know.
struct hook {
    struct reduce *reduce;
    int worker;
    struct audit_watch watch;
};

static void push(void *context, size_t offset)
{
    struct hook *hook = context;
    rehearsal_lap(offset);
    audit_watch_push(&hook->watch, offset);
    reduce_push(hook->reduce, hook->worker, offset);
    audit_watch_pushed(&hook->watch, offset);
    rehearsal_go_on();
}

// Of a rehearsal: the time of a grain passes, and its gradient goes into the sum.
static enum status grain_play(struct step *step, double metrics[LOSS_METRICS_MAX])
{
    reduce_grain(step->s->reduce, 0);
    for (size_t lap = 0; lap < rehearsal_n_laps(); lap++)
        reduce_push(step->s->reduce, 0, rehearsal_play(lap));
    memset(metrics, 0, LOSS_METRICS_MAX * sizeof *metrics);
    return STATUS_OK;
}

// Once a step, because the weights have changed.
static void prepare(struct session *s, int worker)
{
    if (rehearsal_is_playing()) {
        rehearsal_play_prepare();
        return;
    }
    rehearsal_go_on();
    model_prepare(s->models[worker], s->params, profile_lane(s->profile, worker));
    rehearsal_prepared();
}

// One grain: forward, loss, backward; its gradient goes into the sum as it becomes final.
static enum status grain_run(struct step *step, int worker, int grain,
                             double metrics[LOSS_METRICS_MAX])
{
    struct session *s = step->s;
    struct laps *laps = profile_lane(s->profile, worker);
    struct batch batch;
    if (rehearsal_is_playing())
        return grain_play(step, metrics);
    rehearsal_grain();
    struct hook hook = {.reduce = s->reduce, .worker = worker};
    float *grads = reduce_grain(s->reduce, worker);
    audit_watch_begin(&hook.watch, s, step->audit, worker, grain, grads);
    enum status status = loader_next(s->loader, worker, &batch);
    laps_mark(laps, profile_slot_at(s->profile, PROFILE_DATA));
    if (status != STATUS_OK) {
        push(&hook, 0); // others wait for this sum; nobody will use it
        return status;
    }
    ASSERT(batch.n == s->order.grain && batch.epoch == step->epoch && batch.step == step->at);
    struct pass pass = {
        .n = batch.n,
        .is_training = true,
        .params = s->params,
        .grads = grads,
        .seed = (uint64_t)s->recipe->train.seed,
        .epoch = batch.epoch,
        .row = batch.row,
        .laps = laps,
    };
    if (!audit_watch_reads(&hook.watch))
        pass.sums = reduce_grain_sum(s->reduce, worker);
    struct model *model = s->models[worker];
    audit_watch_input(&hook.watch, &batch, &pass);
    model_forward(model, &pass, batch.x);
    fault_point(FAULT_WEIGHTS, s->params, s->n * sizeof *s->params);
    model_loss_eval(model, &pass, batch.target, true, 1.0f / (float)s->order.batch, metrics);
    model_backward(model, &pass, push, &hook);
    audit_watch_end(&hook.watch, metrics);
    return STATUS_OK;
}

// A worker's part of the step. A failed grain does not end it: the sum waits for all of them.
static enum status worker_run(void *context, int worker)
{
    struct step *step = context;
    struct session *s = step->s;
    struct tree_run run = tree_run_part(s->grains, workers_count(s->workers), worker);
    struct laps *laps = profile_lane(s->profile, worker);
    enum status status = STATUS_OK;
    if (worker > 0)
        laps_mark(laps, profile_slot_at(s->profile, PROFILE_IDLE));
    prepare(s, worker);
    for (int g = run.first; g < run.first + run.count; g++) {
        size_t place = (size_t)(g - s->grains.first) * LOSS_METRICS_MAX;
        events_begin(EVENTS_WORK, "grain", (uint64_t)g + 1);
        enum status one = grain_run(step, worker, g, step->metrics + place);
        events_end();
        status = status == STATUS_OK ? one : status;
    }
    if (worker == 0) {
        reduce_wait(s->reduce);
        profile_sum_end(s->profile, reduce_began(s->reduce));
    } else {
        reduce_help(s->reduce, worker);
        laps_mark(laps, profile_slot_at(s->profile, PROFILE_WAIT));
    }
    enum status audited = audit_work(step->audit, worker);
    return status == STATUS_OK ? audited : status;
}

// Every rank's note and metrics reach all ranks.
static void records_share(struct step *step, struct step_note note)
{
    const struct session *s = step->s;
    size_t before = 0, width = (size_t)step->n_metrics * sizeof(double);
    for (int r = 0; r < s->group->rank; r++)
        before += step->counts[r];
    char *own = step->shared + before;
    memcpy(own, &note, sizeof note);
    for (int g = 0; g < s->grains.count; g++)
        memcpy(own + sizeof note + (size_t)g * width, step->metrics + (size_t)g * LOSS_METRICS_MAX,
               width);
    group_allgatherv(s->group, own, step->counts, step->shared);
}

// Metric m of all grains, in order.
static void metric_collect(struct step *step, int m)
{
    const struct session *s = step->s;
    const char *record = step->shared;
    size_t width = (size_t)step->n_metrics * sizeof(double);
    for (int r = 0, at = 0; r < s->group->size; record += step->counts[r], r++) {
        size_t grains = (step->counts[r] - sizeof(struct step_note)) / width;
        for (size_t g = 0; g < grains; g++, at++)
            memcpy(&step->per_grain[at],
                   record + sizeof(struct step_note) + g * width + (size_t)m * sizeof(double),
                   sizeof(double));
    }
}

// All ranks learn every grain's metrics and every rank's note; all decide alike.
static enum status step_agree(struct step *step, enum status mine, struct step_news *news)
{
    const struct session *s = step->s;
    bool is_bad = false;
    records_share(step, (struct step_note){(int32_t)mine, signals_pending(), news->save_due, 0});
    const char *record = step->shared;
    news->signal = 0;
    for (int r = 0; r < s->group->size; record += step->counts[r], r++) {
        struct step_note note;
        memcpy(&note, record, sizeof note);
        is_bad = is_bad || note.status != STATUS_OK;
        news->save_due = news->save_due || note.save_due;
        news->signal = news->signal ? news->signal : note.signal;
    }
    if (is_bad)
        return group_agree(s->group, mine);
    for (int m = 0; m < step->n_metrics; m++) {
        metric_collect(step, m);
        news->sums[m] = tree_sum(step->per_grain, s->order.grains);
        CHECK(m > 0 || isfinite(news->sums[m]), STATUS_NOT_FINITE,
              "the loss is %s in step %llu (epoch %llu, step %llu of it)",
              isnan(news->sums[m]) ? "NaN" : "infinite", (unsigned long long)step->global + 1,
              (unsigned long long)step->epoch + 1, (unsigned long long)step->at + 1);
    }
    return STATUS_OK;
}

// Loss or gradient are not finite on all ranks alike, and nothing is changed yet: stops, or skips
// the step. The first time it is found out why.
static enum status step_leave(struct step *step, struct step_news *news)
{
    bool skips = step->s->recipe->train.not_finite == TRAIN_NOT_FINITE_SKIP;
    bool is_over = !skips || step->skipped_in_row >= STEP_SKIPS_MAX;
    if (is_over || step->skips_told == 0)
        not_finite_explain(step->s, step->epoch, step->at);
    if (is_over && skips)
        error_add(STATUS_NOT_FINITE, "and the %llu steps before were skipped, too",
                  (unsigned long long)step->skipped_in_row);
    if (is_over)
        return error_add(STATUS_NOT_FINITE,
                         "lower train.lr, lengthen train.warmup or set "
                         "train.clip_norm%s",
                         skips ? "" : "; train.not_finite=skip leaves such steps out");
    if (step->skips_told++ < SKIPS_TOLD)
        log_warn("%s; the step is skipped%s", error_text(),
                 step->skips_told == SKIPS_TOLD ? ", and from here on such steps are only counted"
                                                : "");
    step->skipped++;
    step->skipped_in_row++;
    news->is_skipped = true;
    return STATUS_OK;
}

static enum status step_update(struct step *step)
{
    struct session *s = step->s;
    events_turn(EVENTS_WORK, "update of step", step->global + 1);
    double lr = schedule_lr(&s->schedule, step->global);
    TRY(update_step(s->update, s->params, lr, step->global));
    step->skipped_in_row = 0;
    return audit_after_update(step->audit, lr);
}

enum status step_run(struct step *step, uint64_t epoch, uint64_t at, uint64_t global,
                     struct step_news *news)
{
    struct session *s = step->s;
    step->epoch = epoch;
    step->at = at;
    step->global = global;
    profile_step_begin(s->profile);
    audit_step(step->audit, epoch, at, global);
    enum status status = workers_run(s->workers, worker_run, step);
    status = step_agree(step, status, news);
    audit_faults(s);
    if (status == STATUS_OK || status == STATUS_NOT_FINITE) // that may be wrong arithmetic
        TRY(audit_before_update(step->audit));
    profile_mark(s->profile, PROFILE_AGREE);
    rehearsal_go_on();
    if (status == STATUS_OK)
        status = step_update(step);
    if (status == STATUS_NOT_FINITE)
        status = step_leave(step, news);
    TRY(status);
    rehearsal_updated();
    rehearsal_play_update(update_share(s->update));
    profile_step_end(s->profile);
    return STATUS_OK;
}
