// SPDX-License-Identifier: MIT
// Event files that TensorBoard reads: TFRecord frames (length, masked CRC-32C) around messages of
// tensorflow/core/util/event.proto. Values are collected into one event a step. Rank 0 alone opens
// one; every function takes NULL and does nothing.
#ifndef SW2_TRAINER_TENSORBOARD_H
#define SW2_TRAINER_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct tensorboard;

// A new file in FOLDER (made where it is not there); TensorBoard drops what earlier files say of
// steps from `step` on. STATUS_ERROR names the path.
enum status tensorboard_open(struct tensorboard **board, const char *folder, uint64_t step);
void tensorboard_scalar(struct tensorboard *board, const char *tag, double value);
// png: n bytes of a picture of this size and number of channels.
void tensorboard_image(struct tensorboard *board, const char *tag, const uint8_t *png, size_t n,
                       size_t h, size_t w, size_t c);

// Values by magnitude: a bucket each for 1e-10 1.25^k to the next, both signs, and one around 0.
#define HISTOGRAM_SIDE 166
#define HISTOGRAM_BUCKETS (2 * HISTOGRAM_SIDE + 1)
struct histogram {
    double least, most, n, sum, sum_squares;
    uint64_t count[HISTOGRAM_BUCKETS];
};
void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, const float *values, size_t n); // finite ones
void histogram_merge(struct histogram *into, const struct histogram *from);
void tensorboard_histogram(struct tensorboard *board, const char *tag,
                           const struct histogram *histogram);

// Writes what was collected as the event of a step. STATUS_ERROR names the path; the file may then
// end in half an event, which readers leave out.
enum status tensorboard_flush(struct tensorboard *board, uint64_t step);
void tensorboard_close(struct tensorboard *board);

#endif
