// SPDX-License-Identifier: MIT
// data/importers/folder.c and the pictures below it (data/image*.c, data/resize.c): formats by
// content, colours, sizes, classes, damaged files, decompression bombs.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/memory.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

static void put_bytes(const char *name, struct bytes bytes)
{
    put_file(path_in(folder, name), bytes.at, bytes.n);
    file_bytes_free(&bytes);
}

// ---- pictures

static struct image decoded(const char *what, struct bytes bytes)
{
    struct image image = {0};
    size_t h = 0, w = 0, c = 0;
    expect_ok(image_probe(what, bytes.at, bytes.n, &h, &w, &c), what);
    expect_ok(image_decode(what, bytes.at, bytes.n, &image), what);
    assert_int_equal(image.h, h);
    assert_int_equal(image.w, w);
    assert_int_equal(image.c, c);
    file_bytes_free(&bytes);
    return image;
}

static void check_values(const char *what, const struct image *image, const uint8_t *expected)
{
    for (size_t i = 0; i < image->h * image->w * image->c; i++)
        if (image->pixels[i] != expected[i])
            fail_msg("%s: value %zu is %d, expected %d (%zux%zux%zu)", what, i, image->pixels[i],
                     expected[i], image->h, image->w, image->c);
}

// Every kind of PNG, interlaced and not: what it must become, from the samples as stored.
static void test_png(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int colour, depth;
        size_t samples, c; // of a pixel as stored, decoded
    } cases[] = {
        {"grey 8", PNG_GREY, 8, 1, 1},           {"grey 1", PNG_GREY, 1, 1, 1},
        {"grey 4", PNG_GREY, 4, 1, 1},           {"grey 16", PNG_GREY, 16, 1, 1},
        {"grey alpha", PNG_GREY_ALPHA, 8, 2, 1}, {"rgb", PNG_RGB, 8, 3, 3},
        {"rgb 16", PNG_RGB, 16, 3, 3},           {"rgba", PNG_RGB_ALPHA, 8, 4, 3},
        {"palette", PNG_PALETTE, 8, 1, 3},       {"palette 2", PNG_PALETTE, 2, 1, 3},
    };
    enum { H = 9, W = 13 };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        size_t n = i / 2, depth = (size_t)cases[n].depth, samples = cases[n].samples;
        struct image image =
            decoded(cases[n].what, png_bytes(H, W, cases[n].colour, cases[n].depth, 4 + i % 2));
        size_t line = (W * samples * depth + 7) / 8;
        uint8_t expected[H * W * 3];
        for (size_t at = 0; at < H * W * cases[n].c; at++) {
            size_t pixel = at / cases[n].c, k = at % cases[n].c;
            bool is_palette = cases[n].colour == PNG_PALETTE;
            size_t bit = (pixel % W * samples + (is_palette ? 0 : k)) * depth;
            size_t byte = pixel / W * line + bit / 8;
            unsigned value = pixel_of(4 + i % 2, byte);
            if (depth == 16) // libpng's exact rounding of v * 255 / 65535
                value = ((value << 8 | pixel_of(4 + i % 2, byte + 1)) * 255u + 32895u) >> 16;
            else if (depth < 8)
                value = value >> (8 - depth - bit % 8) & ((1u << depth) - 1);
            if (depth < 8 && !is_palette)
                value = value * 255u / ((1u << depth) - 1);
            if (is_palette)
                value = k == 0 ? value : k == 1 ? 255 - value : value / 2;
            expected[at] = (uint8_t)value;
        }
        assert_int_equal(image.c, cases[n].c);
        check_values(cases[n].what, &image, expected);
        image_free(&image);
    }
}

static void test_pnm(void **state)
{
    (void)state;
    for (const char *kind = "2356"; *kind; kind++) {
        bool is_colour = *kind == '3' || *kind == '6';
        struct image image = decoded("pnm", pnm_bytes(5, 7, *kind, 3));
        assert_int_equal(image.h, 5);
        assert_int_equal(image.w, 7);
        assert_int_equal(image.c, is_colour ? 3 : 1);
        uint8_t expected[105];
        for (size_t i = 0; i < sizeof expected; i++)
            expected[i] = pixel_of(3, i);
        check_values("pnm", &image, expected);
        image_free(&image);
    }
    // 16 bits and odd maxima are scaled to 0..255.
    struct bytes bytes = {0};
    bytes_add(&bytes, "P5 2 1 1000\n\x03\xe8\x01\xf4", 16);
    struct image image = decoded("16 bits", bytes);
    check_values("16 bits", &image, (uint8_t[]){255, 128});
    image_free(&image);
}

// JPEG is lossy: within 4 of the ramp that went in; grey, colour and CMYK, sequential or not.
static void test_jpeg(void **state)
{
    (void)state;
    static const int components[] = {1, 3, 4};
    for (size_t i = 0; i < 6; i++) {
        int n = components[i % 3];
        struct image image = decoded("jpeg", jpeg_bytes(17, 21, n, i >= 3, 10));
        assert_int_equal(image.h, 17);
        assert_int_equal(image.w, 21);
        assert_int_equal(image.c, n == 1 ? 1 : 3);
        for (size_t at = 0; at < 17 * 21 * image.c; at++) {
            size_t y = at / (21 * image.c), x = at / image.c % 21, k = at % image.c;
            int expected = (int)(10 + 3 * y + 2 * x + 40 * k);
            if (n == 4) // libjpeg writes an Adobe marker: inverted
                expected = expected * (int)(10 + 3 * y + 2 * x + 120) / 255;
            if (abs(image.pixels[at] - expected) > 4)
                fail_msg("jpeg of %d: (%zu, %zu, %zu) is %d, expected %d", n, y, x, k,
                         image.pixels[at], expected);
        }
        image_free(&image);
    }
}

static void test_channels(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    static const uint8_t rgb[15] = {255, 128, 0, 0, 255, 0, 0, 0, 255, 255, 0, 0, 255, 255, 255};
    bytes_add(&bytes, "P6 5 1 255\n", 11);
    bytes_add(&bytes, rgb, sizeof rgb);
    struct image image = decoded("rgb", bytes);
    expect_ok(image_set_channels(&image, "rgb", 1), "to grey");
    static const uint8_t grey[5] = {151, 150, 29, 76, 255}; // 0.299 R + 0.587 G + 0.114 B
    check_values("luma", &image, grey);
    expect_ok(image_set_channels(&image, "rgb", 3), "to colour");
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(image.pixels[i], grey[i / 3]);
    image_free(&image);
}

static void test_bombs(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
        size_t n;
        const char *message;
    } cases[] = {
        {"wide pnm", "P5 40000 1 255\n", 15, "1x40000|refused"},
        {"large pnm", "P5 30000 30000 255\n", 19, "30000x30000|refused"},
        {"number", "P5 99999999999999999999 1 255\n", 30, "width at byte 3 is more than"},
        {"no maximum", "P5 2 2 0\n....", 13, "maximum in the header is 0"},
        {"short", "P5 2 2 255\n...", 14, "truncated|need 4 bytes, 3"},
        {"long", "P5 2 2 255\n.....", 16, "1 bytes follow"},
        {"no height", "P5 2", 4, "truncated|height"},
        {"word", "P5 2 x 255\n....", 15, "height at byte 5 is not a number"},
        {"number and letter", "P2 2x 1 255\n1 1", 15, "width at byte 3 is not a number"},
        {"too bright", "P2 1 1 100\n101\n", 15, "pixel|more than 100"},
        {"too bright, bytes", "P5 1 1 100\n\xff", 12, "255 is more than|100"},
        {"not a picture", "GIF89a....", 10, "not a picture"},
        {"empty", "", 0, "empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *copy = malloc(cases[i].n + (cases[i].n == 0));
        memcpy(copy, cases[i].text, cases[i].n);
        struct image image = {0};
        expect_error(image_decode("file.x", copy, cases[i].n, &image), STATUS_DATA,
                     cases[i].message, cases[i].what);
        expect_error(STATUS_DATA, STATUS_DATA, "file.x", "the file is named");
        image_free(&image);
        free(copy);
    }
    // A PNG and a JPEG of a few bytes whose headers promise gigabytes.
    struct bytes png = png_bytes(2, 2, PNG_GREY, 8, 0);
    memcpy(png.at + 16, "\x00\x00\x75\x30\x00\x00\x75\x30\x08\x00\x00\x00\x00\x04\x17\x53\x85", 17);
    struct image image = {0};
    expect_error(image_decode("b.png", png.at, png.n, &image), STATUS_DATA, "b.png", "png bomb");
    assert_true(image.room < 1 << 20);
    file_bytes_free(&png);
    struct bytes jpeg = jpeg_bytes(8, 8, 1, false, 0);
    for (size_t i = 0; i + 9 < jpeg.n; i++)
        if (jpeg.at[i] == 0xff && jpeg.at[i + 1] == 0xc0)
            memcpy(jpeg.at + i + 5, "\x75\x30\x75\x30", 4);
    expect_error(image_decode("b.jpg", jpeg.at, jpeg.n, &image), STATUS_DATA,
                 "b.jpg|30000x30000|refused", "jpeg bomb");
    file_bytes_free(&jpeg);
    // libjpeg makes up what is missing; here it is an error.
    jpeg = jpeg_bytes(60, 60, 3, false, 0);
    memcpy(jpeg.at + jpeg.n * 3 / 4, "\xff\xd9", 2);
    expect_error(image_decode("c.jpg", jpeg.at, jpeg.n * 3 / 4 + 2, &image), STATUS_DATA,
                 "c.jpg|damaged JPEG", "end too early");
    file_bytes_free(&jpeg);
    image_free(&image);
}

static void decode_damaged(const uint8_t *bytes, size_t n, void *context)
{
    size_t *n_bad = context;
    struct image image = {0};
    size_t h, w, c;
    enum status probed = image_probe("d.img", bytes, n, &h, &w, &c);
    enum status status = image_decode("d.img", bytes, n, &image);
    *n_bad += status != STATUS_OK;
    if (status != STATUS_OK)
        expect_error(status, STATUS_DATA, "d.img", "damaged picture");
    else
        assert_int_equal(probed, STATUS_OK);
    image_free(&image);
}

static void test_damaged_pictures(void **state)
{
    (void)state;
    static const char *const names[] = {"png", "png palette", "jpeg", "jpeg progressive",
                                        "p2",  "p6"};
    for (size_t i = 0; i < 6; i++) {
        size_t n_bad = 0;
        struct bytes bytes = i == 0   ? png_bytes(20, 24, PNG_RGB, 8, 2)
                             : i == 1 ? png_bytes(20, 24, PNG_PALETTE, 4, 3)
                             : i == 2 ? jpeg_bytes(24, 20, 3, false, 2)
                             : i == 3 ? jpeg_bytes(24, 20, 3, true, 2)
                             : i == 4 ? pnm_bytes(9, 9, '2', 2)
                                      : pnm_bytes(9, 9, '6', 2);
        damage(&bytes, 400, decode_damaged, &n_bad);
        if (n_bad < 130)
            fail_msg("%s: only %zu of 400 damaged files were refused", names[i], n_bad);
        file_bytes_free(&bytes);
    }
}

// ---- resampling, against the formula in double

static double naive_resize(const uint8_t *from, size_t h, size_t w, size_t c, size_t to_h,
                           size_t to_w, size_t y, size_t x, size_t k)
{
    double sum = 0, weights = 0;
    double scale_y = (double)h / (double)to_h, scale_x = (double)w / (double)to_w;
    double reach_y = scale_y > 1 ? scale_y : 1, reach_x = scale_x > 1 ? scale_x : 1;
    for (size_t i = 0; i < h; i++)
        for (size_t j = 0; j < w; j++) {
            double dy = ((double)i + 0.5 - ((double)y + 0.5) * scale_y) / reach_y;
            double dx = ((double)j + 0.5 - ((double)x + 0.5) * scale_x) / reach_x;
            dy = dy < 0 ? -dy : dy;
            dx = dx < 0 ? -dx : dx;
            double weight = dy < 1 && dx < 1 ? (1 - dy) * (1 - dx) : 0;
            sum += weight * from[(i * w + j) * c + k];
            weights += weight;
        }
    return sum / weights;
}

static void test_resize(void **state)
{
    (void)state;
    static const size_t cases[][5] = {
        {8, 8, 16, 16, 1}, {7, 5, 3, 4, 3},   {10, 10, 10, 10, 3}, {1, 1, 4, 6, 3},
        {9, 13, 1, 1, 1},  {6, 20, 19, 3, 3}, {30000, 1, 1, 1, 1}, {100, 3, 7, 3, 1},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        const size_t *s = cases[n];
        size_t c = s[4], bytes = s[0] * s[1] * c;
        uint8_t *from = malloc(bytes), *to = malloc(s[2] * s[3] * c);
        for (size_t i = 0; i < bytes; i++)
            from[i] = pixel_of(n, i);
        struct resize *resize = NULL;
        expect_ok(resize_plan(&resize, s[0], s[1], s[2], s[3], c, false), "plan");
        assert_true(resize_fits(resize, s[0], s[1], c));
        assert_false(resize_fits(resize, s[0] + 1, s[1], c));
        resize_run(resize, from, to);
        for (size_t i = 0; i < s[2] * s[3] * c; i++) {
            size_t y = i / (s[3] * c), x = i / c % s[3], k = i % c;
            double expected = naive_resize(from, s[0], s[1], c, s[2], s[3], y, x, k);
            double off = (double)to[i] - expected;
            if (off > 1.01 || off < -1.01) // rounded twice
                fail_msg("%zux%zu to %zux%zu: (%zu, %zu, %zu) is %d, expected %.3f", s[0], s[1],
                         s[2], s[3], y, x, k, to[i], expected);
        }
        // The weights sum to 1: an even picture stays as it is, also at both ends of the range.
        for (int value = 0; value <= 255; value += 51) {
            uint8_t *even = malloc(bytes);
            memset(even, value, bytes);
            resize_run(resize, even, to);
            for (size_t i = 0; i < s[2] * s[3] * c; i++)
                assert_int_equal(to[i], value);
            free(even);
        }
        resize_free(resize);
        expect_ok(resize_plan(&resize, s[0], s[1], s[2], s[3], c, true), "plan");
        resize_run(resize, from, to);
        for (size_t i = 0; i < s[2] * s[3] * c; i++) {
            size_t y = (2 * (i / (s[3] * c)) + 1) * s[0] / (2 * s[2]);
            size_t x = (2 * (i / c % s[3]) + 1) * s[1] / (2 * s[3]);
            assert_int_equal(to[i], from[(y * s[1] + x) * c + i % c]);
        }
        resize_free(resize);
        free(from);
        free(to);
    }
}

// ---- folders

// train/{10,9,b-less names} and test/: classes by value, files by name, other files left out.
static void test_parts(void **state)
{
    (void)state;
    static const char *const folders[] = {"train",        "train/5", "train/10", "train/9",
                                          "train/9/deep", "train/2", "Test",     "Test/9"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        put_folder(path_in(folder, folders[i]));
    put_bytes("train/10/a.png", png_bytes(3, 4, PNG_GREY, 8, 2));
    put_bytes("train/9/b.pgm", pnm_bytes(3, 4, '5', 4));
    put_bytes("train/9/a.jpg", pnm_bytes(3, 4, '2', 6)); // content decides, not the name
    put_bytes("train/9/deep/c", pnm_bytes(3, 4, '5', 8));
    put_bytes("train/2/x.PGM", pnm_bytes(3, 4, '5', 10));
    put_bytes("Test/9/t.pgm", pnm_bytes(3, 4, '5', 12));
    put_file(path_in(folder, "train/9/notes.csv"), "a,b\n", 4);
    put_file(path_in(folder, "train/9/.hidden.png"), "?", 1);
    assert_true(importer_named("folder")->accepts(folder));
    struct import_source train, test;
    source_open(&train, "folder", folder, IMPORT_TRAIN, NULL);
    source_open(&test, "folder", folder, IMPORT_TEST, NULL);
    static const uint64_t seeds[] = {10, 6, 4, 8, 2};
    static const int labels[] = {0, 1, 1, 1, 2};
    static const char *const names[] = {"2", "9", "10"};
    assert_int_equal(train.n_rows, 5);
    assert_int_equal(train.target.n_classes, 3);
    assert_int_equal(train.shape.c, 1);
    assert_non_null(strstr(train.note, "left out 1 files"));
    assert_non_null(strstr(train.note, "left out 1 folders without pictures (first: 5)"));
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(train.classes[i], names[i]);
    for (uint64_t r = 0; r < 5; r++) {
        uint8_t row[12];
        expect_ok(train.read(&train, r, row, NULL), "row");
        assert_int_equal(train.labels[r], labels[r]);
        for (size_t i = 0; i < 12; i++)
            assert_int_equal(row[i], pixel_of(seeds[r], i));
    }
    assert_int_equal(test.n_rows, 1);
    assert_string_equal(test.classes[0], "9");
    import_source_close(&train);
    import_source_close(&test);
}

static void test_colour_and_size(void **state)
{
    (void)state;
    put_folder(path_in(folder, "a"));
    put_folder(path_in(folder, "b"));
    put_bytes("a/1.pgm", pnm_bytes(4, 4, '5', 1));
    put_bytes("b/1.ppm", pnm_bytes(4, 4, '6', 2));
    struct import_source source;
    uint8_t row[48];
    source_open(&source, "folder", folder, IMPORT_TRAIN, NULL);
    assert_int_equal(source.shape.c, 3);
    expect_ok(source.read(&source, 0, row, NULL), "grey");
    for (size_t i = 0; i < 48; i++)
        assert_int_equal(row[i], pixel_of(1, i / 3));
    import_source_close(&source);
    struct import_options grey = {.channels = 1};
    source_open(&source, "folder", folder, IMPORT_TRAIN, &grey);
    assert_int_equal(source.shape.c, 1);
    expect_ok(source.read(&source, 1, row, NULL), "colour");
    assert_int_equal(
        row[0], (299 * pixel_of(2, 0) + 587 * pixel_of(2, 1) + 114 * pixel_of(2, 2) + 500) / 1000);
    import_source_close(&source);
    // Another size: refused without --resize, fine with it.
    put_bytes("b/2.ppm", pnm_bytes(8, 6, '6', 2));
    const char *path = folder;
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "b/2.ppm|8x6|4x4|--resize",
                 "sizes");
    struct import_options resize = {.resize_h = 2, .resize_w = 5};
    source_open(&source, "folder", folder, IMPORT_TRAIN, &resize);
    assert_int_equal(source.shape.h, 2);
    assert_int_equal(source.shape.w, 5);
    for (uint64_t r = 0; r < 3; r++)
        expect_ok(source.read(&source, r, row, NULL), "resized");
    import_source_close(&source);
}

static void test_bad(void **state)
{
    (void)state;
    const char *path = folder;
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "no folders in it", "empty");
    assert_false(importer_named("folder")->accepts(folder));
    put_folder(path_in(folder, "a"));
    put_folder(path_in(folder, "b"));
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "no pictures in the folders",
                 "no picture");
    put_bytes("a/1.pgm", pnm_bytes(4, 4, '5', 1));
    put_file(path_in(folder, "b/0.png"), "", 0);
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "b/0.png|empty", "empty file");
    put_file(path_in(folder, "b/0.png"), "hello", 5);
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "b/0.png|not a picture",
                 "no picture");
    struct bytes bytes = jpeg_bytes(4, 4, 1, false, 1);
    put_file(path_in(folder, "b/0.png"), bytes.at, bytes.n - 30);
    file_bytes_free(&bytes);
    expect_error(source_try("folder", &path, 1, NULL), STATUS_DATA, "b/0.png|damaged JPEG",
                 "truncated");
    const char *missing = path_in(folder, "nothing");
    expect_error(source_try("folder", &missing, 1, NULL), STATUS_DATA, "nothing|no such folder",
                 "missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png),
        cmocka_unit_test(test_pnm),
        cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_damaged_pictures),
        cmocka_unit_test(test_resize),
        cmocka_unit_test_setup_teardown(test_parts, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_colour_and_size, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
