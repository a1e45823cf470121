// SPDX-License-Identifier: MIT
// Batch normalisation (Ioffe and Szegedy 2015) over the samples of the grain ("ghost" batch norm),
// with PyTorch's conventions: biased variance in training, unbiased in the running one, and
// momentum as the weight of the new value. Owns nothing shared: the grain's mean and variance go
// out as gradients of PARAM_STATE, the trainer averages them. Called through layer.h.
#include <math.h>
#include <string.h>

#include "models/layers/batchnorm.h"

#include "models/layers/window.h"

struct batchnorm_args {
    double eps, momentum, bias_lr;
    bool scale;
};

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, N_PARAMS };

// keep: (6, c), from forward to backward.
static float *kept_mean(const struct layer *layer)
{
    return layer->keep;
}
static float *kept_variance(const struct layer *layer)
{
    return layer->keep + layer->y.c;
}
static float *kept_rstd(const struct layer *layer)
{ // 1 / sqrt(variance + eps)
    return layer->keep + 2 * layer->y.c;
}

static float *kept_scale(const struct layer *layer) // y = x scale + shift
{
    return layer->keep + 3 * layer->y.c;
}
static float *kept_shift(const struct layer *layer)
{
    return layer->keep + 4 * layer->y.c;
}

// Statistics of the grain, or else the running ones, which are then constants.
static bool measures(const struct layer *layer, const struct pass *pass)
{
    return pass->is_training && !layer->is_frozen;
}

// Where the gradient of the weight goes: a frozen one has none, but it is needed on the way.
static float *weight_gradient(const struct layer *layer, const struct pass *pass)
{
    return layer->param[WEIGHT].kind == PARAM_FROZEN ? layer->keep + 5 * layer->y.c
                                                     : layer_grad(layer, pass, WEIGHT);
}

static enum status batchnorm_shape(struct layer *layer)
{
    const struct batchnorm_args *args = layer->args;
    const struct tensor *x = &layer->x[0];
    static const struct param proto[N_PARAMS] = {
        {.name = "weight", .kind = PARAM_BIAS, .init = INIT_ONE},
        {.name = "bias", .kind = PARAM_BIAS, .init = INIT_ZERO},
        {.name = "running_mean", .kind = PARAM_STATE, .init = INIT_ZERO},
        {.name = "running_var", .kind = PARAM_STATE, .init = INIT_ONE},
    };
    layer->n_params = N_PARAMS;
    for (int i = 0; i < N_PARAMS; i++) {
        layer->param[i] = proto[i];
        layer->param[i].rank = 1;
        layer->param[i].dim[0] = x->c;
        layer->param[i].state_momentum = (float)args->momentum;
    }
    layer->param[WEIGHT].kind = args->scale ? PARAM_BIAS : PARAM_FROZEN;
    layer->param[BIAS].lr_factor = (float)args->bias_lr;
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = x->c;
    layer->keep_floats = 6 * x->c;
    layer->work_floats = 2 * x->c;
    layer->flops = 2 * (double)(x->h * x->w * x->c);
    return STATUS_OK;
}

static void batchnorm_forward(struct layer *layer, const struct pass *pass)
{
    const struct batchnorm_args *args = layer->args;
    const size_t c = layer->y.c;
    const float *gamma = layer_param(layer, pass, WEIGHT), *beta = layer_param(layer, pass, BIAS);
    float *mean = kept_mean(layer), *variance = kept_variance(layer), *rstd = kept_rstd(layer);
    float *scale = kept_scale(layer), *shift = kept_shift(layer);
    if (measures(layer, pass) && !pass->is_again)
        rows_moments(&layer->x[0], pass->n, mean, variance);
    for (size_t k = 0; k < c; k++) {
        if (!measures(layer, pass)) {
            mean[k] = layer_param(layer, pass, RUNNING_MEAN)[k];
            variance[k] = layer_param(layer, pass, RUNNING_VAR)[k];
        }
        rstd[k] = (float)(1 / sqrt((double)variance[k] + args->eps));
        scale[k] = gamma[k] * rstd[k];
        shift[k] = beta[k] - mean[k] * scale[k];
    }
    if (!layer->is_deferred)
        rows_scale_shift(&layer->x[0], &layer->y, pass->n, scale, shift, layer->relu);
}

struct batchnorm_terms batchnorm_terms(const struct layer *layer, const struct pass *pass)
{
    return (struct batchnorm_terms){
        .mean = kept_mean(layer),
        .scale = kept_scale(layer),
        .shift = kept_shift(layer),
        .sum_dy = pass->grads ? layer_grad(layer, pass, BIAS) : NULL,
        .sum_dyx = pass->grads ? weight_gradient(layer, pass) : NULL,
    };
}

struct rows_pooled batchnorm_pooled(const struct layer *layer)
{
    return (struct rows_pooled){.window = pool_window(layer->pool),
                                .y = layer->pool->y,
                                .dy = layer->pool->dy,
                                .scale = kept_scale(layer),
                                .shift = kept_shift(layer),
                                .relu = layer->relu};
}

// dx = beta dx + scale dy' + b x + d, where dx is wanted
static void gradient_write(struct layer *layer, const struct pass *pass, const float *b,
                           const float *d)
{
    const struct tensor *dx = &layer->dx[0];
    if (dx->at && layer->pool) {
        struct rows_pooled pooled = batchnorm_pooled(layer);
        rows_pool_norm_backward(&pooled, &layer->x[0], dx, pass->n, b, d, layer->dx_beta[0],
                                layer->work + 2 * layer->y.c);
    } else if (dx->at) {
        rows_norm_backward(&layer->x[0], &layer->dy, dx, pass->n, kept_scale(layer),
                           layer->relu ? kept_shift(layer) : NULL, b, d, layer->dx_beta[0]);
    }
}

// dx = scale (dy' - E dy' - xhat E(dy' xhat)), xhat = (x - mean) rstd, as scale dy' + b x + d.
// Where the statistics are constants: dx = scale dy'.
static void constant_backward(struct layer *layer, const struct pass *pass)
{
    const size_t c = layer->y.c;
    float *zero = layer->work;
    memset(zero, 0, c * sizeof *zero);
    gradient_write(layer, pass, zero, zero);
}

// Where the norm is deferred to an add, the add has done it.
static void sums_write(const struct layer *layer, const struct pass *pass, float *dbeta,
                       float *dgamma)
{
    if (layer->pool) {
        struct rows_pooled pooled = batchnorm_pooled(layer);
        rows_pool_norm_sums(&pooled, &layer->x[0], pass->n, kept_mean(layer), dbeta, dgamma);
    } else if (!layer->is_deferred) {
        rows_norm_sums(&layer->x[0], &layer->dy, pass->n, kept_mean(layer), kept_scale(layer),
                       layer->relu ? kept_shift(layer) : NULL, dbeta, dgamma);
    }
}

static void batchnorm_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->is_frozen || !pass->grads) {
        constant_backward(layer, pass);
        return;
    }
    const size_t c = layer->y.c;
    const float *mean = kept_mean(layer), *variance = kept_variance(layer);
    const float *rstd = kept_rstd(layer), *scale = kept_scale(layer);
    float *dgamma = weight_gradient(layer, pass);
    float *dbeta = layer_grad(layer, pass, BIAS);
    float *d_mean = layer_grad(layer, pass, RUNNING_MEAN);
    float *d_var = layer_grad(layer, pass, RUNNING_VAR);
    float *b = layer->work, *d = layer->work + c; // (c) each
    const float count = (float)(pass->n * layer->y.h * layer->y.w);
    const float unbias = pass->is_training && count > 1 ? count / (count - 1) : 1;

    sums_write(layer, pass, dbeta, dgamma);
    for (size_t k = 0; k < c; k++) {
        dgamma[k] *= rstd[k];
        b[k] = pass->is_training ? -scale[k] * rstd[k] * dgamma[k] / count : 0;
        d[k] = pass->is_training ? -scale[k] * dbeta[k] / count - b[k] * mean[k] : 0;
        d_mean[k] = mean[k];
        d_var[k] = variance[k] * unbias;
    }
    gradient_write(layer, pass, b, d);
}

static bool batchnorm_fuses_relu(const struct layer *layer)
{
    (void)layer;
    return true;
}

static const struct option batchnorm_options[] = {
    {"eps", OPTION_FLOAT, offsetof(struct batchnorm_args, eps), "1e-5", 1e-12, 1, NULL,
     "added to the variance"},
    {"momentum", OPTION_FLOAT, offsetof(struct batchnorm_args, momentum), "0.1", 0, 1, NULL,
     "weight of the new value in the running statistics"},
    {"scale", OPTION_BOOL, offsetof(struct batchnorm_args, scale), "true", 0, 0, NULL,
     "train the weight; false: it stays 1"},
    {"bias_lr", OPTION_FLOAT, offsetof(struct batchnorm_args, bias_lr), "1", 1e-6, 1e6, NULL,
     "factor of the bias's learning rate (not of its decay)"},
};

const struct layer_ops layer_batchnorm = {
    .name = "batchnorm",
    .help = "batch normalisation over the grain",
    .options = batchnorm_options,
    .n_options = sizeof batchnorm_options / sizeof *batchnorm_options,
    .args_size = sizeof(struct batchnorm_args),
    .min_x = 1,
    .max_x = 1,
    .spares = SPARES_Y | SPARES_MASK,
    .shape = batchnorm_shape,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
    .fuses_relu = batchnorm_fuses_relu,
};
