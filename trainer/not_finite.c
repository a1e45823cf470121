// SPDX-License-Identifier: MIT
#include "trainer/not_finite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

#define ROWS_MAX 8 // named in a message

// Where it can begin, in the order of computation.
enum origin { ORIGIN_NONE, ORIGIN_DATA, ORIGIN_LAYER, ORIGIN_LOSS, ORIGIN_GRADIENT };

// What a rank says of its first grain that is not finite.
struct finding {
    int32_t origin;
    int32_t grain, n_grains; // the lowest; how many
    int32_t at;              // layer, or tensor of the list
    uint64_t n_rows, row[ROWS_MAX];
};

// The grain in hand.
struct look {
    const struct session *s;
    const struct batch *batch;
    struct finding finding;
};

static bool are_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static void row_add(struct look *look, size_t sample)
{
    struct finding *finding = &look->finding;
    if (finding->n_rows < ROWS_MAX)
        finding->row[finding->n_rows] = look->batch->row[sample];
    finding->n_rows++;
}

static void look_at_data(struct look *look)
{
    struct shape shape = session_input(look->s->train_set);
    size_t floats = shape.h * shape.w * shape.c;
    for (size_t i = 0; i < look->batch->n; i++) {
        if (are_finite(look->batch->x + i * floats, floats))
            continue;
        look->finding.origin = ORIGIN_DATA;
        row_add(look, i);
    }
}

static bool sample_is_finite(const struct tensor *y, size_t sample)
{
    for (size_t h = 0; h < y->h; h++)
        if (!are_finite(tensor_row(y, sample, h), y->w * y->c))
            return false;
    return true;
}

// pass.seen: of the first layer whose output is not finite, the samples.
static void look_at_layer(void *context, const struct layer *layer)
{
    struct look *look = context;
    if (look->finding.origin != ORIGIN_NONE || !layer->y.at)
        return;
    for (size_t i = 0; i < look->batch->n; i++) {
        if (sample_is_finite(&layer->y, i))
            continue;
        look->finding.origin = ORIGIN_LAYER;
        look->finding.at = layer->index;
        row_add(look, i);
    }
}

static void rows_all(struct look *look)
{
    for (size_t i = 0; i < look->batch->n; i++)
        row_add(look, i);
}

// Backward goes from the last tensor to the first: the last one that is not finite was first.
static void look_at_gradients(struct look *look, const float *grads)
{
    const struct session *s = look->s;
    for (size_t t = s->n_list; t-- > 0 && look->finding.origin == ORIGIN_NONE;) {
        const struct param *param = s->list[t].param;
        if (param->kind == PARAM_FROZEN || are_finite(grads + param->offset, param->count))
            continue;
        look->finding.origin = ORIGIN_GRADIENT;
        look->finding.at = (int32_t)t;
        rows_all(look);
    }
}

static void grain_look(struct look *look, float *grads)
{
    const struct session *s = look->s;
    const struct batch *batch = look->batch;
    double metrics[LOSS_METRICS_MAX];
    struct pass pass = {
        .n = batch->n,
        .is_training = true,
        .params = s->params,
        .grads = grads,
        .seed = (uint64_t)s->recipe->train.seed,
        .epoch = batch->epoch,
        .row = batch->row,
        .seen = look_at_layer,
        .seen_context = look,
    };
    look->finding = (struct finding){.grain = batch->grain};
    look_at_data(look);
    if (look->finding.origin != ORIGIN_NONE)
        return;
    model_forward(s->model, &pass, batch->x);
    if (look->finding.origin != ORIGIN_NONE)
        return;
    model_loss_eval(s->model, &pass, batch->target, true, 1.0f / (float)s->order.batch, metrics);
    if (!isfinite(metrics[0])) {
        look->finding.origin = ORIGIN_LOSS;
        rows_all(look);
        return;
    }
    model_backward(s->model, &pass, NULL, NULL);
    look_at_gradients(look, grads);
}

static enum status grains_look(const struct session *s, uint64_t epoch, uint64_t at,
                               struct loader *loader, float *grads, struct finding *first)
{
    int n = 0;
    model_prepare(s->model, s->params, NULL);
    for (int g = s->grains.first; g < s->grains.first + s->grains.count; g++) {
        struct batch batch;
        struct look look = {.s = s, .batch = &batch};
        TRY(loader_at(loader, (uint32_t)epoch, at, g, &batch));
        grain_look(&look, grads);
        if (look.finding.origin == ORIGIN_NONE)
            continue;
        if (n++ == 0)
            *first = look.finding;
    }
    first->n_grains = n;
    return STATUS_OK;
}

// This rank's grains. The error in hand is kept by the caller.
static enum status own_look(const struct session *s, uint64_t epoch, uint64_t at,
                            struct finding *first)
{
    struct data_config config = s->recipe->data;
    struct dataset *data = NULL;
    struct loader *loader = NULL;
    float *grads = NULL;
    enum status status = memory_alloc(&grads, s->n, sizeof *grads, "gradient of one grain");
    if (status == STATUS_OK)
        status = dataset_open(&data, config.train, DATASET_TRAIN, &config);
    if (status == STATUS_OK) {
        struct loader_config one = {
            .dataset = data,
            .transforms = s->transforms,
            .order = &s->order,
            .first_grain = s->grains.first,
            .n_grains = s->grains.count,
            .slots = 1,
            .seed = (uint64_t)s->recipe->train.seed,
        };
        status = loader_init(&loader, &one);
    }
    if (status == STATUS_OK)
        status = grains_look(s, epoch, at, loader, grads, first);
    loader_free(loader);
    dataset_close(data);
    free(grads);
    return status;
}

static void rows_text(const struct finding *f, char *out, size_t room)
{
    size_t named = f->n_rows < ROWS_MAX ? (size_t)f->n_rows : ROWS_MAX;
    int n = snprintf(out, room, f->n_rows > 1 ? "rows " : "row ");
    for (size_t i = 0; i < named; i++)
        n += snprintf(out + n, room - (size_t)n, "%s%llu", i > 0 ? ", " : "",
                      (unsigned long long)f->row[i]);
    if (named < f->n_rows)
        snprintf(out + n, room - (size_t)n, " and %llu more",
                 (unsigned long long)(f->n_rows - named));
}

static void origin_text(const struct session *s, const struct finding *f, char *out, size_t room)
{
    if (f->origin == ORIGIN_DATA)
        snprintf(out, room, "the data themselves are not finite");
    else if (f->origin == ORIGIN_LAYER)
        snprintf(out, room, "it begins in the output of layer '%s'",
                 model_layer(s->model, (size_t)f->at)->name);
    else if (f->origin == ORIGIN_LOSS)
        snprintf(out, room, "it begins in the loss");
    else
        snprintf(out, room, "it begins in the gradient of '%s'", s->list[f->at].name);
}

static int owner_of(const struct session *s, int grain)
{
    int rank = 0;
    for (; rank + 1 < s->group->size; rank++) {
        struct tree_run run = tree_run_of(s->order.grains, s->group->size, rank);
        if (grain < run.first + run.count)
            break;
    }
    return rank;
}

static enum status finding_add(const struct session *s, const struct finding *f, int n_grains,
                               enum status status)
{
    char origin[160], rows[ROWS_MAX * 24 + 64];
    if (f->origin == ORIGIN_NONE)
        return error_add(status, "no grain by itself is not finite when computed again: their sum "
                                 "is, or a part of the machine errs (--audit 1 finds out)");
    origin_text(s, f, origin, sizeof origin);
    rows_text(f, rows, sizeof rows);
    return error_add(status, "%s, for %s of '%s' (grain %d, rank %d; %d of %d grains)", origin,
                     rows, dataset_path(s->train_set), (int)f->grain, owner_of(s, (int)f->grain),
                     n_grains, s->order.grains);
}

enum status not_finite_explain(struct session *s, uint64_t epoch, uint64_t at)
{
    char text[4096], place[256];
    struct finding mine = {.origin = ORIGIN_NONE}, *all = NULL, first = mine;
    int size = s->group->size, n_grains = 0;
    snprintf(text, sizeof text, "%s", error_text());
    snprintf(place, sizeof place, "%s", error_place());
    enum status status = memory_alloc(&all, (size_t)size, sizeof *all, "findings");
    if (status == STATUS_OK)
        status = own_look(s, epoch, at, &mine);
    status = group_agree(s->group, status);
    if (status == STATUS_OK)
        group_allgather(s->group, &mine, sizeof mine, all);
    for (int r = size; status == STATUS_OK && r-- > 0;) {
        n_grains += all[r].n_grains;
        first = all[r].origin != ORIGIN_NONE ? all[r] : first;
    }
    free(all);
    char *colon = strrchr(place, ':');
    int line = colon ? atoi(colon + 1) : 0;
    if (colon)
        *colon = '\0';
    error_set(STATUS_NOT_FINITE, place, line, "%s", text);
    return status == STATUS_OK ? finding_add(s, &first, n_grains, STATUS_NOT_FINITE)
                               : STATUS_NOT_FINITE;
}
