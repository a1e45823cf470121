// SPDX-License-Identifier: MIT
// The engine that the methods of explain_*.c share: passes over a chunk of variants of one sample.
#ifndef SW2_TRAINER_EXPLAIN_PRIVATE_H
#define SW2_TRAINER_EXPLAIN_PRIVATE_H

#include "trainer/explain.h"

struct explain {
    struct model *model;
    const float *params;
    struct explain_config config;
    struct shape in;
    const struct layer *layer; // kept; NULL: none, or one without positions
    size_t floats;             // of a sample
    size_t n_outputs, chunk;
    float *baseline;       // (floats) owned
    float *noise;          // (samples, floats) standard normal
    float *x;              // (chunk, floats)
    float *dy;             // (chunk, n_outputs)
    float *gradient;       // (floats) one sample's, without halo
    double *sum;           // (floats)
    double *node, *weight; // (steps) of the quadrature over [0, 1]
    uint64_t *row;         // (chunk) zeros
};

// Forward of e->x[0..n); then an output of sample i.
void explain_forward(struct explain *e, size_t n);
float explain_score(const struct explain *e, size_t i, size_t target);
// Backward of each sample's score; then the gradient of sample i with respect to x, in e->gradient.
void explain_backward(struct explain *e, size_t n, size_t target);
const float *explain_gradient(struct explain *e, size_t i);
static inline float *explain_x(const struct explain *e, size_t i)
{
    return e->x + i * e->floats;
}

// Nodes and weights of a rule on [0, 1]; n > 0.
void explain_quadrature(enum explain_rule rule, size_t n, double *node, double *weight);

// Methods, one sample each. x: (floats).
typedef void explain_method_run(struct explain *e, const float *x, size_t target, float *raw);
explain_method_run explain_gradcam, explain_gradcam_pp, explain_plain, explain_times_input,
    explain_integrated, explain_smoothgrad, explain_occlusion, explain_activation;

#endif
