// SPDX-License-Identifier: MIT
// In place of conv_bf16.c where the compiler has no AVX512_BF16.
#include "models/kernels/conv_private.h"

const bool conv_bf16_is_built = false;

static bool suits(const struct conv_shape *shape, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)shape, (void)x, (void)n, (void)mode;
    return false;
}

const struct conv_method conv_bf16 = {.name = "bf16", .suits = suits};
