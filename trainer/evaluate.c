// SPDX-License-Identifier: MIT
#include "trainer/evaluate.h"

#include <stdlib.h>

#include "comm/memory.h"

struct evaluator {
    struct group *group;
    struct model *model;
    struct loader *loader;
    struct tta *tta; // NULL: none
    struct shape input;
    size_t chunk;
    uint64_t n_chunks; // of the data set
    uint64_t first, n; // this rank's
    int n_metrics;
    double *mine, *all; // (n, n_metrics), (n_chunks, n_metrics)
    size_t *counts;     // bytes of each rank
};

// Chunks before rank r: contiguous runs, as even as they go.
static uint64_t chunk_first(uint64_t n_chunks, int size, int rank)
{
    uint64_t p = (uint64_t)size, r = (uint64_t)rank, rest = n_chunks % p;
    return n_chunks / p * r + (r < rest ? r : rest);
}

static struct loader_config config_of(const struct group *group, struct dataset *dataset,
                                      const struct transforms *transforms, size_t chunk)
{
    uint64_t n_chunks = (dataset_rows(dataset) + chunk - 1) / chunk;
    uint64_t first = chunk_first(n_chunks, group->size, group->rank);
    return (struct loader_config){
        .dataset = dataset,
        .transforms = transforms,
        .chunk = chunk,
        .first_chunk = first,
        .n_chunks = chunk_first(n_chunks, group->size, group->rank + 1) - first,
    };
}

static enum status evaluator_fill(struct evaluator *e, const struct loader_config *config,
                                  size_t chunk)
{
    e->n_chunks = (dataset_rows(config->dataset) + chunk - 1) / chunk;
    e->first = config->first_chunk;
    e->n = config->n_chunks;
    size_t width = (size_t)e->n_metrics;
    TRY(memory_alloc(&e->mine, e->n * width, sizeof(double), "metrics of chunks"));
    TRY(memory_alloc(&e->all, e->n_chunks * width, sizeof(double), "metrics of chunks"));
    TRY(memory_alloc(&e->counts, (size_t)e->group->size, sizeof *e->counts, "metrics of chunks"));
    for (int r = 0; r < e->group->size; r++)
        e->counts[r] = (chunk_first(e->n_chunks, e->group->size, r + 1) -
                        chunk_first(e->n_chunks, e->group->size, r)) *
                       width * sizeof(double);
    return loader_init(&e->loader, config);
}

enum status evaluator_init(struct evaluator **out, struct group *group, struct dataset *dataset,
                           const struct transforms *transforms, struct model *model, size_t chunk)
{
    struct evaluator *e = NULL;
    *out = NULL;
    TRY(memory_alloc(&e, 1, sizeof *e, "evaluator"));
    e->group = group;
    e->model = model;
    struct sample_shape input = dataset_shape(dataset);
    e->input = (struct shape){input.h, input.w, input.c};
    e->chunk = chunk;
    e->n_metrics = model_loss(model)->ops->n_metrics;
    struct loader_config config = config_of(group, dataset, transforms, chunk);
    enum status status = evaluator_fill(e, &config, chunk);
    if (status != STATUS_OK)
        evaluator_free(e);
    else
        *out = e;
    return status;
}

enum status evaluator_tta_init(struct evaluator *e, enum tta_kind kind)
{
    ASSERT(!e->tta);
    return kind == TTA_OFF ? STATUS_OK : tta_init(&e->tta, kind, e->model, e->input, e->chunk);
}

void evaluator_free(struct evaluator *e)
{
    if (!e)
        return;
    tta_free(e->tta);
    loader_free(e->loader);
    free(e->mine);
    free(e->all);
    free(e->counts);
    free(e);
}

size_t evaluator_bytes(const struct group *group, struct dataset *dataset,
                       const struct transforms *transforms, size_t chunk, int n_metrics)
{
    struct loader_config config = config_of(group, dataset, transforms, chunk);
    uint64_t n_chunks = (dataset_rows(dataset) + chunk - 1) / chunk;
    return loader_bytes(&config) +
           (config.n_chunks + n_chunks) * (size_t)n_metrics * sizeof(double);
}

static enum status chunks_run(struct evaluator *e, const float *params, struct tta *tta,
                              evaluator_each *each, void *context)
{
    TRY(loader_seek(e->loader, 0, 0));
    for (uint64_t i = 0; i < e->n; i++) {
        struct batch batch;
        double metrics[LOSS_METRICS_MAX];
        TRY(loader_next(e->loader, &batch));
        struct pass pass = {.n = batch.n, .params = params, .row = batch.row};
        if (tta)
            tta_forward(tta, &pass, batch.x);
        else
            model_forward(e->model, &pass, batch.x);
        model_loss_eval(e->model, &pass, batch.target, false, 0, metrics);
        for (int m = 0; m < e->n_metrics; m++)
            e->mine[i * (size_t)e->n_metrics + (size_t)m] = metrics[m];
        if (each)
            each(context, &batch, model_output(e->model));
    }
    return STATUS_OK;
}

enum status evaluator_run(struct evaluator *e, const float *params, bool is_averaged, double *sums,
                          evaluator_each *each, void *context)
{
    struct tta *tta = is_averaged ? e->tta : NULL;
    model_prepare(e->model, params, NULL);
    TRY(group_agree(e->group, chunks_run(e, params, tta, each, context)));
    group_allgatherv(e->group, e->mine, e->counts, e->all);
    for (int m = 0; m < e->n_metrics; m++) {
        sums[m] = 0;
        for (uint64_t i = 0; i < e->n_chunks; i++)
            sums[m] += e->all[i * (size_t)e->n_metrics + (size_t)m];
    }
    return STATUS_OK;
}
