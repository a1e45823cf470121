// SPDX-License-Identifier: MIT
#include "trainer/explain_render.h"

#include <math.h>
#include <string.h>

#define ANCHORS 33

// Every eighth of matplotlib's 256 colours; linear between, within 2 of 255 of them.
static const uint8_t anchors[][ANCHORS][3] = {
    {// viridis
     {68, 1, 84},    {71, 13, 96},   {72, 24, 106},  {72, 35, 116},  {71, 45, 123},  {69, 54, 129},
     {66, 64, 134},  {63, 73, 137},  {59, 82, 139},  {55, 90, 141},  {51, 99, 141},  {47, 106, 142},
     {44, 114, 142}, {41, 122, 142}, {38, 129, 142}, {35, 137, 142}, {33, 144, 140}, {31, 152, 139},
     {31, 159, 136}, {33, 166, 133}, {40, 174, 128}, {49, 181, 123}, {62, 188, 116}, {76, 194, 108},
     {93, 201, 99},  {110, 206, 88}, {130, 211, 76}, {150, 216, 63}, {171, 220, 50}, {192, 223, 36},
     {213, 226, 26}, {234, 229, 26}, {253, 231, 37}},
    {// inferno
     {0, 0, 4},       {4, 3, 18},      {11, 7, 36},    {21, 11, 55},   {33, 12, 74},
     {46, 10, 90},    {60, 9, 101},    {74, 12, 107},  {87, 16, 109},  {99, 20, 110},
     {112, 25, 110},  {125, 30, 109},  {137, 34, 106}, {150, 39, 102}, {163, 43, 97},
     {175, 49, 92},   {187, 55, 85},   {198, 62, 77},  {209, 70, 68},  {219, 79, 59},
     {227, 89, 50},   {235, 101, 40},  {241, 113, 30}, {246, 127, 20}, {249, 141, 10},
     {251, 156, 6},   {252, 171, 15},  {251, 186, 31}, {249, 202, 50}, {245, 217, 73},
     {242, 232, 101}, {243, 245, 134}, {252, 255, 164}},
    {// coolwarm
     {59, 76, 192},   {68, 90, 204},   {77, 104, 215},  {87, 117, 225},  {98, 130, 234},
     {108, 142, 241}, {119, 154, 247}, {130, 165, 251}, {141, 176, 254}, {152, 185, 255},
     {163, 194, 254}, {174, 201, 252}, {184, 208, 249}, {194, 213, 244}, {204, 217, 238},
     {213, 219, 230}, {221, 221, 221}, {229, 216, 209}, {236, 211, 197}, {241, 204, 185},
     {244, 196, 173}, {247, 187, 160}, {247, 177, 148}, {247, 166, 135}, {244, 154, 123},
     {241, 141, 111}, {236, 127, 99},  {229, 112, 88},  {222, 96, 77},   {213, 80, 66},
     {203, 62, 56},   {192, 40, 47},   {180, 4, 38}},
};

void render_colour(enum render_colours colours, float v, uint8_t rgb[3])
{
    float at = (v > 0 ? v < 1 ? v : 1 : 0) * (ANCHORS - 1); // NaN: the first
    size_t low = (size_t)at < ANCHORS - 2 ? (size_t)at : ANCHORS - 2;
    float share = at - (float)low;
    for (size_t k = 0; k < 3; k++) {
        float a = anchors[colours][low][k], b = anchors[colours][low + 1][k];
        rgb[k] = (uint8_t)(a + share * (b - a) + 0.5f);
    }
}

// The two neighbours of target i of n in a row of `from`, and the second one's share.
static float neighbours(size_t i, size_t n, size_t from, size_t *a, size_t *b)
{
    double at = ((double)i + 0.5) * (double)from / (double)n - 0.5;
    at = at > 0 ? at : 0;
    *a = (size_t)at < from - 1 ? (size_t)at : from - 1;
    *b = *a + 1 < from ? *a + 1 : *a;
    return (float)(at - (double)*a);
}

void render_resample(const float *from, size_t from_h, size_t from_w, float *to, size_t h, size_t w)
{
    for (size_t y = 0; y < h; y++) {
        size_t top, bottom, left, right;
        float down = neighbours(y, h, from_h, &top, &bottom);
        for (size_t x = 0; x < w; x++) {
            float aside = neighbours(x, w, from_w, &left, &right);
            const float *a = from + top * from_w, *b = from + bottom * from_w;
            float above = a[left] + aside * (a[right] - a[left]);
            float below = b[left] + aside * (b[right] - b[left]);
            to[y * w + x] = above + down * (below - above);
        }
    }
}

float render_range(const float *map, size_t n, double share)
{
    enum { BINS = 4096 };
    uint32_t count[BINS] = {0};
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabsf(map[i]) > most ? fabsf(map[i]) : most;
    if (most == 0 || !isfinite(most))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (map[i] == map[i])
            count[(size_t)((double)fabsf(map[i]) / (double)most * (BINS - 1))]++;
    size_t below = 0, bin = 0;
    while (bin < BINS - 1 && (double)(below += count[bin]) < share * (double)n)
        bin++;
    return (float)((double)most * (double)(bin + 1) / BINS);
}

static float value_at(const void *raw, bool is_u8, size_t i)
{
    return is_u8 ? ((const uint8_t *)raw)[i] : ((const float *)raw)[i];
}

void render_sample(const void *raw, bool is_u8, size_t h, size_t w, size_t c, uint8_t *rgb)
{
    float low = 0, high = 255;
    if (!is_u8) {
        low = high = value_at(raw, is_u8, 0);
        for (size_t i = 0; i < h * w * c; i++) {
            float v = value_at(raw, is_u8, i);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
    }
    const float scale = high > low ? 255 / (high - low) : 0;
    for (size_t i = 0; i < h * w; i++) {
        float mean = 0;
        for (size_t k = 0; k < c; k++)
            mean += value_at(raw, is_u8, i * c + k) / (float)c;
        for (size_t k = 0; k < 3; k++) {
            float v = (c == 3 ? value_at(raw, is_u8, i * c + k) : mean) - low;
            v = v * scale + 0.5f;
            rgb[3 * i + k] = (uint8_t)(v > 0 ? v < 255 ? v : 255 : 0);
        }
    }
}

void render_overlay(const struct render_style *style, bool is_signed, const float *map, float range,
                    const uint8_t *rgb, size_t h, size_t w, uint8_t *out)
{
    for (size_t i = 0; i < h * w; i++) {
        const uint8_t *p = rgb + 3 * i;
        float v = range > 0 ? map[i] / range : 0;
        uint8_t colour[3];
        render_colour(is_signed ? RENDER_COOLWARM : style->colours, is_signed ? (v + 1) / 2 : v,
                      colour);
        const float size = fabsf(v) < 1 ? fabsf(v) : 1;
        const float opacity = style->opacity * (0.4f + 0.6f * size);
        const float grey = (float)(299u * p[0] + 587u * p[1] + 114u * p[2]) / 1000;
        for (size_t k = 0; k < 3; k++)
            out[3 * i + k] = (uint8_t)(grey + opacity * ((float)colour[k] - grey) + 0.5f);
    }
}

void render_put(struct image *to, size_t top, size_t left, const uint8_t *rgb, size_t h, size_t w,
                size_t times)
{
    ASSERT(to->c == 3 && top + h * times <= to->h && left + w * times <= to->w);
    for (size_t y = 0; y < h * times; y++) {
        uint8_t *row = to->pixels + ((top + y) * to->w + left) * 3;
        for (size_t x = 0; x < w * times; x++)
            memcpy(row + 3 * x, rgb + (y / times * w + x / times) * 3, 3);
    }
}

void render_fill(struct image *to, uint8_t grey)
{
    memset(to->pixels, grey, to->h * to->w * to->c);
}

size_t render_times(size_t h, size_t w)
{
    size_t side = h > w ? h : w;
    return side < 128 ? (128 + side / 2) / side : 1;
}
