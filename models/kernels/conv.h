// SPDX-License-Identifier: MIT
// Convolution through batch-reduce GEMM: forward, backward data, backward weights (design: one
// building block).
//   y[n,p,q,k]  = sum r,s,c  x[n, p u + r d - pad, q u + s d - pad, c] w[r,s,c,k]          u
//   stride, d dilation
// Weights are R,S,C/groups,K (K runs fastest). Memory is planned once; runs cannot fail.
#ifndef SW2_MODELS_KERNELS_CONV_H
#define SW2_MODELS_KERNELS_CONV_H

#include "models/tensor.h"
#include "comm/error.h"

struct conv_shape {
    size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
    size_t out; // K
};

struct conv;

// Halo that x needs for forward and dy for backward data.
void conv_halos(const struct conv_shape *shape, struct shape x, struct shape y, size_t x_halo[2],
                size_t dy_halo[2]);
struct shape conv_output(const struct conv_shape *shape,
                         struct shape x); // a dimension is 0 where the kernel does not fit
size_t conv_packed_floats(const struct conv_shape *shape,
                          struct shape x); // for packed weights (keep)

// x, y, dy, dx: planned geometry (dx->at may be NULL: no backward data). dx_beta: 0 or 1. packed:
// conv_packed_floats.
enum status conv_plan(struct conv **conv, const struct conv_shape *shape, const struct tensor *x,
                      const struct tensor *y, const struct tensor *dy, const struct tensor *dx,
                      int dx_beta, float *packed);
void conv_free(struct conv *conv);
void conv_pack(struct conv *conv, const float *w);                        // after each change of w
void conv_forward(const struct conv *conv, size_t n);                     // writes y
void conv_backward_data(const struct conv *conv, size_t n);               // dx = beta dx + ...
void conv_backward_weights(const struct conv *conv, size_t n, float *dw); // writes dw

#endif
