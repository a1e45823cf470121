// SPDX-License-Identifier: MIT
// The loops of rows.h, compiled once for each instruction set with -DROWS_ISA=base|avx2|avx512.
// Owns the table rows_table_<isa>; everything else is static. Called through rows.c.
#include "models/kernels/rows_vec.inc.h"

#include "models/kernels/rows_map.inc.h"

#include "models/kernels/rows_channel.inc.h"

#include "models/kernels/rows_sum.inc.h"

#include "models/kernels/rows_pool.inc.h"

#include "models/kernels/rows_pool_norm.inc.h"

#include "models/kernels/rows_tile.inc.h"

#include "models/kernels/rows_peak.inc.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

const struct rows_table JOIN(rows_table_, ROWS_ISA) = {
    .vector_floats = VEC,
    .accumulate = accumulate,
    .accumulate_channels = accumulate_channels,
    .add = add,
    .add_backward = add_backward,
    .relu_mask = relu_mask,
    .channel_sum = channel_sum,
    .moments = moments,
    .scale_shift = scale_shift,
    .norm_sums = norm_sums,
    .norm_sums_mask = norm_sums_mask,
    .norm_add = norm_add,
    .norm_backward = norm_backward,
    .activate = activate,
    .activate_backward = activate_backward,
    .exp = exp_floats,
    .pool_max = pool_max,
    .pool_max_backward = pool_max_backward,
    .pool_norm = pool_norm,
    .pool_norm_sums = pool_norm_sums,
    .pool_norm_backward = pool_norm_backward,
    .pool_mean = pool_mean,
    .pool_mean_backward = pool_mean_backward,
    .tile_pack = tile_pack,
    .fma = fma_peak,
};
