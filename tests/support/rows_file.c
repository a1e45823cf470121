// SPDX-License-Identifier: MIT
#include "tests/support/rows_file.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/expect.h"

double rows_file_pixel(uint64_t position)
{
    return (double)((position * 7919 + position / 251 * 13) % 251);
}

static double fill_value(const struct part *part, uint64_t width, uint64_t i)
{
    uint64_t row = i / width, column = i % width;
    if (part->odd == i + 1)
        return part->odd_value;
    switch (part->fill) {
    case FILL_PIXELS:
        return rows_file_pixel(i);
    case FILL_CLASSES:
        return (double)(row % 10);
    case FILL_ONE_HOT:
        return column == row % width;
    case FILL_FLOATS:
        return (double)row / 4 + (double)column;
    case FILL_ONES:
        return (double)(row % 10 + 1);
    case FILL_ZEROS:
        break;
    }
    return 0;
}

static void part_write(struct h5 *file, const struct part *part)
{
    uint64_t n = 1, width = 1;
    for (int i = 0; i < part->rank; i++)
        n *= part->dim[i];
    for (int i = 1; i < part->rank; i++)
        width *= part->dim[i];
    double *values = malloc((n + 1) * sizeof *values);
    for (uint64_t i = 0; i < n; i++)
        values[i] = fill_value(part, width, i);
    struct h5_set *set = NULL;
    expect_ok(h5_create_set(file, part->key, part->type, part->rank, part->dim, &set), part->key);
    expect_ok(h5_set_write(set, 0, part->rank ? part->dim[0] : 1, H5_F64, values), part->key);
    h5_set_close(set);
    free(values);
}

void rows_file_write(const char *path, const struct part *parts, size_t n)
{
    struct h5 *file = NULL;
    expect_ok(h5_create(&file, path), path);
    for (size_t i = 0; i < n && parts[i].key; i++)
        part_write(file, &parts[i]);
    if (n > 0 && strncmp(parts[0].key, "train/", 6) == 0)
        expect_ok(h5_attr_write_text(file, "train", "layout", "nhwc"), path);
    expect_ok(h5_commit(file), path);
}

void rows_file_images(const char *path, uint64_t n, uint64_t h, uint64_t w, uint64_t c,
                      enum h5_type type)
{
    const struct part parts[2] = {
        {.key = "train/images", .type = type, .rank = 4, .dim = {n, h, w, c}},
        {.key = "train/labels", .type = H5_I64, .rank = 1, .dim = {n}, .fill = FILL_CLASSES}};
    rows_file_write(path, parts, 2);
}
