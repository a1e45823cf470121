// SPDX-License-Identifier: MIT
// Stands in for gemm_xsmm.c in builds without LIBXSMM.
#include "models/kernels/gemm_backends.h"

bool gemm_xsmm_is_usable(void)
{
    return false;
}

void gemm_xsmm_start(void) {}

bool gemm_xsmm_plan(struct gemm *gemm)
{
    (void)gemm;
    return false;
}

const char *gemm_xsmm_version(void)
{
    return "no LIBXSMM";
}
