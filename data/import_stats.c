// SPDX-License-Identifier: MIT
// Owns: mean and standard deviation of each channel. Called by import_write.c.
#include <math.h>
#include <stdlib.h>

#include "comm/memory.h"
#include "data/import_private.h"

enum status import_stats_init(struct import_stats *stats, size_t c, bool is_u8)
{
    *stats = (struct import_stats){.c = c, .is_u8 = is_u8};
    TRY(memory_alloc(&stats->n, c, sizeof *stats->n, "statistics"));
    TRY(memory_alloc(&stats->sum, c, sizeof *stats->sum, "statistics"));
    TRY(memory_alloc(&stats->square, c, sizeof *stats->square, "statistics"));
    TRY(memory_alloc(&stats->shift, c, sizeof *stats->shift, "statistics"));
    TRY(memory_alloc(&stats->fsum, c, sizeof *stats->fsum, "statistics"));
    return memory_alloc(&stats->fsquare, c, sizeof *stats->fsquare, "statistics");
}

void import_stats_free(struct import_stats *stats)
{
    free(stats->n);
    free(stats->sum);
    free(stats->square);
    free(stats->shift);
    free(stats->fsum);
    free(stats->fsquare);
    *stats = (struct import_stats){0};
}

static void add_u8(struct import_stats *stats, const uint8_t *input, size_t pixels)
{
    for (size_t k = 0; k < stats->c; k++) {
        uint64_t sum = 0, square = 0;
        for (size_t i = 0; i < pixels; i++) {
            uint32_t value = input[i * stats->c + k];
            sum += value;
            square += value * value;
        }
        stats->n[k] += pixels;
        stats->sum[k] += sum;
        stats->square[k] += square;
    }
}

static void add_f32(struct import_stats *stats, const float *input, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < stats->c; k++) {
            double value = (double)input[i * stats->c + k];
            if (!isfinite(value)) {
                stats->n_not_finite++;
                continue;
            }
            if (stats->n[k]++ == 0)
                stats->shift[k] = value;
            value -= stats->shift[k];
            stats->fsum[k] += value;
            stats->fsquare[k] += value * value;
        }
}

void import_stats_add(struct import_stats *stats, const void *input, size_t pixels)
{
    if (stats->is_u8)
        add_u8(stats, input, pixels);
    else
        add_f32(stats, input, pixels);
}

void import_stats_end(const struct import_stats *stats, double *mean, double *deviation)
{
    for (size_t k = 0; k < stats->c; k++) {
        double n = stats->n[k] ? (double)stats->n[k] : 1;
        double sum = stats->is_u8 ? (double)stats->sum[k] : stats->fsum[k];
        double square = stats->is_u8 ? (double)stats->square[k] : stats->fsquare[k];
        double scale = stats->is_u8 ? 255 : 1;
        double variance = square / n - sum / n * (sum / n);
        mean[k] = (stats->shift[k] + sum / n) / scale;
        deviation[k] = variance > 0 ? sqrt(variance) / scale : 0;
    }
}
