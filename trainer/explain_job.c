// SPDX-License-Identifier: MIT
#include "trainer/explain_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"

struct worker {
    const struct explain_job *job;
    struct explain_quality *quality;
    struct sanity *sanity;
    bool is_predicted;
    size_t target; // else
    bool has_softmax;
    float *x, *y;
    float *maps[EXPLAIN_METHODS]; // (h, w); NULL: not wanted
    char *message;                // an answer, raw values, the row
    size_t bytes, row_bytes, row_at;
    size_t raw_at[EXPLAIN_METHODS];
    struct explain_output *output; // rank 0
    size_t n_bad;
};

// ---- which output

static enum status class_find(const struct explain_job *job, size_t *target)
{
    const struct trained *t = job->trained;
    const char *text = job->target;
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10) {
        *target = strtoul(text, NULL, 10);
        CHECK(*target < t->n_classes, STATUS_USAGE,
              "--class: %s, but the network has outputs 0 to %zu", text, t->n_classes - 1);
        return STATUS_OK;
    }
    for (size_t i = 0; t->is_classifier && i < t->n_classes; i++)
        if (strcmp(text, t->classes[i]) == 0) {
            *target = i;
            return STATUS_OK;
        }
    const char *nearest = t->is_classifier ? names_nearest(text, t->classes, t->n_classes) : NULL;
    FAIL(STATUS_USAGE,
         "--class: the network knows no class '%s'%s%s%s; expected predicted, a "
         "number from 0 to %zu, or a name",
         text, nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
         t->n_classes - 1);
}

static enum status target_find(struct worker *w)
{
    const struct trained *t = w->job->trained;
    w->has_softmax = t->is_classifier && strcmp(model_loss(t->model)->ops->name, "softmax") == 0;
    w->is_predicted = strcmp(w->job->target, "predicted") == 0;
    if (!w->is_predicted)
        return class_find(w->job, &w->target);
    if (!t->is_classifier) // numbers, of which none is the answer: the first
        w->is_predicted = false;
    return STATUS_OK;
}

// ---- one input

static size_t largest(const float *y, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        best = y[k] > y[best] ? k : best;
    return best;
}

static float *raw_of(const struct worker *w, char *message, int m)
{
    return w->maps[m] ? (float *)(void *)(message + w->raw_at[m]) : NULL;
}

static void answer_begin(struct worker *w, struct explain_answer *answer)
{
    size_t n = w->job->trained->n_classes;
    double sum = 0;
    explain_outputs(w->job->explain, w->x, w->y);
    answer->predicted = (int32_t)largest(w->y, n);
    answer->target = w->is_predicted ? answer->predicted : (int32_t)w->target;
    answer->score = w->y[answer->target];
    for (size_t k = 0; k < n; k++)
        sum += exp((double)w->y[k] - (double)answer->score);
    answer->probability = w->has_softmax ? (float)(1 / sum) : 0;
}

static void answer_fill(struct worker *w, struct explain_answer *answer, size_t i)
{
    struct explain *e = w->job->explain;
    answer_begin(w, answer);
    size_t target = (size_t)answer->target;
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        float *raw = raw_of(w, w->message, m);
        if (!raw)
            continue;
        explain_run(e, (enum explain_method)m, w->x, target, raw);
        explain_map(e, (enum explain_method)m, raw, w->maps[m]);
        if (m == EXPLAIN_INTEGRATED)
            answer->completeness = explain_completeness(e, w->x, target, raw);
    }
    if (w->quality) {
        quality_sample(w->quality, w->x, target);
        for (int m = 0; m < EXPLAIN_METHODS; m++)
            if (w->maps[m])
                answer->quality[m] = quality_measure(w->quality, w->maps[m]);
    }
    if (w->sanity && i < w->job->n_sanity) {
        answer->has_sanity = 1;
        sanity_sample(w->sanity, w->x, target, w->maps, answer->sanity);
    }
}

static enum status input_explain(struct worker *w, size_t i)
{
    const struct explain_job *job = w->job;
    struct explain_answer *answer = (struct explain_answer *)(void *)w->message;
    memset(w->message, 0, w->bytes);
    enum status status = inputs_read(job->inputs, i, w->x);
    if (status == STATUS_DATA && job->keeps_going) {
        answer->is_bad = 1;
        snprintf(answer->why, sizeof answer->why, "%s", error_text());
        return STATUS_OK;
    }
    TRY(status);
    memcpy(w->message + w->row_at, inputs_raw(job->inputs), w->row_bytes);
    answer_fill(w, answer, i);
    return STATUS_OK;
}

// ---- all of them

static enum status answer_write(struct worker *w, size_t i)
{
    char name[INPUT_NAME_MAX];
    float *raw[EXPLAIN_METHODS];
    inputs_name(w->job->inputs, i, name);
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        raw[m] = raw_of(w, w->message, m);
    return explain_output_add(w->output, name, (struct explain_answer *)(void *)w->message, raw,
                              w->message + w->row_at);
}

// Input start + rank on each rank; then all hand over in turn, so that rank 0 holds one at a time.
static enum status round_run(struct worker *w, size_t start)
{
    struct group *group = w->job->trained->group;
    size_t count = inputs_count(w->job->inputs), mine = start + (size_t)group->rank;
    char *own = w->message, *other = w->message + w->bytes;
    TRY(group_agree(group, mine < count ? input_explain(w, mine) : STATUS_OK));
    enum status status = STATUS_OK;
    for (int rank = 0; rank < group->size && start + (size_t)rank < count; rank++) {
        w->message = rank == group->rank ? own : other;
        group_broadcast(group, w->message, w->bytes, rank);
        w->n_bad += ((struct explain_answer *)(void *)w->message)->is_bad != 0;
        if (group->rank == 0 && status == STATUS_OK)
            status = answer_write(w, start + (size_t)rank);
    }
    w->message = own;
    return group_agree(group, status);
}

static enum status memory_take(struct worker *w)
{
    const struct explain_job *job = w->job;
    const struct trained *t = job->trained;
    size_t floats = t->input.h * t->input.w * t->input.c;
    w->bytes = (sizeof(struct explain_answer) + 63) / 64 * 64;
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        if (!job->wanted[m])
            continue;
        struct shape s = explain_raw_shape(job->explain, (enum explain_method)m);
        w->raw_at[m] = w->bytes;
        w->bytes += (s.h * s.w * s.c * sizeof(float) + 63) / 64 * 64;
        TRY(memory_alloc(&w->maps[m], t->input.h * t->input.w, sizeof(float), "map"));
    }
    w->row_at = w->bytes;
    w->row_bytes = floats * (t->is_u8 ? 1 : sizeof(float));
    w->bytes += (w->row_bytes + 63) / 64 * 64;
    TRY(memory_alloc(&w->message, 2, w->bytes, "answers"));
    TRY(memory_alloc(&w->x, floats, sizeof *w->x, "sample"));
    return memory_alloc(&w->y, t->n_classes, sizeof *w->y, "scores");
}

static enum status worker_open(struct worker *w)
{
    const struct explain_job *job = w->job;
    const struct trained *t = job->trained;
    const struct quality_config quality = {
        .steps = 16, .masks = 32, .is_probability = w->has_softmax};
    const struct shape in = {t->input.h, t->input.w, t->input.c};
    TRY(memory_take(w));
    if (job->measures_quality)
        TRY(quality_init(&w->quality, job->explain, in, &quality));
    return STATUS_OK;
}

static void worker_close(struct worker *w)
{
    quality_free(w->quality);
    sanity_free(w->sanity);
    explain_output_free(w->output);
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        free(w->maps[m]);
    free(w->message);
    free(w->x);
    free(w->y);
}

static enum status all_run(struct worker *w)
{
    const struct explain_job *job = w->job;
    struct group *group = job->trained->group;
    TRY(group_agree(group, target_find(w)));
    TRY(group_agree(group, worker_open(w)));
    if (job->n_sanity > 0)
        TRY(sanity_init(&w->sanity, group, job->explain, job->trained->model,
                        job->trained->params));
    TRY(group_agree(group, group->rank == 0 ? explain_output_open(&w->output, job) : STATUS_OK));
    for (size_t start = 0; start < inputs_count(job->inputs); start += (size_t)group->size)
        TRY(round_run(w, start));
    return group_agree(group, group->rank == 0 ? explain_output_commit(w->output) : STATUS_OK);
}

enum status explain_job_run(const struct explain_job *job, size_t *n_bad)
{
    struct worker worker = {.job = job};
    enum status status = all_run(&worker);
    *n_bad = worker.n_bad;
    worker_close(&worker);
    return status;
}
