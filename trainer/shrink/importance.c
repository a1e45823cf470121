// SPDX-License-Identifier: MIT
#include "trainer/shrink/importance.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

struct measure {
    struct channels *channels;
    const struct trained *trained;
    struct dataset *train;
    size_t chunk, floats;
    float *x, *scratch, *grads;
    void *raw, *target;
    uint64_t *row;
    double *sum; // (n_vars) of roots: weight times gradient of this batch
};

static enum status measure_open(struct measure *m)
{
    struct sample_shape in = m->trained->input;
    struct target_shape target = dataset_target(m->train);
    m->floats = in.h * in.w * in.c;
    TRY(memory_alloc(&m->x, m->chunk * m->floats, sizeof *m->x, "samples"));
    TRY(memory_alloc(&m->scratch, transforms_scratch(m->trained->transforms), sizeof *m->scratch,
                     "samples"));
    TRY(memory_alloc(&m->grads, m->trained->n, sizeof *m->grads, "gradients"));
    TRY(memory_alloc(&m->raw, 1, dataset_row_bytes(m->train), "a sample"));
    TRY(memory_alloc(&m->target, m->chunk * target.count, sizeof(float), "targets"));
    TRY(memory_alloc(&m->row, m->chunk, sizeof *m->row, "samples"));
    return memory_alloc(&m->sum, m->channels->n_vars, sizeof *m->sum, "importance of channels");
}

static void measure_close(struct measure *m)
{
    free(m->x);
    free(m->scratch);
    free(m->grads);
    free(m->raw);
    free(m->target);
    free(m->row);
    free(m->sum);
}

static enum status batch_read(struct measure *m, size_t batch, size_t batches)
{
    uint64_t rows = dataset_rows(m->train), total = (uint64_t)(m->chunk * batches);
    size_t bytes = dataset_target(m->train).count * sizeof(float);
    for (size_t i = 0; i < m->chunk; i++) {
        uint64_t number = batch + i * batches; // neighbours in the file go to different batches
        uint64_t row = number * (rows > total ? rows / total : 1) % rows;
        m->row[i] = row;
        TRY(dataset_read(m->train, row, 1, m->raw));
        transforms_apply(m->trained->transforms, m->raw, dataset_is_u8(m->train), false, 0, 0, row,
                         m->x + i * m->floats, m->scratch);
        memcpy((char *)m->target + i * bytes, dataset_target_of(m->train, row), bytes);
    }
    return STATUS_OK;
}

// Weights (R, S, C, K) or (C, K) that read channel c.
static void layer_add(struct measure *m, size_t i)
{
    const struct layer *layer = model_layer(m->trained->model, i);
    const struct param *p = &layer->param[0];
    size_t x = channels_input(m->channels, i), c_n = channels_count(m->channels, x);
    size_t k_n = p->dim[p->rank - 1], in = p->dim[p->rank - 2], taps = p->count / (in * k_n);
    if (in != c_n)
        return; // grouped: what reads the groups tells
    const float *w = m->trained->params + p->offset, *g = m->grads + p->offset;
    for (size_t c = 0; c < c_n; c++) {
        double sum = 0;
        for (size_t t = 0; t < taps; t++)
            for (size_t k = 0; k < k_n; k++) {
                size_t at = (t * in + c) * k_n + k;
                sum += (double)w[at] * (double)g[at];
            }
        m->sum[channels_root(m->channels, x, c)] += sum;
    }
}

static void batch_run(struct measure *m)
{
    struct model *model = m->trained->model;
    double metrics[LOSS_METRICS_MAX];
    struct pass pass = {.n = m->chunk,
                        .is_training = true,
                        .params = m->trained->params,
                        .grads = m->grads,
                        .row = m->row};
    model_forward(model, &pass, m->x);
    model_loss_eval(model, &pass, m->target, true, 1.0f / (float)m->chunk, metrics);
    model_backward(model, &pass, NULL, NULL);
    memset(m->sum, 0, m->channels->n_vars * sizeof *m->sum);
    for (size_t i = 0; i < model_n_layers(model); i++) {
        const char *name = model_layer(model, i)->ops->name;
        if (strcmp(name, "conv") == 0 || strcmp(name, "dense") == 0)
            layer_add(m, i);
    }
    for (size_t v = 0; v < m->channels->n_vars; v++)
        m->channels->importance[v] += m->sum[v] * m->sum[v];
}

enum status importance_measure(struct channels *channels, const struct trained *trained,
                               struct dataset *train, size_t chunk, size_t batches)
{
    struct measure m = {.channels = channels, .trained = trained, .train = train, .chunk = chunk};
    enum status status = measure_open(&m);
    for (size_t b = 0; status == STATUS_OK && b < batches; b++) {
        status = batch_read(&m, b, batches);
        if (status == STATUS_OK)
            batch_run(&m);
    }
    measure_close(&m);
    return status;
}
