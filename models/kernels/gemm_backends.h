// SPDX-License-Identifier: MIT
// What gemm.c needs of each backend. Private to kernels/.
#ifndef SW2_MODELS_KERNELS_GEMM_BACKENDS_H
#define SW2_MODELS_KERNELS_GEMM_BACKENDS_H

#include "models/kernels/gemm.h"

bool gemm_xsmm_is_usable(void);         // built in, and its JIT knows this machine
void gemm_xsmm_start(void);             // loads its JIT, for the instruction set in force
bool gemm_xsmm_plan(struct gemm *gemm); // false: the JIT refuses the shape
const char *gemm_xsmm_version(void);    // "LIBXSMM 1.17" or "no LIBXSMM"
// Any shape. Both load OpenBLAS at the first call, for the instruction set then in force.
enum status gemm_blas_plan(struct gemm *gemm); // STATUS_ERROR: no OpenBLAS, with the loader's words
const char *gemm_blas_version(void);           // "OpenBLAS 0.3.21 (SkylakeX)" or "no OpenBLAS"
void gemm_ref_plan(struct gemm *gemm);         // any shape

#endif
