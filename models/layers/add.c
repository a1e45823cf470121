// SPDX-License-Identifier: MIT
// Sum of inputs of one shape: the residual connection (He et al. 2015). Called through layer.h.
#include "models/kernels/rows.h"
#include "models/layers/batchnorm.h"

static enum status add_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    for (int i = 1; i < layer->n_x; i++) {
        const struct tensor *o = &layer->x[i];
        if (o->h != x->h || o->w != x->w || o->c != x->c)
            LAYER_FAIL(layer,
                       "all inputs must have one shape: the first is %zux%zux%zu (h, w, c), input "
                       "%d is %zux%zux%zu",
                       x->h, x->w, x->c, i + 1, o->h, o->w, o->c);
    }
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = x->c;
    layer->flops = (double)(x->h * x->w * x->c) * (layer->n_x - 1);
    return STATUS_OK;
}

// relu(norm(x[0]) + x[1]), or with both norms.
static void norm_forward(struct layer *layer, const struct pass *pass)
{
    const int k = layer->norm[0] ? 0 : 1; // sums of two commute
    struct batchnorm_terms a = batchnorm_terms(layer->norm[k], pass), b = {.scale = NULL};
    if (layer->norm[1 - k])
        b = batchnorm_terms(layer->norm[1 - k], pass);
    rows_norm_add(&layer->x[k], a.scale, a.shift, &layer->x[1 - k], b.scale, b.shift, &layer->y,
                  pass->n, layer->relu);
}

static void add_forward(struct layer *layer, const struct pass *pass)
{
    if (layer->norm[0] || layer->norm[1]) {
        norm_forward(layer, pass);
        return;
    }
    const struct tensor *sum = &layer->x[0];
    for (int i = 1; i < layer->n_x; i++) {
        bool is_last = i == layer->n_x - 1;
        rows_add(sum, &layer->x[i], &layer->y, pass->n, is_last && layer->relu);
        sum = &layer->y;
    }
}

static void plain_backward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *mask = layer->relu ? &layer->y : NULL;
    struct tensor dx[LAYER_INPUTS_MAX];
    for (int i = 0; i < layer->n_x; i++) {
        dx[i] = layer->dx[i];
        if (dx[i].at == layer->dy.at && !mask)
            dx[i].at = NULL; // the graph let them share memory: nothing to copy
    }
    if (layer->n_x == 2) {
        // An input's gradient may be dy itself: then only the mask is left to do.
        bool wants[2];
        for (int i = 0; i < 2; i++)
            wants[i] = dx[i].at && (mask || dx[i].at != layer->dy.at);
        if (wants[0] || wants[1])
            rows_add_backward(mask, &layer->dy, wants[0] ? &dx[0] : NULL, wants[1] ? &dx[1] : NULL,
                              pass->n, layer->dx_beta[0], layer->dx_beta[1]);
        return;
    }
    if (mask)
        rows_relu_mask(mask, &layer->dy, pass->n);
    for (int i = 0; i < layer->n_x; i++)
        if (dx[i].at)
            rows_accumulate(&layer->dy, &dx[i], pass->n, layer->dx_beta[i]);
}

static bool wants_sums(const struct layer *layer, const struct pass *pass, int k)
{
    return pass->grads && layer->norm[k] && !layer->norm[k]->is_frozen;
}

// The sums of the norms that this layer applied. Where both gradients are dy itself, the first pass
// over it also masks it.
static void add_backward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *dx = layer->dx, *dy = &layer->dy;
    bool is_shared = layer->n_x == 2 && dx[0].at == dy->at && (!dx[1].at || dx[1].at == dy->at);
    bool is_masked =
        !layer->relu || !is_shared || !(wants_sums(layer, pass, 0) || wants_sums(layer, pass, 1));
    if (is_masked)
        plain_backward(layer, pass);
    for (int k = 0; k < layer->n_x; k++) {
        if (!wants_sums(layer, pass, k))
            continue;
        struct batchnorm_terms t = batchnorm_terms(layer->norm[k], pass);
        if (is_masked)
            rows_norm_sums(&layer->x[k], &dx[k], pass->n, t.mean, NULL, NULL, t.sum_dy, t.sum_dyx);
        else
            rows_norm_sums_mask(&layer->x[k], &layer->y, dy, pass->n, t.mean, t.sum_dy, t.sum_dyx);
        is_masked = true;
    }
}

static bool add_fuses_relu(const struct layer *layer)
{
    (void)layer;
    return true;
}

const struct layer_ops layer_add = {
    .name = "add",
    .help = "sum of inputs of one shape",
    .min_x = 2,
    .max_x = LAYER_INPUTS_MAX,
    .spares = SPARES_X | SPARES_Y,
    .mutates_dy = true,
    .shape = add_shape,
    .forward = add_forward,
    .backward = add_backward,
    .fuses_relu = add_fuses_relu,
};
