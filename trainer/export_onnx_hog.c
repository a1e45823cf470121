// SPDX-License-Identifier: MIT
// Histograms of oriented gradients (models/layers/hog.c) as operators of opset 13. No Conv and no
// MatMul among them: what reads weights out of the file must find none here. Values and constants
// are named LAYER/what. Called by export_onnx_nodes.c.
#include <stdio.h>

#include "trainer/export_onnx_private.h"

// What one layer is written with: names below are those after "LAYER/".
struct hog {
    struct onnx_writer *w;
    const struct export_node *node;
};

enum { OP_INPUTS_MAX = 5 };

// y = op(x...), NULL at the end.
static void op_put(const struct hog *h, const char *op, const char *y, const char *const *x)
{
    char name[OP_INPUTS_MAX][ONNX_NAME_MAX], out[ONNX_NAME_MAX];
    const char *inputs[OP_INPUTS_MAX + 1] = {0};
    for (int i = 0; x[i]; i++)
        inputs[i] = onnx_name(name[i], h->node->name, x[i]);
    onnx_node(h->w, op, onnx_name(out, h->node->name, y), inputs);
}
#define OP(h, op, y, ...) op_put(h, op, y, (const char *const[]){__VA_ARGS__, NULL})

static void scalar_put(const struct hog *h, const char *what, double value)
{
    char name[ONNX_NAME_MAX];
    const float x = (float)value;
    onnx_floats(h->w, onnx_name(name, h->node->name, what), 0, NULL, &x);
}

static void ints_put(const struct hog *h, const char *what, int n, const int64_t *x)
{
    char name[ONNX_NAME_MAX];
    onnx_ints(h->w, onnx_name(name, h->node->name, what), n, x);
}

// y = x[:, :, top : top + rows, left : left + columns]
static void cut_put(const struct hog *h, const char *y, const char *x, size_t top, size_t left,
                    size_t rows, size_t columns)
{
    const int64_t starts[] = {(int64_t)top, (int64_t)left};
    const int64_t ends[] = {(int64_t)(top + rows), (int64_t)(left + columns)};
    char from[ONNX_NAME_MAX], to[ONNX_NAME_MAX];
    snprintf(from, sizeof from, "%s/from", y);
    snprintf(to, sizeof to, "%s/to", y);
    ints_put(h, from, 2, starts);
    ints_put(h, to, 2, ends);
    OP(h, "Slice", y, x, from, to, "rows_columns");
}

// "gx", "gy", "square" = gx^2 + gy^2: (N, 1, H, W), of the channel where it is largest.
static void gradient_put(const struct hog *h)
{
    static const char *const all[] = {"all_gx", "all_gy", "all_squares"};
    static const char *const most[] = {"gx", "gy", "square"};
    const size_t H = h->node->x.h, W = h->node->x.w;
    const bool is_one = h->node->x.c == 1;
    const char *const *y = is_one ? most : all;
    char x[ONNX_NAME_MAX], pads[ONNX_NAME_MAX], padded[ONNX_NAME_MAX];
    ints_put(h, "pads", 8, (const int64_t[]){0, 0, 1, 1, 0, 0, 1, 1});
    ints_put(h, "rows_columns", 2, (const int64_t[]){2, 3});
    onnx_input(h->w, h->node, 0, false, x);
    onnx_attribute_text(h->w, "mode", "edge");
    NODE(h->w, "Pad", onnx_name(padded, h->node->name, "padded"), x,
         onnx_name(pads, h->node->name, "pads"));
    cut_put(h, "left", "padded", 1, 0, H, W);
    cut_put(h, "right", "padded", 1, 2, H, W);
    cut_put(h, "up", "padded", 0, 1, H, W);
    cut_put(h, "down", "padded", 2, 1, H, W);
    OP(h, "Sub", y[0], "right", "left");
    OP(h, "Sub", y[1], "down", "up");
    OP(h, "Mul", "gx_gx", y[0], y[0]);
    OP(h, "Mul", "gy_gy", y[1], y[1]);
    OP(h, "Add", y[2], "gx_gx", "gy_gy");
    if (is_one)
        return;
    onnx_attribute_int(h->w, "axis", 1);
    OP(h, "ArgMax", "channel", "all_squares"); // the first of equal ones
    for (int i = 0; i < 3; i++) {
        onnx_attribute_int(h->w, "axis", 1);
        OP(h, "GatherElements", most[i], all[i], "channel");
    }
}

// "votes" (N, bins, H, W) = |g| max(0, 1 - how far the bin's middle lies from the angle, in bins,
// the shorter way round). Lines have no direction, so atan(gy / gx) will do: in -bins/2 ... bins/2.
static void votes_put(const struct hog *h)
{
    const size_t bins = h->node->y.c / 4;
    float middle[256];
    char name[ONNX_NAME_MAX];
    ASSERT(bins <= sizeof middle / sizeof *middle);
    for (size_t b = 0; b < bins; b++)
        middle[b] = (float)b + 0.5f;
    onnx_floats(h->w, onnx_name(name, h->node->name, "middles"), 4,
                (const int64_t[]){1, (int64_t)bins, 1, 1}, middle);
    scalar_put(h, "zero", 0);
    scalar_put(h, "one", 1);
    scalar_put(h, "bins", (double)bins);
    scalar_put(h, "bins_per_radian", (double)bins / 3.14159265358979323846);
    scalar_put(h, "tiny", 1e-30); // gx = 0: the angle is a right one, or that of nothing
    OP(h, "Equal", "is_upright", "gx", "zero");
    OP(h, "Where", "run", "is_upright", "tiny", "gx");
    OP(h, "Div", "slope", "gy", "run");
    OP(h, "Atan", "angle", "slope");
    OP(h, "Mul", "place", "angle", "bins_per_radian");
    OP(h, "Sub", "difference", "middles", "place");
    OP(h, "Abs", "one_way", "difference");
    OP(h, "Sub", "less_a_round", "one_way", "bins");
    OP(h, "Abs", "other_way", "less_a_round");
    OP(h, "Min", "far", "one_way", "other_way");
    OP(h, "Sub", "near", "one", "far");
    OP(h, "Relu", "share", "near");
    OP(h, "Sqrt", "size", "square");
    OP(h, "Mul", "votes", "share", "size");
}

// "blocks" (N, 4 bins, P, Q): means of the votes in each cell, of 2 x 2 cells at once. A mean is a
// sum over cell^2, and so must be eps; rows and columns that fill no cell fall away.
static void blocks_put(const struct hog *h)
{
    static const char *const corner[] = {"corner0", "corner1", "corner2", "corner3"};
    const struct export_window *v = &h->node->window;
    onnx_attribute_ints(h->w, "kernel_shape", 2, (const size_t[]){v->kernel_h, v->kernel_w});
    onnx_attribute_ints(h->w, "strides", 2, (const size_t[]){v->stride_h, v->stride_w});
    OP(h, "AveragePool", "cells", "votes");
    for (size_t i = 0; i < 4; i++)
        cut_put(h, corner[i], "cells", i / 2, i % 2, h->node->y.h, h->node->y.w);
    onnx_attribute_int(h->w, "axis", 1);
    OP(h, "Concat", "blocks", corner[0], corner[1], corner[2], corner[3]);
}

void onnx_hog_put(struct onnx_writer *w, const struct export_node *node, const struct onnx_value *y)
{
    const struct hog h = {.w = w, .node = node};
    const double eps = node->value / (double)(node->window.kernel_h * node->window.kernel_w);
    char blocks[ONNX_NAME_MAX], norm[ONNX_NAME_MAX];
    gradient_put(&h);
    votes_put(&h);
    blocks_put(&h);
    scalar_put(&h, "eps2", eps * eps);
    ints_put(&h, "channels", 1, (const int64_t[]){1});
    OP(&h, "Mul", "squares", "blocks", "blocks");
    OP(&h, "ReduceSum", "sum", "squares", "channels");
    OP(&h, "Add", "sum_eps2", "sum", "eps2");
    OP(&h, "Sqrt", "norm", "sum_eps2");
    NODE(w, "Div", y->name, onnx_name(blocks, node->name, "blocks"),
         onnx_name(norm, node->name, "norm"));
}
