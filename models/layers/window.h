// SPDX-License-Identifier: MIT
// Shared by pooling layers (and any layer with a window): options that are a number or [h, w], and
// the output's shape.
#ifndef SW2_MODELS_LAYERS_WINDOW_H
#define SW2_MODELS_LAYERS_WINDOW_H

#include "models/kernels/rows.h"
#include "models/layer.h"

// One number for both directions, or [h, w]. `option` names it in the error.
static inline enum status window_pair(const struct layer *layer, const char *option,
                                      struct option_ints v, size_t *h, size_t *w)
{
    if (v.n != 1 && v.n != 2)
        LAYER_FAIL(layer, "%s takes one number or [h, w], not %zu numbers", option, v.n);
    *h = (size_t)v.v[0];
    *w = (size_t)v.v[v.n - 1];
    return STATUS_OK;
}

struct pool_args {
    struct option_ints kernel, stride, pad;
    bool counts_pad; // average only
};

// Reads the window of pooling options and sets y's shape. Padding is at most half the kernel, so
// that no window lies outside x.
enum status pool_shape(struct layer *layer, struct rows_window *window);
// The window again, after shape (cannot fail).
struct rows_window pool_window(const struct layer *layer);

// clang-format off
#define POOL_OPTIONS                                                                               \
    {"kernel", OPTION_INTS, offsetof(struct pool_args, kernel), NULL, 1, 65536, NULL,              \
     "size of the window: one number or [height, width]"},                                         \
    {"stride", OPTION_INTS, offsetof(struct pool_args, stride), "0", 0, 65536, NULL,               \
     "step between windows; 0: the same as kernel"},                                               \
    {"pad", OPTION_INTS, offsetof(struct pool_args, pad), "0", 0, 65536, NULL,                     \
     "rows and columns around the input that windows may cover"}
// clang-format on

#endif
