// SPDX-License-Identifier: MIT
// The table of optimisers as an array. Owns nothing else. Called by update.c and tests.
#include "trainer/optimizer.h"

#define OPTIMIZER(name) extern const struct optimizer optimizer_##name;
#include "trainer/optimizers.def"
#undef OPTIMIZER

static const struct optimizer *const rows[] = {
#define OPTIMIZER(name) &optimizer_##name,
#include "trainer/optimizers.def"
#undef OPTIMIZER
};

const struct optimizer *optimizer_at(int i)
{
    return i >= 0 && i < OPTIMIZER_ROWS ? rows[i] : (const struct optimizer *)0;
}
