// SPDX-License-Identifier: MIT
// Convolution with operands rounded to bf16 and sums in fp32 (AVX512_BF16): the plan. Knows shapes;
// conv_bf16_run.c runs, conv_bf16_isa.c multiplies. Called through conv.c.
#include "models/kernels/conv_bf16.h"

#include <stdlib.h>

#include "comm/memory.h"

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool suits(const struct conv_shape *shape, struct shape x, size_t n,
                  const struct conv_mode *mode)
{
    (void)n;
    // Of one channel there are no pairs to add: conv_direct's stem is faster (weights 198 GFLOP/s
    // against 108 in bf16, 28 x 28 to 32 channels).
    return mode->bf16 && shape->groups == 1 && x.c > 1;
}

// ---- sizes ----

// Rows or columns of dy that backward data reads around input i of its phases: i + first ... i +
// first + count - 1.
static struct bf16_axis reach(size_t in, size_t kernel, size_t stride, size_t pad, size_t dilation)
{
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (size_t phase = 0; phase < stride; phase++)
        for (size_t r = 0; r < kernel; r++) {
            int64_t shift;
            if (conv_phase_size(in, phase, stride) == 0 ||
                !conv_tap_shift(phase, r, stride, pad, dilation, &shift))
                continue;
            low = shift < low ? shift : low;
            high = shift > high ? shift : high;
        }
    if (low > high) // no input is read
        low = high = 0;
    return (struct bf16_axis){low, 1, (size_t)(high - low) + 1};
}

// As many images as fit into `most` bytes, at most n; less than one: rows of one image, at least
// `least`. An image has `rows` of `a_row` bytes, and `halo` more at each cut.
static struct bf16_chunk chunk_of(size_t most, size_t n, size_t rows, size_t a_row, size_t halo,
                                  size_t least)
{
    size_t image = (rows + halo) * size_max(a_row, 1);
    if (image <= most)
        return (struct bf16_chunk){size_max(1, size_min(n, most / image)), rows};
    size_t fit = most / size_max(a_row, 1);
    size_t some = size_max(fit > halo ? fit - halo : 1, least);
    if (some >= rows)
        return (struct bf16_chunk){1, rows};
    size_t parts = (rows + some - 1) / some;
    return (struct bf16_chunk){1, (rows + parts - 1) / parts};
}

static size_t copy_elements(const struct bf16_chunk *chunk, size_t stride, size_t taps_rows,
                            size_t a_row)
{
    return chunk->images * ((chunk->rows - 1) * stride + taps_rows) * a_row;
}

// Caches: a copy shares the second level (1 MiB on the machines that have bf16) with the weights.
// Where the weights do not fit anyway, larger chunks read them less often.
static void chunks_plan(struct bf16_sizes *s, const struct conv_shape *shape, struct shape x,
                        size_t n)
{
    const size_t k = shape->out, weights = shape->kernel_h * shape->kernel_w * x.c * k * 2;
    const bool is_large = weights > 512 * 1024;
    const size_t most = is_large ? 1024 * 1024 : 64 * 1024;
    size_t x_row = s->x_columns.count * x.c, dy_row = s->dy_columns.count * k;
    s->forward = chunk_of(most, n, s->y.h, s->stride_h * x_row * 2, s->x_rows.count, 1);
    s->data = chunk_of(most, n, s->phase_rows, dy_row * 2, s->dy_rows.count, 1);
    size_t both = s->stride_h * x_row * 4 + s->y.w * bf16_round(k) * 4;
    size_t least = (128 + s->y.w - 1) / s->y.w; // positions that one tile of dw sums over
    s->weights =
        chunk_of(is_large ? 2 * most : 4 * most, (n + 1) / 2, s->y.h, both, s->x_rows.count, least);
    size_t tail_x = BF16_OVERHANG * s->stride_w * x.c + 64, tail_dy = BF16_OVERHANG * k + 64;
    size_t forward = copy_elements(&s->forward, s->stride_h, s->x_rows.count, x_row) + tail_x;
    size_t data = copy_elements(&s->data, 1, s->dy_rows.count, dy_row) + tail_dy;
    s->x_pairs = copy_elements(&s->weights, s->stride_h, s->x_rows.count, x_row) + tail_x;
    s->x_pairs = (s->x_pairs + 15) / 16 * 16;
    size_t width = size_min(bf16_round(k), BF16_BLOCK);
    size_t pairs = 2 * (s->x_pairs + s->weights.images * s->weights.rows * s->y.w * width);
    s->work_floats = (size_max(size_max(forward, data), pairs) + 31) / 32 * 16;
}

struct bf16_sizes bf16_sizes_of(const struct conv_shape *shape, struct shape x, size_t n)
{
    struct bf16_sizes s = {.y = conv_output(shape, x)};
    // Of a pointwise convolution with a stride only the positions that are read are copied.
    bool is_sparse = shape->kernel_h * shape->kernel_w == 1 && shape->pad_h + shape->pad_w == 0;
    s.stride_h = is_sparse ? 1 : shape->stride_h;
    s.stride_w = is_sparse ? 1 : shape->stride_w;
    size_t span_w = (shape->kernel_w - 1) * shape->dilation_w + 1;
    s.x_rows = (struct bf16_axis){-(int64_t)shape->pad_h, is_sparse ? shape->stride_h : 1,
                                  (shape->kernel_h - 1) * shape->dilation_h + 1};
    s.x_columns = (struct bf16_axis){-(int64_t)shape->pad_w, is_sparse ? shape->stride_w : 1,
                                     (s.y.w - 1) * s.stride_w + span_w};
    s.dy_rows = reach(x.h, shape->kernel_h, shape->stride_h, shape->pad_h, shape->dilation_h);
    s.dy_columns = reach(x.w, shape->kernel_w, shape->stride_w, shape->pad_w, shape->dilation_w);
    s.phase_rows = conv_phase_size(x.h, 0, shape->stride_h);
    s.dy_columns.count += conv_phase_size(x.w, 0, shape->stride_w) - 1;
    chunks_plan(&s, shape, x, n);
    return s;
}

static size_t forward_elements(const struct conv_shape *s, struct shape x)
{
    return (s->kernel_h * s->kernel_w * (x.c + 1) * bf16_round(s->out) + 31) / 32 * 32;
}

static size_t backward_elements(const struct conv_shape *s, struct shape x)
{
    return s->kernel_h * s->kernel_w * (s->out + 1) * bf16_round(x.c);
}

static size_t keep_floats(const struct conv_shape *shape, struct shape x, size_t n)
{
    (void)n;
    return (forward_elements(shape, x) + backward_elements(shape, x) + 1) / 2;
}

static size_t work_floats(const struct conv_shape *shape, struct shape x, size_t n)
{
    return bf16_sizes_of(shape, x, n).work_floats;
}

// ---- plan ----

static enum status pass_alloc(struct bf16_pass *pass, size_t taps)
{
    TRY(memory_alloc(&pass->taps, taps, sizeof *pass->taps, "convolution taps"));
    return memory_alloc(&pass->runs, taps, sizeof *pass->runs, "convolution taps");
}

// Taps come in the order of their places; one that follows right after the last joins its run.
static void pass_add(struct bf16_pass *pass, size_t tap, size_t at, size_t channels, size_t *end)
{
    pass->taps[pass->n_taps++] = tap;
    if (pass->n_runs == 0 || at != *end)
        pass->runs[pass->n_runs++] = (struct bf16_run){at, 0};
    *end = at + channels;
    struct bf16_run *run = &pass->runs[pass->n_runs - 1];
    pass->pairs -= bf16_pairs(run);
    run->values = *end - run->at;
    pass->pairs += bf16_pairs(run);
}

static enum status forward_plan(struct conv *conv, struct bf16_plan *plan)
{
    const struct conv_shape *s = &conv->shape;
    struct bf16_pass *pass = &plan->forward;
    size_t row = plan->sizes.x_columns.count * conv->x.c, end = 0;
    TRY(pass_alloc(pass, s->kernel_h * s->kernel_w));
    for (size_t r = 0; r < s->kernel_h; r++)
        for (size_t t = 0; t < s->kernel_w; t++)
            pass_add(pass, r * s->kernel_w + t,
                     r * s->dilation_h * row + t * s->dilation_w * conv->x.c, conv->x.c, &end);
    pass->rows = conv->y.h;
    pass->columns = conv->y.w;
    pass->w = (uint16_t *)conv->keep;
    return STATUS_OK;
}

static enum status phase_plan(struct conv *conv, struct bf16_plan *plan, size_t a, size_t b,
                              uint16_t **w)
{
    const struct conv_shape *s = &conv->shape;
    const struct bf16_sizes *sizes = &plan->sizes;
    struct bf16_pass *pass = &plan->phases[a * s->stride_w + b];
    size_t row = sizes->dy_columns.count * s->out, end = 0;
    TRY(pass_alloc(pass, s->kernel_h * s->kernel_w));
    for (size_t r = s->kernel_h; r-- > 0;)
        for (size_t t = s->kernel_w; t-- > 0;) {
            int64_t down, right;
            if (!conv_tap_shift(a, r, s->stride_h, s->pad_h, s->dilation_h, &down) ||
                !conv_tap_shift(b, t, s->stride_w, s->pad_w, s->dilation_w, &right))
                continue;
            size_t at = (size_t)(down - sizes->dy_rows.first) * row +
                        (size_t)(right - sizes->dy_columns.first) * s->out;
            pass_add(pass, r * s->kernel_w + t, at, s->out, &end);
        }
    pass->rows = conv_phase_size(conv->x.h, a, s->stride_h);
    pass->columns = conv_phase_size(conv->x.w, b, s->stride_w);
    pass->y_origin = a * conv->dx.row + b * conv->dx.c;
    pass->w = *w;
    *w += 2 * pass->pairs * bf16_round(conv->x.c);
    return STATUS_OK;
}

static enum status plan_all(struct conv *conv)
{
    const struct conv_shape *s = &conv->shape;
    struct bf16_plan *plan = NULL;
    TRY(memory_alloc(&plan, 1, sizeof *plan, "convolution"));
    conv->self = plan;
    struct shape x = tensor_shape(&conv->x);
    plan->sizes = bf16_sizes_of(s, x, conv->x.n);
    TRY(forward_plan(conv, plan));
    if (!conv->dx.at)
        return STATUS_OK;
    uint16_t *w = (uint16_t *)conv->keep + forward_elements(s, x);
    TRY(memory_alloc(&plan->phases, s->stride_h * s->stride_w, sizeof *plan->phases,
                     "convolution phases"));
    plan->n_phases = s->stride_h * s->stride_w;
    for (size_t a = 0; a < s->stride_h; a++)
        for (size_t b = 0; b < s->stride_w; b++)
            TRY(phase_plan(conv, plan, a, b, &w));
    return STATUS_OK;
}

static void pass_free(struct bf16_pass *pass)
{
    free(pass->taps);
    free(pass->runs);
}

static void plan_free(struct conv *conv)
{
    struct bf16_plan *plan = conv->self;
    if (!plan)
        return;
    pass_free(&plan->forward);
    for (size_t i = 0; i < plan->n_phases; i++)
        pass_free(&plan->phases[i]);
    free(plan->phases);
    free(plan);
}

const bool conv_bf16_is_built = true;

const struct conv_method conv_bf16 = {
    .name = "bf16",
    .pads_itself = true,
    .suits = suits,
    .keep_floats = keep_floats,
    .work_floats = work_floats,
    .plan = plan_all,
    .pack = conv_bf16_pack,
    .forward = conv_bf16_forward,
    .backward_data = conv_bf16_backward_data,
    .backward_weights = conv_bf16_backward_weights,
    .free = plan_free,
};
