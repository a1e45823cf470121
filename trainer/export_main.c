// SPDX-License-Identifier: MIT
// sw2-export: a checkpoint for other programs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/outputs.h"
#include "trainer/cli.h"
#include "trainer/export.h"
#include "trainer/text_file.h"

enum format { FORMAT_AUTO, FORMAT_ONNX, FORMAT_KERAS, FORMAT_NPZ, FORMAT_C };
#define FORMATS "auto|onnx|keras|npz|c"

struct args {
    const char *weights, *name;
    int format;
    bool folds_norms, prepares, probabilities, weights_apart, json;
};

#define ROW(name, type, field, fallback, choices, help, letter, value)                             \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, 0, 0, choices, help}, letter, value   \
    }
static const struct cli_option options[] = {
    ROW("format", OPTION_CHOICE, format, "auto", FORMATS, "auto: by the ending of OUT", 'f', NULL),
    ROW("fold-batchnorm", OPTION_BOOL, folds_norms, "false", NULL,
        "batch-norms right behind a convolution or dense layer become part of its weights", 0,
        NULL),
    ROW("preprocess", OPTION_BOOL, prepares, "false", NULL,
        "take the preprocessing along: inputs are then raw bytes of pictures (or raw values)", 0,
        NULL),
    ROW("probabilities", OPTION_BOOL, probabilities, "false", NULL,
        "onnx, c: probabilities of the classes beside their scores", 0, NULL),
    ROW("weights-apart", OPTION_BOOL, weights_apart, "false", NULL,
        "c: weights in a file NAME.bin, which NAME_load() reads; for networks of many weights", 0,
        NULL),
    ROW("weights", OPTION_STRING, weights, "auto", NULL,
        "auto: the EMA weights if the checkpoint has them, else model", 0, "auto|model|ema"),
    ROW("name", OPTION_STRING, name, NULL, NULL,
        "of the network and of the functions in C; default: the recipe's", 0, "NAME"),
    ROW("json", OPTION_BOOL, json, "false", NULL, "say what was written as JSON", 0, NULL),
};

static const struct cli cli = {
    .program = "sw2-export",
    .arguments = "CHECKPOINT OUT",
    .about = "Writes a trained network for other programs: NET.onnx (ONNX, opset 13), "
             "NET.weights.h5 with NET.py\n(Keras 3), NET.npz (NumPy), or NET.c with NET.h (C99 "
             "that needs nothing but libm). CHECKPOINT is a\nfile, or a folder of checkpoints (the "
             "newest good one).",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 2,
    .max_arguments = 2,
    .examples = "sw2-export runs/digits-1/checkpoints/best.h5 digits.onnx --preprocess\n"
                "sw2-export runs/digits-1/checkpoints digits.c --fold-batchnorm",
};

// How each format's files end: what OUT may end in, and what is written.
static const struct {
    const char *endings[3], *files[3];
    enum status (*write)(const struct export_net *net, const struct export_config *config,
                         const char *path);
    bool is_one_file; // path is OUT itself
} formats[] = {
    [FORMAT_ONNX] = {{".onnx"}, {""}, export_onnx, true},
    [FORMAT_KERAS] = {{".weights.h5", ".py"}, {".weights.h5", ".py"}, export_keras, false},
    [FORMAT_NPZ] = {{".npz"}, {""}, export_npz, true},
    [FORMAT_C] = {{".c", ".h"}, {".c", ".h", ".bin"}, export_c, false},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

// Length of `path` without this ending; 0: it has another one.
static size_t stem_of(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0 ? n - m : 0;
}

static enum status format_find(const struct args *args, const char *out, int *format)
{
    *format = args->format;
    for (int f = FORMAT_ONNX; f < N_FORMATS && *format == FORMAT_AUTO; f++)
        for (int e = 0; e < 3 && formats[f].endings[e]; e++)
            if (stem_of(out, formats[f].endings[e]) > 0)
                *format = f;
    CHECK(
        *format != FORMAT_AUTO, STATUS_USAGE,
        "cannot tell the format of '%.200s' by its ending (.onnx, .weights.h5, .npz, .c): name it "
        "by --format",
        out);
    CHECK(!args->weights_apart || *format == FORMAT_C, STATUS_USAGE,
          "--weights-apart is for the format c");
    CHECK(!args->probabilities || *format == FORMAT_C || *format == FORMAT_ONNX, STATUS_USAGE,
          "--probabilities is for the formats onnx and c");
    return STATUS_OK;
}

static size_t weights_count(const struct export_net *net)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n; i++) {
        const struct export_node *node = &net->nodes[i];
        n += export_weight_count(node) + (node->bias ? node->y.c : 0);
        n += node->kind == EXPORT_NORM ? 2 * node->y.c : 0;
    }
    return n;
}

static void result_show(const struct export_net *net, const struct args *args, int format,
                        const char *path)
{
    static const char *const names[] = {"auto", "onnx", "keras", "npz", "c"};
    struct shape x = net->input, y = export_output(net);
    bool apart = args->weights_apart;
    if (!args->json) {
        log_line("%s%s%s%s: %zu layers, %zu numbers; input %zu x %zu x %zu (h, w, c)%s, %zu "
                 "outputs",
                 path, formats[format].files[0],
                 formats[format].is_one_file ? "" : (format == FORMAT_C ? ", .h" : ", .py"),
                 apart ? ", .bin" : "", net->n, weights_count(net), x.h, x.w, x.c,
                 net->scale ? net->trained->is_u8 ? " of bytes" : " raw" : " prepared",
                 export_shape_count(y));
        return;
    }
    printf("{\"format\": \"%s\", \"name\": \"%s\", \"files\": [", names[format], net->name);
    for (int i = 0; i < 3 && formats[format].files[i] && (i < 2 || apart); i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, formats[format].files[i]);
        fputs(i ? ", " : "", stdout);
        json_text(stdout, name);
    }
    printf("], \"layers\": %zu, \"numbers\": %zu, \"input\": [%zu, %zu, %zu], \"raw\": %s, "
           "\"output\": [%zu, %zu, %zu]}\n",
           net->n, weights_count(net), x.h, x.w, x.c, net->scale ? "true" : "false", y.h, y.w, y.c);
}

static enum status write_all(const struct trained *trained, const struct args *args, int format,
                             const char *out)
{
    struct export_net net;
    struct export_config config = {.name = args->name,
                                   .folds_norms = args->folds_norms,
                                   .prepares = args->prepares,
                                   .probabilities = args->probabilities,
                                   .weights_apart = args->weights_apart};
    char path[4096];
    size_t n = strlen(out);
    for (int e = 0; e < 3 && !formats[format].is_one_file && formats[format].endings[e]; e++) {
        size_t stem = stem_of(out, formats[format].endings[e]);
        n = stem > 0 && stem < n ? stem : n;
    }
    CHECK(n < sizeof path, STATUS_USAGE, "path '%.80s' is too long", out);
    memcpy(path, out, n);
    path[n] = 0;
    TRY(export_net_open(&net, trained, &config));
    enum status status = formats[format].write(&net, &config, path);
    if (status == STATUS_OK)
        result_show(&net, args, format, path);
    export_net_close(&net);
    return status;
}

static enum status export(struct group *group, const void *given,
                          const struct option_strings *arguments) {
    const struct args *args = given;

    int format;
    struct trained trained = {0};
    struct trained_config from = {.path = arguments->v[0], .weights = args->weights, .chunk = 1};
    TRY(group_agree(group, outputs_check(arguments->v[1], arguments->v, 1)));
    TRY(group_agree(group, format_find(args, arguments->v[1], &format)));
    enum status status = trained_open(&trained, group, &from);
    if (status == STATUS_OK) status = group_agree(
        group, group->rank == 0 ? write_all(&trained, args, format, arguments->v[1]) : STATUS_OK);
    trained_close(&trained);
    return status;
}

int main(int argc, char **argv)
{
    struct args args = {0};
    return cli_main(&cli, argc, argv, &args, export);
}
