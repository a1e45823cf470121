// SPDX-License-Identifier: MIT
// Checks one layer, whatever it is, against the contract of models/layer.h and against the naive
// forward passes of naive.h: values, gradients by central differences, accumulation, halos, parts.
// Owns the memory of the layer it tests. Failures end the running CMocka test with the case, the
// first bad index, both values, the tolerance and the shape.
#ifndef SW2_TESTS_SUPPORT_LAYER_CHECK_H
#define SW2_TESTS_SUPPORT_LAYER_CHECK_H

#include "models/layer.h"

struct layer_case {
    const char *layer, *options; // options: YAML flow map "{kernel: 3}", or ""
    struct shape y;              // expected
    size_t n;                    // samples, even
    int n_x;
    struct shape x[4];
};

// All checks.
void layer_check(const struct layer_case *c);

// The layer's shape() on the case's inputs: its status, the message in error_text().
enum status layer_check_shape(const struct layer_case *c);

// --- For tests of one layer's own properties ---

struct layer_bench_options {
    bool relu;       // fused
    float beta;      // dx_beta of all inputs
    size_t extra[2]; // halo beyond what the layer asks for, everywhere
    unsigned hidden; // bit i: the gradient of input i is not wanted
    size_t first, n; // the samples to work on (of the case's n)
    int index;       // of the layer
    uint64_t seed;
    uint32_t epoch;
};

// A layer with its memory. x, parameters and dy hold values that depend on their place only.
struct layer_bench {
    const struct layer_case *c;
    struct layer_bench_options options;
    struct yaml *yaml;
    struct layer layer;
    struct pass pass;
    float *params, *grads;
    size_t floats; // of both
    uint64_t row[64];
    float *memory[2 * LAYER_INPUTS_MAX + 6]; // released by close
    int n_memory;
};

void layer_bench_open(struct layer_bench *b, const struct layer_case *c,
                      const struct layer_bench_options *options);
void layer_bench_close(struct layer_bench *b);
void layer_bench_forward(struct layer_bench *b, bool is_training); // prepare and forward
void layer_bench_backward(struct layer_bench *b);
// Dense copy, malloc'ed doubles. Fails if the halo is not zero.
double *layer_bench_dense(const struct layer_bench *b, const struct tensor *t, const char *what);

#endif
