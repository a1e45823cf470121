// SPDX-License-Identifier: MIT
// Finds the keys of inputs and targets in files of others, and the shape and order of a row.
// Whatever was guessed is noted for dataset_describe.
#include "data/dataset_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "comm/memory.h"

// ---- keys

// Common names, best first. Each also with the side before or behind: x_train, train_x,
// train_set_x.
static const char *const pairs[][2] = {
    {"images", "labels"},    {"x", "y"},
    {"data", "label"},       {"data", "labels"},
    {"image", "label"},      {"image", "labels"},
    {"images", "label"},     {"images", "targets"},
    {"data", "target"},      {"data", "targets"},
    {"features", "targets"}, {"features", "labels"},
    {"features", "target"},  {"features", "label"},
    {"inputs", "targets"},   {"inputs", "labels"},
    {"input", "target"},     {"input", "label"},
    {"inputs", "outputs"},   {"samples", "labels"},
    {"signals", "labels"},   {"x", "labels"},
};

static const char *const sides[2][4] = {
    [DATASET_TRAIN] = {"train", "training", NULL, NULL},
    [DATASET_TEST] = {"test", "val", "valid", "validation"},
};
static const char *const joints[] = {"_", "_set_", ""}; // between side and name

struct children {
    size_t n, room;
    char **name;
    bool *is_dataset;
};

static enum status child_add(void *context, const char *name, bool is_dataset)
{
    struct children *children = context;
    if (children->n == children->room)
        return STATUS_OK; // of so many none is a name we know
    children->name[children->n] = strdup(name);
    CHECK(children->name[children->n], STATUS_ERROR, "out of memory");
    children->is_dataset[children->n++] = is_dataset;
    return STATUS_OK;
}

static void children_free(struct children *children)
{
    for (size_t i = 0; i < children->n; i++)
        free(children->name[i]);
    free(children->name);
    free(children->is_dataset);
}

static enum status children_read(struct children *children, struct dataset *dataset)
{
    *children = (struct children){.room = 256};
    enum status status =
        memory_alloc(&children->name, children->room, sizeof *children->name, "names");
    if (status == STATUS_OK)
        status = memory_alloc(&children->is_dataset, children->room, sizeof *children->is_dataset,
                              "names");
    if (status == STATUS_OK)
        status = h5_list(dataset->file, dataset->group, child_add, children);
    if (status != STATUS_OK)
        children_free(children);
    return status;
}

// The child of that name, exactly, else but for upper and lower case; NULL if none.
static const char *children_find(const struct children *children, const char *name, bool is_dataset)
{
    for (size_t i = 0; i < children->n; i++)
        if (children->is_dataset[i] == is_dataset && strcmp(children->name[i], name) == 0)
            return children->name[i];
    for (size_t i = 0; i < children->n; i++)
        if (children->is_dataset[i] == is_dataset && strcasecmp(children->name[i], name) == 0)
            return children->name[i];
    return NULL;
}

// Form of a name: 0 plain; then for each joint side first and side last.
#define N_FORMS (1 + 2 * (int)(sizeof joints / sizeof *joints))

static const char *children_find_form(const struct children *children, const char *name, int form,
                                      const char *side)
{
    char text[96];
    if (form == 0)
        return children_find(children, name, true);
    const char *joint = joints[(form - 1) / 2];
    bool is_side_first = form % 2;
    snprintf(text, sizeof text, "%s%s%s", is_side_first ? side : name, joint,
             is_side_first ? name : side);
    return children_find(children, text, true);
}

// A pair of which one may be given by the recipe (then it is kept).
static bool pair_find(const struct children *children, enum dataset_side side, const char **input,
                      const char **target)
{
    const char *given_input = *input, *given_target = *target;
    for (int form = 0; form < N_FORMS; form++)
        for (int s = 0; s < 4 && sides[side][s] && (form > 0 || s == 0); s++)
            for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
                const char *side_name = sides[side][s];
                *input = given_input ? given_input
                                     : children_find_form(children, pairs[i][0], form, side_name);
                *target = given_target ? given_target
                                       : children_find_form(children, pairs[i][1], form, side_name);
                if (*input && *target && strcmp(*input, *target) != 0)
                    return true;
            }
    *input = given_input;
    *target = given_target;
    return false;
}

// Two data sets and nothing else known: the one of more dimensions is the input.
static bool two_find(struct dataset *dataset, const struct children *children, const char **input,
                     const char **target)
{
    const char *found[2] = {NULL, NULL};
    size_t n = 0;
    for (size_t i = 0; i < children->n; i++)
        if (children->is_dataset[i] && n++ < 2)
            found[n - 1] = children->name[i];
    if (n != 2 || *input || *target)
        return false;
    struct h5_info info[2];
    for (int i = 0; i < 2; i++) {
        char name[1024];
        snprintf(name, sizeof name, "%s/%s", dataset->group, found[i]);
        if (h5_info(dataset->file, name, &info[i]) != STATUS_OK)
            return false;
    }
    if (info[0].rank == info[1].rank || info[0].dim[0] != info[1].dim[0])
        return false;
    *input = found[info[0].rank < info[1].rank];
    *target = found[info[0].rank > info[1].rank];
    dataset_note(dataset, "the only two data sets, '%s' and '%s', are taken as inputs and targets",
                 *input, *target);
    return true;
}

static enum status group_choose(struct dataset *dataset, const char *group)
{
    while (*group == '/')
        group++;
    int put = asprintf(&dataset->group, "/%s", group);
    CHECK(put >= 0, STATUS_ERROR, "out of memory");
    for (size_t n = strlen(dataset->group); n > 1 && dataset->group[n - 1] == '/'; n--)
        dataset->group[n - 1] = 0;
    CHECK(h5_exists(dataset->file, dataset->group), STATUS_DATA, "%s has no group '%s'",
          h5_path(dataset->file), dataset->group);
    return STATUS_OK;
}

// Where the path names no group and the root has one for this side, that is meant.
static enum status group_descend(struct dataset *dataset, struct children *children)
{
    for (int s = 0; s < 4 && sides[dataset->side][s]; s++) {
        const char *name = children_find(children, sides[dataset->side][s], false);
        if (!name)
            continue;
        dataset_note(dataset, "group '/%s' is taken for the %s rows", name,
                     sides[dataset->side][0]);
        free(dataset->group);
        dataset->group = NULL;
        TRY(group_choose(dataset, name));
        struct children below;
        TRY(children_read(&below, dataset));
        children_free(children);
        *children = below;
        break;
    }
    return STATUS_OK;
}

// Without targets: the recipe's input, or the only data set that is there.
static bool input_find(const struct children *children, const char **input)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < children->n; i++)
        if (children->is_dataset[i]) {
            at = i;
            n++;
        }
    if (!*input && n == 1)
        *input = children->name[at];
    return *input && children_find(children, *input, true);
}

static enum status keys_missing(const struct dataset *dataset, const struct children *children)
{
    char names[512] = "";
    for (size_t i = 0; i < children->n && strlen(names) < sizeof names - 4; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s%s", i ? ", " : "",
                 children->name[i], children->is_dataset[i] ? "" : "/");
    FAIL(STATUS_DATA,
         "%s: no inputs and targets for the %s rows found in '%s', which holds: %s; name them "
         "with data.input and data.target",
         h5_path(dataset->file), sides[dataset->side][0], dataset->group,
         names[0] ? names : "nothing");
}

static enum status keys_set(struct dataset *dataset, const char *input, const char *target)
{
    const char *prefix = strcmp(dataset->group, "/") == 0 ? "" : dataset->group;
    int a = asprintf(&dataset->input_key, "%s/%s", prefix, input);
    int b = target ? asprintf(&dataset->target_key, "%s/%s", prefix, target) : 0;
    CHECK(a >= 0 && b >= 0, STATUS_ERROR, "out of memory");
    return STATUS_OK;
}

// A key of the recipe: "{side}" in it stands for train or test. NULL if none is given.
static const char *key_given(const struct dataset *dataset, const char *key, char *out, size_t room)
{
    if (!key || !*key)
        return NULL;
    const char *mark = strstr(key, "{side}");
    if (mark)
        snprintf(out, room, "%.*s%s%s", (int)(mark - key), key, sides[dataset->side][0], mark + 6);
    else
        snprintf(out, room, "%s", key);
    return out;
}

enum status dataset_find_keys(struct dataset *dataset, const char *group,
                              const struct data_config *config)
{
    char given[2][512];
    const char *input = key_given(dataset, config->input, given[0], sizeof given[0]);
    const char *target = key_given(dataset, config->target, given[1], sizeof given[1]);
    TRY(group_choose(dataset, group));
    struct children children;
    TRY(children_read(&children, dataset));
    enum status status = STATUS_OK;
    bool is_found = pair_find(&children, dataset->side, &input, &target);
    if (!is_found && !*group) {
        status = group_descend(dataset, &children);
        is_found = status == STATUS_OK && pair_find(&children, dataset->side, &input, &target);
    }
    if (status == STATUS_OK && !is_found && !two_find(dataset, &children, &input, &target) &&
        !(config->is_unlabelled && input_find(&children, &input)))
        status = keys_missing(dataset, &children);
    if (status == STATUS_OK)
        status = keys_set(dataset, input, target);
    children_free(&children);
    return status;
}

// ---- shape

static bool is_channels(uint64_t n)
{
    return n == 1 || n == 3 || n == 4;
}

// Flat rows of well-known lengths. CIFAR-10's are channel by channel.
static void shape_guess(struct dataset *dataset, int layout, uint64_t n)
{
    struct sample_shape *shape = &dataset->shape;
    if (n == 784 || n == 64)
        *shape = (struct sample_shape){n == 784 ? 28 : 8, n == 784 ? 28 : 8, 1};
    else if (n == 3072)
        *shape = (struct sample_shape){32, 32, 3};
    else
        *shape = (struct sample_shape){1, 1, n};
    dataset->is_chw = n == 3072 && layout != DATASET_NHWC;
    if (shape->h > 1)
        dataset_note(dataset,
                     "rows of %llu values are taken as %zux%zux%zu%s (else set data.shape)",
                     (unsigned long long)n, shape->h, shape->w, shape->c,
                     dataset->is_chw ? ", channel by channel" : "");
}

static enum status shape_infer(struct dataset *dataset, int layout)
{
    const struct h5_info *info = &dataset->input_info;
    const uint64_t *dim = info->dim;
    struct sample_shape *shape = &dataset->shape;
    switch (info->rank) {
    case 1:
        *shape = (struct sample_shape){1, 1, 1};
        break;
    case 2:
        shape_guess(dataset, layout, dim[1]);
        break;
    case 3:
        *shape = (struct sample_shape){dim[1], dim[2], 1};
        dataset_note(dataset, "rows of %zux%zu have one channel", shape->h, shape->w);
        break;
    case 4:
        dataset->is_chw = layout == DATASET_NCHW ||
                          (layout == DATASET_AUTO && is_channels(dim[1]) && !is_channels(dim[3]));
        *shape = dataset->is_chw ? (struct sample_shape){dim[2], dim[3], dim[1]}
                                 : (struct sample_shape){dim[1], dim[2], dim[3]};
        if (dataset->is_chw && layout == DATASET_AUTO)
            dataset_note(dataset, "channels come first (NCHW) and are moved last");
        break;
    default:
        FAIL(STATUS_DATA, "%s: '%s' has %d dimensions, expected rows of up to 3 (give data.shape)",
             h5_path(dataset->file), dataset->input_key, info->rank);
    }
    return STATUS_OK;
}

// The recipe's shape (h, w, c; missing ones are 1) must have as many values as a row.
static enum status shape_given(struct dataset *dataset, int layout, const struct option_ints *given)
{
    const struct h5_info *info = &dataset->input_info;
    const uint64_t *dim = info->dim;
    size_t side[3] = {1, 1, 1};
    CHECK(given->n <= 3, STATUS_USAGE,
          "data.shape has %zu numbers, expected height, width, channels", given->n);
    uint64_t values = 1, stored = 1;
    for (size_t i = 0; i < given->n; i++) {
        side[i] = (size_t)given->v[i];
        values *= side[i]; // each is at most 2^24
        CHECK(values <= (uint64_t)1 << 40, STATUS_USAGE, "data.shape is too large");
    }
    for (int i = 1; i < info->rank; i++)
        stored *= dim[i]; // h5 has checked for overflow
    CHECK(values == stored, STATUS_DATA,
          "%s: rows of '%s' have %llu values, data.shape %zux%zux%zu has %llu",
          h5_path(dataset->file), dataset->input_key, (unsigned long long)stored, side[0], side[1],
          side[2], (unsigned long long)values);
    dataset->shape = (struct sample_shape){side[0], side[1], side[2]};
    bool is_first = info->rank == 4 && dim[1] == side[2] && dim[2] == side[0] && dim[3] == side[1];
    bool is_last = info->rank == 4 && dim[1] == side[0] && dim[2] == side[1] && dim[3] == side[2];
    dataset->is_chw = layout == DATASET_NCHW || (layout == DATASET_AUTO && is_first && !is_last);
    return STATUS_OK;
}

// The recipe's layout, else the group's attribute "layout" ("nhwc" in sw2's own files, where
// 1 x 1 x C and 1 x W x C would look like channels first), else to be guessed.
static int layout_find(struct dataset *dataset, int given)
{
    char *text = NULL;
    dataset->is_own = h5_attr_exists(dataset->file, dataset->group, "layout");
    if (given != DATASET_AUTO || !dataset->is_own ||
        h5_attr_read_text(dataset->file, dataset->group, "layout", &text) != STATUS_OK)
        return given;
    if (strcasecmp(text, "nhwc") == 0)
        given = DATASET_NHWC;
    else if (strcasecmp(text, "nchw") == 0)
        given = DATASET_NCHW;
    free(text);
    return given;
}

enum status dataset_find_shape(struct dataset *dataset, const struct data_config *config)
{
    int layout = layout_find(dataset, config->layout);
    const struct h5_info *info = &dataset->input_info;
    const char *path = h5_path(dataset->file), *key = dataset->input_key;
    CHECK(info->type != H5_OTHER, STATUS_DATA, "%s: '%s' is %s, expected uint8 or float32", path,
          key, h5_type_name(H5_OTHER));
    CHECK(info->rank >= 1, STATUS_DATA, "%s: '%s' is a single value, expected rows", path, key);
    dataset->rows = info->dim[0];
    CHECK(dataset->rows > 0, STATUS_DATA, "%s: '%s' has no rows", path, key);
    for (int i = 1; i < info->rank; i++)
        CHECK(info->dim[i] > 0, STATUS_DATA, "%s: rows of '%s' are empty (dimension %d is 0)", path,
              key, i);
    if (config->shape.n > 0)
        TRY(shape_given(dataset, layout, &config->shape));
    else
        TRY(shape_infer(dataset, layout));
    dataset->is_u8 = info->type == H5_U8;
    if (!dataset->is_u8 && info->type != H5_F32)
        dataset_note(dataset, "inputs of type %s are read as float32, unscaled",
                     h5_type_name(info->type));
    struct sample_shape shape = dataset->shape;
    size_t values = shape.h * shape.w * shape.c;
    CHECK(values <= (size_t)1 << 30, STATUS_DATA,
          "%s: a row of '%s' has %zu values, more than 2^30", path, key, values);
    dataset->row_bytes = values * (dataset->is_u8 ? 1 : sizeof(float));
    return STATUS_OK;
}
