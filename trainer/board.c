// SPDX-License-Identifier: MIT
#include "trainer/board.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/tensorboard.h"

struct board {
    struct session *s;      // borrowed
    struct tensorboard *to; // rank 0; NULL elsewhere, and after a failure
    uint64_t every;
    struct histogram *mine; // (size) the first is this rank's own, then all of them
};

static void written(struct board *b, enum status status, bool is_told)
{
    if (status == STATUS_OK)
        return;
    if (!is_told)
        log_warn("%s; TensorBoard will see no more of this run", error_text());
    tensorboard_close(b->to);
    b->to = NULL;
}

enum status board_init(struct board **out, const struct run_folder *folder, struct session *s,
                       uint64_t histograms, uint64_t step)
{
    struct board *b;
    char path[RUN_PATH_MAX + 32];
    *out = NULL;
    TRY(memory_alloc(&b, 1, sizeof *b, "TensorBoard"));
    *b = (struct board){.s = s, .every = histograms};
    if (histograms > 0) {
        enum status status =
            memory_alloc(&b->mine, (size_t)s->group->size + 1, sizeof *b->mine, "histograms");
        if (status != STATUS_OK) {
            board_free(b);
            return status;
        }
    }
    snprintf(path, sizeof path, "%s/tensorboard", folder->path);
    if (s->group->rank == 0)
        written(b, tensorboard_open(&b->to, path, step), false);
    *out = b;
    return STATUS_OK;
}

void board_free(struct board *b)
{
    if (!b)
        return;
    tensorboard_close(b->to);
    free(b->mine);
    free(b);
}

static void scalar(struct board *b, const char *side, const char *name, double value)
{
    char tag[128];
    snprintf(tag, sizeof tag, "%s%s%s", side, side[0] ? "/" : "", name);
    if (isfinite(value))
        tensorboard_scalar(b->to, tag, value);
}

void board_record(struct board *b, const struct run_record *record, bool is_told)
{
    if (!b || !b->to)
        return;
    const struct loss_ops *ops = model_loss(b->s->model)->ops;
    for (int m = 0; m < ops->n_metrics; m++) {
        if (record->train)
            scalar(b, "train", ops->metrics[m].name, record->train[m]);
        if (record->test)
            scalar(b, "test", ops->metrics[m].name, record->test[m]);
    }
    scalar(b, "", "learning_rate", record->lr);
    scalar(b, "", "images_per_s", record->images_per_s);
    scalar(b, "", "epoch", (double)record->epoch);
    written(b, tensorboard_flush(b->to, record->step), is_told);
}

// This rank's part of a tensor's gradient.
static void gradient_add(const struct session *s, const struct param *param, struct histogram *h)
{
    const struct span *spans;
    size_t n = reduce_slices(s->reduce, s->group->rank, &spans);
    const float *sum = reduce_sum(s->reduce);
    for (size_t i = 0; i < n; i++) {
        size_t first = spans[i].offset, end = first + spans[i].count;
        size_t from = first > param->offset ? first : param->offset;
        size_t last = param->offset + param->count;
        size_t to = end < last ? end : last;
        if (from < to)
            histogram_add(h, sum + from, to - from);
    }
}

static void tensor_put(struct board *b, const struct model_param *one)
{
    struct session *s = b->s;
    struct histogram *all = b->mine + 1;
    char tag[160];
    bool is_trained = one->param->kind == PARAM_WEIGHT || one->param->kind == PARAM_BIAS;
    if (b->to) {
        histogram_clear(b->mine);
        histogram_add(b->mine, s->params + one->param->offset, one->param->count);
        snprintf(tag, sizeof tag, "weights/%s", one->name);
        tensorboard_histogram(b->to, tag, b->mine);
    }
    if (!is_trained)
        return;
    histogram_clear(b->mine);
    gradient_add(s, one->param, b->mine);
    group_allgather(s->group, b->mine, sizeof *b->mine, all);
    if (!b->to)
        return;
    for (int r = 1; r < s->group->size; r++)
        histogram_merge(&all[0], &all[r]);
    snprintf(tag, sizeof tag, "gradients/%s", one->name);
    tensorboard_histogram(b->to, tag, &all[0]);
}

void board_histograms(struct board *b, uint64_t epoch, uint64_t step)
{
    if (!b || b->every == 0 || epoch % b->every != 0)
        return;
    for (size_t i = 0; i < b->s->n_list; i++)
        tensor_put(b, &b->s->list[i]);
    if (b->to)
        written(b, tensorboard_flush(b->to, step), false);
}
