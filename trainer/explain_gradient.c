// SPDX-License-Identifier: MIT
// Owns: the methods that look at the gradient of the score with respect to the sample.
#include <math.h>
#include <string.h>

#include "trainer/explain_private.h"

// Nodes on [-1, 1] by Newton's method on the Legendre polynomial of degree n (Numerical Recipes,
// 3rd ed., section 4.6), moved to [0, 1].
static void gauss_legendre(size_t n, double *node, double *weight)
{
    for (size_t i = 0; i < n; i++) {
        double z = cos(3.14159265358979323846 * ((double)i + 0.75) / ((double)n + 0.5)), slope = 1;
        for (int round = 0; round < 100; round++) {
            double p = 1, before = 0;
            for (size_t j = 0; j < n; j++) { // (j + 1) P_{j+1} = (2j + 1) z P_j - j P_{j-1}
                double last = before;
                before = p;
                p = ((2.0 * (double)j + 1) * z * before - (double)j * last) / ((double)j + 1);
            }
            slope = (double)n * (z * p - before) / (z * z - 1);
            double step = p / slope;
            z -= step;
            if (fabs(step) < 1e-15)
                break;
        }
        node[n - 1 - i] = (1 + z) / 2;
        weight[n - 1 - i] = 1 / ((1 - z * z) * slope * slope);
    }
}

void explain_quadrature(enum explain_rule rule, size_t n, double *node, double *weight)
{
    if (rule == EXPLAIN_GAUSS_LEGENDRE) {
        gauss_legendre(n, node, weight);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        node[i] = ((double)i + 0.5) / (double)n;
        weight[i] = 1 / (double)n;
    }
}

void explain_plain(struct explain *e, const float *x, size_t target, float *raw)
{
    memcpy(e->x, x, e->floats * sizeof *x);
    explain_forward(e, 1);
    explain_backward(e, 1, target);
    memcpy(raw, explain_gradient(e, 0), e->floats * sizeof *raw);
}

void explain_times_input(struct explain *e, const float *x, size_t target, float *raw)
{
    explain_plain(e, x, target, raw);
    for (size_t k = 0; k < e->floats; k++)
        raw[k] *= x[k];
}

static void sum_add(struct explain *e, size_t i, double weight)
{
    const float *gradient = explain_gradient(e, i);
    for (size_t k = 0; k < e->floats; k++)
        e->sum[k] += weight * (double)gradient[k];
}

// raw = (x - baseline) * integral of the gradient along the straight line between them.
void explain_integrated(struct explain *e, const float *x, size_t target, float *raw)
{
    memset(e->sum, 0, e->floats * sizeof *e->sum);
    for (size_t first = 0; first < e->config.steps; first += e->chunk) {
        size_t left = e->config.steps - first, n = left < e->chunk ? left : e->chunk;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < e->floats; k++)
                explain_x(e, i)[k] =
                    e->baseline[k] + (float)e->node[first + i] * (x[k] - e->baseline[k]);
        explain_forward(e, n);
        explain_backward(e, n, target);
        for (size_t i = 0; i < n; i++)
            sum_add(e, i, e->weight[first + i]);
    }
    for (size_t k = 0; k < e->floats; k++)
        raw[k] = (float)((double)(x[k] - e->baseline[k]) * e->sum[k]);
}

void explain_smoothgrad(struct explain *e, const float *x, size_t target, float *raw)
{
    float low = x[0], high = x[0];
    for (size_t k = 1; k < e->floats; k++) {
        low = x[k] < low ? x[k] : low;
        high = x[k] > high ? x[k] : high;
    }
    const float deviation = (float)e->config.noise * (high - low);
    memset(e->sum, 0, e->floats * sizeof *e->sum);
    for (size_t first = 0; first < e->config.samples; first += e->chunk) {
        size_t left = e->config.samples - first, n = left < e->chunk ? left : e->chunk;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < e->floats; k++)
                explain_x(e, i)[k] = x[k] + deviation * e->noise[(first + i) * e->floats + k];
        explain_forward(e, n);
        explain_backward(e, n, target);
        for (size_t i = 0; i < n; i++)
            sum_add(e, i, 1);
    }
    for (size_t k = 0; k < e->floats; k++)
        raw[k] = (float)(e->sum[k] / (double)e->config.samples);
}
