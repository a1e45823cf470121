// SPDX-License-Identifier: MIT
#include "trainer/trained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

// Splits the names, one a line, or makes numbers of them.
static enum status classes_split(struct trained *t, const char *text)
{
    size_t n = t->n_classes, lines = *text ? 1 : 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    bool has_names = t->is_classifier && lines == n;
    TRY(memory_alloc(&t->classes, n, sizeof *t->classes, "names of the classes"));
    TRY(memory_alloc(&t->names, has_names ? strlen(text) + 1 : 24 * n, 1, "names of the classes"));
    if (has_names)
        strcpy(t->names, text);
    char *at = t->names;
    for (size_t i = 0; i < n; i++) {
        t->classes[i] = at;
        if (!has_names) {
            at += snprintf(at, 24, "%zu", i) + 1;
            continue;
        }
        at += strcspn(at, "\n");
        *at++ = 0;
    }
    return STATUS_OK;
}

static enum status model_make(struct trained *t, const struct trained_config *config)
{
    const struct checkpoint_meta *meta = checkpoint_meta(t->checkpoint);
    struct model_config model = {
        .yaml = t->recipe.yaml,
        .features = t->recipe.features,
        .head = t->recipe.head,
        .loss = t->recipe.loss,
        .input = {t->input.h, t->input.w, t->input.c},
        .target = {meta->target_is_class, meta->target_count, meta->target_classes},
        .mode = train_config_mode_inference(&t->recipe.train),
        .grain = config->chunk,
        .input_gradient = config->input_gradient,
        .keep = config->keep,
    };
    TRY(model_init(&t->model, &model));
    t->n = model_floats(t->model);
    t->n_list = model_params(t->model, &t->list);
    struct shape out = tensor_shape(model_output(t->model));
    t->is_classifier = meta->target_is_class && meta->target_count == 1 && out.h * out.w == 1;
    t->n_classes = out.h * out.w * out.c;
    return memory_alloc(&t->params, t->n, sizeof *t->params, "weights");
}

static enum status network_open(struct trained *t, const struct trained_config *config)
{
    const struct checkpoint_meta *meta = checkpoint_meta(t->checkpoint);
    TRY(recipe_parse(&t->recipe, checkpoint_path(t->checkpoint), meta->recipe, NULL));
    const uint64_t most = (uint64_t)1 << 24;
    CHECK(meta->input_h > 0 && meta->input_h <= most && meta->input_w > 0 &&
              meta->input_w <= most && meta->input_c > 0 && meta->input_c <= most,
          STATUS_DATA, "checkpoint %s: samples of %llu x %llu x %llu make no sense",
          checkpoint_path(t->checkpoint), (unsigned long long)meta->input_h,
          (unsigned long long)meta->input_w, (unsigned long long)meta->input_c);
    t->input = (struct sample_shape){meta->input_h, meta->input_w, meta->input_c};
    t->is_u8 = meta->input_is_u8;
    struct transform_source source = {.shape = t->input};
    TRY(transforms_plan_for(&t->transforms, t->recipe.yaml, t->recipe.data.transforms, &source));
    TRY(model_make(t, config));
    return classes_split(t, meta->classes);
}

enum status trained_weights(struct checkpoint *checkpoint, const char *which,
                            const struct model_param *list, size_t n_list, float *params, size_t n)
{
    bool is_auto = strcmp(which, "auto") == 0, is_ema = strcmp(which, "ema") == 0;
    CHECK(is_auto || is_ema || strcmp(which, "model") == 0, STATUS_USAGE,
          "--weights: '%s' is not one of auto, model, ema", which);
    if (is_auto)
        is_ema = checkpoint_has_state(checkpoint, "ema");
    return checkpoint_load_weights(checkpoint, is_ema ? "ema" : NULL, list, n_list, params, n);
}

enum status trained_open(struct trained *t, struct group *group,
                         const struct trained_config *config)
{
    *t = (struct trained){.group = group};
    TRY(checkpoint_open(&t->checkpoint, group, config->path));
    CHECK(t->checkpoint, STATUS_DATA, "no checkpoint in '%s'", config->path);
    TRY(group_agree(group, network_open(t, config)));
    TRY(group_agree(group, trained_weights(t->checkpoint, config->weights, t->list, t->n_list,
                                           t->params, t->n)));
    model_prepare(t->model, t->params, NULL);
    return STATUS_OK;
}

void trained_close(struct trained *t)
{
    model_free(t->model);
    transforms_free(t->transforms);
    recipe_free(&t->recipe);
    checkpoint_close(t->checkpoint);
    free(t->classes);
    free(t->names);
    free(t->params);
    *t = (struct trained){0};
}
