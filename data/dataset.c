// SPDX-License-Identifier: MIT
// A data set's opening, in order, and its reading. Inference is in dataset_infer.c, labels in
// dataset_target.c, statistics and fingerprint in dataset_stats.c. Called by the loader, the
// trainer's programs and sw2-data.
#include "data/dataset.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/events.h"
#include "comm/memory.h"
#include "comm/places.h"
#include "data/dataset_private.h"
#include "data/dataset_seal.h"

#define FIELD(name) offsetof(struct data_config, name)

const struct option data_options[] = {
    {"train", OPTION_STRING, FIELD(train), NULL, 0, 0, NULL, "training rows: FILE.h5[:/group]"},
    {"test", OPTION_STRING, FIELD(test), "", 0, 0, NULL, "test rows: FILE.h5[:/group]"},
    {"input", OPTION_STRING, FIELD(input), "", 0, 0, NULL,
     "key of the inputs in the group, such as x_{side}; empty: inferred"},
    {"target", OPTION_STRING, FIELD(target), "", 0, 0, NULL,
     "key of the targets in the group; empty: inferred"},
    {"layout", OPTION_CHOICE, FIELD(layout), "auto", 0, 0, "auto|nhwc|nchw",
     "order of a row's dimensions in the file"},
    {"shape", OPTION_INTS, FIELD(shape), "[]", 1, 1 << 24, NULL,
     "height, width, channels of a row; empty: as in the file"},
    {"target_type", OPTION_CHOICE, FIELD(target_type), "auto", 0, 0, "auto|class|float",
     "auto: whole numbers are classes"},
    {"n_classes", OPTION_INT, FIELD(n_classes), "0", 0, 1 << 24, NULL,
     "number of classes; 0: inferred from the training rows"},
    {"block", OPTION_INT, FIELD(block), "0", 0, 1 << 24, NULL,
     "consecutive rows that are read and dealt together; 0: chosen"},
    {"window", OPTION_INT, FIELD(window), "0", 0, 1 << 20, NULL,
     "blocks that are shuffled together; 0: chosen"},
    {"transforms", OPTION_NODE, FIELD(transforms), NULL, 0, 0, NULL,
     "list of what is done to each input; absent: normalize"},
};
const size_t data_options_n = sizeof data_options / sizeof *data_options;

struct data_config dataset_defaults(void)
{
    return (struct data_config){.train = "", .test = "", .input = "", .target = ""};
}

void dataset_note(struct dataset *dataset, const char *format, ...)
{
    size_t used = strlen(dataset->notes), room = sizeof dataset->notes - used;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(dataset->notes + used, room, format, args);
    va_end(args);
    used = strlen(dataset->notes);
    if (n >= 0 && used + 1 < sizeof dataset->notes)
        strcat(dataset->notes, "\n");
}

// ---- the file

// "FILE:/group" into file and group ("" if none). A colon in the name of an existing file is part
// of the name.
static enum status path_split(const char *path, char **file, const char **group)
{
    const char *colon = strrchr(path, ':');
    bool is_whole = !colon || colon == path || access(path, F_OK) == 0;
    *group = is_whole ? "" : colon + 1;
    *file = is_whole ? strdup(path) : strndup(path, (size_t)(colon - path));
    CHECK(*file, STATUS_ERROR, "out of memory");
    return STATUS_OK;
}

// The first place where a relative file is, in `found` (malloc'ed); NULL: nowhere, and `tried`
// lists the places.
static char *file_find(const char *file, char *tried, size_t tried_bytes)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    const char *share = places_share();
    const char *const place[][3] = {
        {"", "", file}, {share, "/", file}, {share, "/", base}, {SW2_SOURCEDIR, "/", file}};
    size_t n = file[0] == '/' ? 1 : sizeof place / sizeof *place, used = 0;
    for (size_t i = 0; i < n; i++) {
        char *path = NULL;
        if (i == 2 && base == file)
            continue; // the same as the one before
        if (asprintf(&path, "%s%s%s", place[i][0], place[i][1], place[i][2]) < 0)
            return NULL;
        if (access(path, F_OK) == 0)
            return path;
        int put = snprintf(tried + used, tried_bytes - used, "%s%s", used ? ", " : "", path);
        used += put > 0 && (size_t)put < tried_bytes - used ? (size_t)put : 0;
        free(path);
    }
    return NULL;
}

static enum status file_open(struct dataset *dataset, const char *file)
{
    char tried[2048] = "";
    char *found = file_find(file, tried, sizeof tried);
    CHECK(found, STATUS_DATA, "no data file %s (looked for %s)", file, tried);
    enum status status = h5_open(&dataset->file, found);
    free(found);
    return status;
}

// ---- opening

static enum status classes_read(struct dataset *dataset)
{
    if (!h5_attr_exists(dataset->file, dataset->group, "classes"))
        return STATUS_OK;
    return h5_attr_read_texts(dataset->file, dataset->group, "classes", &dataset->n_classes,
                              &dataset->classes);
}

// Sealed are the inputs and targets that sw2-data writes; others beside them are not.
static enum status seal_read(struct dataset *dataset)
{
    uint64_t n = 0;
    TRY(seal_open(dataset->file, dataset->group, &dataset->row_digests, &n));
    if (!dataset->row_digests)
        return STATUS_OK;
    const char *name = strrchr(dataset->input_key, '/') + 1;
    enum h5_type type = dataset->input_info.type;
    if (strcmp(name, SEAL_INPUTS) != 0 || (type != H5_U8 && type != H5_F32)) {
        free(dataset->row_digests);
        dataset->row_digests = NULL;
        return STATUS_OK;
    }
    CHECK(n == dataset->rows, STATUS_DATA, "%s has %llu rows, but digests of %llu", dataset->path,
          (unsigned long long)dataset->rows, (unsigned long long)n);
    return STATUS_OK;
}

static enum status open_parts(struct dataset *dataset, const char *file, const char *group,
                              const struct data_config *config)
{
    TRY(file_open(dataset, file));
    TRY(dataset_find_keys(dataset, group, config));
    int put = asprintf(&dataset->path, "%s:%s", h5_path(dataset->file), dataset->group);
    CHECK(put >= 0, STATUS_ERROR, "out of memory");
    TRY(h5_set_open(dataset->file, dataset->input_key, &dataset->inputs));
    dataset->input_info = *h5_set_info(dataset->inputs);
    TRY(dataset_find_shape(dataset, config));
    TRY(memory_alloc(&dataset->row, 1, dataset->row_bytes, "one row"));
    TRY(classes_read(dataset));
    if (!config->is_unlabelled) // first: a label out of range has the better message
        TRY(dataset_read_targets(dataset, config));
    TRY(seal_read(dataset));
    if (config->is_probe)
        return h5_set_probe(dataset->inputs);
    if (config->is_unlabelled)
        return STATUS_OK;
    TRY(dataset_statistics(dataset));
    return dataset_fingerprint_make(dataset);
}

enum status dataset_open(struct dataset **out, const char *path, enum dataset_side side,
                         const struct data_config *config)
{
    struct dataset *dataset = NULL;
    char *file = NULL;
    const char *group = "";
    *out = NULL;
    CHECK(path && *path, STATUS_USAGE, "no data file is named (data.%s)",
          side == DATASET_TRAIN ? "train" : "test");
    TRY(memory_alloc(&dataset, 1, sizeof *dataset, "data set"));
    dataset->side = side;
    dataset->is_lenient = config->is_lenient;
    enum status status = path_split(path, &file, &group);
    if (status == STATUS_OK)
        status = open_parts(dataset, file, group, config);
    free(file);
    if (status != STATUS_OK)
        dataset_close(dataset);
    else
        *out = dataset;
    return status;
}

void dataset_close(struct dataset *dataset)
{
    if (!dataset)
        return;
    h5_set_close(dataset->inputs);
    h5_close(dataset->file);
    h5_texts_free(dataset->n_classes, dataset->classes);
    free(dataset->path);
    free(dataset->group);
    free(dataset->input_key);
    free(dataset->target_key);
    free(dataset->row);
    free(dataset->targets);
    free(dataset->mean);
    free(dataset->std);
    free(dataset->row_digests);
    free(dataset);
}

// ---- what it is

uint64_t dataset_rows(const struct dataset *dataset)
{
    return dataset->rows;
}

struct sample_shape dataset_shape(const struct dataset *dataset)
{
    return dataset->shape;
}

struct target_shape dataset_target(const struct dataset *dataset)
{
    return dataset->target;
}

bool dataset_is_u8(const struct dataset *dataset)
{
    return dataset->is_u8;
}

size_t dataset_row_bytes(const struct dataset *dataset)
{
    return dataset->row_bytes;
}

uint64_t dataset_chunk_rows(const struct dataset *dataset)
{
    return dataset->input_info.chunk[0] ? dataset->input_info.chunk[0] : 1;
}

size_t dataset_cache_bytes(const struct dataset *dataset)
{
    return h5_set_cache_bytes(dataset->inputs);
}

const char *dataset_path(const struct dataset *dataset)
{
    return dataset->path;
}

char *const *dataset_classes(const struct dataset *dataset, size_t *n)
{
    *n = dataset->n_classes;
    return dataset->classes;
}

const double *dataset_mean(const struct dataset *dataset)
{
    return dataset->mean;
}

const double *dataset_std(const struct dataset *dataset)
{
    return dataset->std;
}

const char *dataset_fingerprint(const struct dataset *dataset)
{
    return dataset->fingerprint;
}

char *dataset_describe(const struct dataset *dataset)
{
    char *text = NULL, target[64];
    if (dataset->target.type == TARGET_CLASS && dataset->target.count == 1)
        snprintf(target, sizeof target, "%zu classes", dataset->target.n_classes);
    else if (dataset->target.type == TARGET_CLASS)
        snprintf(target, sizeof target, "%zu class indices below %zu", dataset->target.count,
                 dataset->target.n_classes);
    else
        snprintf(target, sizeof target, "%zu float%s", dataset->target.count,
                 dataset->target.count == 1 ? "" : "s");
    struct sample_shape shape = dataset->shape;
    int n = asprintf(&text, "%s: %llu rows of %zux%zux%zu %s ('%s'), %s ('%s')\n%s", dataset->path,
                     (unsigned long long)dataset->rows, shape.h, shape.w, shape.c,
                     h5_type_name(dataset->input_info.type), dataset->input_key, target,
                     dataset->target_key, dataset->notes);
    return n < 0 ? NULL : text;
}

// ---- reading

// One row (c, h, w) to (h, w, c), through dataset->row.
#define ROW_TRANSPOSE(type)                                                                        \
    static void row_transpose_##type(const struct dataset *dataset, type *row)                     \
    {                                                                                              \
        size_t c = dataset->shape.c, pixels = dataset->shape.h * dataset->shape.w;                 \
        const type *from = dataset->row;                                                           \
        for (size_t k = 0; k < c; k++)                                                             \
            for (size_t i = 0; i < pixels; i++)                                                    \
                row[i * c + k] = from[k * pixels + i];                                             \
    }
ROW_TRANSPOSE(uint8_t)
ROW_TRANSPOSE(float)

static enum status rows_check(struct dataset *dataset, uint64_t first, uint64_t count,
                              const void *inputs)
{
    const char *row = inputs;
    for (uint64_t i = first; i < first + count; i++, row += dataset->row_bytes) {
        if (seal_row(i, row, dataset->row_bytes) == dataset->row_digests[i])
            continue;
        if (dataset->n_changed++ == 0 || i < dataset->lowest_changed)
            dataset->lowest_changed = i;
        CHECK(dataset->is_lenient, STATUS_DATA,
              "%s: row %llu is not what was imported: the file is damaged or was changed "
              "(sw2-data check looks at all rows)",
              dataset->path, (unsigned long long)i);
    }
    return STATUS_OK;
}

bool dataset_changed(const struct dataset *dataset, uint64_t *n, uint64_t *lowest)
{
    *n = dataset->n_changed;
    *lowest = dataset->lowest_changed;
    return dataset->row_digests != NULL;
}

void dataset_changed_reset(struct dataset *dataset)
{
    dataset->n_changed = 0;
}

enum status dataset_read(struct dataset *dataset, uint64_t first, uint64_t count, void *inputs)
{
    events_tick("rows from", first);
    TRY(h5_set_read(dataset->inputs, first, count, dataset->is_u8 ? H5_U8 : H5_F32, inputs));
    if (dataset->row_digests)
        TRY(rows_check(dataset, first, count, inputs));
    if (!dataset->is_chw || dataset->shape.c == 1)
        return STATUS_OK;
    for (uint64_t i = 0; i < count; i++) {
        void *row = (char *)inputs + i * dataset->row_bytes;
        memcpy(dataset->row, row, dataset->row_bytes);
        if (dataset->is_u8)
            row_transpose_uint8_t(dataset, row);
        else
            row_transpose_float(dataset, row);
    }
    return STATUS_OK;
}

const void *dataset_target_of(const struct dataset *dataset, uint64_t row)
{
    ASSERT(row < dataset->rows);
    size_t at = (size_t)row * dataset->target.count;
    if (dataset->target.type == TARGET_CLASS)
        return (const int32_t *)dataset->targets + at;
    return (const float *)dataset->targets + at;
}
