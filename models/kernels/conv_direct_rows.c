// SPDX-License-Identifier: MIT
// Plans the rows of the direct convolution: which taps serve which outputs, and their kernels. At
// the edges a tap reads nothing but padding; such products are left out: whole rows always, columns
// where that pays. They are a sixth of all at 8x8 (3x3 taps), a fortieth at 56x56.
#include <stdlib.h>

#include "comm/memory.h"
#include "models/kernels/conv_direct.h"

enum status conv_rows_alloc(struct conv_rows *rows, size_t taps)
{
    TRY(memory_alloc(&rows->tap, taps, sizeof *rows->tap, "convolution taps"));
    TRY(memory_alloc(&rows->strip, taps, sizeof *rows->strip, "convolution strips"));
    TRY(memory_alloc(&rows->in_offset, taps, sizeof(gemm_offset), "convolution offsets"));
    TRY(memory_alloc(&rows->w_offset[0], taps, sizeof(gemm_offset), "convolution offsets"));
    return memory_alloc(&rows->w_offset[1], taps, sizeof(gemm_offset), "convolution offsets");
}

void conv_rows_free(struct conv_rows *rows)
{
    for (size_t s = 0; s < rows->n_strips; s++)
        free(rows->strip[s].taps);
    free(rows->strip);
    free(rows->tap);
    free(rows->in_offset);
    free(rows->w_offset[0]);
    free(rows->w_offset[1]);
}

static bool range_is(struct conv_range range, size_t first, size_t end)
{
    return range.first == first && range.end == end;
}

// Columns left out save products; each further strip reads and writes its outputs once more, which
// costs as much as COST products an output (measured).
static bool columns_pay(const struct conv_rows *rows, size_t k)
{
    enum { COST = 6 };
    size_t saved = 0, cost = 0;
    for (size_t t = 0; t < rows->n_taps; t++) {
        const struct conv_range *columns = &rows->tap[t].columns;
        size_t width = columns->end - columns->first;
        bool is_known = width == rows->n_columns;
        saved += (rows->n_columns - width) * k;
        for (size_t i = 0; i < t && !is_known; i++)
            is_known = range_is(rows->tap[i].columns, columns->first, columns->end);
        cost += is_known ? 0 : width * COST;
    }
    return saved > cost;
}

// Every output needs a tap that writes it: each row, one that has all its columns.
static bool rows_are_written(const struct conv_rows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        bool is_written = false;
        for (size_t t = 0; t < rows->n_taps && !is_written; t++)
            is_written = range_is(rows->tap[t].columns, 0, rows->n_columns) &&
                         rows->tap[t].rows.first <= i && i < rows->tap[t].rows.end;
        if (!is_written)
            return false;
    }
    return true;
}

// Moves the taps of these columns from `from` on to there, in their order; returns their end.
static size_t taps_gather(struct conv_rows *rows, size_t from, struct conv_range columns)
{
    for (size_t t = from; t < rows->n_taps; t++) {
        struct conv_tap tap = rows->tap[t];
        if (!range_is(tap.columns, columns.first, columns.end))
            continue;
        for (size_t i = t; i > from; i--)
            rows->tap[i] = rows->tap[i - 1];
        rows->tap[from++] = tap;
    }
    return from;
}

// Taps [first, end) have equal columns; those of one output row follow each other, as taps go
// through the kernel's rows in one direction.
static enum status strip_add(struct conv_rows *rows, size_t first, size_t end)
{
    const struct conv_range columns = rows->tap[first].columns;
    struct conv_strip *strip = &rows->strip[rows->n_strips++];
    strip->n_columns = columns.end - columns.first;
    strip->first = columns.first;
    TRY(memory_alloc(&strip->taps, rows->n_rows, sizeof *strip->taps, "convolution strips"));
    for (size_t i = 0; i < rows->n_rows; i++) {
        struct conv_range *taps = &strip->taps[i];
        for (size_t t = first; t < end; t++) {
            if (i < rows->tap[t].rows.first || i >= rows->tap[t].rows.end)
                continue;
            if (taps->end == 0)
                taps->first = t;
            ASSERT(taps->end == 0 || taps->end == t);
            taps->end = t + 1;
        }
    }
    for (size_t t = first; t < end; t++)
        rows->in_offset[t] = (rows->tap[t].in + columns.first * rows->in_column) * sizeof(float);
    return STATUS_OK;
}

static enum status strips_cut(struct conv_rows *rows, size_t k)
{
    const struct conv_range all_rows = {0, rows->n_rows}, all_columns = {0, rows->n_columns};
    bool is_written = rows_are_written(rows), pays = is_written && columns_pay(rows, k);
    for (size_t t = 0; t < rows->n_taps; t++) {
        struct conv_tap *tap = &rows->tap[t];
        tap->rows = is_written ? tap->rows : all_rows;
        tap->columns = pays ? tap->columns : all_columns;
    }
    struct conv_range columns = all_columns;
    for (size_t first = 0, end; first < rows->n_taps; first = end) {
        end = taps_gather(rows, first, columns);
        if (columns.first < columns.end && end > first)
            TRY(strip_add(rows, first, end));
        if (end < rows->n_taps)
            columns = rows->tap[end].columns;
    }
    return STATUS_OK;
}

enum status conv_rows_plan(struct conv_rows *rows, const struct conv_blocks *blocks, size_t k,
                           int beta)
{
    size_t width[2] = {CONV_BLOCK, blocks->total % CONV_BLOCK};
    TRY(strips_cut(rows, k));
    for (int b = 0; b < 2; b++) {
        if (width[b] == 0 || blocks->total < width[b])
            continue;
        for (size_t t = 0; t < rows->n_taps; t++)
            rows->w_offset[b][t] = (rows->first + t) * k * width[b] * sizeof(float);
        for (size_t s = 0; s < rows->n_strips; s++)
            TRY(conv_plan_gemm(&rows->strip[s].gemm[b], width[b], rows->strip[s].n_columns, k,
                               width[b], rows->in_column, rows->sums ? width[b] : rows->out_column,
                               false, s > 0 || (beta == 1 && !rows->sums)));
    }
    return STATUS_OK;
}
