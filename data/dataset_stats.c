// SPDX-License-Identifier: MIT
// Per-channel mean and standard deviation, and the fingerprint. Both look at rows spread over the
// whole file, so that they are cheap on any size. Called by dataset_open.
#include "data/dataset_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/memory.h"

#define STATS_ROWS 10000
#define STATS_RUN 100
#define STATS_VALUES ((uint64_t)64 << 20)
#define PRINT_ROWS 1024
#define PRINT_BYTES ((uint64_t)64 << 20)

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// ---- statistics

// Sums over one channel: of integers, exact; of floats, around the first value seen.
struct moments {
    double origin, sum, sum_squares;
};

static void moments_add_u8(struct moments *moments, size_t c, const uint8_t *x, size_t values)
{
    for (size_t k = 0; k < c; k++) {
        uint64_t sum = 0, sum_squares = 0;
        for (size_t i = k; i < values; i += c) {
            sum += x[i];
            sum_squares += (uint64_t)x[i] * x[i];
        }
        moments[k].sum += (double)sum;
        moments[k].sum_squares += (double)sum_squares;
    }
}

static void moments_add_float(struct moments *moments, size_t c, const float *x, size_t values,
                              bool is_first)
{
    for (size_t k = 0; k < c; k++) {
        if (is_first)
            moments[k].origin = (double)x[k];
        for (size_t i = k; i < values; i += c) {
            double d = (double)x[i] - moments[k].origin;
            moments[k].sum += d;
            moments[k].sum_squares += d * d;
        }
    }
}

static enum status floats_check(const struct dataset *dataset, uint64_t first, const float *x,
                                size_t values)
{
    size_t row = dataset->row_bytes / sizeof(float);
    for (size_t i = 0; i < values; i++)
        CHECK(x[i] - x[i] == 0, STATUS_DATA, "%s: '%s' is %g in row %llu, expected a number",
              h5_path(dataset->file), dataset->input_key, (double)x[i],
              (unsigned long long)(first + i / row));
    return STATUS_OK;
}

static enum status moments_add_rows(struct dataset *dataset, uint64_t first, uint64_t count,
                                    void *buffer, struct moments *moments)
{
    size_t values = (size_t)count * dataset->row_bytes / (dataset->is_u8 ? 1 : sizeof(float));
    TRY(dataset_read(dataset, first, count, buffer));
    if (dataset->is_u8) {
        moments_add_u8(moments, dataset->shape.c, buffer, values);
        return STATUS_OK;
    }
    TRY(floats_check(dataset, first, buffer, values));
    moments_add_float(moments, dataset->shape.c, buffer, values, first == 0);
    return STATUS_OK;
}

// `most` rows in runs of consecutive ones, spread evenly, in ascending order; or all rows.
static enum status moments_sum(struct dataset *dataset, void *buffer, uint64_t most, uint64_t run,
                               struct moments *moments, uint64_t *rows)
{
    bool is_all = most == dataset->rows;
    uint64_t n = is_all ? (most + run - 1) / run : most / run;
    *rows = 0;
    for (uint64_t i = 0; i < n; i++) {
        // 128 bits: rows may be any number.
        uint64_t spread = (uint64_t)((unsigned __int128)dataset->rows * i / n);
        uint64_t first = is_all ? i * run : spread;
        uint64_t count = least(run, dataset->rows - first);
        TRY(moments_add_rows(dataset, first, count, buffer, moments));
        *rows += count;
    }
    return STATUS_OK;
}

static enum status statistics_compute(struct dataset *dataset)
{
    struct sample_shape shape = dataset->shape;
    uint64_t values = shape.h * shape.w * shape.c;
    uint64_t most = least(least(STATS_ROWS, dataset->rows), 1 + STATS_VALUES / values);
    uint64_t run = least(STATS_RUN, most), rows = 0;
    struct moments *moments = NULL;
    void *buffer = NULL;
    enum status status = memory_alloc(&moments, shape.c, sizeof *moments, "moments");
    if (status == STATUS_OK)
        status = memory_alloc(&buffer, run, dataset->row_bytes, "rows for the statistics");
    if (status == STATUS_OK)
        status = moments_sum(dataset, buffer, most, run, moments, &rows);
    double scale = dataset->is_u8 ? 255 : 1;
    for (size_t k = 0; k < shape.c && status == STATUS_OK; k++) {
        double count = (double)rows * (double)(shape.h * shape.w);
        double mean = moments[k].sum / count;
        double variance = moments[k].sum_squares / count - mean * mean;
        dataset->mean[k] = (moments[k].origin + mean) / scale;
        // The root is exact in IEEE arithmetic, so the same everywhere.
        dataset->std[k] = variance > 0 ? __builtin_sqrt(variance) / scale : 1;
    }
    free(moments);
    free(buffer);
    return status;
}

static enum status statistics_read(struct dataset *dataset)
{
    size_t c = dataset->shape.c;
    TRY(h5_attr_read(dataset->file, dataset->group, "mean", H5_F64, c, dataset->mean));
    TRY(h5_attr_read(dataset->file, dataset->group, "std", H5_F64, c, dataset->std));
    for (size_t k = 0; k < c; k++) {
        double mean = dataset->mean[k], std = dataset->std[k];
        CHECK(mean - mean == 0 && std - std == 0 && std >= 0, STATUS_DATA,
              "%s: mean %g and std %g of channel %zu are no statistics", dataset->path, mean, std,
              k);
        if (std == 0)
            dataset->std[k] = 1;
    }
    return STATUS_OK;
}

enum status dataset_statistics(struct dataset *dataset)
{
    size_t c = dataset->shape.c;
    TRY(memory_alloc(&dataset->mean, c, sizeof *dataset->mean, "means"));
    TRY(memory_alloc(&dataset->std, c, sizeof *dataset->std, "standard deviations"));
    if (h5_attr_exists(dataset->file, dataset->group, "mean") &&
        h5_attr_exists(dataset->file, dataset->group, "std"))
        return statistics_read(dataset);
    return statistics_compute(dataset);
}

// ---- fingerprint

static void digest_numbers(struct digest *digest, const struct dataset *dataset)
{
    // Bytes low first, whatever the machine.
    const uint64_t number[] = {dataset->rows,         dataset->shape.h,
                               dataset->shape.w,      dataset->shape.c,
                               dataset->is_u8,        (uint64_t)dataset->target.type,
                               dataset->target.count, dataset->target.n_classes};
    unsigned char bytes[sizeof number];
    for (size_t i = 0; i < sizeof number; i++)
        bytes[i] = (unsigned char)(number[i / 8] >> 8 * (i % 8));
    digest_add(digest, bytes, sizeof bytes);
}

enum status dataset_fingerprint_make(struct dataset *dataset)
{
    uint64_t n = least(PRINT_ROWS, 16 + PRINT_BYTES / dataset->row_bytes);
    n = least(n, dataset->rows);
    void *row = NULL;
    TRY(memory_alloc(&row, 1, dataset->row_bytes, "one row"));
    struct digest *digest = digest_begin();
    enum status status = STATUS_OK;
    if (!digest) {
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory");
    } else {
        digest_add_text(digest, "sw2 data set 1");
        digest_numbers(digest, dataset);
        digest_add(digest, dataset->targets,
                   (size_t)dataset->rows * dataset->target.count * sizeof(float));
        for (uint64_t i = 0; i < n && status == STATUS_OK; i++) {
            uint64_t at = (uint64_t)((unsigned __int128)dataset->rows * i / n);
            status = dataset_read(dataset, at, 1, row);
            if (status == STATUS_OK)
                digest_add(digest, row, dataset->row_bytes);
        }
        digest_end(digest, dataset->fingerprint);
    }
    free(row);
    return status;
}
