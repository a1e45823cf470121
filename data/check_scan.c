// SPDX-License-Identifier: MIT
// Owns: one pass over the rows of a data set, counting. Called by check.c.
#include <math.h>
#include <stdlib.h>

#include "comm/digest.h"
#include "comm/memory.h"
#include "data/check_private.h"

enum { BLOCK_BYTES = 4 << 20, BLOCK_ROWS_MAX = 4096 };

enum status check_scan_init(struct check_scan *scan, struct dataset *dataset, const char *name)
{
    size_t c = dataset_shape(dataset).c;
    *scan = (struct check_scan){.dataset = dataset, .name = name, .n_rows = dataset_rows(dataset)};
    TRY(memory_alloc(&scan->rows, scan->n_rows, sizeof *scan->rows, "digests of rows"));
    TRY(memory_alloc(&scan->count, dataset_target(dataset).n_classes, sizeof *scan->count,
                     "class counts"));
    TRY(memory_alloc(&scan->least, c, sizeof *scan->least, "channels"));
    TRY(memory_alloc(&scan->most, c, sizeof *scan->most, "channels"));
    for (size_t k = 0; k < c; k++) {
        scan->least[k] = INFINITY;
        scan->most[k] = -INFINITY;
    }
    return import_stats_init(&scan->stats, c, dataset_is_u8(dataset));
}

void check_scan_free(struct check_scan *scan)
{
    dataset_close(scan->dataset);
    free(scan->rows);
    free(scan->count);
    free(scan->least);
    free(scan->most);
    import_stats_free(&scan->stats);
    *scan = (struct check_scan){0};
}

// Range of each channel, and whether the row is of one value.
static void look_at_input(struct check_scan *scan, uint64_t row, const void *input)
{
    struct sample_shape shape = dataset_shape(scan->dataset);
    size_t n = shape.h * shape.w, c = shape.c;
    bool is_u8 = dataset_is_u8(scan->dataset),
         is_blank = n > 1; // of pictures and signals, not of tables
    uint64_t bad = 0;
    float first = is_u8 ? (float)*(const uint8_t *)input : *(const float *)input;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c; k++) {
            size_t at = i * c + k;
            float value = is_u8 ? (float)((const uint8_t *)input)[at] : ((const float *)input)[at];
            if (!isfinite(value)) {
                bad++;
                continue;
            }
            is_blank = is_blank && value == first;
            scan->least[k] = value < scan->least[k] ? value : scan->least[k];
            scan->most[k] = value > scan->most[k] ? value : scan->most[k];
        }
    if (bad > 0 && scan->n_not_finite == 0)
        scan->first_not_finite = row;
    scan->n_not_finite += bad;
    if (is_blank && bad == 0 && scan->n_blank++ == 0)
        scan->first_blank = row;
}

// Counts the target and adds the row to the digest of the content.
static void look_at_target(struct check_scan *scan, uint64_t row, const void *input)
{
    struct target_shape target = dataset_target(scan->dataset);
    size_t input_bytes = dataset_row_bytes(scan->dataset);
    const void *at = dataset_target_of(scan->dataset, row);
    if (target.type == TARGET_CLASS) {
        const int32_t *label = at;
        int64_t stored = label[0];
        for (size_t i = 0; i < target.count; i++)
            if (label[i] >= 0 && (size_t)label[i] < target.n_classes)
                scan->count[label[i]]++;
        row_digest_add(&scan->digest, row, input, input_bytes, &stored, sizeof stored);
        return;
    }
    const float *value = at;
    for (size_t i = 0; i < target.count; i++)
        if (!isfinite(value[i]) && scan->n_bad_targets++ == 0)
            scan->first_bad_target = row;
    row_digest_add(&scan->digest, row, input, input_bytes, value, target.count * sizeof *value);
}

static int by_key(const void *a, const void *b)
{
    const struct check_row *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static enum status scan_blocks(struct check_scan *scan, uint64_t block, uint8_t *inputs,
                               const struct import_progress *progress)
{
    size_t bytes = dataset_row_bytes(scan->dataset);
    struct sample_shape shape = dataset_shape(scan->dataset);
    for (uint64_t first = 0; first < scan->n_rows; first += block) {
        uint64_t n = scan->n_rows - first < block ? scan->n_rows - first : block;
        TRY(import_tick(progress, scan->name, first, scan->n_rows));
        TRY(dataset_read(scan->dataset, first, n, inputs));
        for (uint64_t i = 0; i < n; i++) {
            const uint8_t *input = inputs + i * bytes;
            scan->rows[first + i] =
                (struct check_row){.key = digest_bytes(input, bytes, 0), .row = first + i};
            look_at_input(scan, first + i, input);
            look_at_target(scan, first + i, input);
            import_stats_add(&scan->stats, input, shape.h * shape.w);
        }
    }
    return import_tick(progress, scan->name, scan->n_rows, scan->n_rows);
}

enum status check_scan_run(struct check_scan *scan, const struct import_progress *progress)
{
    size_t bytes = dataset_row_bytes(scan->dataset);
    uint64_t block = BLOCK_BYTES / bytes;
    block = block > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : block == 0 ? 1 : block;
    uint8_t *inputs = NULL;
    TRY(memory_alloc(&inputs, block, bytes, "block of rows"));
    dataset_changed_reset(scan->dataset); // opening read some rows
    enum status status = scan_blocks(scan, block, inputs, progress);
    free(inputs);
    TRY(status);
    qsort(scan->rows, scan->n_rows, sizeof *scan->rows, by_key);
    return STATUS_OK;
}
