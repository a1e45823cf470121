// SPDX-License-Identifier: MIT
#include "trainer/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "data/preflight.h"

enum { DEPTH_MAX = 32 };

// A picture, or the rows of a data set.
struct source {
    char *path;              // of a picture; owned
    struct dataset *dataset; // else
    size_t first;            // number of its first item
};

struct inputs {
    const struct trained *trained;
    struct source *source;
    size_t n_sources, room, count;
    struct picture_reader reader;
    void *raw;
    size_t raw_bytes;
    float *scratch;
};

static enum status source_add(struct inputs *inputs, struct source source, size_t items)
{
    if (inputs->n_sources == inputs->room) {
        size_t room = 2 * inputs->room + 64;
        struct source *more = realloc(inputs->source, room * sizeof *more);
        if (!more) {
            free(source.path);
            dataset_close(source.dataset);
            FAIL(STATUS_ERROR, "out of memory: list of %zu inputs", room);
        }
        inputs->source = more;
        inputs->room = room;
    }
    source.first = inputs->count;
    inputs->source[inputs->n_sources++] = source;
    inputs->count += items;
    return STATUS_OK;
}

static enum status picture_add(struct inputs *inputs, const char *path)
{
    CHECK(inputs->trained->is_u8, STATUS_USAGE,
          "%s: the network was trained on float32 rows, not on pictures; give it an HDF5 file of "
          "such rows",
          path);
    struct source source = {.path = strdup(path)};
    CHECK(source.path, STATUS_ERROR, "out of memory: names of pictures");
    return source_add(inputs, source, 1);
}

static enum status dataset_add(struct inputs *inputs, const char *path)
{
    struct data_config config = dataset_defaults();
    const struct data_config *recipe = &inputs->trained->recipe.data;
    config.input = recipe->input;
    config.layout = recipe->layout;
    config.shape = recipe->shape;
    config.is_unlabelled = true;
    struct source source = {0};
    TRY(preflight(NULL, path, &config, !inputs->trained->group->is_parallel));
    TRY(dataset_open(&source.dataset, path, DATASET_TEST, &config));
    struct sample_shape got = dataset_shape(source.dataset), want = inputs->trained->input;
    bool is_u8 = dataset_is_u8(source.dataset);
    if (got.h == want.h && got.w == want.w && got.c == want.c && is_u8 == inputs->trained->is_u8)
        return source_add(inputs, source, (size_t)dataset_rows(source.dataset));
    dataset_close(source.dataset);
    FAIL(STATUS_DATA,
         "%s: rows are %zux%zux%zu of %s, the network was trained on %zux%zux%zu of %s", path,
         got.h, got.w, got.c, is_u8 ? "uint8" : "float32", want.h, want.w, want.c,
         inputs->trained->is_u8 ? "uint8" : "float32");
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum status folder_add(struct inputs *inputs, const char *path, int depth)
{
    CHECK(depth < DEPTH_MAX, STATUS_DATA, "%s: folders are nested deeper than %d", path, DEPTH_MAX);
    struct dirent **list;
    int n = scandir(path, &list, is_visible, by_bytes);
    CHECK(n >= 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    enum status status = STATUS_OK;
    for (int i = 0; i < n; i++) {
        char *below = NULL;
        struct stat info;
        if (status == STATUS_OK && asprintf(&below, "%s/%s", path, list[i]->d_name) < 0)
            below = NULL;
        free(list[i]);
        if (!below)
            continue;
        if (stat(below, &info) == 0 && S_ISDIR(info.st_mode))
            status = folder_add(inputs, below, depth + 1);
        else if (picture_is_one(below))
            status = picture_add(inputs, below);
        free(below);
    }
    free(list);
    return status;
}

// FILE.h5, FILE.h5:/group: a file that HDF5's signature or name shows, perhaps with a group.
static bool is_dataset(const char *path)
{
    const char *end = strrchr(path, ':');
    size_t n = end && end[1] == '/' ? (size_t)(end - path) : strlen(path);
    return (n > 3 && strncmp(path + n - 3, ".h5", 3) == 0) ||
           (n > 5 && strncmp(path + n - 5, ".hdf5", 5) == 0);
}

static enum status path_add(struct inputs *inputs, const char *path)
{
    struct stat info;
    if (is_dataset(path))
        return dataset_add(inputs, path);
    CHECK(stat(path, &info) == 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        CHECK(picture_is_one(path), STATUS_DATA,
              "%s: is neither a picture (PNG, JPEG, PNM) nor an HDF5 file", path);
        return picture_add(inputs, path);
    }
    size_t before = inputs->count;
    TRY(folder_add(inputs, path, 0));
    CHECK(inputs->count > before, STATUS_DATA, "%s: holds no picture (PNG, JPEG, PNM)", path);
    return STATUS_OK;
}

static enum status fill(struct inputs *inputs, const struct option_strings *paths)
{
    struct sample_shape shape = inputs->trained->input;
    inputs->raw_bytes = shape.h * shape.w * shape.c * (inputs->trained->is_u8 ? 1 : sizeof(float));
    TRY(memory_alloc(&inputs->raw, 1, inputs->raw_bytes, "one sample"));
    TRY(memory_alloc(&inputs->scratch, transforms_scratch(inputs->trained->transforms) + 1,
                     sizeof(float), "one sample"));
    for (size_t i = 0; i < paths->n; i++)
        TRY(path_add(inputs, paths->v[i]));
    return STATUS_OK;
}

enum status inputs_open(struct inputs **out, const struct trained *trained,
                        const struct option_strings *paths, enum picture_fit fit)
{
    struct inputs *inputs = NULL;
    *out = NULL;
    TRY(memory_alloc(&inputs, 1, sizeof *inputs, "inputs"));
    inputs->trained = trained;
    inputs->reader.fit = fit;
    enum status status = fill(inputs, paths);
    if (status != STATUS_OK)
        inputs_close(inputs);
    else
        *out = inputs;
    return status;
}

void inputs_close(struct inputs *inputs)
{
    if (!inputs)
        return;
    for (size_t i = 0; i < inputs->n_sources; i++) {
        free(inputs->source[i].path);
        dataset_close(inputs->source[i].dataset);
    }
    free(inputs->source);
    picture_reader_free(&inputs->reader);
    free(inputs->raw);
    free(inputs->scratch);
    free(inputs);
}

size_t inputs_count(const struct inputs *inputs)
{
    return inputs->count;
}

static const struct source *source_of(const struct inputs *inputs, size_t i)
{
    ASSERT(i < inputs->count);
    size_t low = 0, high = inputs->n_sources; // the last source with first <= i
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (inputs->source[middle].first <= i)
            low = middle;
        else
            high = middle;
    }
    return &inputs->source[low];
}

void inputs_name(const struct inputs *inputs, size_t i, char name[INPUT_NAME_MAX])
{
    const struct source *source = source_of(inputs, i);
    if (source->path)
        snprintf(name, INPUT_NAME_MAX, "%s", source->path);
    else
        snprintf(name, INPUT_NAME_MAX, "%s[%zu]", dataset_path(source->dataset), i - source->first);
}

enum status inputs_read(struct inputs *inputs, size_t i, float *x)
{
    const struct source *source = source_of(inputs, i);
    const struct trained *trained = inputs->trained;
    if (source->path)
        TRY(picture_read(&inputs->reader, source->path, trained->input, inputs->raw));
    else
        TRY(dataset_read(source->dataset, i - source->first, 1, inputs->raw));
    transforms_apply(trained->transforms, inputs->raw, trained->is_u8, false, 0, 0, 0, x,
                     inputs->scratch);
    return STATUS_OK;
}

const void *inputs_raw(const struct inputs *inputs)
{
    return inputs->raw;
}
