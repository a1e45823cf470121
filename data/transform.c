// SPDX-License-Identifier: MIT
// The list of transforms of a recipe: read, planned, applied in order. The first step, from the raw
// row to floats in 0..1, is always there; for uint8 rows it is a table that also holds the affine
// transforms that the list begins with. Called by the loader.
#include "data/transform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/names.h"
#include "data/transform_private.h"

static const struct transform_ops *const table[] = {
#define TRANSFORM(name) &transform_##name,
#include "data/transforms.def"
#undef TRANSFORM
};
#define N_TABLE (sizeof table / sizeof *table)

struct step {
    const struct transform_ops *ops;
    void *self;
};

struct transforms {
    struct sample_shape shape;
    size_t n, n_folded; // steps; how many of them the table of bytes holds
    struct step *step;
    bool is_same;     // the table is the same for all channels
    float *from_byte; // (c, 256)
};

// ---- reading the list

static enum status step_find(struct yaml *yaml, const struct yaml_node *node, const char *name,
                             const struct transform_ops **ops)
{
    const char *names[N_TABLE];
    for (size_t i = 0; i < N_TABLE; i++) {
        names[i] = table[i]->name;
        if (strcmp(name, table[i]->name) == 0) {
            *ops = table[i];
            return STATUS_OK;
        }
    }
    char known[256] = "";
    for (size_t i = 0; i < N_TABLE; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 names[i]);
    const char *near = names_nearest(name, names, N_TABLE);
    FAIL(STATUS_USAGE, "%s: unknown transform '%s'%s%s%s (known: %s)", yaml_place(yaml, node), name,
         near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", known);
}

// `node` is {name: {options}} or name; NULL: normalize.
static enum status step_read(struct step *step, struct yaml *yaml, const struct yaml_node *node,
                             struct transform_plan *plan)
{
    const char *name = "normalize";
    const struct yaml_node *options = NULL;
    char where[64];
    plan->place = yaml_place(yaml, node);
    if (node && node->kind == YAML_SCALAR) {
        name = node->text;
    } else if (node) {
        CHECK(node->kind == YAML_MAP && node->n == 1, STATUS_USAGE,
              "%s: a transform is written {name: {options}}", plan->place);
        options = node->first;
        name = options->key;
    }
    TRY(step_find(yaml, node, name, &step->ops));
    const struct transform_ops *ops = step->ops;
    TRY(memory_alloc(&step->self, 1, ops->bytes, "transform"));
    snprintf(where, sizeof where, "transform %s", name);
    TRY(options_read(yaml, options, ops->options, ops->n_options, where, step->self));
    if (ops->plan)
        TRY(ops->plan(step->self, plan));
    plan->is_normalized = plan->is_normalized || ops == &transform_normalize;
    return STATUS_OK;
}

static void step_apply(const struct step *step, const struct transform_sample *sample, float *x)
{
    step->ops->apply(step->self, sample, x);
}

// ---- the table of bytes

// What the folded transforms make of every byte in every channel, by the same arithmetic.
static enum status bytes_plan(struct transforms *transforms)
{
    size_t c = transforms->shape.c;
    TRY(memory_alloc(&transforms->from_byte, c, 256 * sizeof(float), "table of bytes"));
    while (transforms->n_folded < transforms->n &&
           transforms->step[transforms->n_folded].ops->is_affine)
        transforms->n_folded++;
    float *pixel = NULL;
    TRY(memory_alloc(&pixel, transforms->shape.w * c, sizeof *pixel, "row of pixels"));
    struct transform_sample sample = {.shape = {1, transforms->shape.w, c}};
    transforms->is_same = true;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t i = 0; i < transforms->shape.w * c; i++)
            pixel[i] = (float)byte / 255.0f;
        for (size_t i = 0; i < transforms->n_folded; i++)
            step_apply(&transforms->step[i], &sample, pixel);
        for (size_t k = 0; k < c; k++) {
            transforms->from_byte[k * 256 + (size_t)byte] = pixel[k];
            transforms->is_same =
                transforms->is_same && memcmp(&pixel[k], &pixel[0], sizeof *pixel) == 0;
        }
    }
    free(pixel);
    return STATUS_OK;
}

static void bytes_apply(const struct transforms *transforms, const uint8_t *raw, float *out)
{
    size_t c = transforms->shape.c, pixels = transforms->shape.h * transforms->shape.w;
    const float *from = transforms->from_byte;
    if (transforms->is_same) {
        for (size_t i = 0; i < pixels * c; i++)
            out[i] = from[raw[i]];
        return;
    }
    if (c == 3) {
        for (size_t i = 0; i < pixels; i++, raw += 3, out += 3) {
            out[0] = from[raw[0]];
            out[1] = from[256 + raw[1]];
            out[2] = from[512 + raw[2]];
        }
        return;
    }
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < c; k++)
            out[i * c + k] = from[k * 256 + raw[i * c + k]];
}

// ---- the list

static enum status list_read(struct transforms *transforms, struct yaml *yaml,
                             const struct yaml_node *list, struct transform_plan *plan)
{
    CHECK(!list || list->kind == YAML_LIST, STATUS_USAGE,
          "%s: data.transforms is a list, such as [{normalize: {}}, {flip: {}}]",
          yaml_place(yaml, list));
    size_t n = list ? list->n : 1, i = 0;
    TRY(memory_alloc(&transforms->step, n, sizeof *transforms->step, "transforms"));
    if (!list) {
        transforms->n = 1;
        return step_read(&transforms->step[0], yaml, NULL, plan);
    }
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        transforms->n = i + 1;
        TRY(step_read(&transforms->step[i++], yaml, node, plan));
    }
    return STATUS_OK;
}

enum status transforms_plan(struct transforms **out, struct yaml *yaml,
                            const struct yaml_node *list, const struct dataset *train)
{
    struct transform_source source = {dataset_shape(train), dataset_mean(train),
                                      dataset_std(train)};
    return transforms_plan_for(out, yaml, list, &source);
}

enum status transforms_plan_for(struct transforms **out, struct yaml *yaml,
                                const struct yaml_node *list, const struct transform_source *source)
{
    struct transforms *transforms = NULL;
    *out = NULL;
    TRY(memory_alloc(&transforms, 1, sizeof *transforms, "transforms"));
    transforms->shape = source->shape;
    struct transform_plan plan = {
        .shape = transforms->shape, .mean = source->mean, .std = source->std};
    enum status status = list_read(transforms, yaml, list, &plan);
    if (status == STATUS_OK)
        status = bytes_plan(transforms);
    if (status != STATUS_OK)
        transforms_free(transforms);
    else
        *out = transforms;
    return status;
}

void transforms_free(struct transforms *transforms)
{
    if (!transforms)
        return;
    for (size_t i = 0; i < transforms->n; i++) {
        struct step *step = &transforms->step[i];
        if (step->self && step->ops->free)
            step->ops->free(step->self);
        free(step->self);
    }
    free(transforms->step);
    free(transforms->from_byte);
    free(transforms);
}

struct sample_shape transforms_shape(const struct transforms *transforms)
{
    return transforms->shape;
}

size_t transforms_scratch(const struct transforms *transforms)
{
    return transforms->shape.h * transforms->shape.w * transforms->shape.c;
}

void transforms_apply(const struct transforms *transforms, const void *raw, bool is_u8,
                      bool is_training, uint64_t seed, uint32_t epoch, uint64_t row, float *out,
                      float *scratch)
{
    struct random_key key = {.seed = seed, .purpose = RANDOM_AUGMENT, .epoch = epoch};
    struct transform_sample sample = {
        .shape = transforms->shape, .scratch = scratch, .seed = seed, .row = row, .epoch = epoch};
    if (is_u8)
        bytes_apply(transforms, raw, out);
    else
        memcpy(out, raw, transforms_scratch(transforms) * sizeof *out);
    for (size_t i = is_u8 ? transforms->n_folded : 0; i < transforms->n; i++) {
        const struct step *step = &transforms->step[i];
        if (step->ops->is_random && !is_training)
            continue;
        if (step->ops->is_random)
            random_words(key, row, (uint32_t)i, sample.word);
        sample.number = (uint32_t)i;
        step_apply(step, &sample, out);
    }
}

char *transforms_describe(const struct transforms *transforms)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    fprintf(out, "bytes scaled to 0..1");
    for (size_t i = 0; i < transforms->n; i++) {
        fprintf(out, ", ");
        transforms->step[i].ops->describe(transforms->step[i].self, out);
    }
    fclose(out);
    return text;
}
