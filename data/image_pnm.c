// SPDX-License-Identifier: MIT
// Owns: the strict reader of PNM (netpbm's pgm(5), ppm(5)): P2, P3 as text, P5, P6 as bytes,
// comments in the header, maxval 1..65535. Called by image.c.
#include "data/image.h"

struct cursor {
    const char *name;
    const uint8_t *at, *end;
    const uint8_t *begin;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// A decimal number after spaces and comments.
static enum status read_number(struct cursor *cursor, const char *what, uint32_t max, uint32_t *out)
{
    while (cursor->at < cursor->end && (is_space(*cursor->at) || *cursor->at == '#')) {
        if (*cursor->at == '#')
            while (cursor->at < cursor->end && *cursor->at != '\n')
                cursor->at++;
        else
            cursor->at++;
    }
    size_t place = (size_t)(cursor->at - cursor->begin);
    CHECK(cursor->at < cursor->end, STATUS_DATA, "%s: truncated: %s expected at byte %zu",
          cursor->name, what, place);
    uint32_t value = 0;
    const uint8_t *first = cursor->at;
    for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++) {
        value = value * 10 + (uint32_t)(*cursor->at - '0');
        CHECK(value <= max, STATUS_DATA, "%s: %s at byte %zu is more than %u", cursor->name, what,
              place, max);
    }
    CHECK(cursor->at > first, STATUS_DATA, "%s: %s at byte %zu is not a number", cursor->name, what,
          place);
    CHECK(cursor->at == cursor->end || is_space(*cursor->at) || *cursor->at == '#', STATUS_DATA,
          "%s: %s at byte %zu is not a number", cursor->name, what, place);
    *out = value;
    return STATUS_OK;
}

static enum status read_text(struct cursor *cursor, uint32_t max, struct image *out)
{
    size_t n = out->h * out->w * out->c;
    for (size_t i = 0; i < n; i++) {
        uint32_t value = 0;
        TRY(read_number(cursor, "pixel", max, &value));
        out->pixels[i] = (uint8_t)((value * 255u + max / 2) / max);
    }
    return STATUS_OK;
}

static enum status read_bytes(struct cursor *cursor, uint32_t max, struct image *out)
{
    size_t n = out->h * out->w * out->c, width = max > 255 ? 2 : 1;
    size_t there = (size_t)(cursor->end - cursor->at);
    CHECK(there >= n * width, STATUS_DATA,
          "%s: truncated: %zux%zu pixels need %zu bytes, %zu are"
          " there",
          cursor->name, out->h, out->w, n * width, there);
    CHECK(there == n * width, STATUS_DATA, "%s: %zu bytes follow the %zux%zu pixels", cursor->name,
          there - n * width, out->h, out->w);
    const uint8_t *p = cursor->at;
    for (size_t i = 0; i < n; i++) {
        uint32_t value = width == 2 ? (uint32_t)p[2 * i] << 8 | p[2 * i + 1] : p[i];
        CHECK(value <= max, STATUS_DATA, "%s: pixel value %u is more than the header's maximum %u",
              cursor->name, value, max);
        out->pixels[i] = (uint8_t)((value * 255u + max / 2) / max);
    }
    return STATUS_OK;
}

enum status image_pnm(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                      struct image *out)
{
    struct cursor cursor = {name, bytes + 2, bytes + n, bytes};
    uint32_t w = 0, h = 0, max = 0;
    uint8_t kind = bytes[1];
    TRY(read_number(&cursor, "width", 1000000, &w));
    TRY(read_number(&cursor, "height", 1000000, &h));
    TRY(read_number(&cursor, "maximum", 65535, &max));
    CHECK(max > 0, STATUS_DATA, "%s: the maximum in the header is 0, expected 1 to 65535", name);
    size_t c = kind == '3' || kind == '6' ? 3 : 1;
    if (is_probe) {
        out->h = h;
        out->w = w;
        out->c = c;
        return STATUS_OK;
    }
    TRY(image_check_size(name, h, w));
    bool is_text = kind == '2' || kind == '3';
    if (!is_text) {
        CHECK(cursor.at < cursor.end && is_space(*cursor.at), STATUS_DATA,
              "%s: truncated after the header", name);
        cursor.at++;
    }
    // Before the memory for the pixels is asked for. Numbers in text have a space between them.
    CHECK((size_t)w * h * (is_text ? 2 * c : 1) <= n, STATUS_DATA,
          "%s: truncated: %ux%u pixels do not fit %zu bytes", name, h, w, n);
    TRY(image_size(out, name, h, w, c));
    return is_text ? read_text(&cursor, max, out) : read_bytes(&cursor, max, out);
}
