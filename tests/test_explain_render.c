// SPDX-License-Identifier: MIT
// What explanations look like: colours, resampling, ranges, texts, sheets, filters, and PNG files
// that decode to the same pixels.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/expect.h"
#include "trainer/explain_filters.h"
#include "trainer/explain_render.h"
#include "trainer/explain_sheet.h"

// Matplotlib's colours at 0, 1/2, 1.
static void test_colours(void **state)
{
    (void)state;
    static const struct {
        enum render_colours colours;
        float v;
        int rgb[3];
    } cases[] = {
        {RENDER_VIRIDIS, 0, {68, 1, 84}},     {RENDER_VIRIDIS, 0.5f, {33, 145, 140}},
        {RENDER_VIRIDIS, 1, {253, 231, 37}},  {RENDER_INFERNO, 0, {0, 0, 4}},
        {RENDER_INFERNO, 1, {252, 255, 164}}, {RENDER_COOLWARM, 0, {59, 76, 192}},
        {RENDER_COOLWARM, 1, {180, 4, 38}},   {RENDER_COOLWARM, 0.5f, {221, 220, 220}},
        {RENDER_VIRIDIS, -3, {68, 1, 84}},    {RENDER_VIRIDIS, 7, {253, 231, 37}},
        {RENDER_VIRIDIS, NAN, {68, 1, 84}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t rgb[3];
        render_colour(cases[i].colours, cases[i].v, rgb);
        for (int k = 0; k < 3; k++)
            if (abs(rgb[k] - cases[i].rgb[k]) > 2)
                fail_msg("case %zu: channel %d is %d, not %d", i, k, rgb[k], cases[i].rgb[k]);
    }
    double before = -1; // viridis rises in luminance: that is what makes it perceptual
    for (int v = 0; v <= 255; v++) {
        uint8_t c[3];
        render_colour(RENDER_VIRIDIS, (float)v / 255, c);
        double luminance = 0;
        for (int k = 0; k < 3; k++)
            luminance += pow(c[k] / 255.0, 2.2) * (double[]){0.2126, 0.7152, 0.0722}[k];
        assert_true(luminance >= before - 0.002);
        before = luminance;
    }
}

static void test_resample(void **state)
{
    (void)state;
    const float from[4] = {0, 4, 8, 12};
    float to[16], same[4], wide[6];
    // torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)
    static const float want[16] = {0, 1, 3, 4, 2, 3, 5, 6, 6, 7, 9, 10, 8, 9, 11, 12};
    render_resample(from, 2, 2, to, 4, 4);
    for (int i = 0; i < 16; i++)
        assert_true(fabsf(to[i] - want[i]) < 1e-6f);
    render_resample(from, 2, 2, same, 2, 2);
    assert_memory_equal(from, same, sizeof same);
    render_resample(from, 1, 1, wide, 2, 3);
    for (int i = 0; i < 6; i++)
        assert_true(wide[i] == 0);
}

static void test_range(void **state)
{
    (void)state;
    float map[1000];
    for (int i = 0; i < 1000; i++)
        map[i] = i % 2 ? 0.01f : -0.01f;
    map[500] = -100;
    assert_true(fabsf(render_range(map, 1000, 1) - 100) < 0.1f);
    assert_true(render_range(map, 1000, 0.99) < 0.1f && render_range(map, 1000, 0.99) > 0);
    memset(map, 0, sizeof map);
    assert_true(render_range(map, 1000, 1) == 0);
    map[3] = NAN;
    map[5] = 2;
    assert_true(fabsf(render_range(map, 1000, 1) - 2) < 0.01f); // NaN does not count
    map[4] = INFINITY;
    render_range(map, 1000, 0.5); // is defined
}

// At full opacity a map of zeros leaves most of the sample, the largest value nothing of it.
static void test_overlay(void **state)
{
    (void)state;
    const struct render_style style = {RENDER_VIRIDIS, 1};
    const float map[2] = {0, 5};
    const uint8_t rgb[6] = {200, 200, 200, 200, 200, 200};
    uint8_t out[6];
    render_overlay(&style, false, map, 5, rgb, 1, 2, out);
    assert_in_range(out[0], 145, 149); // 200 + 0.4 (68 - 200)
    assert_int_equal(out[3], 253);
    assert_int_equal(out[5], 37);
    render_overlay(&style, true, (float[]){-5, 5}, 5, rgb, 1, 2, out);
    assert_true(out[2] > out[0] && out[3] > out[5]); // blue against, red for
}

static void test_samples(void **state)
{
    (void)state;
    uint8_t rgb[12];
    render_sample((uint8_t[]){10, 20, 30, 40, 50, 60}, true, 1, 2, 3, rgb);
    assert_memory_equal(rgb, ((uint8_t[]){10, 20, 30, 40, 50, 60}), 6);
    render_sample((uint8_t[]){7, 9}, true, 2, 1, 1, rgb);
    assert_memory_equal(rgb, ((uint8_t[]){7, 7, 7, 9, 9, 9}), 6);
    render_sample((float[]){-1, 0, 1}, false, 1, 3, 1, rgb);
    assert_memory_equal(rgb, ((uint8_t[]){0, 0, 0, 128, 128, 128, 255, 255, 255}), 9);
}

static size_t count_black(const struct image *image)
{
    size_t n = 0;
    for (size_t i = 0; i < image->h * image->w * image->c; i += image->c)
        n += image->pixels[i] == 0;
    return n;
}

static void test_text_and_png(void **state)
{
    (void)state;
    struct image image = {0}, back = {0};
    char *folder = folder_make(), path[512];
    expect_ok(image_size(&image, "t", 16, 40, 3), "size");
    render_fill(&image, 255);
    render_text(&image, 2, 1, 40, "T"); // 5 dots and 6 below
    assert_int_equal(count_black(&image), 11);
    for (size_t i = 0; i < 5; i++) // the bar on top, the stem below
        assert_int_equal(image.pixels[(2 * 40 + 1 + i) * 3], 0);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(image.pixels[((2 + i) * 40 + 3) * 3], 0);
    render_text(&image, 2, 8, 12, "T"); // no room: nothing
    assert_int_equal(count_black(&image), 11);
    render_text(&image, 2, 8, 14, "\xc3\xa4"); // one mark for a letter beyond ASCII
    assert_true(count_black(&image) > 11);
    snprintf(path, sizeof path, "%s/a.png", folder);
    for (size_t c = 1; c <= 3; c += 2) {
        expect_ok(image_set_channels(&image, "t", c), "channels");
        expect_ok(image_write_png(path, &image), "write");
        FILE *file = fopen(path, "rb");
        static uint8_t bytes[4096];
        size_t n = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        expect_ok(image_decode(path, bytes, n, &back), "decode");
        assert_int_equal(back.c, c);
        assert_memory_equal(back.pixels, image.pixels, 16 * 40 * c);
    }
    snprintf(path, sizeof path, "%s/nowhere/a.png", folder);
    expect_error(image_write_png(path, &image), STATUS_ERROR, "cannot write|nowhere/a.png", path);
    image_free(&image);
    image_free(&back);
    folder_remove(folder);
}

static void test_sheet(void **state)
{
    (void)state;
    struct contact_sheet sheet;
    const char *titles[] = {"one", "two"};
    uint8_t cell[4 * 6 * 3];
    memset(cell, 7, sizeof cell);
    expect_ok(sheet_init(&sheet, 3, 2, titles, 4, 6), "sheet");
    size_t full = sheet.image.h;
    for (int page = 0; page < 2; page++) {
        for (int row = 0; row < 2; row++) {
            sheet_caption(&sheet, "caption");
            for (size_t k = 0; k < 3; k++)
                sheet_cell(&sheet, k, cell);
            sheet_next(&sheet);
        }
        size_t sevens = 0;
        sheet_end(&sheet);
        assert_true(sheet.image.h < full);
        for (size_t i = 0; i < sheet.image.h * sheet.image.w; i++)
            sevens += sheet.image.pixels[3 * i] == 7;
        assert_int_equal(sevens, 2 * 3 * 4 * 6 * sheet.times * sheet.times);
        sheet_clear(&sheet);
        assert_int_equal(sheet.image.h, full);
    }
    sheet_free(&sheet);
}

// Engineered filters: edges and waves see no constant, and each cosine is orthogonal to the others.
static void test_engineered(void **state)
{
    (void)state;
    static const size_t sides[][2] = {{3, 3}, {5, 5}, {7, 7}, {2, 2}, {1, 9}};
    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++) {
        static float filter[64][49];
        size_t n = 0, area = sides[s][0] * sides[s][1], first = 64;
        char name[FILTER_NAME];
        for (; filters_engineered(n, sides[s][0], sides[s][1], name, filter[n]); n++) {
            double sum = 0, size = 0;
            for (size_t i = 0; i < area; i++) {
                sum += (double)filter[n][i];
                size += fabs((double)filter[n][i]);
            }
            bool is_dct = strncmp(name, "DCT", 3) == 0;
            first = is_dct && first == 64 ? n : first;
            bool is_edge = strstr(name, "edge") || strstr(name, "Sobel") || strstr(name, "odd") ||
                           is_dct || strcmp(name, "Laplacian") == 0;
            if (is_edge && !(fabs(sum) < 1e-5 * (size + 1)))
                fail_msg("%s of %zux%zu sums to %g", name, sides[s][0], sides[s][1], sum);
        }
        assert_true(n > 12 && n < 64);
        for (size_t a = first; a < n; a++)
            for (size_t b = a + 1; b < n; b++) {
                double dot = 0;
                for (size_t i = 0; i < area; i++)
                    dot += (double)filter[a][i] * (double)filter[b][i];
                assert_true(fabs(dot) < 1e-4);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours), cmocka_unit_test(test_resample),
        cmocka_unit_test(test_range),   cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_samples), cmocka_unit_test(test_text_and_png),
        cmocka_unit_test(test_sheet),   cmocka_unit_test(test_engineered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
