// SPDX-License-Identifier: MIT
// data/dataset: statistics, class names and fingerprint.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/rows_file.h"

#define U8 H5_U8
#define X9                                                                                         \
    {                                                                                              \
        "x", U8, 2, {40, 9}, 0, 0, 0                                                               \
    }
#define Y9                                                                                         \
    {                                                                                              \
        "y", H5_I64, 1, {40}, FILL_CLASSES, 0, 0                                                   \
    }
#define NAN_VALUE (0.0 / 0.0)

static const char *write_parts(const struct part *parts)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    rows_file_write(path, parts, 4);
    return path;
}

// ---- statistics and fingerprint

static void check_statistics(const struct dataset *dataset, uint64_t n, size_t c, double scale)
{
    for (size_t k = 0; k < c; k++) {
        double sum = 0, squares = 0, count = (double)(n / c);
        for (uint64_t i = k; i < n; i += c) {
            double v = rows_file_pixel(i) / scale;
            sum += v;
            squares += v * v;
        }
        double mean = sum / count, variance = squares / count - mean * mean;
        double std = dataset_std(dataset)[k];
        assert_true(dataset_mean(dataset)[k] - mean < 1e-9 &&
                    dataset_mean(dataset)[k] - mean > -1e-9);
        assert_true(std * std - variance < 1e-9 * variance &&
                    std * std - variance > -1e-9 * variance);
    }
}

static void test_statistics(void **state)
{
    (void)state;
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/stats.h5", folder);
    for (int type = 0; type < 2; type++) {
        rows_file_images(path, 450, 5, 4, 3, type ? H5_F32 : H5_U8); // not whole runs of 100
        expect_ok(dataset_open(&dataset, path, DATASET_TRAIN, &config), path);
        check_statistics(dataset, 450 * 60, 3, type ? 1 : 255);
        dataset_close(dataset);
    }
    // More rows than are looked at, the second half of them 1: rows of both halves are.
    static uint8_t x[30000];
    static const uint64_t dim[2] = {30000, 1};
    struct h5 *file = NULL;
    memset(x + 15000, 1, 15000);
    expect_ok(h5_create(&file, path), path);
    expect_ok(h5_write(file, "x", H5_U8, 2, dim, x), path);
    expect_ok(h5_write(file, "y", H5_U8, 2, dim, x), path);
    expect_ok(h5_commit(file), path);
    expect_ok(dataset_open(&dataset, path, DATASET_TRAIN, &config), path);
    double mean = dataset_mean(dataset)[0] * 255, std = dataset_std(dataset)[0] * 255;
    assert_true(mean > 0.49 && mean < 0.51 && std > 0.49 && std < 0.51);
    dataset_close(dataset);
    // A constant channel.
    const struct part flat[4] = {{"x", H5_F32, 2, {40, 9}, FILL_ZEROS, 0, 0}, Y9};
    expect_ok(dataset_open(&dataset, write_parts(flat), DATASET_TRAIN, &config), "flat");
    assert_true(dataset_mean(dataset)[8] == 0 && dataset_std(dataset)[8] == 1);
    dataset_close(dataset);
}

// Statistics and class names that the file has are taken, and checked.
static void test_attributes(void **state)
{
    (void)state;
    static const struct {
        double mean[3], std[3];
        size_t n_mean, n_classes;
        const char *parts; // NULL: fine
    } cases[] = {{{0.5, 0.25, 1}, {1, 0, 3}, 3, 10, NULL},
                 {{0.5, 0.25, 1}, {1, 2, 3}, 2, 10, "'mean'|2 values, expected 3"},
                 {{0.5, 0.25, NAN_VALUE}, {1, 2, 3}, 3, 10, "no statistics"},
                 {{0.5, 0.25, 1}, {1, -2, 3}, 3, 10, "no statistics"},
                 {{0.5, 0.25, 1}, {1, 2, 3}, 3, 9, "'/y' is 9 in row 9|from 0 to 8"}};
    static const char *const names[10] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[300];
        struct h5 *file = NULL;
        struct dataset *dataset = NULL;
        struct data_config config = dataset_defaults();
        static const uint8_t x[20 * 3];
        static const uint64_t dim[2] = {20, 3};
        uint8_t y[20];
        for (int k = 0; k < 20; k++)
            y[k] = (uint8_t)(k % 10);
        snprintf(path, sizeof path, "%s/attributes.h5", folder);
        expect_ok(h5_create(&file, path), path);
        expect_ok(h5_write(file, "x", H5_U8, 2, dim, x), path);
        expect_ok(h5_write(file, "y", H5_U8, 1, dim, y), path);
        expect_ok(h5_attr_write(file, "/", "mean", H5_F64, cases[i].n_mean, cases[i].mean), path);
        expect_ok(h5_attr_write(file, "/", "std", H5_F64, 3, cases[i].std), path);
        expect_ok(h5_attr_write_texts(file, "/", "classes", cases[i].n_classes, names), path);
        expect_ok(h5_commit(file), path);
        enum status status = dataset_open(&dataset, path, DATASET_TRAIN, &config);
        if (cases[i].parts) {
            expect_error(status, STATUS_DATA, cases[i].parts, path);
            continue;
        }
        expect_ok(status, path);
        size_t n = 0;
        assert_string_equal(dataset_classes(dataset, &n)[9], "j");
        assert_int_equal(n, 10);
        assert_true(dataset_mean(dataset)[1] == 0.25 && dataset_std(dataset)[1] == 1);
        assert_true(dataset_std(dataset)[2] == 3);
        dataset_close(dataset);
    }
}

static void fingerprint(const struct part *parts, int64_t n_classes, char out[33])
{
    struct data_config config = {.n_classes = n_classes};
    struct dataset *dataset = NULL;
    expect_ok(dataset_open(&dataset, write_parts(parts), DATASET_TRAIN, &config), "fingerprint");
    snprintf(out, 33, "%s", dataset_fingerprint(dataset));
    assert_int_equal(strlen(out), 32);
    dataset_close(dataset);
}

// Another image, label, type or shape is another fingerprint; the same content is the same.
static void test_fingerprint(void **state)
{
    (void)state;
    static const struct part variants[][4] = {
        {X9, Y9},
        {{"x", U8, 2, {40, 9}, 0, 360, 3}, Y9},
        {X9, {"y", H5_I64, 1, {40}, FILL_CLASSES, 40, 3}},
        {{"x", H5_F32, 2, {40, 9}, 0, 0, 0}, Y9},
        {{"x", U8, 3, {40, 3, 3}, 0, 0, 0}, Y9},
        {{"x", U8, 2, {39, 9}, 0, 0, 0}, {"y", H5_I64, 1, {39}, FILL_CLASSES, 0, 0}},
    };
    enum { N = sizeof variants / sizeof *variants };
    char print[N + 2][33];
    for (int i = 0; i < N; i++)
        fingerprint(variants[i], 0, print[i]);
    fingerprint(variants[0], 0, print[N]);
    assert_string_equal(print[0], print[N]);
    fingerprint(variants[0], 12, print[N]);
    // Other names and other storage of the same numbers: the same content.
    static const struct part same[4] = {{"images", U8, 2, {40, 9}, 0, 0, 0},
                                        {"labels", U8, 2, {40, 1}, FILL_CLASSES, 0, 0}};
    fingerprint(same, 0, print[N + 1]);
    assert_string_equal(print[0], print[N + 1]);
    for (int i = 0; i <= N; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(print[i], print[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
