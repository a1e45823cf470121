// SPDX-License-Identifier: MIT
// Stochastic gradient descent with momentum (Polyak 1964) or Nesterov's form of it, as
// torch.optim.SGD has them (no dampening):
//     g += wd p;   v = mu v + g;   g = nesterov ? g + mu v : v;   p -= lr g
// Decoupled weight decay (Loshchilov and Hutter 2019): p *= 1 - lr wd in place of g += wd p.
#include "trainer/optimizer.h"
#include "trainer/update.h"

static void sgd_apply(const struct optimizer_step *step, size_t n, float *restrict p,
                      const float *restrict g, float *const *state)
{
    const struct update_config *config = step->config;
    float lr = (float)step->lr, mu = (float)config->momentum, scale = step->grad_scale;
    float add = config->decoupled ? 0.0f : (float)step->decay;
    float keep = config->decoupled ? (float)(1 - step->lr * step->decay) : 1.0f;
    float *restrict v = state[0];
    if (config->nesterov)
        for (size_t i = 0; i < n; i++) {
            float d = g[i] * scale + add * p[i];
            v[i] = mu * v[i] + d;
            p[i] = p[i] * keep - lr * (d + mu * v[i]);
        }
    else
        for (size_t i = 0; i < n; i++) {
            float d = g[i] * scale + add * p[i];
            v[i] = mu * v[i] + d;
            p[i] = p[i] * keep - lr * v[i];
        }
}

const struct optimizer optimizer_sgd = {
    .name = "sgd",
    .help = "gradient descent with momentum (Polyak, Nesterov)",
    .n_states = 1,
    .state = {"momentum"},
    .apply = sgd_apply,
};
