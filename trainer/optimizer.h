// SPDX-License-Identifier: MIT
// The contract of an optimiser: one file optimizer_<name>.c, one row in optimizers.def, one
// `const struct optimizer optimizer_<name>`. Called by update.c only.
//
// apply works on a run of elements of one tensor and must treat each element alike, whatever its
// place in the run: update.c hands over whatever runs the slices leave. Float arithmetic as
// written, no contraction (these files are compiled with -ffp-contract=off), no libm but sqrt.
#ifndef SW2_TRAINER_OPTIMIZER_H
#define SW2_TRAINER_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct update_config;

#define OPTIMIZER_STATES_MAX 3

// What apply must know beside the elements; the same on all ranks.
struct optimizer_step {
    const struct update_config *config;
    double lr;        // of this tensor
    double decay;     // weight decay of this tensor; 0: none
    uint64_t step;    // steps done before this one
    float grad_scale; // of clipping: multiply each gradient by it first
    bool is_weight;   // not a bias or a norm
    double p_norm;    // L2 norms of the whole tensor, where needs_norms:
    double g_norm;    // of the gradient, scaled
};

struct optimizer {
    const char *name, *help;
    int n_states;
    const char *state[OPTIMIZER_STATES_MAX]; // names; all start at zero
    bool needs_norms;
    // p (n) weights, g (n) gradient of the mean loss, state[i] (n): updates p and state in place.
    void (*apply)(const struct optimizer_step *step, size_t n, float *restrict p,
                  const float *restrict g, float *const *state);
};

enum optimizer_row {
#define OPTIMIZER(name) OPTIMIZER_##name,
#include "trainer/optimizers.def"
#undef OPTIMIZER
    OPTIMIZER_ROWS
};

// Row i of the table; NULL beyond its end. Borrowed, static.
const struct optimizer *optimizer_at(int i);

// x to the power n by squaring: the same bits everywhere, unlike libm's pow.
static inline double optimizer_power(double x, uint64_t n)
{
    double result = 1;
    for (; n; n >>= 1, x *= x)
        if (n & 1)
            result *= x;
    return result;
}

#endif
