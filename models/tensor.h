// SPDX-License-Identifier: MIT
// A view of floats as (n, h, w, c), channels last, with a zero halo around each image.
// Letters, used everywhere in models/: N batch, C channels in, K channels out, H W in, P Q out, R S
// kernel; x y w b inputs, outputs, weights, biases; dx dy dw db their gradients.
#ifndef SW2_MODELS_TENSOR_H
#define SW2_MODELS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

// One sample. A 1-D signal or a sequence of w steps has h = 1; a vector h = w = 1.
struct shape {
    size_t h, w, c;
};

struct tensor {
    float *at;         // element (0, 0, 0, 0), inside the halo; NULL: no memory
    size_t n, h, w, c; // n: capacity in samples (the grain)
    size_t halo_h,
        halo_w;   // zero rows above and below, zero columns left and right; nobody writes them
    size_t row;   // floats from one row to the next: (w + 2 halo_w) c
    size_t image; // floats from one image to the next: (h + 2 halo_h) row
};

static inline struct tensor tensor_of(size_t n, struct shape s, size_t halo_h, size_t halo_w)
{
    size_t row = (s.w + 2 * halo_w) * s.c;
    return (struct tensor){.n = n,
                           .h = s.h,
                           .w = s.w,
                           .c = s.c,
                           .halo_h = halo_h,
                           .halo_w = halo_w,
                           .row = row,
                           .image = (s.h + 2 * halo_h) * row};
}

static inline struct shape tensor_shape(const struct tensor *t)
{
    return (struct shape){t->h, t->w, t->c};
}

// Floats of memory a tensor takes, halo included, and where `at` stands in it.
static inline size_t tensor_floats(const struct tensor *t)
{
    return t->n * t->image;
}
static inline size_t tensor_origin(const struct tensor *t)
{
    return t->halo_h * t->row + t->halo_w * t->c;
}

static inline float *tensor_row(const struct tensor *t, size_t n, size_t h)
{
    return t->at + n * t->image + h * t->row;
}

static inline bool
tensor_is_dense(const struct tensor *t) // rows lie one after another without a halo
{
    return t->halo_h == 0 && t->halo_w == 0;
}

#endif
