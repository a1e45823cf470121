// SPDX-License-Identifier: MIT
// sw2-import: weights of another program as a checkpoint of a recipe.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "trainer/checkpoint.h"
#include "trainer/cli.h"
#include "trainer/finetune.h"
#include "trainer/import_foreign.h"
#include "trainer/session.h"
#include "trainer/text_file.h"

enum format { FORMAT_AUTO, FORMAT_ONNX, FORMAT_TORCH };

struct args {
    struct option_strings overrides;
    struct foreign_config match;
    int format, flatten;
    bool json;
};

#define ROW(name, type, field, fallback, choices, help, letter, value)                             \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, 0, 0, choices, help}, letter, value   \
    }
static const struct cli_option options[] = {
    ROW("format", OPTION_CHOICE, format, "auto", "auto|onnx|torch",
        "auto: HDF5 files are a state_dict of PyTorch, others ONNX", 'f', NULL),
    ROW("option", OPTION_STRINGS, overrides, NULL, NULL,
        "set any key of the recipe, as data.train=FILE.h5:/train; may be repeated", 'o',
        "KEY=VALUE"),
    ROW("skip", OPTION_STRINGS, match.skip, NULL, NULL,
        "layers of the recipe that start anew: a name, a pattern, features or head; repeatable", 0,
        "LAYER"),
    ROW("ignore", OPTION_STRINGS, match.ignore, NULL, NULL,
        "layers of the file that are left out: a name or a pattern; repeatable", 0, "NAME"),
    ROW("map", OPTION_STRINGS, match.map, NULL, NULL,
        "a layer of the file and one of the recipe that belong together; repeatable", 0,
        "NAME=LAYER"),
    ROW("flatten", OPTION_CHOICE, flatten, "chw", "chw|hwc",
        "order in which the file's network made images flat", 0, NULL),
    ROW("json", OPTION_BOOL, json, "false", NULL, "say what went where as JSON", 0, NULL),
};

static const struct cli cli = {
    .program = "sw2-import",
    .arguments = "RECIPE WEIGHTS OUT",
    .about = "Takes weights that another program trained into a recipe: an ONNX file, or the "
             "state_dict of a PyTorch\nmodel written to HDF5 (file[name] = array). OUT is a folder "
             "for the checkpoint: sw2-eval and\nsw2-predict read it, and training starts from it "
             "by -o train.init_from=OUT. Layers are paired by\nname or, kind by kind, in order.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 3,
    .max_arguments = 3,
    .examples = "sw2-import imagenet_resnet18 resnet18.h5 imported\n"
                "sw2-import mine.yaml net.onnx imported --skip head --ignore fc",
};

static enum status foreign_read(struct foreign_net *net, const char *path, int format)
{
    if (format == FORMAT_AUTO) {
        static const unsigned char magic[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
        unsigned char head[sizeof magic] = {0};
        FILE *file = fopen(path, "rb");
        CHECK(file, STATUS_DATA, "cannot open '%s'", path);
        size_t n = fread(head, 1, sizeof head, file);
        fclose(file);
        bool is_h5 = n == sizeof head && memcmp(head, magic, sizeof magic) == 0;
        format = is_h5 ? FORMAT_TORCH : FORMAT_ONNX;
    }
    return format == FORMAT_TORCH ? foreign_h5_read(net, path) : foreign_onnx_read(net, path);
}

static void pairs_show(const struct session *s, const struct foreign_pair *pairs, size_t n,
                       const char *out, bool is_json)
{
    size_t taken = 0;
    if (is_json) {
        printf("{\"checkpoint\": ");
        json_text(stdout, out);
        printf(", \"layers\": [");
    }
    for (size_t i = 0; i < n; i++) {
        const struct foreign_layer *from = pairs[i].from;
        const char *name = model_layer(s->model, pairs[i].layer)->name;
        taken += from != NULL;
        if (!is_json) {
            log_line("  %-16s %s %s", name, from ? "<-" : "  ", from ? from->name : "starts anew");
            continue;
        }
        printf("%s{\"layer\": ", i ? ", " : "");
        json_text(stdout, name);
        printf(", \"from\": ");
        if (from)
            json_text(stdout, from->name);
        else
            printf("null");
        printf("}");
    }
    if (is_json)
        printf("]}\n");
    else
        log_line("%zu of %zu layers with weights; checkpoint in %s", taken, n, out);
}

static enum status save(struct session *s, const char *out)
{
    struct checkpoint_meta meta = {.isa = isa_name(isa_current()),
                                   .versions = "sw2 " SW2_VERSION ", imported"};
    TRY(checkpoint_folder_open(s->group, out));
    session_describe(s, &meta);
    return checkpoint_save(s->group, out, 0, false, &meta, s->update, s->list, s->n_list,
                           s->params);
}

// Collective. A run's own checkpoints, newer than what is written here, would hide it.
static enum status folder_check(struct group *group, const char *out)
{
    struct checkpoint *there = NULL;
    size_t n = strlen(out);
    CHECK(n < 3 || strcmp(out + n - 3, ".h5") != 0, STATUS_USAGE,
          "OUT is a folder for the checkpoint, not a file as '%s'", out);
    TRY(checkpoint_open(&there, group, out));
    bool is_run = there && checkpoint_meta(there)->global_step > 0;
    checkpoint_close(there);
    CHECK(!is_run, STATUS_USAGE, "'%s' holds checkpoints of a run: name another folder", out);
    return STATUS_OK;
}

// Rank 0 reads and matches; all take part in saving.
static enum status import(struct session *s, const struct args *args,
                          const struct option_strings *arguments)
{
    struct foreign_net net = {0};
    struct foreign_config match = args->match;
    struct foreign_pair *pairs = NULL;
    size_t n_pairs = 0;
    enum status status = STATUS_OK;
    match.is_hwc = args->flatten == 1;
    if (s->group->rank == 0) {
        status = foreign_read(&net, arguments->v[1], args->format);
        if (status == STATUS_OK)
            status = foreign_match(&net, &match, s->model, s->params, &pairs, &n_pairs);
    }
    status = group_agree(s->group, status);
    if (status == STATUS_OK) {
        group_broadcast(s->group, s->params, s->n * sizeof *s->params, 0);
        finetune_averages(s);
        status = save(s, arguments->v[2]);
    }
    if (status == STATUS_OK && s->group->rank == 0)
        pairs_show(s, pairs, n_pairs, arguments->v[2], args->json);
    free(pairs);
    foreign_free(&net);
    return status;
}

static enum status run(struct group *group, const void *given,
                       const struct option_strings *arguments)
{
    const struct args *args = given;
    struct recipe recipe = {0};
    struct session session = {0};
    TRY(folder_check(group, arguments->v[2]));
    enum status status = recipe_load(&recipe, group, arguments->v[0], &args->overrides);
    if (status == STATUS_OK)
        status = session_data(&session, group, &recipe);
    if (status == STATUS_OK)
        status = session_sizes(&session);
    if (status == STATUS_OK)
        status = session_training(&session);
    if (status == STATUS_OK)
        status = import(&session, args, arguments);
    session_free(&session);
    recipe_free(&recipe);
    return status;
}

int main(int argc, char **argv)
{
    struct args args = {0};
    return cli_main(&cli, argc, argv, &args, run);
}
