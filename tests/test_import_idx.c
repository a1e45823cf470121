// SPDX-License-Identifier: MIT
// data/importers/idx.c: all value types, folders and pairs, gzip'ed or not, damaged files.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

// An images file (n, h, w) and its labels (n), named as MNIST's.
static void put_pair(const char *prefix, uint32_t n, uint32_t h, uint32_t w, bool is_gz)
{
    char name[128];
    struct bytes images = idx_header(8, 3, (uint32_t[]){n, h, w});
    struct bytes labels = idx_header(8, 1, (uint32_t[]){n});
    for (uint32_t row = 0; row < n; row++) {
        uint8_t label = (uint8_t)(row % 5);
        bytes_add(&labels, &label, 1);
        for (uint32_t i = 0; i < h * w; i++) {
            uint8_t pixel = pixel_of(row, i);
            bytes_add(&images, &pixel, 1);
        }
    }
    void (*put)(const char *, const void *, size_t) = is_gz ? put_gz : put_file;
    snprintf(name, sizeof name, "%s-images-idx3-ubyte%s", prefix, is_gz ? ".gz" : "");
    put(path_in(folder, name), images.at, images.n);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte%s", prefix, is_gz ? ".gz" : "");
    put(path_in(folder, name), labels.at, labels.n);
    file_bytes_free(&images);
    file_bytes_free(&labels);
}

static void check_pixels(struct import_source *source, size_t h, size_t w)
{
    uint8_t *row = malloc(h * w);
    assert_int_equal(source->shape.h, h);
    assert_int_equal(source->shape.w, w);
    assert_int_equal(source->shape.c, 1);
    assert_true(source->is_u8);
    // Out of order too: 2, 1, 0, ... after the last one.
    for (uint64_t k = 0; k < 2 * source->n_rows; k++) {
        uint64_t r = k < source->n_rows ? k : 2 * source->n_rows - 1 - k;
        expect_ok(source->read(source, r, row, NULL), "row");
        assert_int_equal(source->labels[r], r % 5);
        for (size_t i = 0; i < h * w; i++)
            if (row[i] != pixel_of(r, i))
                fail_msg("row %zu, pixel %zu: %d, expected %d", (size_t)r, i, row[i],
                         pixel_of(r, i));
    }
    free(row);
}

static void test_folder(void **state)
{
    (void)state;
    for (int is_gz = 0; is_gz < 2; is_gz++) {
        struct import_source train, test;
        put_pair("train", 9, 4, 6, is_gz);
        put_pair("t10k", 5, 4, 6, is_gz);
        assert_true(importer_named("idx")->accepts(folder));
        source_open(&train, "idx", folder, IMPORT_TRAIN, NULL);
        source_open(&test, "idx", folder, IMPORT_TEST, NULL);
        assert_int_equal(train.n_rows, 9);
        assert_int_equal(test.n_rows, 5);
        assert_int_equal(train.target.n_classes, 5);
        assert_int_equal(train.is_sequential, is_gz);
        check_pixels(&train, 4, 6);
        check_pixels(&test, 4, 6);
        import_source_close(&train);
        import_source_close(&test);
        folder_remove(folder);
        folder = folder_make();
    }
}

static void test_files(void **state)
{
    (void)state;
    put_pair("train", 7, 3, 5, false);
    put_pair("lone", 7, 3, 5, true);
    const char *images = path_in(folder, "train-images-idx3-ubyte");
    const char *labels = path_in(folder, "train-labels-idx1-ubyte");
    const struct import_options none = {0};
    struct import_source source = {0};
    // In either order, and by the images alone.
    const char *const orders[][2] = {{images, labels}, {labels, images}, {images, NULL}};
    for (size_t i = 0; i < 3; i++) {
        assert_true(importer_named("idx")->accepts(orders[i][0]));
        expect_ok(importer_named("idx")->open(orders[i], orders[i][1] ? 2 : 1, IMPORT_TRAIN, &none,
                                              &source),
                  "pair");
        check_pixels(&source, 3, 5);
        import_source_close(&source);
    }
    // No test part where there is none.
    expect_ok(importer_named("idx")->open(orders[0], 2, IMPORT_TEST, &none, &source), "test");
    assert_null(source.read);
    source_open(&source, "idx", folder, IMPORT_TEST, NULL);
    assert_null(source.read);
}

// One value in each type of the format, and what it must become.
static void test_types(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        size_t width;
        uint64_t bits;
        float value;
    } cases[] = {
        {0x08, 1, 200, 200},
        {0x09, 1, 0xfe, -2},
        {0x0b, 2, 0xff00, -256},
        {0x0c, 4, 0xfffffffd, -3},
        {0x0d, 4, 0x40490fdb, 0x1.921fb6p+1f},
        {0x0e, 8, 0xc008000000000000, -3},
    };
    put_pair("x", 2, 1, 1, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes bytes = idx_header(cases[i].type, 2, (uint32_t[]){2, 1});
        bytes_add_be(&bytes, 0, cases[i].width);
        bytes_add_be(&bytes, cases[i].bits, cases[i].width);
        put_file(path_in(folder, "x-images-idx3-ubyte"), bytes.at, bytes.n);
        struct import_source source;
        source_open(&source, "idx", path_in(folder, "x-images-idx3-ubyte"), IMPORT_TRAIN, NULL);
        float value = 0;
        uint8_t byte = 0;
        assert_int_equal(source.is_u8, cases[i].type == 8);
        expect_ok(source.read(&source, 1, source.is_u8 ? (void *)&byte : &value, NULL), "row");
        if (source.is_u8)
            value = byte;
        if (value != cases[i].value)
            fail_msg("type %02x: %g, expected %g", cases[i].type, (double)value,
                     (double)cases[i].value);
        import_source_close(&source);
        file_bytes_free(&bytes);
    }
}

static void test_four_dimensions(void **state)
{
    (void)state;
    put_pair("x", 2, 1, 1, false);
    struct bytes bytes = idx_header(8, 4, (uint32_t[]){2, 3, 4, 2});
    for (size_t i = 0; i < 48; i++)
        bytes_add_be(&bytes, i, 1);
    put_file(path_in(folder, "x-images-idx3-ubyte"), bytes.at, bytes.n);
    struct import_source source;
    uint8_t row[24];
    source_open(&source, "idx", path_in(folder, "x-images-idx3-ubyte"), IMPORT_TRAIN, NULL);
    assert_int_equal(source.shape.h, 3);
    assert_int_equal(source.shape.w, 4);
    assert_int_equal(source.shape.c, 2);
    expect_ok(source.read(&source, 1, row, NULL), "row");
    for (size_t i = 0; i < 24; i++)
        assert_int_equal(row[i], 24 + i);
    import_source_close(&source);
    file_bytes_free(&bytes);
}

// What is wrong with the images or labels file, and what the message must say.
static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *what, *message;
        uint8_t type;
        int rank;
        uint32_t dim[4];
        size_t n_bytes;
        bool is_labels;
    } cases[] = {
        {"short", "truncated|promises 18|can hold 17|x-images", 8, 3, {2, 1, 1}, 1, false},
        {"long", "has 19 bytes|promises 18", 8, 3, {2, 1, 1}, 3, false},
        {"no rows", "size 1|is 0", 8, 3, {0, 1, 1}, 0, false},
        {"no width", "size 3|is 0", 8, 3, {2, 1, 0}, 0, false},
        {"huge", "promises", 8, 3, {0xffffffff, 0xffff, 0xffff}, 2, false},
        {"beyond 64 bits", "beyond 2^64", 8, 4, {-1u, -1u, -1u, -1u}, 2, false},
        {"counts differ", "3 images|2 labels", 8, 3, {3, 1, 1}, 3, false},
        {"bad type", "not an IDX file", 10, 3, {2, 1, 1}, 2, false},
        {"two labels files", "one of labels (rank 1)", 8, 1, {2}, 2, false},
        {"two images files", "one of labels (rank 1)", 8, 3, {2, 1, 1}, 2, true},
        {"labels are fractions", "fractions", 0x0d, 1, {2}, 8, true},
        {"label out of range", "label 0 is 1077952576|expected 0 to 65535", 0x0c, 1, {2}, 8, true},
        {"labels truncated", "truncated|x-labels", 8, 1, {2}, 1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_pair("x", 2, 1, 1, false);
        const char *images = path_in(folder, "x-images-idx3-ubyte");
        const char *labels = path_in(folder, "x-labels-idx1-ubyte");
        struct bytes bytes = idx_header(cases[i].type, cases[i].rank, cases[i].dim);
        for (size_t k = 0; k < cases[i].n_bytes; k++)
            bytes_add_be(&bytes, 64, 1);
        put_file(cases[i].is_labels ? labels : images, bytes.at, bytes.n);
        expect_error(source_try("idx", &images, 1, NULL), STATUS_DATA, cases[i].message,
                     cases[i].what);
        file_bytes_free(&bytes);
    }
    const char *missing = path_in(folder, "nothing-images-idx3-ubyte");
    expect_error(source_try("idx", &missing, 1, NULL), STATUS_DATA, "nothing-images|No such file",
                 "missing");
    put_pair("emnist-a-train", 2, 1, 1, false);
    put_pair("emnist-b-train", 2, 1, 1, false);
    const char *path = folder;
    expect_error(source_try("idx", &path, 1, NULL), STATUS_DATA, "emnist-a|emnist-b|name the files",
                 "ambiguous");
}

// A gzip file that ends early, or whose checksum is wrong, is noticed at the latest with the last
// row.
static void test_bad_gzip(void **state)
{
    (void)state;
    put_pair("x", 300, 9, 9, true);
    const char *path = path_in(folder, "x-images-idx3-ubyte.gz");
    FILE *file = fopen(path, "rb");
    uint8_t raw[40000];
    size_t n = fread(raw, 1, sizeof raw, file);
    fclose(file);
    put_file(path, raw, n - 9);
    expect_error(source_try("idx", &path, 1, NULL), STATUS_DATA, "x-images|truncated", "gz cut");
    raw[n - 6] ^= 1;
    put_file(path, raw, n);
    expect_error(source_try("idx", &path, 1, NULL), STATUS_DATA, "x-images|damaged", "gz checksum");
    struct bytes longer = idx_header(8, 1, (uint32_t[]){300});
    for (size_t i = 0; i < 301; i++)
        bytes_add_be(&longer, 1, 1);
    put_pair("x", 300, 9, 9, true);
    put_gz(path_in(folder, "x-labels-idx1-ubyte.gz"), longer.at, longer.n);
    expect_error(source_try("idx", &path, 1, NULL), STATUS_DATA, "x-labels|more bytes", "labels");
    file_bytes_free(&longer);
    put_pair("x", 300, 9, 9, true);
    const char *labels = path_in(folder, "x-labels-idx1-ubyte.gz");
    file = fopen(labels, "rb");
    n = fread(raw, 1, sizeof raw, file);
    fclose(file);
    raw[n - 6] ^= 1;
    put_file(labels, raw, n);
    expect_error(source_try("idx", &path, 1, NULL), STATUS_DATA, "x-labels|damaged",
                 "labels' checksum");
}

struct damaged {
    const char *path;
    size_t n_ok, n_bad;
};

static void try_damaged(const uint8_t *bytes, size_t n, void *context)
{
    struct damaged *damaged = context;
    put_file(damaged->path, bytes, n);
    const char *images = path_in(folder, strstr(damaged->path, ".gz") ? "x-images-idx3-ubyte.gz"
                                                                      : "x-images-idx3-ubyte");
    enum status status = source_try("idx", &images, 1, NULL);
    damaged->n_ok += status == STATUS_OK;
    damaged->n_bad += status != STATUS_OK;
    if (status != STATUS_OK)
        expect_error(status, STATUS_DATA, folder, "damaged file");
}

static void test_damage(void **state)
{
    (void)state;
    static const char *const names[] = {"x-images-idx3-ubyte", "x-labels-idx1-ubyte",
                                        "x-images-idx3-ubyte.gz", "x-labels-idx1-ubyte.gz"};
    for (size_t i = 0; i < 4; i++) {
        put_pair("x", 6, 4, 4, i >= 2);
        struct damaged damaged = {.path = path_in(folder, names[i])};
        char path[512];
        snprintf(path, sizeof path, "%s", damaged.path);
        damaged.path = path;
        struct bytes bytes = {0};
        uint8_t raw[4096];
        FILE *file = fopen(path, "rb");
        size_t n = fread(raw, 1, sizeof raw, file);
        bytes_add(&bytes, raw, n);
        fclose(file);
        damage(&bytes, 400, try_damaged, &damaged);
        assert_true(damaged.n_bad > 200); // cuts and gaps at least
        file_bytes_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_folder, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_files, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_types, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_four_dimensions, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad_gzip, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_damage, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
