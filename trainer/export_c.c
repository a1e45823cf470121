// SPDX-License-Identifier: MIT
// A network as C99 that needs nothing but libm: NAME.h and NAME.c, weights as constants (or in
// NAME.bin), memory static and shared between values that do not live at the same time
// (models/arena.h). Single precision, in plain loops: for a device, not for speed records. See
// export.h.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "models/arena.h"
#include "trainer/export.h"
#include "trainer/export_bytes.h"
#include "trainer/export_c_parts.h"

#define FLOATS_MANY ((size_t)4 << 20) // a compiler takes its time from here on

struct coder {
    const struct export_net *net;
    const struct export_config *config;
    const char *name; // net->name
    const char *file; // of the files, without ending
    struct bytes text, weights;
    struct arena_item *items; // (n) where each output lives
    int *root;                // (n) the node whose memory it is
    size_t scratch;           // floats
    size_t n_weights;
};

static const char *const parts[EXPORT_KINDS] = {
    [EXPORT_CONV] = PART_CONV,
    [EXPORT_DENSE] = PART_DENSE,
    [EXPORT_NORM] = PART_NORM,
    [EXPORT_RELU] = PART_RELU,
    [EXPORT_LEAKY_RELU] = PART_LEAKY_RELU,
    [EXPORT_GELU] = PART_GELU,
    [EXPORT_SILU] = PART_SILU,
    [EXPORT_MAXPOOL] = PART_MAXPOOL,
    [EXPORT_AVGPOOL] = PART_AVGPOOL,
    [EXPORT_GLOBALPOOL] = PART_GLOBALPOOL,
    [EXPORT_FLATTEN] = PART_COPY,
    [EXPORT_ADD] = PART_ADD,
    [EXPORT_CONCAT] = PART_CONCAT,
    [EXPORT_SUBSAMPLE] = PART_SUBSAMPLE,
    [EXPORT_SCALE] = PART_SCALE,
    [EXPORT_HOG] = PART_HOG,
};

// ---- memory

static bool is_each(const struct export_node *node)
{
    return (node->kind >= EXPORT_NORM && node->kind <= EXPORT_SILU) || node->kind == EXPORT_SCALE ||
           node->kind == EXPORT_FLATTEN;
}

// A value made element by element takes its input's place where nobody else reads that. The last
// one goes to the caller.
static enum status memory_plan(struct coder *w)
{
    const struct export_net *net = w->net;
    TRY(memory_alloc(&w->items, net->n, sizeof *w->items, "C"));
    TRY(memory_alloc(&w->root, net->n, sizeof *w->root, "C"));
    for (size_t i = 0; i < net->n; i++) {
        const struct export_node *node = &net->nodes[i];
        int from = node->from[0];
        bool shares = is_each(node) && from >= 0 && export_readers(net, from) == 1;
        w->root[i] = shares ? w->root[from] : (int)i;
        if (!shares) {
            w->items[i].floats = export_shape_count(node->y);
            if (i + 1 < net->n)
                arena_begin(&w->items[i], i);
        }
        for (int k = 0; k < node->n_from; k++)
            if (node->from[k] >= 0)
                arena_use(&w->items[w->root[node->from[k]]], i);
    }
    return arena_place(w->items, net->n, &w->scratch);
}

static const char *place_of(const struct coder *w, int node, char out[64])
{
    if (node < 0)
        snprintf(out, 64, "input");
    else if ((size_t)node + 1 == w->net->n)
        snprintf(out, 64, "scores");
    else
        snprintf(out, 64, "scratch + %zu", w->items[w->root[node]].offset);
    return out;
}

// ---- weights

static void numbers_put(struct bytes *text, const char *layer, const char *what, const float *x,
                        size_t n)
{
    bytes_print(text, "static const float %s_%s[%zu] = {", layer, what, n);
    for (size_t i = 0; i < n; i++)
        bytes_print(text, "%s%af,", i % 6 ? " " : "\n    ", (double)x[i]);
    bytes_print(text, "\n};\n");
}

static void array_put(struct coder *w, const char *layer, const char *what, const float *x,
                      size_t n)
{
    if (w->config->weights_apart) {
        bytes_print(&w->text, "#define %s_%s (weights + %zu) /* %zu */\n", layer, what,
                    w->n_weights, n);
        bytes_put_floats(&w->weights, x, n);
    } else {
        numbers_put(&w->text, layer, what, x, n);
    }
    w->n_weights += n;
}

// A norm's four vectors as a factor and an offset.
static enum status norm_put(struct coder *w, const struct export_node *node)
{
    const size_t c = node->x.c;
    float *scale = NULL;
    TRY(memory_alloc(&scale, 2 * c, sizeof *scale, "C"));
    for (size_t k = 0; k < c; k++) {
        double s = (double)node->weight[k] / sqrt((double)node->variance[k] + node->value);
        scale[k] = (float)s;
        scale[c + k] = (float)((double)node->bias[k] - (double)node->mean[k] * s);
    }
    array_put(w, node->ident, "scale", scale, c);
    array_put(w, node->ident, "shift", scale + c, c);
    free(scale);
    return STATUS_OK;
}

static void window_put(struct coder *w, const struct export_node *node)
{
    const struct export_window *v = &node->window;
    bytes_print(
        &w->text,
        "static const struct window %s_window = {{%zu, %zu, %zu}, {%zu, %zu, %zu}, %zu, %zu, %zu, "
        "%zu, %zu, %zu, %zu, %zu, %zu, %d};\n",
        node->ident, node->x.h, node->x.w, node->x.c, node->y.h, node->y.w, node->y.c, v->kernel_h,
        v->kernel_w, v->stride_h, v->stride_w, v->pad_h, v->pad_w, v->dilation_h, v->dilation_w,
        v->groups, node->counts_pad);
}

static enum status constants_put(struct coder *w)
{
    for (size_t i = 0; i < w->net->n; i++) {
        const struct export_node *node = &w->net->nodes[i];
        bool has_window = node->kind == EXPORT_CONV || node->kind == EXPORT_MAXPOOL ||
                          node->kind == EXPORT_AVGPOOL;
        if (has_window)
            window_put(w, node);
        if (node->kind == EXPORT_NORM) {
            TRY(norm_put(w, node));
        } else if (node->weight) {
            array_put(w, node->ident, "weight", node->weight, export_weight_count(node));
            if (node->bias)
                array_put(w, node->ident, "bias", node->bias, node->y.c);
        }
        if (has_window || node->weight)
            bytes_print(&w->text, "\n");
    }
    return STATUS_OK;
}

// ---- the forward pass

static void join_put(struct coder *w, const struct export_node *node, const char *y)
{
    char x[64], other[64];
    size_t first = 0;
    for (int k = 0; k < node->n_from && node->kind == EXPORT_CONCAT; k++) {
        size_t c = node->from[k] < 0 ? w->net->input.c : w->net->nodes[node->from[k]].y.c;
        bytes_print(&w->text, "%sconcat(%zu, %zu, %s, %zu, %zu, %s);", k ? "\n    " : "",
                    node->y.h * node->y.w, c, place_of(w, node->from[k], x), node->y.c, first, y);
        first += c;
    }
    for (int k = 1; k < node->n_from && node->kind == EXPORT_ADD; k++)
        bytes_print(&w->text, "%sadd(%zu, %s, %s, %s);", k > 1 ? "\n    " : "",
                    export_shape_count(node->y), k > 1 ? y : place_of(w, node->from[0], x),
                    place_of(w, node->from[k], other), y);
}

static void window_call(struct coder *w, const struct export_node *node, const char *x,
                        const char *y)
{
    const char *name = node->ident, *bias = node->bias ? "_bias" : "";
    if (node->kind == EXPORT_CONV)
        bytes_print(&w->text, "conv2d(&%s_window, %s_weight, %s%s, %s, %s);", name, name,
                    node->bias ? name : "NULL", bias, x, y);
    else if (node->kind == EXPORT_DENSE)
        bytes_print(&w->text, "dense(%zu, %zu, %s_weight, %s%s, %s, %s);", node->x.c, node->y.c,
                    name, node->bias ? name : "NULL", bias, x, y);
    else if (node->kind == EXPORT_SUBSAMPLE)
        bytes_print(&w->text,
                    "subsample((struct shape){%zu, %zu, %zu}, (struct shape){%zu, %zu, %zu}, "
                    "%zu, %zu, %s, %s);",
                    node->x.h, node->x.w, node->x.c, node->y.h, node->y.w, node->y.c,
                    node->window.stride_h, node->before, x, y);
    else
        bytes_print(&w->text, "%s(&%s_window, %s, %s);",
                    node->kind == EXPORT_MAXPOOL ? "maxpool" : "avgpool", name, x, y);
}

static void hog_call(struct coder *w, const struct export_node *node, const char *x, const char *y)
{
    bytes_print(&w->text,
                "hog((struct shape){%zu, %zu, %zu}, (struct shape){%zu, %zu, %zu}, %zu, %af, %s, "
                "%s);",
                node->x.h, node->x.w, node->x.c, node->y.h, node->y.w, node->y.c,
                node->window.kernel_h, (double)(float)(node->value * node->value), x, y);
}

static void each_call(struct coder *w, const struct export_node *node, const char *x, const char *y)
{
    static const char *const names[EXPORT_KINDS] = {
        [EXPORT_RELU] = "relu", [EXPORT_LEAKY_RELU] = "leaky_relu", [EXPORT_GELU] = "gelu",
        [EXPORT_SILU] = "silu", [EXPORT_SCALE] = "scale",           [EXPORT_FLATTEN] = "copy"};
    bool has_value = node->kind == EXPORT_LEAKY_RELU || node->kind == EXPORT_SCALE;
    size_t n = export_shape_count(node->x);
    if (has_value)
        bytes_print(&w->text, "%s(%zu, %af, %s, %s);", names[node->kind], n,
                    (double)(float)node->value, x, y);
    else if (node->kind != EXPORT_FLATTEN || strcmp(x, y) != 0)
        bytes_print(&w->text, "%s(%zu, %s, %s);", names[node->kind], n, x, y);
}

static void call_put(struct coder *w, const struct export_node *node)
{
    char x[64], y[64];
    const size_t pixels = node->x.h * node->x.w;
    place_of(w, node->from[0], x);
    place_of(w, (int)(node - w->net->nodes), y);
    bytes_print(&w->text, "    ");
    switch (node->kind) {
    case EXPORT_CONV:
    case EXPORT_DENSE:
    case EXPORT_MAXPOOL:
    case EXPORT_AVGPOOL:
    case EXPORT_SUBSAMPLE:
        window_call(w, node, x, y);
        break;
    case EXPORT_NORM:
        bytes_print(&w->text, "norm(%zu, %zu, %s_scale, %s_shift, %s, %s);", pixels, node->x.c,
                    node->ident, node->ident, x, y);
        break;
    case EXPORT_HOG:
        hog_call(w, node, x, y);
        break;
    case EXPORT_GLOBALPOOL:
        bytes_print(&w->text, "globalpool(%zu, %zu, %s, %s);", pixels, node->x.c, x, y);
        break;
    case EXPORT_ADD:
    case EXPORT_CONCAT:
        join_put(w, node, y);
        break;
    default:
        each_call(w, node, x, y);
    }
    bytes_print(&w->text, " /* %s: %zu x %zu x %zu */\n", node->ident, node->y.h, node->y.w,
                node->y.c);
}

static void forward_put(struct coder *w)
{
    bytes_print(&w->text,
                "static float scratch[%zu];\n\nvoid %s_forward(const float *input, float *scores)\n"
                "{\n",
                w->scratch ? w->scratch : 1, w->name);
    for (size_t i = 0; i < w->net->n; i++)
        call_put(w, &w->net->nodes[i]);
    bytes_print(&w->text, "}\n");
}

// ---- around it

static void prepare_put(struct coder *w)
{
    const struct export_net *net = w->net;
    if (net->scale)
        bytes_print(
            &w->text,
            "\nvoid %s_prepare(const %s *raw, float *input)\n{\n"
            "    for (long i = 0; i < %zu; i++)\n"
            "        input[i] = (float)raw[i] * raw_factor[i %% %zu] + raw_offset[i %% %zu];"
            "\n}\n",
            w->name, net->trained->is_u8 ? "unsigned char" : "float",
            export_shape_count(net->input), net->input.c, net->input.c);
    if (w->config->probabilities)
        bytes_print(&w->text,
                    "\nvoid %s_probabilities(const float *scores, float *probabilities)\n{\n"
                    "    const int n = %zu;\n    float most = scores[0], sum = 0;\n"
                    "    for (int k = 1; k < n; k++)\n"
                    "        most = scores[k] > most ? scores[k] : most;\n"
                    "    for (int k = 0; k < n; k++)\n"
                    "        sum += probabilities[k] = expf(scores[k] - most);\n"
                    "    for (int k = 0; k < n; k++)\n        probabilities[k] /= sum;\n}\n",
                    w->name, export_shape_count(export_output(net)));
    if (!w->config->weights_apart)
        return;
    bytes_print(&w->text,
                "\nint %s_load(const char *path)\n{\n"
                "    FILE *file = fopen(path, \"rb\");\n"
                "    if (!file)\n        return -1;\n"
                "    size_t n = fread(weights, sizeof *weights, %zu, file);\n"
                "    int is_longer = fgetc(file) != EOF;\n"
                "    fclose(file);\n"
                "    return n == %zu && !is_longer ? 0 : -1;\n}\n",
                w->name, w->n_weights, w->n_weights);
}

// A text as C's string: everything but plain letters as octal numbers.
static void string_put(struct bytes *text, const char *from)
{
    bytes_print(text, "\"");
    for (; *from; from++) {
        unsigned char c = (unsigned char)*from;
        if (c < 32 || c > 126 || strchr("\"\\?", c))
            bytes_print(text, "\\%03o", c);
        else
            bytes_print(text, "%c", c);
    }
    bytes_print(text, "\"");
}

static void classes_put(struct coder *w)
{
    const struct trained *t = w->net->trained;
    if (!t->is_classifier)
        return;
    bytes_print(&w->text, "\nconst char *const %s_classes[%zu] = {", w->name, t->n_classes);
    for (size_t k = 0; k < t->n_classes; k++) {
        bytes_print(&w->text, "%s", k % 6 ? " " : "\n    ");
        string_put(&w->text, t->classes[k]);
        bytes_print(&w->text, ",");
    }
    bytes_print(&w->text, "\n};\n");
}

static void begin_put(struct coder *w)
{
    bool uses[EXPORT_KINDS] = {false};
    for (size_t i = 0; i < w->net->n; i++)
        uses[w->net->nodes[i].kind] = true;
    // A flatten is a copy only where it cannot stay in place.
    uses[EXPORT_FLATTEN] = false;
    for (size_t i = 0; i < w->net->n; i++)
        uses[EXPORT_FLATTEN] =
            uses[EXPORT_FLATTEN] || (w->net->nodes[i].kind == EXPORT_FLATTEN &&
                                     (w->root[i] == (int)i || i + 1 == w->net->n));
    bytes_print(
        &w->text,
        "/* %s: the forward pass of a trained network. Made by sw2-export %s\n * C99, libm. Not "
        "reentrant: one static array is the scratch memory. */\n#include \"%s.h\"\n\n"
        "#include <math.h>\n#include <stddef.h>\n%s\n",
        w->name, SW2_VERSION, w->file, w->config->weights_apart ? "#include <stdio.h>\n" : "");
    bool has_windows = uses[EXPORT_CONV] || uses[EXPORT_MAXPOOL] || uses[EXPORT_AVGPOOL];
    if (has_windows || uses[EXPORT_SUBSAMPLE] || uses[EXPORT_HOG])
        bytes_print(&w->text, "%s", PART_TYPES);
    if (has_windows)
        bytes_print(&w->text, "%s", PART_WINDOW);
    for (int kind = 0; kind < EXPORT_KINDS; kind++)
        if (uses[kind])
            bytes_print(&w->text, "%s", parts[kind]);
}

static enum status source_make(struct coder *w)
{
    struct bytes *text = &w->text;
    const struct export_net *net = w->net;
    size_t total = 0;
    for (size_t i = 0; i < net->n; i++) {
        const struct export_node *node = &net->nodes[i];
        total += node->kind == EXPORT_NORM ? 2 * node->x.c : export_weight_count(node);
        total += node->kind != EXPORT_NORM && node->bias ? node->y.c : 0;
    }
    if (total > FLOATS_MANY && !w->config->weights_apart)
        log_warn("%zu million weights in a C source take a compiler long and much memory: "
                 "--weights-apart puts them into a file",
                 total >> 20);
    TRY(memory_plan(w));
    begin_put(w);
    if (w->config->weights_apart)
        bytes_print(text, "static float weights[%zu];\n\n", total);
    TRY(constants_put(w));
    ASSERT(w->n_weights == total);
    if (net->scale) { // few, and wanted before anything is loaded
        numbers_put(text, "raw", "factor", net->scale, net->input.c);
        numbers_put(text, "raw", "offset", net->shift, net->input.c);
        bytes_print(text, "\n");
    }
    forward_put(w);
    prepare_put(w);
    classes_put(w);
    return STATUS_OK;
}

static void header_make(struct coder *w)
{
    const struct export_net *net = w->net;
    const struct trained *t = net->trained;
    const char *name = w->name;
    struct shape in = net->input, out = export_output(net);
    char *prepared = transforms_describe(t->transforms);
    bytes_print(
        &w->text,
        "/* %s: the forward pass of a trained network. Made by sw2-export %s */\n#ifndef %s_H\n"
        "#define %s_H\n\n#define %s_H_IN %zu\n#define %s_W_IN %zu\n#define %s_C_IN %zu\n"
        "#define %s_INPUTS %zu /* h, w, c: row by row, channels together */\n"
        "#define %s_OUTPUTS %zu\n\n",
        name, SW2_VERSION, name, name, name, in.h, name, in.w, name, in.c, name,
        export_shape_count(in), name, export_shape_count(out));
    bytes_print(&w->text,
                "/* input: one sample, prepared as in training (%s).\n"
                "   scores: %zu x %zu x %zu%s */\n"
                "void %s_forward(const float *input, float *scores);\n",
                prepared ? prepared : "", out.h, out.w, out.c,
                t->is_classifier ? ", of each class; the largest wins" : "", name);
    free(prepared);
    if (net->scale)
        bytes_print(&w->text,
                    "/* raw: %s, %s_INPUTS of them, to the network's input */\n"
                    "void %s_prepare(const %s *raw, float *input);\n",
                    t->is_u8 ? "bytes of a picture" : "values", name, name,
                    t->is_u8 ? "unsigned char" : "float");
    if (w->config->probabilities)
        bytes_print(&w->text,
                    "/* Softmax. */\n"
                    "void %s_probabilities(const float *scores, float *probabilities);\n",
                    name);
    if (w->config->weights_apart)
        bytes_print(&w->text,
                    "/* Reads the weights, once, before anything else. 0: done; -1: no such file, "
                    "or another one. */\nint %s_load(const char *path);\n",
                    name);
    if (t->is_classifier)
        bytes_print(&w->text, "extern const char *const %s_classes[%s_OUTPUTS];\n", name, name);
    bytes_print(&w->text, "\n#endif\n");
}

static enum status part_save(struct bytes *text, const char *path, const char *ending)
{
    char name[4096];
    int n = snprintf(name, sizeof name, "%s%s", path, ending);
    CHECK(n > 0 && (size_t)n < sizeof name, STATUS_USAGE, "path '%.80s' is too long", path);
    TRY(bytes_save(text, name));
    text->n = 0;
    return STATUS_OK;
}

enum status export_c(const struct export_net *net, const struct export_config *config,
                     const char *path)
{
    const char *slash = strrchr(path, '/');
    struct coder w = {
        .net = net, .config = config, .name = net->name, .file = slash ? slash + 1 : path};
    enum status status = source_make(&w);
    if (status == STATUS_OK)
        status = part_save(&w.text, path, ".c");
    if (status == STATUS_OK) {
        header_make(&w);
        status = part_save(&w.text, path, ".h");
    }
    if (status == STATUS_OK && config->weights_apart) // the text is empty by then
        status = part_save(&w.weights, path, ".bin");
    bytes_free(&w.text);
    bytes_free(&w.weights);
    free(w.items);
    free(w.root);
    return status;
}
