// SPDX-License-Identifier: MIT
// AdamW (Loshchilov and Hutter 2019, after Kingma and Ba 2015), as torch.optim.AdamW has it:
//     p *= 1 - lr wd;   m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g g
//     p -= lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)             t = step + 1
#include <math.h>

#include "trainer/optimizer.h"
#include "trainer/update.h"

static void adamw_apply(const struct optimizer_step *step, size_t n, float *restrict p,
                        const float *restrict g, float *const *state)
{
    const struct update_config *config = step->config;
    uint64_t t = step->step + 1;
    double bias1 = 1 - optimizer_power(config->beta1, t);
    double bias2 = 1 - optimizer_power(config->beta2, t);
    float keep = (float)(1 - step->lr * step->decay), scale = step->grad_scale;
    float b1 = (float)config->beta1, a1 = (float)(1 - config->beta1);
    float b2 = (float)config->beta2, a2 = (float)(1 - config->beta2);
    float size = (float)(step->lr / bias1), root = (float)(1 / sqrt(bias2));
    float epsilon = (float)config->epsilon;
    float *restrict m = state[0], *restrict v = state[1];
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * scale;
        m[i] = b1 * m[i] + a1 * d;
        v[i] = b2 * v[i] + a2 * (d * d);
        p[i] = p[i] * keep - size * (m[i] / (sqrtf(v[i]) * root + epsilon));
    }
}

const struct optimizer optimizer_adamw = {
    .name = "adamw",
    .help = "Adam with decoupled weight decay",
    .n_states = 2,
    .state = {"adam_m", "adam_v"},
    .apply = adamw_apply,
};
