// SPDX-License-Identifier: MIT
// A growing run of bytes and what the binary formats are written with: little-endian numbers,
// Protocol Buffers' wire format (protobuf.dev/programming-guides/encoding), NPY arrays. Running out
// of memory is remembered and reported once, when the bytes go into a file.
#ifndef SW2_TRAINER_EXPORT_BYTES_H
#define SW2_TRAINER_EXPORT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct bytes {
    uint8_t *at; // (n) owned
    size_t n, capacity;
    bool is_lost; // memory ran out
};

void bytes_free(struct bytes *b);
void bytes_put(struct bytes *b, const void *data, size_t n);
void bytes_put_number(struct bytes *b, uint64_t value, int n_bytes); // little-endian
void bytes_put_floats(struct bytes *b, const float *x, size_t n);    // little-endian
void bytes_print(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The whole file at once, by way of a temporary name. STATUS_ERROR naming the path.
enum status bytes_save(const struct bytes *b, const char *path);

// Fields of a message. pb_message moves `inner` (then empty, its memory kept) into b.
void pb_int(struct bytes *b, int field, int64_t value);
void pb_float(struct bytes *b, int field, float value);
void pb_text(struct bytes *b, int field, const char *text);
void pb_message(struct bytes *b, int field, struct bytes *inner);

uint32_t bytes_crc32(const uint8_t *at, size_t n); // of zip, gzip, PNG

#endif
