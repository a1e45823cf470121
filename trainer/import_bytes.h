// SPDX-License-Identifier: MIT
// Reading Protocol Buffers' wire format from bytes that nobody vouches for. A reader never leaves
// [at, end); what is damaged ends it and is remembered.
#ifndef SW2_TRAINER_IMPORT_BYTES_H
#define SW2_TRAINER_IMPORT_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pb_reader {
    const uint8_t *at, *end;
    bool is_bad;
};

// One field: a number, or bytes.
struct pb_field {
    uint32_t number;
    int wire;            // 0 varint, 1 eight bytes, 2 bytes, 5 four bytes
    uint64_t value;      // of 0, 1 and 5
    const uint8_t *data; // of 2: (n), inside the reader's bytes
    size_t n;
};

static inline uint64_t pb_varint(struct pb_reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    r->is_bad = true;
    return 0;
}

static inline uint64_t pb_fixed(struct pb_reader *r, size_t n)
{
    uint64_t value = 0;
    if ((size_t)(r->end - r->at) < n) {
        r->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        value |= (uint64_t)r->at[i] << 8 * i;
    r->at += n;
    return value;
}

// The next field; false: the end, or damage (is_bad).
static inline bool pb_next(struct pb_reader *r, struct pb_field *field)
{
    if (r->is_bad || r->at >= r->end)
        return false;
    uint64_t tag = pb_varint(r);
    *field = (struct pb_field){.number = (uint32_t)(tag >> 3), .wire = (int)(tag & 7)};
    if (tag >> 3 == 0 || tag >> 32 != 0) {
        r->is_bad = true;
    } else if (field->wire == 0) {
        field->value = pb_varint(r);
    } else if (field->wire == 1 || field->wire == 5) {
        field->value = pb_fixed(r, field->wire == 1 ? 8 : 4);
    } else if (field->wire == 2) {
        uint64_t n = pb_varint(r);
        r->is_bad = r->is_bad || n > (uint64_t)(r->end - r->at);
        field->data = r->at;
        field->n = r->is_bad ? 0 : (size_t)n;
        r->at += field->n;
    } else {
        r->is_bad = true; // groups are no part of ONNX
    }
    return !r->is_bad;
}

// A message inside the field. Only of wire 2, else an empty one that is bad.
static inline struct pb_reader pb_inner(const struct pb_field *field)
{
    if (field->wire != 2)
        return (struct pb_reader){.is_bad = true};
    return (struct pb_reader){.at = field->data, .end = field->data + field->n};
}

static inline float pb_float_of(const struct pb_field *field)
{
    uint32_t bits = (uint32_t)field->value;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
