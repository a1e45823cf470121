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
    for (size_t v = 0; v < channels->n_vars; v++)
        channels->importance[v] *= (double)chunk / (double)(2 * batches);
    measure_close(&m);
    return status;
}

// Mean loss of all batches with these weights, in training: batch norms follow what they see.
static enum status loss_measure(struct measure *m, const float *params, size_t batches,
                                double *loss)
{
    struct model *model = m->trained->model;
    double metrics[LOSS_METRICS_MAX];
    struct pass pass = {.n = m->chunk, .is_training = true, .params = params, .row = m->row};
    *loss = 0;
    model_prepare(model, params, NULL);
    for (size_t b = 0; b < batches; b++) {
        TRY(batch_read(m, b, batches));
        model_forward(model, &pass, m->x);
        model_loss_eval(model, &pass, m->target, false, 1, metrics);
        *loss += metrics[0] / (double)(m->chunk * batches);
    }
    return STATUS_OK;
}

// Is a unit in tensors of the body alone?
static bool is_inside(const struct channels *c, const struct body *body, size_t unit)
{
    bool is_there = false;
    for (size_t t = 0; t < c->n_tensors; t++)
        for (size_t k = 0; k < channels_count(c, t); k++) {
            if (c->unit[channels_root(c, t, k)] != (int)unit)
                continue;
            if (t == 0 || !body->is_in[t - 1])
                return false;
            is_there = true;
        }
    return is_there;
}

static void units_scale(struct channels *c, const struct body *body, bool *is_scaled)
{
    for (size_t unit = 0; unit < c->n_units; unit++) {
        double sum = 0;
        if (is_scaled[unit] || !is_inside(c, body, unit))
            continue;
        is_scaled[unit] = true; // by the innermost body, which comes first
        for (size_t v = 0; v < c->n_vars; v++)
            sum += c->unit[v] == (int)unit ? c->importance[v] : 0;
        for (size_t v = 0; sum > 0 && sum < body->loss && v < c->n_vars; v++)
            if (c->unit[v] == (int)unit)
                c->importance[v] *= body->loss / sum;
    }
}

enum status importance_bodies(struct bodies *bodies, struct channels *channels,
                              const struct trained *trained, struct dataset *train, size_t chunk,
                              size_t batches)
{
    struct measure m = {.channels = channels, .trained = trained, .train = train, .chunk = chunk};
    float *params = NULL;
    bool *is_scaled = NULL;
    double whole = 0, without;
    if (bodies->n == 0)
        return STATUS_OK;
    enum status status = measure_open(&m);
    if (status == STATUS_OK)
        status = memory_alloc(&params, trained->n, sizeof *params, "weights");
    if (status == STATUS_OK)
        status = memory_alloc(&is_scaled, channels->n_units, sizeof *is_scaled, "channels");
    if (status == STATUS_OK)
        status = loss_measure(&m, trained->params, batches, &whole);
    for (size_t i = 0; status == STATUS_OK && i < bodies->n; i++) {
        memcpy(params, trained->params, trained->n * sizeof *params);
        body_silence(channels, &bodies->v[i], params);
        status = loss_measure(&m, params, batches, &without);
        bodies->v[i].loss = without - whole;
        if (status == STATUS_OK)
            units_scale(channels, &bodies->v[i], is_scaled);
    }
    free(params);
    free(is_scaled);
    measure_close(&m);
    return status;
}
