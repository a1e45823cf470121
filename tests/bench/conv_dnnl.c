// SPDX-License-Identifier: MIT
// The same convolution by oneDNN, one thread, in the memory formats it asks for.
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/conv_sides.h"

struct tensors {
    dnnl_memory_t memory[3];
    int argument[3];
};

struct dnnl_side {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive[BENCH_PASSES];
    struct tensors tensors[BENCH_PASSES];
};

static void must(dnnl_status_t status)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "bench_conv: error: oneDNN status %d\n", (int)status);
    exit(1);
}

static dnnl_memory_desc_t any(dnnl_data_type_t type, size_t a, size_t b, size_t c, size_t d)
{
    dnnl_memory_desc_t desc;
    dnnl_dims_t dims = {(dnnl_dim_t)a, (dnnl_dim_t)b, (dnnl_dim_t)c, (dnnl_dim_t)d};
    must(dnnl_memory_desc_init_by_tag(&desc, 4, dims, type, dnnl_format_tag_any));
    return desc;
}

// Descriptor of one pass; hint: the forward primitive's, which backward passes want.
static dnnl_primitive_desc_t describe(struct dnnl_side *o, const struct bench_shape *s,
                                      enum bench_method method, enum bench_pass pass,
                                      const_dnnl_primitive_desc_t hint)
{
    dnnl_data_type_t type = method == BENCH_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_alg_kind_t alg =
        method == BENCH_WINOGRAD ? dnnl_convolution_winograd : dnnl_convolution_direct;
    size_t out = (s->size + 2 * s->pad - s->kernel) / s->stride + 1;
    dnnl_memory_desc_t x = any(type, s->n, s->c, s->size, s->size),
                       y = any(type, s->n, s->k, out, out),
                       w = any(type, s->k, s->c, s->kernel, s->kernel);
    dnnl_dims_t stride = {(dnnl_dim_t)s->stride, (dnnl_dim_t)s->stride},
                pad = {(dnnl_dim_t)s->pad, (dnnl_dim_t)s->pad};
    dnnl_convolution_desc_t desc;
    if (pass == BENCH_FORWARD)
        must(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, alg, &x, &w, NULL, &y,
                                                stride, pad, pad));
    else if (pass == BENCH_BACKWARD_DATA)
        must(dnnl_convolution_backward_data_desc_init(&desc, alg, &x, &w, &y, stride, pad, pad));
    else
        must(dnnl_convolution_backward_weights_desc_init(&desc, alg, &x, &w, NULL, &y, stride, pad,
                                                         pad));
    dnnl_primitive_desc_t out_desc = NULL;
    return dnnl_primitive_desc_create(&out_desc, &desc, NULL, o->engine, hint) == dnnl_success
               ? out_desc
               : NULL;
}

static void memory_make(struct dnnl_side *o, const_dnnl_primitive_desc_t desc, enum bench_pass pass,
                        int i, dnnl_query_t query, int argument)
{
    struct tensors *t = &o->tensors[pass];
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, query, 0);
    must(dnnl_memory_create(&t->memory[i], md, o->engine, DNNL_MEMORY_ALLOCATE));
    t->argument[i] = argument;
    void *at;
    must(dnnl_memory_get_data_handle(t->memory[i], &at));
    size_t bytes = dnnl_memory_desc_get_size(md);
    if (md->data_type == dnnl_f32)
        bench_fill(at, bytes / sizeof(float));
    else
        for (size_t j = 0; j < bytes / 2; j++)
            ((unsigned short *)at)[j] = 0x3d80; // 1/16
}

static void pass_open(struct dnnl_side *o, enum bench_pass pass, dnnl_primitive_desc_t desc)
{
    static const struct {
        dnnl_query_t query;
        int argument;
    } tensors[BENCH_PASSES][3] = {{{dnnl_query_src_md, DNNL_ARG_SRC},
                                   {dnnl_query_weights_md, DNNL_ARG_WEIGHTS},
                                   {dnnl_query_dst_md, DNNL_ARG_DST}},
                                  {{dnnl_query_diff_dst_md, DNNL_ARG_DIFF_DST},
                                   {dnnl_query_weights_md, DNNL_ARG_WEIGHTS},
                                   {dnnl_query_diff_src_md, DNNL_ARG_DIFF_SRC}},
                                  {{dnnl_query_src_md, DNNL_ARG_SRC},
                                   {dnnl_query_diff_dst_md, DNNL_ARG_DIFF_DST},
                                   {dnnl_query_diff_weights_md, DNNL_ARG_DIFF_WEIGHTS}}};
    must(dnnl_primitive_create(&o->primitive[pass], desc));
    for (int i = 0; i < 3; i++)
        memory_make(o, desc, pass, i, tensors[pass][i].query, tensors[pass][i].argument);
}

static void run(void *self, enum bench_pass pass)
{
    struct dnnl_side *o = self;
    dnnl_exec_arg_t args[3];
    for (int i = 0; i < 3; i++)
        args[i] = (dnnl_exec_arg_t){o->tensors[pass].argument[i], o->tensors[pass].memory[i]};
    must(dnnl_primitive_execute(o->primitive[pass], o->stream, 3, args));
    must(dnnl_stream_wait(o->stream));
}

static void side_close(void *self)
{
    struct dnnl_side *o = self;
    for (int pass = 0; pass < BENCH_PASSES; pass++) {
        if (!o->primitive[pass])
            continue;
        for (int i = 0; i < 3; i++)
            dnnl_memory_destroy(o->tensors[pass].memory[i]);
        dnnl_primitive_destroy(o->primitive[pass]);
    }
    dnnl_stream_destroy(o->stream);
    dnnl_engine_destroy(o->engine);
    free(o);
}

struct bench_side bench_side_dnnl(const struct bench_shape *s, enum bench_method method)
{
    struct bench_side side = {.run = run, .close = side_close};
    struct dnnl_side *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    must(dnnl_engine_create(&o->engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags));
    dnnl_primitive_desc_t forward = describe(o, s, method, BENCH_FORWARD, NULL);
    for (int pass = 0; pass < BENCH_PASSES; pass++) {
        dnnl_primitive_desc_t desc =
            pass ? describe(o, s, method, (enum bench_pass)pass, forward) : forward;
        if (desc)
            pass_open(o, (enum bench_pass)pass, desc);
        side.can[pass] = desc != NULL;
        if (desc && pass)
            dnnl_primitive_desc_destroy(desc);
    }
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    side.self = o;
    return side;
}

const char *bench_dnnl_version(void)
{
    static char text[64];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
