// SPDX-License-Identifier: MIT
// Chooses the method of a convolution and hands calls to it. Knows shapes and halos; the methods
// know how. Called by the layers conv, dense and filterbank.
#include "models/kernels/conv.h"

#include <stdint.h>
#include <stdlib.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "models/kernels/conv_private.h"

// The first that suits serves the layer; the last suits always.
static const struct conv_method *const methods[] = {&conv_depthwise, &conv_bf16, &conv_dense,
                                                    &conv_winograd, &conv_direct};

static const struct conv_method *method_choose(const struct conv_shape *shape, struct shape x,
                                               size_t n, const struct conv_mode *mode)
{
    size_t i = 0;
    while (!methods[i]->suits(shape, x, n, mode))
        i++;
    return methods[i];
}

enum status conv_mode_check(const struct conv_mode *mode)
{
    if (!mode->bf16)
        return STATUS_OK;
    CHECK(conv_bf16_is_built, STATUS_USAGE,
          "precision: bf16 is not in this build of the program (its compiler has no AVX512_BF16): "
          "set precision: %s",
          "fp32");
    CHECK(!isa_bf16_missing(), STATUS_USAGE,
          "precision: bf16 needs AVX512_BF16 on every rank; %s: set precision: fp32 "
          "(-o train.precision=fp32)",
          isa_bf16_missing());
    return STATUS_OK;
}

static size_t output_size(size_t in, size_t kernel, size_t stride, size_t pad, size_t dilation)
{
    size_t span = (kernel - 1) * dilation + 1;
    return in + 2 * pad < span ? 0 : (in + 2 * pad - span) / stride + 1;
}

struct shape conv_output(const struct conv_shape *s, struct shape x)
{
    return (struct shape){output_size(x.h, s->kernel_h, s->stride_h, s->pad_h, s->dilation_h),
                          output_size(x.w, s->kernel_w, s->stride_w, s->pad_w, s->dilation_w),
                          s->out};
}

// How far backward data reads beyond dy in one dimension.
static size_t dy_halo(size_t in, size_t out, size_t kernel, size_t stride, size_t pad,
                      size_t dilation)
{
    int64_t halo = 0;
    for (size_t phase = 0; phase < stride; phase++)
        for (size_t r = 0; r < kernel; r++) {
            int64_t shift;
            size_t n = conv_phase_size(in, phase, stride);
            if (n == 0 || !conv_tap_shift(phase, r, stride, pad, dilation, &shift))
                continue;
            int64_t last = (int64_t)n - 1 + shift - ((int64_t)out - 1);
            halo = -shift > halo ? -shift : halo;
            halo = last > halo ? last : halo;
        }
    return (size_t)halo;
}

void conv_halos(const struct conv_shape *s, struct shape x, struct shape y, size_t x_halo[2],
                size_t out_halo[2])
{
    x_halo[0] = s->pad_h;
    x_halo[1] = s->pad_w;
    out_halo[0] = dy_halo(x.h, y.h, s->kernel_h, s->stride_h, s->pad_h, s->dilation_h);
    out_halo[1] = dy_halo(x.w, y.w, s->kernel_w, s->stride_w, s->pad_w, s->dilation_w);
}

size_t conv_keep_floats(const struct conv_shape *shape, struct shape x, size_t n,
                        const struct conv_mode *mode)
{
    const struct conv_method *method = method_choose(shape, x, n, mode);
    return method->keep_floats ? method->keep_floats(shape, x, n) : 0;
}

size_t conv_work_floats(const struct conv_shape *shape, struct shape x, size_t n,
                        const struct conv_mode *mode)
{
    const struct conv_method *method = method_choose(shape, x, n, mode);
    return method->work_floats ? method->work_floats(shape, x, n) : 0;
}

bool conv_pads_itself(const struct conv_shape *shape, struct shape x, size_t n,
                      const struct conv_mode *mode)
{
    return method_choose(shape, x, n, mode)->pads_itself;
}

bool conv_can_add(const struct conv_shape *shape, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    return method_choose(shape, x, n, mode)->add_weights != NULL;
}

const char *conv_method_name(const struct conv_shape *shape, struct shape x, size_t n,
                             const struct conv_mode *mode)
{
    return method_choose(shape, x, n, mode)->name;
}

enum status conv_plan_gemm(struct gemm *gemm, size_t m, size_t n, size_t k, size_t lda, size_t ldb,
                           size_t ldc, bool trans_b, int beta)
{
    const size_t most = INT32_MAX;
    CHECK(m <= most && n <= most && k <= most && lda <= most && ldb <= most && ldc <= most,
          STATUS_USAGE, "convolution of %zu x %zu x %zu is too large for one kernel", m, n, k);
    struct gemm_shape shape = {(int)m, (int)n, (int)k, (int)lda, (int)ldb, (int)ldc, trans_b, beta};
    return gemm_plan(gemm, &shape);
}

enum status conv_plan(struct conv **out, const struct conv_config *config)
{
    struct conv *conv = NULL;
    *out = NULL;
    TRY(conv_mode_check(&config->mode));
    TRY(memory_alloc(&conv, 1, sizeof *conv, "convolution"));
    *conv = (struct conv){.shape = config->shape,
                          .mode = config->mode,
                          .x = config->x,
                          .y = config->y,
                          .dy = config->dy,
                          .dx = config->dx,
                          .dx_beta = config->dx_beta,
                          .keep = config->keep,
                          .work = config->work};
    conv->method = method_choose(&conv->shape, tensor_shape(&conv->x), conv->x.n, &conv->mode);
    enum status status = conv->method->plan(conv);
    if (status != STATUS_OK)
        conv_free(conv);
    else
        *out = conv;
    return status;
}

void conv_free(struct conv *conv)
{
    if (conv && conv->method->free)
        conv->method->free(conv);
    free(conv);
}

void conv_pack(struct conv *conv, const float *w)
{
    conv->method->pack(conv, w);
}

void conv_forward(const struct conv *conv, size_t n)
{
    conv->method->forward(conv, n);
}

void conv_backward_data(const struct conv *conv, size_t n)
{
    conv->method->backward_data(conv, n);
}

void conv_backward_weights(const struct conv *conv, size_t n, float *dw)
{
    conv->method->backward_weights(conv, n, dw);
}

void conv_add_weights(const struct conv *conv, size_t n, float *sum)
{
    conv->method->add_weights(conv, n, sum);
}
