// SPDX-License-Identifier: MIT
// LARS, layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017, algorithm 1), with the
// norms of whole tensors:
//     local = trust |p| / (|g| + wd |p|);   v = mu v + lr local (g + wd p);   p -= v
// Biases and norms: local = 1. A tensor whose |p| or |g| is 0: local = 1, as is usual.
#include "trainer/optimizer.h"
#include "trainer/update.h"

static void lars_apply(const struct optimizer_step *step, size_t n, float *restrict p,
                       const float *restrict g, float *const *state)
{
    const struct update_config *config = step->config;
    double local = 1;
    if (step->is_weight && step->p_norm > 0 && step->g_norm > 0)
        local = config->trust * step->p_norm / (step->g_norm + step->decay * step->p_norm);
    float rate = (float)(step->lr * local), mu = (float)config->momentum;
    float add = (float)step->decay, scale = step->grad_scale;
    float *restrict v = state[0];
    for (size_t i = 0; i < n; i++) {
        v[i] = mu * v[i] + rate * (g[i] * scale + add * p[i]);
        p[i] -= v[i];
    }
}

const struct optimizer optimizer_lars = {
    .name = "lars",
    .help = "layer-wise adaptive rate scaling, for large batches",
    .n_states = 1,
    .state = {"momentum"},
    .needs_norms = true,
    .apply = lars_apply,
};
