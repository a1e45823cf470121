// SPDX-License-Identifier: MIT
// The contract of a method of convolution. A method is one or more files conv_<name>*.c that define
// one `const struct conv_method conv_<name>`, and one row in conv.c's table. Private to kernels/.
//
// A method that is better in some passes only plans a copy of its struct conv with another method
// (`inner = *conv; conv_direct.plan(&inner)`, with its own part of keep and work) and calls that
// one's functions for the rest.
#ifndef SW2_MODELS_KERNELS_CONV_PRIVATE_H
#define SW2_MODELS_KERNELS_CONV_PRIVATE_H

#include <stdint.h>

#include "models/kernels/conv.h"
#include "models/kernels/gemm.h"

struct conv_method {
    const char *name;
    bool pads_itself; // reads no halo of x and dy: forward and backward data copy what they read
    // Serves this convolution of grains of n samples. Fixed: from shapes and mode only. Pure.
    bool (*suits)(const struct conv_shape *shape, struct shape x, size_t n,
                  const struct conv_mode *mode);
    // Floats of packed weights and the like; NULL: none.
    size_t (*keep_floats)(const struct conv_shape *shape, struct shape x, size_t n);
    // Floats of scratch during one call; all layers share it; NULL: none.
    size_t (*work_floats)(const struct conv_shape *shape, struct shape x, size_t n);
    enum status (*plan)(struct conv *conv); // sets conv->self; free() is called even if it fails
    void (*pack)(struct conv *conv, const float *w);
    void (*forward)(const struct conv *conv, size_t n);
    void (*backward_data)(const struct conv *conv, size_t n);
    void (*backward_weights)(const struct conv *conv, size_t n, float *dw);
    void (*add_weights)(const struct conv *conv, size_t n, float *sum); // may be NULL
    void (*free)(struct conv *conv); // releases self; may be NULL
};

struct conv {
    struct conv_shape shape;
    struct conv_mode mode;
    struct tensor x, y, dy, dx; // dx.at NULL: no backward data
    int dx_beta;
    float *keep, *work; // borrowed
    const struct conv_method *method;
    void *self; // the method's own planned data
};

// gemm_plan of sizes as methods have them. STATUS_USAGE: too large for the kernels' int.
enum status conv_plan_gemm(struct gemm *gemm, size_t m, size_t n, size_t k, size_t lda, size_t ldb,
                           size_t ldc, bool trans_b, int beta);

// Geometry that methods share.

// Output position that tap r reaches from input position `phase` + i * stride, less i; false if
// this phase does not meet the tap: (phase + pad - r dilation) / stride where it divides.
static inline bool conv_tap_shift(size_t phase, size_t r, size_t stride, size_t pad,
                                  size_t dilation, int64_t *shift)
{
    int64_t at = (int64_t)(phase + pad) - (int64_t)(r * dilation);
    if (at % (int64_t)stride != 0)
        return false;
    *shift = at / (int64_t)stride;
    return true;
}

// Of outputs i < n, those that read input origin + i * step inside [0, in), not the padding around.
struct conv_range {
    size_t first, end;
};

static inline struct conv_range conv_range_inside(int64_t origin, size_t step, size_t in, size_t n)
{
    int64_t by = (int64_t)step, left = (int64_t)in - origin;
    int64_t first = origin < 0 ? (by - 1 - origin) / by : 0;
    int64_t end = left > 0 ? (left + by - 1) / by : 0;
    end = end < (int64_t)n ? end : (int64_t)n;
    return (struct conv_range){(size_t)(first < end ? first : end), (size_t)end};
}

static inline size_t conv_phase_size(size_t in, size_t phase, size_t stride)
{
    return in > phase ? (in - phase + stride - 1) / stride : 0;
}

extern const struct conv_method conv_depthwise, conv_bf16, conv_dense, conv_winograd, conv_direct;
extern const bool conv_bf16_is_built; // false: the compiler cannot; then conv_bf16 never suits

#endif
