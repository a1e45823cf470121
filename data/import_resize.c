// SPDX-License-Identifier: MIT
// Owns: making rows of one source fit: resampled pictures, and a test source that speaks of the
// training source's classes. Called by import.c.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/image.h"
#include "data/import_private.h"

// A source whose rows come from another one.
struct resized {
    struct import_source inner;
    struct resize *resize;
    uint8_t *row; // of inner
};

static void close_resized(struct import_source *source)
{
    struct resized *resized = source->self;
    if (resized->inner.close)
        resized->inner.close(&resized->inner);
    resize_free(resized->resize);
    free(resized->row);
    free(resized);
}

static enum status read_resized(struct import_source *source, uint64_t row, void *input,
                                float *target)
{
    struct resized *resized = source->self;
    TRY(resized->inner.read(&resized->inner, row, resized->row, target));
    resize_run(resized->resize, resized->row, input);
    return STATUS_OK;
}

enum status import_resize(struct import_source *source, size_t h, size_t w, bool is_nearest)
{
    struct sample_shape shape = source->shape;
    if (shape.h == h && shape.w == w)
        return STATUS_OK;
    CHECK(source->is_u8 && shape.h * shape.w > 1, STATUS_USAGE,
          "--resize is for pictures, these are rows of %zu x %zu x %zu %s", shape.h, shape.w,
          shape.c, source->is_u8 ? "uint8" : "float32");
    struct resized *resized = NULL;
    TRY(memory_alloc(&resized, 1, sizeof *resized, "resize"));
    resized->inner = *source;
    source->self = resized; // labels, classes, note stay the outer one's
    source->close = close_resized;
    source->read = read_resized;
    source->shape.h = h;
    source->shape.w = w;
    TRY(memory_alloc(&resized->row, shape.h * shape.w, shape.c, "row"));
    return resize_plan(&resized->resize, shape.h, shape.w, h, w, shape.c, is_nearest);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// place[k]: the training source's class with the name of class k of the test source.
static enum status match_names(const struct import_source *train, const struct import_source *test,
                               int32_t *place)
{
    size_t n = train->target.n_classes;
    char **sorted = NULL; // pointers into train->classes, by bytes
    size_t *index = NULL;
    TRY(memory_alloc(&sorted, n, sizeof *sorted, "class names"));
    memcpy(sorted, train->classes, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_names);
    enum status status = memory_alloc(&index, n, sizeof *index, "class names");
    for (size_t k = 0; k < n && status == STATUS_OK; k++) {
        char **at = bsearch(&train->classes[k], sorted, n, sizeof *sorted, compare_names);
        index[at - sorted] = k;
    }
    for (size_t k = 0; k < test->target.n_classes && status == STATUS_OK; k++) {
        char **at = bsearch(&test->classes[k], sorted, n, sizeof *sorted, compare_names);
        if (at)
            place[k] = (int32_t)index[at - sorted];
        else
            status = error_set(STATUS_DATA, __FILE__, __LINE__,
                               "the test part has a class '%s' that the training part has not",
                               test->classes[k]);
    }
    free(sorted);
    free(index);
    return status;
}

static enum status match_classes(struct import_source *train, struct import_source *test)
{
    if (!train->classes || !test->classes) {
        for (uint64_t i = 0; i < test->n_rows; i++)
            CHECK((size_t)test->labels[i] < train->target.n_classes, STATUS_DATA,
                  "label %zu of the test part is %d, but the training part has classes 0 to %zu"
                  " only",
                  (size_t)i, test->labels[i], train->target.n_classes - 1);
        test->target.n_classes = train->target.n_classes;
        return STATUS_OK;
    }
    int32_t *place = NULL;
    TRY(memory_alloc(&place, test->target.n_classes, sizeof *place, "class names"));
    enum status status = match_names(train, test, place);
    for (uint64_t i = 0; i < test->n_rows && status == STATUS_OK; i++)
        test->labels[i] = place[test->labels[i]];
    free(place);
    TRY(status);
    for (size_t k = 0; k < test->target.n_classes; k++)
        free(test->classes[k]);
    free(test->classes);
    test->classes = NULL;
    test->target.n_classes = train->target.n_classes;
    return STATUS_OK;
}

enum status import_match(struct import_source *train, struct import_source *test)
{
    const struct sample_shape *a = &train->shape, *b = &test->shape;
    CHECK(a->h == b->h && a->w == b->w && a->c == b->c, STATUS_DATA,
          "training rows are %zux%zux%zu (HxWxC), test rows %zux%zux%zu%s", a->h, a->w, a->c, b->h,
          b->w, b->c, train->is_u8 ? ": give --resize HxW" : "");
    CHECK(train->is_u8 == test->is_u8, STATUS_DATA, "training rows are %s, test rows %s",
          train->is_u8 ? "uint8" : "float32", test->is_u8 ? "uint8" : "float32");
    CHECK(train->target.type == test->target.type && train->target.count == test->target.count,
          STATUS_DATA, "training targets are %zu %s a row, test targets %zu %s",
          train->target.count, train->target.type == TARGET_CLASS ? "classes" : "numbers",
          test->target.count, test->target.type == TARGET_CLASS ? "classes" : "numbers");
    return train->labels ? match_classes(train, test) : STATUS_OK;
}
