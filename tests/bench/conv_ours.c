// SPDX-License-Identifier: MIT
// Our convolution with memory as the trainer binds it: halos around x and dy, none around y and dx.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "models/kernels/conv.h"
#include "tests/bench/conv_sides.h"

struct ours {
    struct conv *conv;
    struct conv_config config;
    float *memory[7], *w, *dw;
    int n_memory;
};

static void must(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "bench_conv: error: %s\n", error_text());
    exit((int)status);
}

static float *take(struct ours *o, size_t floats)
{
    float *memory;
    must(memory_alloc(&memory, floats + 16, sizeof *memory, "benchmark"));
    return o->memory[o->n_memory++] = memory;
}

static struct tensor tensor_make(struct ours *o, size_t n, struct shape s, size_t halo_h,
                                 size_t halo_w)
{
    struct tensor t = tensor_of(n, s, halo_h, halo_w);
    t.at = take(o, tensor_floats(&t)) + tensor_origin(&t);
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < s.h; h++)
            bench_fill(tensor_row(&t, i, h), s.w * s.c);
    return t;
}

static void run(void *self, enum bench_pass pass)
{
    struct ours *o = self;
    size_t n = o->config.x.n;
    if (pass == BENCH_FORWARD)
        conv_forward(o->conv, n);
    else if (pass == BENCH_BACKWARD_DATA)
        conv_backward_data(o->conv, n);
    else
        conv_backward_weights(o->conv, n, o->dw);
}

static void side_close(void *self)
{
    struct ours *o = self;
    conv_free(o->conv);
    for (int i = 0; i < o->n_memory; i++)
        free(o->memory[i]);
    free(o);
}

static void bind(struct ours *o, const struct bench_shape *s)
{
    struct conv_config *config = &o->config;
    const struct conv_shape *shape = &config->shape;
    struct shape in = {s->size, s->size, s->c}, out = conv_output(shape, in);
    size_t x_halo[2], dy_halo[2], weights = s->kernel * s->kernel * s->c * s->k;
    conv_halos(shape, in, out, x_halo, dy_halo);
    config->x = tensor_make(o, s->n, in, x_halo[0], x_halo[1]);
    config->dx = tensor_make(o, s->n, in, 0, 0);
    config->y = tensor_make(o, s->n, out, 0, 0);
    config->dy = tensor_make(o, s->n, out, dy_halo[0], dy_halo[1]);
    config->keep = take(o, conv_keep_floats(shape, in, s->n, &config->mode));
    config->work = take(o, conv_work_floats(shape, in, s->n, &config->mode));
    o->w = take(o, 2 * weights + 16);
    o->dw = o->w + (weights + 15) / 16 * 16;
    bench_fill(o->w, weights);
    must(conv_plan(&o->conv, config));
    conv_pack(o->conv, o->w);
}

struct bench_side bench_side_ours(const struct bench_shape *s, enum bench_method method)
{
    static const char *const names[] = {"direct", "winograd", "bf16"};
    struct bench_side side = {.run = run, .close = side_close};
    struct conv_shape shape = {s->kernel, s->kernel, s->stride, s->stride, s->pad,
                               s->pad,    1,         1,         1,         s->k};
    struct conv_mode mode = {method == BENCH_WINOGRAD, method == BENCH_BF16};
    struct shape in = {s->size, s->size, s->c};
    if (conv_mode_check(&mode) != STATUS_OK ||
        strcmp(conv_method_name(&shape, in, s->n, &mode), names[method]) != 0)
        return side;
    struct ours *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    o->config = (struct conv_config){.shape = shape, .mode = mode};
    bind(o, s);
    side.self = o;
    side.can[BENCH_FORWARD] = side.can[BENCH_BACKWARD_DATA] = side.can[BENCH_BACKWARD_WEIGHTS] =
        true;
    return side;
}
