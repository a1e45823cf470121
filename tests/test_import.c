// SPDX-License-Identifier: MIT
// data/import*.c: from a source to a file: order, split, statistics, classes, digest, interruption;
// data/generate.c.
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/generate.h"
#include "data/row_digest.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

enum { ROWS = 103, CLASSES = 5 };

// A table whose row r is: r, r * r / 8, class name. Class k has more rows than class k + 1.
static const char *class_of(size_t r)
{
    static const char *const names[CLASSES] = {"elm", "oak", "ash", "fir", "yew"};
    return names[r % 3 == 0 ? 0 : r % 5 == 0 ? 1 : r % 7 == 0 ? 2 : r % 2 == 0 ? 3 : 4];
}

static void put_table(const char *name, size_t first, size_t n, bool is_gz)
{
    struct bytes bytes = {0};
    char line[64];
    for (size_t r = first; r < first + n; r++) {
        int length = sprintf(line, "%zu,%.3f,%s\n", r, (double)(r * r) / 8, class_of(r));
        bytes_add(&bytes, line, (size_t)length);
    }
    (is_gz ? put_gz : put_file)(path_in(folder, name), bytes.at, bytes.n);
    file_bytes_free(&bytes);
}

// An IDX pair of the same many rows, gzip'ed (read in order) or not (read out of order).
static void put_idx(const char *prefix, bool is_gz)
{
    char name[64];
    struct bytes images = idx_header(8, 3, (uint32_t[]){ROWS, 3, 5});
    struct bytes labels = idx_header(8, 1, (uint32_t[]){ROWS});
    for (size_t r = 0; r < ROWS; r++) {
        bytes_add_be(&labels, r % CLASSES, 1);
        bytes_add_be(&images, r, 1); // names the row
        for (size_t i = 1; i < 15; i++)
            bytes_add_be(&images, pixel_of(r, i), 1);
    }
    sprintf(name, "%s-images-idx3-ubyte", prefix);
    (is_gz ? put_gz : put_file)(path_in(folder, name), images.at, images.n);
    sprintf(name, "%s-labels-idx1-ubyte", prefix);
    (is_gz ? put_gz : put_file)(path_in(folder, name), labels.at, labels.n);
    file_bytes_free(&images);
    file_bytes_free(&labels);
}

static enum status import_path(const char *name, struct import_config config,
                               struct import_report *report)
{
    const char *path = path_in(folder, name);
    char out[512];
    snprintf(out, sizeof out, "%s", path_in(folder, "out.h5"));
    config.paths = &path;
    config.n_paths = 1;
    if (!config.out)
        config.out = out;
    enum status status = import_run(&config, report);
    free(report->note);
    report->note = NULL;
    return status;
}

struct part {
    struct h5 *file;
    uint64_t n;
    uint8_t *inputs; // as stored
    int64_t *labels;
};

static struct part read_part(const char *group, size_t row_bytes, enum h5_type type)
{
    struct part part = {0};
    struct h5_info info;
    char name[64];
    expect_ok(h5_open(&part.file, path_in(folder, "out.h5")), "out.h5");
    snprintf(name, sizeof name, "%s/images", group);
    expect_ok(h5_info(part.file, name, &info), name);
    part.n = info.dim[0];
    part.inputs = malloc(part.n * row_bytes);
    part.labels = malloc(part.n * sizeof *part.labels);
    expect_ok(h5_read_rows(part.file, name, 0, part.n, type, part.inputs), name);
    snprintf(name, sizeof name, "%s/labels", group);
    expect_ok(h5_read_rows(part.file, name, 0, part.n, H5_I64, part.labels), name);
    return part;
}

static void part_free(struct part *part)
{
    h5_close(part->file);
    free(part->inputs);
    free(part->labels);
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

// Every source row is in exactly one part, with its own pixels and label; the split is by class;
// without shuffling each part keeps the source's order.
static void test_split(void **state)
{
    (void)state;
    static const struct {
        double split;
        bool is_shuffled, is_gz;
        uint64_t n_test;
    } cases[] = {
        {0, false, false, 0},   {0, true, false, 0},      {0.2, false, false, 21},
        {0.2, true, false, 21}, {0.2, false, true, 21},   {0.2, true, true, 21},
        {1, true, false, 1},    {102, false, false, 102}, {0.5, true, true, 52},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct import_report report;
        struct import_config config = {
            .split = cases[i].split, .is_shuffled = cases[i].is_shuffled, .seed = i};
        put_idx("x", cases[i].is_gz);
        expect_ok(import_path("x-images-idx3-ubyte", config, &report), "import");
        assert_int_equal(report.n_test, cases[i].n_test);
        size_t seen[ROWS] = {0}, per_class[CLASSES] = {0};
        bool is_ordered = true;
        for (int p = 0; p < (report.n_test ? 2 : 1); p++) {
            struct part part = read_part(p ? "/test" : "/train", 15, H5_U8);
            assert_int_equal(part.n, p ? report.n_test : ROWS - report.n_test);
            for (uint64_t k = 0; k < part.n; k++) {
                size_t r = part.inputs[k * 15];
                seen[r]++;
                per_class[r % CLASSES] += p == 1;
                is_ordered = is_ordered && (k == 0 || part.inputs[(k - 1) * 15] < r);
                assert_int_equal(part.labels[k], r % CLASSES);
                for (size_t b = 1; b < 15; b++)
                    assert_int_equal(part.inputs[k * 15 + b], pixel_of(r, b));
            }
            part_free(&part);
        }
        for (size_t r = 0; r < ROWS; r++)
            assert_int_equal(seen[r], 1);
        for (size_t k = 0; k < CLASSES; k++) { // within 1 of the class's share
            double share = (double)report.n_test * (k < 3 ? 21 : 20) / ROWS;
            assert_true(fabs((double)per_class[k] - share) < 1);
        }
        assert_int_equal(is_ordered, !cases[i].is_shuffled);
    }
}

// Without shuffling the seed still chooses the test rows.
static void test_split_seed(void **state)
{
    (void)state;
    uint8_t first[21], second[21];
    for (uint64_t seed = 1; seed < 3; seed++) {
        struct import_report report;
        struct import_config config = {.split = 21, .seed = seed};
        put_idx("x", false);
        expect_ok(import_path("x-images-idx3-ubyte", config, &report), "import");
        struct part part = read_part("/test", 15, H5_U8);
        for (size_t i = 0; i < 21; i++)
            (seed == 1 ? first : second)[i] = part.inputs[15 * i];
        part_free(&part);
    }
    assert_true(memcmp(first, second, sizeof first) != 0);
}

// Read in order (gzip) or out of order, the file is the same, byte for byte; another seed is not.
static void test_same_bytes(void **state)
{
    (void)state;
    char *texts[3];
    for (int i = 0; i < 3; i++) {
        struct import_report report;
        struct import_config config = {
            .split = 0.3, .is_shuffled = true, .seed = i == 2 ? 8 : 7, .source = "s"};
        put_idx("x", i == 1);
        expect_ok(import_path("x-images-idx3-ubyte", config, &report), "import");
        texts[i] = file_text(path_in(folder, "out.h5"));
    }
    FILE *file = fopen(path_in(folder, "out.h5"), "rb");
    fseek(file, 0, SEEK_END);
    size_t n = (size_t)ftell(file);
    fclose(file);
    assert_memory_equal(texts[0], texts[1], n);
    assert_true(memcmp(texts[0], texts[2], n) != 0);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
}

static void test_statistics(void **state)
{
    (void)state;
    struct import_report report;
    struct import_config config = {.split = 0.2, .is_shuffled = true, .seed = 3};
    for (int is_table = 0; is_table < 2; is_table++) {
        put_table("t.csv", 1000, ROWS, false); // far from 0, so that a naive variance shows
        put_idx("x", false);
        expect_ok(import_path(is_table ? "t.csv" : "x-images-idx3-ubyte", config, &report), "run");
        size_t c = is_table ? 2 : 1, pixels = is_table ? 1 : 15;
        double mean[2], deviation[2];
        struct part part = read_part("/train", is_table ? 8 : 15, is_table ? H5_F32 : H5_U8);
        for (int p = 0; p < 2; p++) { // both parts speak of /train
            const char *group = p ? "/test" : "/train";
            expect_ok(h5_attr_read(part.file, group, "mean", H5_F64, c, mean), "mean");
            expect_ok(h5_attr_read(part.file, group, "std", H5_F64, c, deviation), "std");
            for (size_t k = 0; k < c; k++) {
                double sum = 0, square = 0, n = (double)(part.n * pixels);
                for (size_t i = 0; i < part.n * pixels; i++)
                    sum += is_table ? (double)((float *)(void *)part.inputs)[i * c + k]
                                    : part.inputs[i] / 255.0;
                for (size_t i = 0; i < part.n * pixels; i++) {
                    double value = is_table ? (double)((float *)(void *)part.inputs)[i * c + k]
                                            : part.inputs[i] / 255.0;
                    square += (value - sum / n) * (value - sum / n);
                }
                if (fabs(mean[k] - sum / n) > 1e-9 * fabs(mean[k]) ||
                    fabs(deviation[k] - sqrt(square / n)) > 1e-9 * deviation[k])
                    fail_msg("channel %zu: %.12g %.12g, expected %.12g %.12g", k, mean[k],
                             deviation[k], sum / n, sqrt(square / n));
            }
        }
        part_free(&part);
    }
}

// A test source with fewer classes, in another order of appearance, is numbered as the training
// source; one with a class of its own is refused.
static void test_second_source(void **state)
{
    (void)state;
    struct import_report report;
    put_table("train.csv", 0, 60, false);
    put_table("test.csv", 10, 3, true); // oak, yew, elm
    char test[512];
    snprintf(test, sizeof test, "%s", path_in(folder, "test.csv"));
    struct import_config config = {.test = test};
    expect_ok(import_path("train.csv", config, &report), "import");
    struct part part = read_part("/test", 8, H5_F32);
    size_t n = 0;
    char **classes = NULL;
    expect_ok(h5_attr_read_texts(part.file, "/test", "classes", &n, &classes), "classes");
    assert_int_equal(n, CLASSES);
    assert_int_equal(part.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(classes[part.labels[i]], class_of(10 + i));
    h5_texts_free(n, classes);
    part_free(&part);
    file_write(test, "1,2,palm\n");
    expect_error(import_path("train.csv", config, &report), STATUS_DATA, "'palm'", "unknown class");
    file_write(test, "1,2,3,elm\n");
    expect_error(import_path("train.csv", config, &report), STATUS_DATA, "1x1x2|1x1x3", "shape");
    config.split = 0.1;
    expect_error(import_path("train.csv", config, &report), STATUS_USAGE, "--split",
                 "split and test");
}

static void test_options(void **state)
{
    (void)state;
    struct import_report report;
    put_idx("x", false);
    put_table("t.csv", 0, ROWS, false);
    static const struct {
        const char *what, *name;
        struct import_config config;
        enum status status;
        const char *message;
    } cases[] = {
        {"unknown format", "t.csv", {.format = "cvs"}, STATUS_USAGE, "'cvs'|did you mean 'csv'"},
        {"wrong format", "t.csv", {.format = "idx"}, STATUS_DATA, "images"},
        {"all rows", "t.csv", {.split = 103}, STATUS_USAGE, "no training row"},
        {"half a row", "t.csv", {.split = 1.5}, STATUS_USAGE, "--split 1.5"},
        {"few names", "x-images-idx3-ubyte", {.classes = "a,b"}, STATUS_USAGE, "2 names for 5"},
        {"empty name", "x-images-idx3-ubyte", {.classes = "a,b,,d,e"}, STATUS_USAGE, "name 3"},
        {"resize of a table",
         "t.csv",
         {.options = {.resize_h = 2, .resize_w = 2}},
         STATUS_USAGE,
         "--resize is for pictures"},
        {"no folder",
         "t.csv",
         {.out = "/nowhere/at/all.h5"},
         STATUS_ERROR,
         "/nowhere/at/all.h5|No such file"},
        {"missing", "t2.csv", {0}, STATUS_DATA, "t2.csv|No such file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum status status = import_path(cases[i].name, cases[i].config, &report);
        // wrong format: the message depends on the importer
        if (strcmp(cases[i].what, "wrong format") == 0)
            assert_int_not_equal(status, STATUS_OK);
        else
            expect_error(status, cases[i].status, cases[i].message, cases[i].what);
    }
    assert_int_equal(count_files(), 3); // the sources only
    struct import_config names = {.classes = "a,b,c,d,e,f",
                                  .options = {.resize_h = 6, .resize_w = 10}};
    expect_ok(import_path("x-images-idx3-ubyte", names, &report), "names and resize");
    assert_int_equal(report.target.n_classes, 6);
    assert_int_equal(report.shape.h, 6);
    assert_int_equal(report.shape.w, 10);
    struct import_config same = {.out = path_in(folder, "t.csv")};
    char *before = file_text(path_in(folder, "t.csv"));
    expect_error(import_path("t.csv", same, &report), STATUS_USAGE, "both input and output",
                 "same");
    char *after = file_text(path_in(folder, "t.csv"));
    assert_string_equal(before, after);
    free(before);
    free(after);
}

// A file inside the source folder is not overwritten unless it is HDF5.
static void test_out_inside(void **state)
{
    (void)state;
    struct import_report report;
    put_idx("train", false);
    char out[512];
    snprintf(out, sizeof out, "%s", path_in(folder, "train-images-idx3-ubyte"));
    struct import_config config = {.out = out};
    expect_error(import_path(".", config, &report), STATUS_USAGE, "source folder|not overwritten",
                 "input file");
    config.out = NULL;
    expect_ok(import_path(".", config, &report), "new file");
    expect_ok(import_path(".", config, &report), "and once more");
}

struct stopper {
    size_t calls, stop_at;
};

static enum status stop(void *context, const char *what, uint64_t done, uint64_t total)
{
    (void)what, (void)done, (void)total;
    struct stopper *stopper = context;
    CHECK(stopper->calls++ != stopper->stop_at, STATUS_ERROR, "interrupted: nothing written");
    return STATUS_OK;
}

// Stopped at any tick: the old file stays, no other file is left.
static void test_interrupted(void **state)
{
    (void)state;
    struct import_report report;
    struct stopper count = {.stop_at = SIZE_MAX};
    put_table("t.csv", 0, ROWS, false);
    struct import_config config = {.split = 0.2, .options.progress = {stop, &count}};
    expect_ok(import_path("t.csv", config, &report), "not stopped");
    assert_true(count.calls >= 3); // table, rows, end
    file_write(path_in(folder, "out.h5"), "old");
    for (size_t i = 0; i < count.calls; i++) {
        struct stopper stopper = {.stop_at = i};
        config.options.progress.context = &stopper;
        expect_error(import_path("t.csv", config, &report), STATUS_ERROR, "interrupted", "stopped");
        assert_int_equal(count_files(), 2);
        char *text = file_text(path_in(folder, "out.h5"));
        assert_string_equal(text, "old");
        free(text);
    }
}

// The digest does not depend on the order rows are seen in, but on each row's place and bytes.
static void test_digest(void **state)
{
    (void)state;
    uint8_t rows[4][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {1, 2, 3}};
    int64_t labels[4] = {0, 1, 0, 1};
    struct row_digest a = {{0}}, b = {{0}}, c = {{0}}, d = {{0}};
    for (size_t i = 0; i < 4; i++) {
        size_t r = 3 - i, other = i == 0 ? 3 : i == 3 ? 0 : i;
        row_digest_add(&a, i, rows[i], 3, &labels[i], 8);
        row_digest_add(&b, r, rows[r], 3, &labels[r], 8);
        row_digest_add(&c, i, rows[i], 3, &labels[other], 8);
        row_digest_add(&d, i, rows[3 - i], 3, &labels[i], 8);
    }
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(memcmp(&a, &c, sizeof a) != 0); // two labels changed places
    assert_true(memcmp(&a, &d, sizeof a) != 0); // rows changed places
}

static void test_generate(void **state)
{
    (void)state;
    struct import_source train, again, test;
    struct sample_shape shape = {9, 7, 3};
    uint8_t a[189], b[189];
    expect_ok(generate_open(&train, shape, 4, 0, 40, 5), "train");
    expect_ok(generate_open(&again, shape, 4, 30, 10, 5), "the last ten");
    expect_ok(generate_open(&test, shape, 4, 0, 40, 6), "another seed");
    // A row is a function of seed and number.
    for (uint64_t r = 0; r < 10; r++) {
        expect_ok(train.read(&train, 30 + r, a, NULL), "row");
        expect_ok(again.read(&again, r, b, NULL), "row");
        assert_memory_equal(a, b, sizeof a);
        assert_int_equal(train.labels[30 + r], again.labels[r]);
        expect_ok(test.read(&test, 30 + r, b, NULL), "row");
        assert_true(memcmp(a, b, sizeof a) != 0);
    }
    // Learnable: the nearest row of the first four (one of each class) has the same class.
    uint8_t first[4][189];
    for (uint64_t r = 0; r < 4; r++)
        expect_ok(train.read(&train, r, first[r], NULL), "row");
    for (uint64_t r = 4; r < 40; r++) {
        size_t nearest = 0, least = SIZE_MAX;
        expect_ok(train.read(&train, r, a, NULL), "row");
        for (size_t k = 0; k < 4; k++) {
            size_t sum = 0;
            for (size_t i = 0; i < sizeof a; i++)
                sum += (size_t)abs(a[i] - first[k][i]);
            if (sum < least) {
                least = sum;
                nearest = k;
            }
        }
        assert_int_equal(train.labels[nearest], train.labels[r]);
        assert_true(least > sizeof a); // and is not the same picture
    }
    import_source_close(&train);
    import_source_close(&again);
    import_source_close(&test);
    shape.w = 0;
    expect_error(generate_open(&train, shape, 4, 0, 1, 5), STATUS_USAGE, "9x0x3", "empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_split, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_split_seed, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_same_bytes, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_statistics, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_second_source, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_options, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_out_inside, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_interrupted, folder_begin, folder_end),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_generate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
