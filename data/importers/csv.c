// SPDX-License-Identifier: MIT
// Owns: tables as CSV: one row a record, numbers, one or more target columns. The first pass is
// csv_scan.c's, records are csv_reader.c's.
#include "data/importers/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

const char *csv_column(const struct csv *csv, size_t column)
{
    static _Thread_local char text[160];
    if (csv->names)
        snprintf(text, sizeof text, "column %zu (%.100s)", column + 1, csv->names[column]);
    else
        snprintf(text, sizeof text, "column %zu", column + 1);
    return text;
}

enum status csv_value(const struct csv *csv, size_t column, double *out)
{
    const char *field = csv->reader.fields[column], *path = stream_path(csv->reader.stream);
    size_t line = (size_t)csv->reader.line;
    if (csv_number(field, out)) {
        CHECK(!isfinite(*out) || isfinite((float)*out), STATUS_DATA,
              "%s: line %zu, %s: %s does not fit a float32", path, line, csv_column(csv, column),
              field);
        CHECK(csv->max <= 0 || (*out >= 0 && *out <= csv->max), STATUS_DATA,
              "%s: line %zu, %s: %s is not within 0 and --max %g", path, line,
              csv_column(csv, column), field, csv->max);
        return STATUS_OK;
    }
    CHECK(field[0], STATUS_DATA,
          "%s: line %zu, %s: is empty, expected a number (fill missing"
          " values first, or write nan)",
          path, line, csv_column(csv, column));
    FAIL(STATUS_DATA,
         "%s: line %zu, %s: '%.60s' is not a number (leave such columns out with --drop, or turn"
         " them into numbers first)",
         path, line, csv_column(csv, column), field);
}

static void close_csv(struct import_source *source)
{
    struct csv *csv = source->self;
    if (!csv)
        return;
    for (size_t i = 0; csv->names && i < csv->n_columns; i++)
        free(csv->names[i]);
    free(csv->names);
    free(csv->is_input);
    csv_close(&csv->reader);
    free(csv);
}

// Brings the reader before `row`.
static enum status seek_row(struct csv *csv, uint64_t row)
{
    if (row < csv->at) {
        TRY(csv_rewind(&csv->reader));
        if (csv->has_header)
            TRY(csv_next(&csv->reader));
        csv->at = 0;
    }
    for (; csv->at < row; csv->at++)
        TRY(csv_next(&csv->reader));
    return STATUS_OK;
}

static enum status read_row(struct import_source *source, uint64_t row, void *input, float *target)
{
    struct csv *csv = source->self;
    TRY(seek_row(csv, row));
    TRY(csv_next(&csv->reader));
    csv->at = row + 1;
    CHECK(csv->reader.n_fields == csv->n_columns, STATUS_DATA,
          "%s: line %zu: changed while it was imported", stream_path(csv->reader.stream),
          (size_t)csv->reader.line);
    size_t k = 0;
    for (size_t i = 0; i < csv->n_columns; i++) {
        double value = 0;
        if (!csv->is_input[i])
            continue;
        TRY(csv_value(csv, i, &value));
        if (source->is_u8)
            ((uint8_t *)input)[k++] = (uint8_t)(value * 255 / csv->max + 0.5);
        else
            ((float *)input)[k++] = (float)value;
    }
    for (size_t i = 0; target && i < csv->n_targets; i++) {
        double value = 0;
        CHECK(csv_number(csv->reader.fields[csv->targets[i]], &value), STATUS_DATA,
              "%s: changed while it was imported", stream_path(csv->reader.stream));
        target[i] = (float)value;
    }
    return STATUS_OK;
}

static enum status set_shape(const struct csv *csv, const struct import_options *options,
                             struct import_source *out)
{
    size_t n = csv->n_inputs, asked = 0;
    CHECK(n > 0, STATUS_DATA, "%s: has no columns besides the target",
          stream_path(csv->reader.stream));
    out->shape = (struct sample_shape){1, 1, n};
    const struct sample_shape *shape = &options->shape;
    if (shape->h == 0)
        return STATUS_OK;
    bool is_huge = __builtin_mul_overflow(shape->h, shape->w, &asked) ||
                   __builtin_mul_overflow(asked, shape->c, &asked);
    CHECK(!is_huge && asked == n, STATUS_USAGE,
          "%s: --shape %zux%zux%zu does not fit its %zu input columns (of %zu)",
          stream_path(csv->reader.stream), shape->h, shape->w, shape->c, n, csv->n_columns);
    out->shape = *shape;
    return STATUS_OK;
}

static enum status open_csv(const char *const *paths, size_t n_paths, enum import_side side,
                            const struct import_options *options, struct import_source *out)
{
    CHECK(n_paths == 1, STATUS_USAGE,
          "csv: %zu files given, expected one (a test file goes to"
          " --test)",
          n_paths);
    if (side == IMPORT_TEST)
        return STATUS_OK;
    struct csv *csv = NULL;
    TRY(memory_alloc(&csv, 1, sizeof *csv, "importer"));
    out->self = csv;
    out->close = close_csv;
    csv->max = options->max;
    TRY(csv_open(&csv->reader, paths[0]));
    TRY(csv_scan(csv, options, out));
    TRY(set_shape(csv, options, out));
    out->is_u8 = csv->max > 0;
    out->is_sequential = true;
    out->read = read_row;
    csv->at = UINT64_MAX; // the scan left the reader at the end
    if (!out->is_u8 && csv->is_byte_range && options->shape.h > 0)
        TRY(import_note(out, "all values are whole numbers 0..255: --max 255 would store them in a"
                             " quarter of the space"));
    return STATUS_OK;
}

// Text in lines with a separator in the first one.
static bool accepts(const char *path)
{
    char head[4096];
    size_t n = stream_peek(path, head, sizeof head);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)head[i] < ' ' && !strchr("\t\r\n", head[i]))
            return false;
    return n > 0 && memchr(head, 0, n) == NULL &&
           (memchr(head, ',', n) || memchr(head, ';', n) || memchr(head, '\t', n));
}

const struct importer importer_csv = {
    .name = "csv",
    .summary = "a table with commas, semicolons or tabs, gzip'ed or not, with header or without",
    .accepts = accepts,
    .open = open_csv,
};
