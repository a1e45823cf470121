// SPDX-License-Identifier: MIT
// Dropout (Srivastava et al. 2014), scaled in training so that nothing happens at evaluation. The
// mask is a pure function of (seed, epoch, row of the data set, layer, element): the same on any
// rank. keep holds it from forward to backward, a byte an element. Called through layer.h.
#include "comm/random.h"
#include "models/kernels/rows.h"
#include "models/layer.h"

#define ELEMENTS_MOST ((size_t)4 << 20) // a sample's, for the counter's 20 bits of element / 4
#define LAYERS_MOST 4096

struct dropout_args {
    double rate;
};

static size_t sample_floats(const struct layer *layer)
{
    return layer->y.h * layer->y.w * layer->y.c;
}

static enum status dropout_shape(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = x->c;
    if (sample_floats(layer) > ELEMENTS_MOST)
        LAYER_FAIL(layer, "input of %zux%zux%zu (h, w, c) has more than %zu numbers a sample", x->h,
                   x->w, x->c, ELEMENTS_MOST);
    if (layer->index >= LAYERS_MOST)
        LAYER_FAIL(layer, "dropout cannot be layer %d: at most %d layers", layer->index,
                   LAYERS_MOST);
    layer->keep_floats = (x->n * sample_floats(layer) + sizeof(float) - 1) / sizeof(float);
    layer->flops = (double)sample_floats(layer);
    return STATUS_OK;
}

// 1 where the element stays. The tail of the last four words is not used.
static void mask_draw(const struct layer *layer, const struct pass *pass, size_t n, uint8_t *mask)
{
    const struct dropout_args *args = layer->args;
    const struct random_key key = {pass->seed, RANDOM_DROPOUT, pass->epoch};
    const float rate = (float)args->rate;
    const size_t count = sample_floats(layer);
    for (size_t i = 0; i < count; i += 4) {
        uint32_t word[4], sub = (uint32_t)layer->index << 20 | (uint32_t)(i / 4);
        random_words(key, pass->row[n], sub, word);
        for (size_t k = 0; k < 4 && i + k < count; k++)
            mask[i + k] = random_uniform(word[k]) >= rate;
    }
}

static bool is_idle(const struct layer *layer, const struct pass *pass)
{
    const struct dropout_args *args = layer->args;
    return !pass->is_training || args->rate == 0;
}

static float scale_of(const struct layer *layer)
{
    const struct dropout_args *args = layer->args;
    return (float)(1 / (1 - args->rate));
}

static uint8_t *mask_of(const struct layer *layer, size_t n)
{
    return (uint8_t *)layer->keep + n * sample_floats(layer);
}

static void dropout_forward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *x = &layer->x[0], *y = &layer->y;
    if (is_idle(layer, pass)) {
        rows_copy(x, y, pass->n);
        return;
    }
    const float scale = scale_of(layer);
    const size_t run = y->w * y->c;
    for (size_t n = 0; n < pass->n; n++) {
        uint8_t *mask = mask_of(layer, n);
        if (!pass->is_again)
            mask_draw(layer, pass, n, mask);
        for (size_t h = 0; h < y->h; h++, mask += run) {
            const float *from = tensor_row(x, n, h);
            float *to = tensor_row(y, n, h);
            for (size_t i = 0; i < run; i++)
                to[i] = mask[i] ? from[i] * scale : 0;
        }
    }
}

static void dropout_backward(struct layer *layer, const struct pass *pass)
{
    const struct tensor *dx = &layer->dx[0], *dy = &layer->dy;
    const float beta = layer->dx_beta[0], scale = scale_of(layer);
    if (!dx->at)
        return;
    if (is_idle(layer, pass)) {
        rows_accumulate(dy, dx, pass->n, beta);
        return;
    }
    const size_t run = dx->w * dx->c;
    for (size_t n = 0; n < pass->n; n++) {
        const uint8_t *mask = mask_of(layer, n);
        for (size_t h = 0; h < dx->h; h++, mask += run) {
            const float *from = tensor_row(dy, n, h);
            float *to = tensor_row(dx, n, h);
            for (size_t i = 0; i < run; i++) {
                float g = mask[i] ? from[i] * scale : 0;
                to[i] = beta == 0 ? g : to[i] + g;
            }
        }
    }
}

static const struct option dropout_options[] = {
    {"rate", OPTION_FLOAT, offsetof(struct dropout_args, rate), "0.5", 0, 0.999, NULL,
     "share of numbers set to zero in training"},
};

const struct layer_ops layer_dropout = {
    .name = "dropout",
    .help = "sets random numbers to zero in training",
    .options = dropout_options,
    .n_options = sizeof dropout_options / sizeof *dropout_options,
    .args_size = sizeof(struct dropout_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_X | SPARES_Y,
    .shape = dropout_shape,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
