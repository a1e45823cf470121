// SPDX-License-Identifier: MIT
// Owns: the methods that look at one layer: class activation maps and the activations themselves.
#include <string.h>

#include "trainer/explain_private.h"

static void layer_pass(struct explain *e, const float *x, size_t target)
{
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    explain_backward(e, 1, target);
}

static const float *at(const struct tensor *t, size_t h, size_t w)
{
    return tensor_row(t, 0, h) + w * t->c;
}

// Weight of channel k in Grad-CAM: the mean of its gradient over the positions.
static double weight_mean(const struct tensor *dy, size_t k)
{
    double sum = 0;
    for (size_t h = 0; h < dy->h; h++)
        for (size_t w = 0; w < dy->w; w++)
            sum += (double)at(dy, h, w)[k];
    return sum / (double)(dy->h * dy->w);
}

// Weight of channel k in Grad-CAM++, of the score's exponential (equations 9 to 19 of the paper;
// the exponential is a factor of all weights, left out): with g the gradient and A the activations,
//     sum over positions of  alpha relu(g),   alpha = g^2 / (2 g^2 + g^3 sum A) = 1 / (2 + g sum A)
// where g is not 0. The paper's A are outputs of a ReLU: negative ones (GELU) count as 0, so that
// no denominator vanishes.
static double weight_pp(const struct tensor *y, const struct tensor *dy, size_t k)
{
    double activation = 0, sum = 0;
    for (size_t h = 0; h < y->h; h++)
        for (size_t w = 0; w < y->w; w++) {
            double a = (double)at(y, h, w)[k];
            activation += a > 0 ? a : 0;
        }
    for (size_t h = 0; h < y->h; h++)
        for (size_t w = 0; w < y->w; w++) {
            double g = (double)at(dy, h, w)[k];
            sum += g > 0 ? g / (2 + g * activation) : 0;
        }
    return sum;
}

static void cam_run(struct explain *e, const float *x, size_t target, bool is_pp, float *raw)
{
    layer_pass(e, x, target);
    const struct tensor *y = &e->layer->y, *dy = &e->layer->dy;
    memset(raw, 0, y->h * y->w * sizeof *raw);
    for (size_t k = 0; k < y->c; k++) {
        const float weight = (float)(is_pp ? weight_pp(y, dy, k) : weight_mean(dy, k));
        for (size_t h = 0; h < y->h; h++)
            for (size_t w = 0; w < y->w; w++)
                raw[h * y->w + w] += weight * at(y, h, w)[k];
    }
}

void explain_gradcam(struct explain *e, const float *x, size_t target, float *raw)
{
    cam_run(e, x, target, false, raw);
}

void explain_gradcam_pp(struct explain *e, const float *x, size_t target, float *raw)
{
    cam_run(e, x, target, true, raw);
}

void explain_activation(struct explain *e, const float *x, size_t target, float *raw)
{
    (void)target;
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    const struct tensor *y = &e->layer->y;
    for (size_t h = 0; h < y->h; h++)
        memcpy(raw + h * y->w * y->c, tensor_row(y, 0, h), y->w * y->c * sizeof *raw);
}
