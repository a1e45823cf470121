// SPDX-License-Identifier: MIT
#include "trainer/export_bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/text_file.h"

void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}

static bool bytes_reserve(struct bytes *b, size_t n)
{
    size_t need, capacity = b->capacity ? b->capacity : 256;
    if (b->is_lost || __builtin_add_overflow(b->n, n, &need) || need > SIZE_MAX / 2) {
        b->is_lost = true;
        return false;
    }
    if (need <= b->capacity)
        return true;
    while (capacity < need)
        capacity *= 2;
    uint8_t *grown = realloc(b->at, capacity);
    b->is_lost = !grown;
    if (!grown)
        return false;
    b->at = grown;
    b->capacity = capacity;
    return true;
}

void bytes_put(struct bytes *b, const void *data, size_t n)
{
    if (n == 0 || !bytes_reserve(b, n))
        return;
    memcpy(b->at + b->n, data, n);
    b->n += n;
}

void bytes_put_number(struct bytes *b, uint64_t value, int n_bytes)
{
    uint8_t text[8];
    for (int i = 0; i < n_bytes; i++)
        text[i] = (uint8_t)(value >> 8 * i);
    bytes_put(b, text, (size_t)n_bytes);
}

void bytes_put_floats(struct bytes *b, const float *x, size_t n)
{
    if (!bytes_reserve(b, 4 * n))
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bytes_put_number(b, bits, 4);
    }
}

void bytes_print(struct bytes *b, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (n < 0 || !bytes_reserve(b, (size_t)n + 1)) {
        b->is_lost = true;
        return;
    }
    va_start(list, format);
    vsnprintf((char *)b->at + b->n, (size_t)n + 1, format, list);
    va_end(list);
    b->n += (size_t)n;
}

enum status bytes_save(const struct bytes *b, const char *path)
{
    CHECK(!b->is_lost, STATUS_ERROR, "out of memory: contents of '%s'", path);
    struct text_file out;
    TRY(text_file_open(&out, path));
    fwrite(b->at, 1, b->n, out.file); // an error stays in the stream, and is reported by commit
    return text_file_commit(&out);
}

static void varint_put(struct bytes *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        bytes_put_number(b, (value & 0x7f) | 0x80, 1);
    bytes_put_number(b, value, 1);
}

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void tag_put(struct bytes *b, int field, enum wire wire)
{
    varint_put(b, (uint64_t)field << 3 | (uint64_t)wire);
}

void pb_int(struct bytes *b, int field, int64_t value)
{
    tag_put(b, field, WIRE_VARINT);
    varint_put(b, (uint64_t)value);
}

void pb_float(struct bytes *b, int field, float value)
{
    tag_put(b, field, WIRE_FIXED32);
    bytes_put_floats(b, &value, 1);
}

void pb_text(struct bytes *b, int field, const char *text)
{
    size_t n = strlen(text);
    tag_put(b, field, WIRE_BYTES);
    varint_put(b, n);
    bytes_put(b, text, n);
}

void pb_message(struct bytes *b, int field, struct bytes *inner)
{
    tag_put(b, field, WIRE_BYTES);
    varint_put(b, inner->n);
    bytes_put(b, inner->at, inner->n);
    b->is_lost = b->is_lost || inner->is_lost;
    inner->n = 0;
}

uint32_t bytes_crc32(const uint8_t *at, size_t n)
{
    uint32_t table[256], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ at[i]) & 0xff];
    return crc ^ 0xffffffffu;
}
