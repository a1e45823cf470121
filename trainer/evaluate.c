// SPDX-License-Identifier: MIT
#include "trainer/evaluate.h"

#include <stdlib.h>

#include "comm/events.h"
#include "comm/memory.h"

#define ROUND_CHUNKS 8 // of each worker, between two looks at what asks for a stop

// What ranks tell each other after a round.
struct round_note {
    int32_t status, stop;
};

struct evaluator {
    struct group *group;
    struct workers *workers;
    struct model *const *models; // of each worker
    struct loader *loader;
    struct tta **tta; // of each worker; NULL: none
    struct shape input;
    size_t chunk;
    uint64_t n_chunks; // of the data set
    uint64_t first, n; // this rank's
    int n_metrics;
    double *mine, *all;       // (n, n_metrics), (n_chunks, n_metrics)
    size_t *counts;           // bytes of each rank
    int (*pending)(void);     // asks for a stop; NULL: nothing does
    struct round_note *notes; // (group size)
    int stopped_by;
};

// Chunks before rank r: contiguous runs, as even as they go.
static uint64_t chunk_first(uint64_t n_chunks, int size, int rank)
{
    uint64_t p = (uint64_t)size, r = (uint64_t)rank, rest = n_chunks % p;
    return n_chunks / p * r + (r < rest ? r : rest);
}

static struct loader_config config_of(const struct group *group, struct dataset *dataset,
                                      const struct transforms *transforms, size_t chunk,
                                      int workers)
{
    uint64_t n_chunks = (dataset_rows(dataset) + chunk - 1) / chunk;
    uint64_t first = chunk_first(n_chunks, group->size, group->rank);
    return (struct loader_config){
        .dataset = dataset,
        .transforms = transforms,
        .chunk = chunk,
        .first_chunk = first,
        .n_chunks = chunk_first(n_chunks, group->size, group->rank + 1) - first,
        .workers = workers,
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
    TRY(memory_alloc(&e->notes, (size_t)e->group->size, sizeof *e->notes, "metrics of chunks"));
    for (int r = 0; r < e->group->size; r++)
        e->counts[r] = (chunk_first(e->n_chunks, e->group->size, r + 1) -
                        chunk_first(e->n_chunks, e->group->size, r)) *
                       width * sizeof(double);
    return loader_init(&e->loader, config);
}

enum status evaluator_init(struct evaluator **out, struct group *group, struct dataset *dataset,
                           const struct transforms *transforms, struct model *const *models,
                           struct workers *workers, size_t chunk)
{
    struct evaluator *e = NULL;
    *out = NULL;
    TRY(memory_alloc(&e, 1, sizeof *e, "evaluator"));
    e->group = group;
    e->workers = workers;
    e->models = models;
    struct sample_shape input = dataset_shape(dataset);
    e->input = (struct shape){input.h, input.w, input.c};
    e->chunk = chunk;
    e->n_metrics = model_loss(models[0])->ops->n_metrics;
    struct loader_config config =
        config_of(group, dataset, transforms, chunk, workers_count(workers));
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
    int n = workers_count(e->workers);
    if (kind == TTA_OFF)
        return STATUS_OK;
    TRY(memory_alloc(&e->tta, (size_t)n, sizeof *e->tta, "views"));
    for (int w = 0; w < n; w++)
        TRY(tta_init(&e->tta[w], kind, e->models[w], e->input, e->chunk));
    return STATUS_OK;
}

void evaluator_stop_by(struct evaluator *e, int (*pending)(void))
{
    e->pending = pending;
}

int evaluator_stopped_by(const struct evaluator *e)
{
    return e->stopped_by;
}

void evaluator_free(struct evaluator *e)
{
    if (!e)
        return;
    for (int w = 0; e->tta && w < workers_count(e->workers); w++)
        tta_free(e->tta[w]);
    free(e->tta);
    loader_free(e->loader);
    free(e->mine);
    free(e->all);
    free(e->counts);
    free(e->notes);
    free(e);
}

size_t evaluator_bytes(const struct group *group, struct dataset *dataset,
                       const struct transforms *transforms, size_t chunk, int n_metrics,
                       int workers)
{
    struct loader_config config = config_of(group, dataset, transforms, chunk, workers);
    uint64_t n_chunks = (dataset_rows(dataset) + chunk - 1) / chunk;
    return loader_bytes(&config) +
           (config.n_chunks + n_chunks) * (size_t)n_metrics * sizeof(double);
}

// One evaluation; of its chunks those before `end` now.
struct job {
    struct evaluator *e;
    uint64_t begin, end;
    const float *params;
    bool is_averaged;
    evaluator_each *each;
    void *context;
};

// Worker w has each workers-th chunk. job->begin is a multiple of their number.
static enum status chunks_run(void *context, int worker)
{
    struct job *job = context;
    struct evaluator *e = job->e;
    struct model *model = e->models[worker];
    struct tta *tta = job->is_averaged && e->tta ? e->tta[worker] : NULL;
    uint64_t stride = (uint64_t)workers_count(e->workers);
    if (job->begin == 0)
        model_prepare(model, job->params, NULL);
    for (uint64_t i = job->begin + (uint64_t)worker; i < job->end; i += stride) {
        struct batch batch;
        double metrics[LOSS_METRICS_MAX];
        TRY(loader_next(e->loader, worker, &batch));
        ASSERT(batch.n > 0 && batch.step == e->first + i);
        struct pass pass = {.n = batch.n, .params = job->params, .row = batch.row};
        if (tta)
            tta_forward(tta, &pass, batch.x);
        else
            model_forward(model, &pass, batch.x);
        model_loss_eval(model, &pass, batch.target, false, 0, metrics);
        for (int m = 0; m < e->n_metrics; m++)
            e->mine[i * (size_t)e->n_metrics + (size_t)m] = metrics[m];
        if (job->each)
            job->each(job->context, &batch, model_output(model));
    }
    return STATUS_OK;
}

// All ranks decide alike whether to go on after a round.
static enum status round_agree(struct evaluator *e, enum status mine)
{
    if (!e->pending)
        return group_agree(e->group, mine);
    struct round_note note = {(int32_t)mine, e->pending()};
    bool is_bad = false;
    group_allgather(e->group, &note, sizeof note, e->notes);
    for (int r = e->group->size; r-- > 0;) {
        is_bad = is_bad || e->notes[r].status != STATUS_OK;
        e->stopped_by = e->notes[r].stop ? e->notes[r].stop : e->stopped_by;
    }
    if (is_bad)
        return group_agree(e->group, mine);
    CHECK(!e->stopped_by, STATUS_STOPPED, "the evaluation was stopped");
    return STATUS_OK;
}

// As many rounds on every rank; some may have nothing left in the last.
static enum status rounds_run(struct evaluator *e, struct job *job)
{
    uint64_t most = chunk_first(e->n_chunks, e->group->size, 1), // rank 0 has the most
        each = e->pending ? ROUND_CHUNKS * (uint64_t)workers_count(e->workers) : most;
    enum status status = loader_seek(e->loader, 0, 0);
    e->stopped_by = 0;
    for (uint64_t first = 0; first < most; first += each) {
        job->begin = first;
        job->end = first + each < e->n ? first + each : e->n;
        if (status == STATUS_OK)
            status = workers_run(e->workers, chunks_run, job);
        TRY(round_agree(e, status));
    }
    return STATUS_OK;
}

enum status evaluator_run(struct evaluator *e, const float *params, bool is_averaged, double *sums,
                          evaluator_each *each, void *context)
{
    struct job job = {
        .e = e, .params = params, .is_averaged = is_averaged, .each = each, .context = context};
    ASSERT(!each || workers_count(e->workers) == 1);
    events_begin(EVENTS_WORK, "evaluates", 0);
    enum status status = rounds_run(e, &job);
    events_end();
    TRY(status);
    group_allgatherv(e->group, e->mine, e->counts, e->all);
    for (int m = 0; m < e->n_metrics; m++) {
        sums[m] = 0;
        for (uint64_t i = 0; i < e->n_chunks; i++)
            sums[m] += e->all[i * (size_t)e->n_metrics + (size_t)m];
    }
    return STATUS_OK;
}
