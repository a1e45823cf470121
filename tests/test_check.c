// SPDX-License-Identifier: MIT
// data/check*.c: each defect that it looks for is planted in a small file, and found; a clean file
// gives no warning.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/check_private.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

enum { ROWS = 40, H = 2, W = 3, C = 2, VALUES = H * W * C, CLASSES = 4 };

// A data set in memory, to be spoiled and written.
struct part {
    size_t n;
    float inputs[ROWS][VALUES]; // written as uint8 unless is_float
    double labels[ROWS];
    bool is_float, has_no_classes;
    double wrong_mean, wrong_std; // added to, multiplied with the statistics that are written
};

static struct part clean(size_t first, size_t n, bool is_float)
{
    struct part part = {.n = n, .is_float = is_float, .wrong_std = 1};
    for (size_t r = 0; r < n; r++) {
        part.labels[r] = (double)(r % CLASSES);
        for (size_t i = 0; i < VALUES; i++)
            part.inputs[r][i] = (float)((first + r + (i * i * 41 + i * 3) % 200) % 256);
    }
    return part;
}

// Of the finite values. Without them dataset_open looks at the values itself, and stops at a NaN.
static void put_statistics(struct h5 *file, const char *group, const struct part *part)
{
    double mean[C], deviation[C];
    for (size_t k = 0; k < C; k++) {
        double n = 0, sum = 0, square = 0;
        for (size_t i = k; i < part->n * VALUES; i += C) {
            double value = (double)part->inputs[i / VALUES][i % VALUES];
            if (!isfinite(value))
                continue;
            n++;
            sum += value;
            square += value * value;
        }
        mean[k] = sum / n;
        deviation[k] = sqrt(square / n - mean[k] * mean[k]) * (k == 1 ? part->wrong_std : 1);
        mean[k] += k == 1 ? part->wrong_mean : 0;
    }
    expect_ok(h5_attr_write(file, group, "mean", H5_F64, C, mean), "mean");
    expect_ok(h5_attr_write(file, group, "std", H5_F64, C, deviation), "std");
}

static void put_part(struct h5 *file, const char *group, const struct part *part)
{
    char name[64];
    uint64_t dim[4] = {part->n, H, W, C};
    uint8_t bytes[ROWS][VALUES];
    for (size_t r = 0; r < part->n; r++)
        for (size_t i = 0; i < VALUES; i++)
            bytes[r][i] = part->is_float ? 0 : (uint8_t)part->inputs[r][i];
    snprintf(name, sizeof name, "%s/images", group);
    expect_ok(h5_write(file, name, part->is_float ? H5_F32 : H5_U8, 4, dim,
                       part->is_float ? (const void *)part->inputs : bytes),
              name);
    bool is_whole = true;
    int64_t whole[ROWS];
    for (size_t r = 0; r < part->n; r++) {
        is_whole = is_whole && part->labels[r] == floor(part->labels[r]);
        whole[r] = is_whole ? (int64_t)part->labels[r] : 0;
    }
    snprintf(name, sizeof name, "%s/labels", group);
    expect_ok(h5_write(file, name, is_whole ? H5_I64 : H5_F64, 1, dim,
                       is_whole ? (const void *)whole : part->labels),
              name);
    if (part->is_float)
        put_statistics(file, group, part);
    const char *classes[CLASSES] = {"ant", "bee", "cow", "dog"};
    if (!part->has_no_classes)
        expect_ok(h5_attr_write_texts(file, group, "classes", CLASSES, classes), "classes");
}

static const char *put_file_of(const struct part *train, const struct part *test)
{
    struct h5 *file = NULL;
    const char *path = path_in(folder, "x.h5");
    expect_ok(h5_create(&file, path), path);
    put_part(file, "/train", train);
    if (test)
        put_part(file, "/test", test);
    expect_ok(h5_commit(file), path);
    return path;
}

struct findings {
    char text[8192];
};

static void say(void *context, enum check_level level, const char *text)
{
    struct findings *findings = context;
    size_t n = strlen(findings->text);
    snprintf(findings->text + n, sizeof findings->text - n, "%c %s\n", "nWE"[level], text);
}

static enum status check_path(const char *path, const char *test, struct findings *findings,
                              struct check_result *result)
{
    *findings = (struct findings){""};
    struct check_config config = {.path = path, .test = test, .say = say, .context = findings};
    return check_run(&config, result);
}

// What is spoiled. Each takes the clean parts.
static void spoil_nothing(struct part *train, struct part *test)
{
    (void)train, (void)test;
}
static void spoil_nan(struct part *train, struct part *test)
{
    (void)test;
    train->inputs[7][3] = NAN;
    train->inputs[9][1] = INFINITY;
}
static void spoil_test_inf(struct part *train, struct part *test)
{
    (void)train;
    test->inputs[5][0] = -INFINITY;
}
static void spoil_label_range(struct part *train, struct part *test)
{
    (void)test;
    train->labels[11] = CLASSES;
}
static void spoil_label_negative(struct part *train, struct part *test)
{
    (void)train;
    test->labels[2] = -1;
}
static void spoil_label_nan(struct part *train, struct part *test)
{
    (void)test;
    train->labels[3] = NAN;
}
static void spoil_class_empty(struct part *train, struct part *test)
{
    (void)test;
    for (size_t r = 2; r < train->n; r += CLASSES)
        train->labels[r] = 1;
}
static void spoil_balance(struct part *train, struct part *test)
{
    (void)test;
    for (size_t r = CLASSES; r < train->n; r++)
        train->labels[r] = 3;
}
static void spoil_duplicate(struct part *train, struct part *test)
{
    (void)test;
    memcpy(train->inputs[20], train->inputs[4], sizeof train->inputs[4]);
    memcpy(train->inputs[21], train->inputs[4], sizeof train->inputs[4]); // other label
}
static void spoil_shared(struct part *train, struct part *test)
{
    memcpy(test->inputs[6], train->inputs[30], sizeof train->inputs[30]);
    memcpy(test->inputs[8], train->inputs[31], sizeof train->inputs[31]);
}
static void spoil_channel(struct part *train, struct part *test)
{
    (void)test;
    for (size_t r = 0; r < train->n; r++)
        for (size_t i = 1; i < VALUES; i += C)
            train->inputs[r][i] = 9;
}
static void spoil_blank(struct part *train, struct part *test)
{
    (void)test;
    for (size_t i = 0; i < VALUES; i++)
        train->inputs[13][i] = 200;
}

static void spoil_mean(struct part *train, struct part *test)
{
    (void)test;
    train->wrong_mean = 3;
}
static void spoil_std(struct part *train, struct part *test)
{
    (void)test;
    train->wrong_std = 1.05;
}
static void spoil_test_class(struct part *train, struct part *test)
{
    train->has_no_classes = test->has_no_classes = true;
    test->labels[3] = CLASSES;
}

static void test_defects(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        void (*spoil)(struct part *train, struct part *test);
        bool is_float;
        size_t n_errors, n_warnings;
        const char *finding;
    } cases[] = {
        {"clean", spoil_nothing, false, 0, 0, "no test row is a training row"},
        {"clean floats", spoil_nothing, true, 0, 0, "train: 4 classes of 10 rows each"},
        {"nan", spoil_nan, true, 1, 0,
         "E train: 2 input values are NaN or infinite, first in row 7"},
        {"inf", spoil_test_inf, true, 1, 0,
         "E test: 1 input values are NaN or infinite, first in row 5"},
        {"label range", spoil_label_range, false, 1, 0, "4"},
        {"label negative", spoil_label_negative, false, 1, 0, "-1"},
        {"label nan", spoil_label_nan, false, 1, 0, "labels"},
        {"empty class", spoil_class_empty, false, 0, 1,
         "W train: 1 of 4 classes have no row, first class 2 (cow)"},
        {"balance", spoil_balance, false, 0, 1,
         "W train: 4 classes of 1 rows (class 0 (ant)) to 37 rows (class 3 (dog))"},
        {"duplicate", spoil_duplicate, false, 0, 2,
         "W train: 2 rows repeat an earlier row, first 20 = 4"},
        {"other target", spoil_duplicate, true, 0, 2,
         "W train: 1 of these have another target than the row they repeat, first 21 and 4"},
        {"shared", spoil_shared, false, 0, 1,
         "W leak: 2 of 12 test rows are training rows too, first test row 6 = training row 30"},
        {"constant channel", spoil_channel, false, 0, 1,
         "W train: 1 of 2 channels are constant, first channel 1 (9)"},
        {"mean", spoil_mean, true, 0, 1, "W train: channel 1 has mean"},
        {"std", spoil_std, true, 0, 1, "W train: channel 1 has mean"},
        {"class of the test part", spoil_test_class, false, 1, 0, "4"},
        {"blank", spoil_blank, false, 0, 1,
         "W train: 1 rows are blank (one value throughout), first row 13"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct part train = clean(0, ROWS, cases[i].is_float);
        struct part test = clean(100, 12, cases[i].is_float);
        struct findings findings;
        struct check_result result;
        cases[i].spoil(&train, &test);
        expect_ok(check_path(put_file_of(&train, &test), NULL, &findings, &result), cases[i].what);
        if (result.n_errors != cases[i].n_errors || result.n_warnings != cases[i].n_warnings ||
            !strstr(findings.text, cases[i].finding))
            fail_msg("%s: %zu errors, %zu warnings, expected %zu, %zu and '%s' in\n%s",
                     cases[i].what, result.n_errors, result.n_warnings, cases[i].n_errors,
                     cases[i].n_warnings, cases[i].finding, findings.text);
    }
}

// Two files, one group, and no test part.
static void test_paths(void **state)
{
    (void)state;
    struct part train = clean(0, ROWS, false), test = clean(0, 12, false);
    struct findings findings;
    struct check_result result;
    put_file_of(&train, NULL);
    char other[512], group[520];
    snprintf(other, sizeof other, "%s", path_in(folder, "y.h5"));
    assert_int_equal(rename(path_in(folder, "x.h5"), other), 0);
    put_file_of(&test, NULL);
    expect_ok(check_path(path_in(folder, "x.h5"), NULL, &findings, &result), "one part");
    assert_int_equal(result.n_test, 0);
    assert_int_equal(result.n_errors + result.n_warnings, 0);
    assert_non_null(strstr(findings.text, "no test part"));
    snprintf(group, sizeof group, "%s:/train", other);
    expect_ok(check_path(path_in(folder, "x.h5"), group, &findings, &result), "two files");
    assert_int_equal(result.n_train, 12);
    assert_int_equal(result.n_test, ROWS);
    assert_non_null(strstr(findings.text, "leak: 12 of 40"));
    expect_ok(check_path(path_in(folder, "x.h5"), path_in(folder, "z.h5"), &findings, &result),
              "missing test file");
    assert_int_equal(result.n_errors, 1);
    file_write(path_in(folder, "no.h5"), "no HDF5");
    expect_error(check_path(path_in(folder, "no.h5"), NULL, &findings, &result), STATUS_DATA,
                 "no.h5", "not HDF5");
    expect_error(check_path(path_in(folder, "none.h5"), NULL, &findings, &result), STATUS_DATA,
                 "none.h5", "missing");
}

// What sw2-data import wrote carries a digest and statistics: one changed byte is found.
static void test_digest(void **state)
{
    (void)state;
    struct findings findings;
    struct check_result result;
    struct import_report report;
    file_write(path_in(folder, "t.csv"), "1,2,0\n3,5,1\n4,9,0\n7,1,1\n5,8,0\n6,1,1\n");
    const char *source = path_in(folder, "t.csv");
    char out[512];
    snprintf(out, sizeof out, "%s", path_in(folder, "out.h5"));
    struct import_config config = {.paths = &source, .n_paths = 1, .out = out};
    expect_ok(import_run(&config, &report), "import");
    free(report.note);
    expect_ok(check_path(out, NULL, &findings, &result), "as written");
    assert_int_equal(result.n_errors + result.n_warnings, 0);
    assert_non_null(strstr(findings.text, "train: the content has its digest"));
    assert_non_null(strstr(findings.text, "train: the seal fits, and all rows are what was"));
    const float last[2] = {6, 1}, changed[2] = {6, 90}; // the last row, found by its bytes
    FILE *file = fopen(out, "r+b");
    uint8_t raw[65536];
    size_t n = fread(raw, 1, sizeof raw, file);
    uint8_t *at = memmem(raw, n, last, sizeof last);
    assert_non_null(at);
    assert_int_equal(fseek(file, at - raw, SEEK_SET), 0);
    assert_int_equal(fwrite(changed, sizeof changed, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    expect_ok(check_path(out, NULL, &findings, &result), "changed");
    assert_int_equal(result.n_errors, 2);
    assert_int_equal(result.n_warnings, 1);
    assert_non_null(
        strstr(findings.text, "E train: 1 rows are not what was imported, first row 5"));
    assert_non_null(strstr(findings.text, "E train: the content does not have its digest"));
    assert_non_null(strstr(findings.text, "W train: channel 1 has mean"));
}

static void test_chunks(void **state)
{
    (void)state;
    static const struct {
        struct h5_info info;
        enum check_level level;
        const char *text;
    } cases[] = {
        {{H5_U8, 2, {100, 784}, {0}, false, 0}, CHECK_NOTE, "one piece"},
        {{H5_U8, 2, {4000, 16}, {10, 16}, false, 0}, CHECK_WARNING, "160 bytes"},
        {{H5_U8, 2, {10, 16}, {10, 16}, false, 0}, CHECK_NOTE, "in chunks of 10 rows"}, // only one
        {{H5_F32, 2, {400, 1 << 20}, {20, 1 << 20}, false, 0}, CHECK_WARNING, "20 rows (80 MiB)"},
        {{H5_F32, 2, {400, 1 << 24}, {1, 1 << 24}, false, 0}, CHECK_NOTE, "chunks of 1 rows"},
        {{H5_U8, 4, {400, 32, 32, 3}, {64, 32, 32, 3}, true, 0}, CHECK_NOTE, "compressed"},
        {{H5_U8, 4, {400, 32, 32, 3}, {1, 32, 32, 3}, true, 0}, CHECK_WARNING, "3072 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[CHECK_CHUNKS_BYTES];
        enum check_level level = check_chunks(&cases[i].info, text);
        if (level != cases[i].level || !strstr(text, cases[i].text))
            fail_msg("case %zu: level %d, '%s'", i, (int)level, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defects, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_paths, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_digest, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_chunks, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
