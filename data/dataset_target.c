// SPDX-License-Identifier: MIT
// Labels: read once to see what they are (classes, one-hot rows, floats) and whether all are in
// range, and once more to keep them in memory. Called by dataset_open.
#include "data/dataset_private.h"

#include <stdlib.h>

#include "comm/memory.h"

#define BUFFER_VALUES ((uint64_t)1 << 16)
#define CLASSES_MAX ((int64_t)1 << 24)

// A row and its value there.
struct place {
    bool is_set;
    uint64_t row;
    double value;
};

struct scan {
    uint64_t width; // values a row
    bool is_one_hot;
    double min, max;
    struct place min_at, max_at, not_finite, not_whole;
};

static void place_set(struct place *place, uint64_t row, double value)
{
    if (!place->is_set)
        *place = (struct place){true, row, value};
}

static bool is_whole(double value)
{
    return value >= -0x1p53 && value <= 0x1p53 && (double)(int64_t)value == value;
}

static void scan_row(struct scan *scan, uint64_t row, const double *value)
{
    uint64_t ones = 0, zeros = 0;
    for (uint64_t i = 0; i < scan->width; i++) {
        double v = value[i];
        if (!(v - v == 0)) {
            place_set(&scan->not_finite, row, v);
            continue;
        }
        if (!is_whole(v))
            place_set(&scan->not_whole, row, v);
        if (!scan->min_at.is_set || v < scan->min_at.value)
            scan->min_at = (struct place){true, row, v};
        if (!scan->max_at.is_set || v > scan->max_at.value)
            scan->max_at = (struct place){true, row, v};
        ones += v == 1;
        zeros += v == 0;
    }
    scan->is_one_hot = scan->is_one_hot && ones == 1 && ones + zeros == scan->width;
}

// Calls each for every row's values, in order.
typedef void (*row_visit)(void *context, uint64_t row, const double *value);

static enum status rows_visit(struct h5_set *set, uint64_t rows, uint64_t width, row_visit each,
                              void *context)
{
    double *value = NULL;
    uint64_t step = width < BUFFER_VALUES ? BUFFER_VALUES / width : 1;
    TRY(memory_alloc(&value, step * width, sizeof *value, "buffer of targets"));
    enum status status = STATUS_OK;
    for (uint64_t first = 0; first < rows && status == STATUS_OK; first += step) {
        uint64_t n = rows - first < step ? rows - first : step;
        status = h5_set_read(set, first, n, H5_F64, value);
        for (uint64_t i = 0; i < n && status == STATUS_OK; i++)
            each(context, first + i, value + i * width);
    }
    free(value);
    return status;
}

static void visit_scan(void *context, uint64_t row, const double *value)
{
    scan_row(context, row, value);
}

static void visit_class(void *context, uint64_t row, const double *value)
{
    struct dataset *dataset = context;
    size_t count = dataset->target.count;
    int32_t *out = (int32_t *)dataset->targets + row * count;
    for (size_t i = 0; i < count; i++)
        out[i] = (int32_t)value[i];
}

static void visit_one_hot(void *context, uint64_t row, const double *value)
{
    struct dataset *dataset = context;
    int32_t *out = (int32_t *)dataset->targets + row;
    *out = 0;
    while (value[*out] != 1 && (size_t)*out + 1 < dataset->target.n_classes)
        ++*out;
}

static void visit_float(void *context, uint64_t row, const double *value)
{
    struct dataset *dataset = context;
    size_t count = dataset->target.count;
    float *out = (float *)dataset->targets + row * count;
    for (size_t i = 0; i < count; i++)
        out[i] = (float)value[i];
}

// Whether the targets are classes, and the type of the recipe possible.
static enum status type_decide(struct dataset *dataset, const struct scan *scan,
                               const struct h5_info *info, int wanted, bool *is_class)
{
    const char *path = h5_path(dataset->file), *key = dataset->target_key;
    bool is_float = info->type == H5_F32 || info->type == H5_F64;
    const struct place *bad = &scan->not_whole;
    CHECK(!scan->not_finite.is_set, STATUS_DATA, "%s: '%s' is %g in row %llu, expected a number",
          path, key, scan->not_finite.value, (unsigned long long)scan->not_finite.row);
    CHECK(wanted != DATASET_TARGET_CLASS || !bad->is_set, STATUS_DATA,
          "%s: '%s' is %g in row %llu, expected a class", path, key, bad->value,
          (unsigned long long)bad->row);
    bool is_one_hot = scan->is_one_hot && scan->width > 1;
    bool is_likely = !bad->is_set && scan->min_at.value >= 0 &&
                     scan->max_at.value < (double)CLASSES_MAX && (scan->width == 1 || is_one_hot);
    *is_class = wanted == DATASET_TARGET_CLASS ||
                (wanted == DATASET_TARGET_AUTO && (!is_float || (is_likely && !dataset->is_own)));
    if (*is_class && is_float && !is_one_hot)
        dataset_note(dataset, "targets are floats that are all whole numbers: taken as classes "
                              "(else set data.target_type: float)");
    return STATUS_OK;
}

static enum status classes_decide(struct dataset *dataset, const struct scan *scan,
                                  const struct data_config *config)
{
    const char *path = h5_path(dataset->file), *key = dataset->target_key;
    bool is_one_hot = scan->is_one_hot && scan->width > 1;
    double limit = (double)CLASSES_MAX;
    size_t given = (size_t)config->n_classes, named = dataset->n_classes;
    if (is_one_hot) {
        CHECK(!given || given == scan->width, STATUS_DATA,
              "%s: '%s' has one-hot rows of %llu classes, expected %zu", path, key,
              (unsigned long long)scan->width, given);
        dataset->target.n_classes = scan->width;
        dataset_note(dataset, "one-hot targets are taken as classes");
    } else {
        if (given || named)
            limit = (double)(given ? given : named);
        bool is_low = scan->min_at.value < 0, is_high = scan->max_at.value >= limit;
        const struct place *bad = is_low ? &scan->min_at : &scan->max_at;
        CHECK(!is_low && !is_high, STATUS_DATA,
              "%s: '%s' is %.0f in row %llu, expected a class from 0 to %.0f", path, key,
              bad->value, (unsigned long long)bad->row, limit - 1);
        size_t seen = (size_t)scan->max_at.value + 1;
        dataset->target.n_classes = given ? given : named ? named : seen;
        if (scan->min_at.value == 1 && !given)
            dataset_note(dataset, "the smallest class is 1: class 0 has no rows");
    }
    if (named && named != dataset->target.n_classes) {
        dataset_note(dataset, "the file names %zu classes, not %zu: the names are not used", named,
                     dataset->target.n_classes);
        h5_texts_free(dataset->n_classes, dataset->classes);
        dataset->classes = NULL;
        dataset->n_classes = 0;
    }
    dataset->target.count = is_one_hot ? 1 : (size_t)scan->width;
    return STATUS_OK;
}

static enum status targets_keep(struct dataset *dataset, struct h5_set *set,
                                const struct scan *scan)
{
    uint64_t values = 0;
    CHECK(!__builtin_mul_overflow(dataset->rows, dataset->target.count, &values), STATUS_DATA,
          "%s: '%s' is too large", h5_path(dataset->file), dataset->target_key);
    TRY(memory_alloc(&dataset->targets, values, sizeof(float), "targets"));
    row_visit visit = visit_float;
    if (dataset->target.type == TARGET_CLASS)
        visit = dataset->target.count < scan->width ? visit_one_hot : visit_class;
    return rows_visit(set, dataset->rows, scan->width, visit, dataset);
}

static enum status set_check(const struct dataset *dataset, const struct h5_info *info,
                             uint64_t *width)
{
    const char *path = h5_path(dataset->file), *key = dataset->target_key;
    CHECK(info->type != H5_OTHER, STATUS_DATA, "%s: '%s' is %s, expected class numbers or floats",
          path, key, h5_type_name(H5_OTHER));
    uint64_t rows = info->rank ? info->dim[0] : 1;
    CHECK(info->rank && rows == dataset->rows, STATUS_DATA,
          "%s: '%s' has %llu rows, but '%s' has %llu", path, key, (unsigned long long)rows,
          dataset->input_key, (unsigned long long)dataset->rows);
    *width = 1;
    for (int i = 1; i < info->rank; i++)
        *width *= info->dim[i]; // h5 has checked for overflow
    CHECK(*width > 0 && *width <= (uint64_t)1 << 30, STATUS_DATA,
          "%s: '%s' has %llu values a row, expected 1 to 2^30", path, key,
          (unsigned long long)*width);
    return STATUS_OK;
}

static enum status targets_read(struct dataset *dataset, struct h5_set *set,
                                const struct data_config *config)
{
    struct scan scan = {.is_one_hot = true};
    bool is_class = false;
    const struct h5_info *info = h5_set_info(set);
    TRY(set_check(dataset, info, &scan.width));
    TRY(rows_visit(set, dataset->rows, scan.width, visit_scan, &scan));
    TRY(type_decide(dataset, &scan, info, config->target_type, &is_class));
    dataset->target.type = is_class ? TARGET_CLASS : TARGET_FLOAT;
    dataset->target.count = (size_t)scan.width;
    if (is_class)
        TRY(classes_decide(dataset, &scan, config));
    return targets_keep(dataset, set, &scan);
}

enum status dataset_read_targets(struct dataset *dataset, const struct data_config *config)
{
    struct h5_set *set = NULL;
    TRY(h5_set_open(dataset->file, dataset->target_key, &set));
    enum status status = targets_read(dataset, set, config);
    h5_set_close(set);
    return status;
}
