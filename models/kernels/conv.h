// SPDX-License-Identifier: MIT
// Convolution: forward, backward data, backward weights.
//   y[n,p,q,k]  = sum r,s,c  x[n, p u + r d - pad, q u + s d - pad, c] w[r,s,c,k]          u
//   stride, d dilation
// Weights are R,S,C/groups,K (K runs fastest). Memory is planned once; runs cannot fail. Several
// methods compute it (conv_private.h); which one serves a layer is a fixed rule on shapes and mode.
#ifndef SW2_MODELS_KERNELS_CONV_H
#define SW2_MODELS_KERNELS_CONV_H

#include "models/tensor.h"
#include "comm/error.h"

struct conv_shape {
    size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
    size_t out; // K
};

// What the recipe allows (it changes bits). All false: direct convolution in fp32.
struct conv_mode {
    bool winograd; // minimal filtering (Winograd 1980; Lavin and Gray 2015) where it pays
    bool bf16;     // operands rounded to bfloat16, sums in fp32
};

struct conv;

// STATUS_USAGE if this program or machine cannot do the mode. Local, pure.
enum status conv_mode_check(const struct conv_mode *mode);

// Halo that x needs for forward and dy for backward data.
void conv_halos(const struct conv_shape *shape, struct shape x, struct shape y, size_t x_halo[2],
                size_t dy_halo[2]);
struct shape conv_output(const struct conv_shape *shape,
                         struct shape x); // a dimension is 0 where the kernel does not fit

// Of grains of n samples, floats: packed weights and what else lives from pack on; scratch of one
// call. Pure.
size_t conv_keep_floats(const struct conv_shape *shape, struct shape x, size_t n,
                        const struct conv_mode *mode);
size_t conv_work_floats(const struct conv_shape *shape, struct shape x, size_t n,
                        const struct conv_mode *mode);
// The method that serves it reads no halos: x and dy need none. Pure.
bool conv_pads_itself(const struct conv_shape *shape, struct shape x, size_t n,
                      const struct conv_mode *mode);
// It can add to sums of gradients (conv_add_weights). Pure.
bool conv_can_add(const struct conv_shape *shape, struct shape x, size_t n,
                  const struct conv_mode *mode);
// "direct", "depthwise": the method that serves it.
const char *conv_method_name(const struct conv_shape *shape, struct shape x, size_t n,
                             const struct conv_mode *mode);

struct conv_config { // copied by conv_plan; the memory it points to is borrowed for the plan's life
    struct conv_shape shape;
    struct conv_mode mode;
    struct tensor x, y, dy, dx; // planned geometry, n: the grain; dx.at NULL: no backward data
    int dx_beta;                // 0 or 1
    float *keep, *work;         // conv_keep_floats, conv_work_floats; 64-byte aligned
};

enum status conv_plan(struct conv **conv, const struct conv_config *config);
void conv_free(struct conv *conv);
void conv_pack(struct conv *conv, const float *w);                        // after each change of w
void conv_forward(const struct conv *conv, size_t n);                     // writes y
void conv_backward_data(const struct conv *conv, size_t n);               // dx = beta dx + ...
void conv_backward_weights(const struct conv *conv, size_t n, float *dw); // writes dw
// Where conv_can_add: sum = sum + dw, the same bits as if dw were written and added then.
void conv_add_weights(const struct conv *conv, size_t n, float *sum);

#endif
