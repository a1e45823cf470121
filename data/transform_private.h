// SPDX-License-Identifier: MIT
// What a row of transforms.def is: shared by transform.c (the list) and transform_affine.c,
// transform_move.c, transform_colour.c (the rows); by no one else.
#ifndef SW2_DATA_TRANSFORM_PRIVATE_H
#define SW2_DATA_TRANSFORM_PRIVATE_H

#include <stdio.h>

#include "comm/random.h"
#include "data/transform.h"

// What a transform is planned for.
struct transform_plan {
    struct sample_shape shape;
    const double *mean, *std; // of the scaled input, c each
    const char *place;        // "recipe.yaml:12", for messages
    bool is_normalized;       // a normalize stands before it in the list
};

// The sample in hand.
struct transform_sample {
    struct sample_shape shape;
    uint32_t word[4]; // random words of (seed, epoch, row, number of the transform)
    float *scratch;   // h * w * c floats
    // For a transform that draws otherwise:
    uint64_t seed, row;
    uint32_t epoch, number;
};

struct transform_ops {
    const char *name, *summary;
    bool is_random; // train only
    bool is_affine; // each value by itself and its channel: may be folded into the table of uint8
    const struct option *options;
    size_t n_options;
    size_t bytes; // of the struct the options are read into, which may hold planned fields, too
    // Checks and prepares (self: bytes, options are set). NULL: nothing to do. STATUS_USAGE.
    enum status (*plan)(void *self, const struct transform_plan *plan);
    // x: rows of pixels h, w, channels last, in place.
    void (*apply)(const void *self, const struct transform_sample *sample, float *x);
    void (*describe)(const void *self, FILE *out);
    void (*free)(void *self); // of planned fields; NULL: none
};

#define TRANSFORM(name) extern const struct transform_ops transform_##name;
#include "data/transforms.def"
#undef TRANSFORM

#endif
