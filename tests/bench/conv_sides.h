// SPDX-License-Identifier: MIT
// What bench_conv.c compares: one convolution done by us or by oneDNN, with its own memory, ready
// to run any pass again and again. Reorders are not part of a run.
#ifndef SW2_TESTS_BENCH_CONV_SIDES_H
#define SW2_TESTS_BENCH_CONV_SIDES_H

#include <stdbool.h>
#include <stddef.h>

enum bench_pass { BENCH_FORWARD, BENCH_BACKWARD_DATA, BENCH_BACKWARD_WEIGHTS, BENCH_PASSES };

struct bench_shape {
    size_t n, c, k, size, kernel, stride, pad; // square images and kernels
};

enum bench_method { BENCH_DIRECT, BENCH_WINOGRAD, BENCH_BF16, BENCH_METHODS };

struct bench_side {
    void *self; // NULL: this side cannot do the shape
    bool can[BENCH_PASSES];
    void (*run)(void *self, enum bench_pass pass);
    void (*close)(void *self);
};

// Stop the program with a message where something fails that should not.
struct bench_side bench_side_ours(const struct bench_shape *shape, enum bench_method method);
struct bench_side bench_side_dnnl(const struct bench_shape *shape, enum bench_method method);
const char *bench_dnnl_version(void);

// Fused multiply-adds of this core's widest vectors that we use, GFLOP/s, over about `seconds`.
double bench_peak(double seconds);
double bench_now(void); // CPU seconds of this thread: what others run on the machine does not count
void bench_fill(float *to, size_t n); // small numbers, the same each time

#endif
