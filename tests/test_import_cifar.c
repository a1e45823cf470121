// SPDX-License-Identifier: MIT
// data/importers/cifar.c: CIFAR-10 and CIFAR-100 records, planes to pixels, folders, damaged files.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/import_files.h"

enum { PLANE = 1024, PIXELS = 3072 };

// n records that begin with row number `first`. Planes: byte i is pixel_of(row, i).
static struct bytes records(uint64_t first, uint64_t n, bool is_100)
{
    struct bytes bytes = {0};
    for (uint64_t row = first; row < first + n; row++) {
        if (is_100)
            bytes_add_be(&bytes, row % 20, 1);
        bytes_add_be(&bytes, is_100 ? row * 7 % 100 : row % 10, 1);
        for (size_t i = 0; i < PIXELS; i++)
            bytes_add_be(&bytes, pixel_of(row, i), 1);
    }
    return bytes;
}

static void put_records(const char *name, uint64_t first, uint64_t n, bool is_100)
{
    struct bytes bytes = records(first, n, is_100);
    put_file(path_in(folder, name), bytes.at, bytes.n);
    file_bytes_free(&bytes);
}

// Row r of the source holds record first + r: channel k of pixel p is byte k * 1024 + p.
static void check_rows(struct import_source *source, uint64_t first, bool is_backwards)
{
    static uint8_t row[PIXELS];
    assert_int_equal(source->shape.h, 32);
    assert_int_equal(source->shape.w, 32);
    assert_int_equal(source->shape.c, 3);
    for (uint64_t i = 0; i < source->n_rows; i++) {
        uint64_t r = is_backwards ? source->n_rows - 1 - i : i;
        expect_ok(source->read(source, r, row, NULL), "row");
        for (size_t p = 0; p < PLANE; p++)
            for (size_t k = 0; k < 3; k++)
                if (row[p * 3 + k] != pixel_of(first + r, k * PLANE + p))
                    fail_msg("row %zu, pixel %zu, channel %zu: %d, expected %d", (size_t)r, p, k,
                             row[p * 3 + k], pixel_of(first + r, k * PLANE + p));
    }
}

static void test_cifar10_folder(void **state)
{
    (void)state;
    struct import_source train, test;
    put_records("data_batch_1.bin", 0, 11, false);
    put_records("data_batch_2.bin", 11, 3, false);
    put_records("data_batch_3.bin", 14, 10, false);
    put_records("test_batch.bin", 100, 10, false);
    put_file(path_in(folder, "batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    assert_true(importer_named("cifar")->accepts(folder));
    source_open(&train, "cifar", folder, IMPORT_TRAIN, NULL);
    source_open(&test, "cifar", folder, IMPORT_TEST, NULL);
    assert_int_equal(train.n_rows, 24);
    assert_int_equal(test.n_rows, 10);
    for (size_t i = 0; i < 24; i++)
        assert_int_equal(train.labels[i], i % 10);
    assert_int_equal(train.target.n_classes, 10);
    assert_string_equal(train.classes[9], "j");
    check_rows(&train, 0, false);
    check_rows(&train, 0, true);
    check_rows(&test, 100, false);
    import_source_close(&train);
    import_source_close(&test);
    // Another number of names than classes: none.
    put_file(path_in(folder, "batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\n", 18);
    source_open(&train, "cifar", folder, IMPORT_TRAIN, NULL);
    assert_null(train.classes);
    import_source_close(&train);
}

static void test_cifar100(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        size_t n_classes;
    } cases[] = {{NULL, 100}, {"", 100}, {"fine", 100}, {"coarse", 20}};
    put_records("train.bin", 3, 30, true);
    put_records("test.bin", 50, 4, true);
    assert_true(importer_named("cifar")->accepts(folder));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct import_options options = {.target_column = cases[i].target};
        struct import_source source;
        source_open(&source, "cifar", folder, IMPORT_TRAIN, &options);
        assert_int_equal(source.target.n_classes, cases[i].n_classes);
        for (uint64_t r = 0; r < 30; r++)
            assert_int_equal(source.labels[r],
                             cases[i].n_classes == 20 ? (r + 3) % 20 : (r + 3) * 7 % 100);
        check_rows(&source, 3, false);
        assert_null(source.classes); // there is no file of names
        import_source_close(&source);
    }
}

static void test_files(void **state)
{
    (void)state;
    put_records("b.bin", 5, 4, false);
    put_records("a.bin", 1, 4, false);
    const char *paths[] = {path_in(folder, "a.bin"), path_in(folder, "b.bin")};
    const struct import_options none = {0};
    struct import_source source = {0};
    assert_true(importer_named("cifar")->accepts(paths[0]));
    expect_ok(importer_named("cifar")->open(paths, 2, IMPORT_TRAIN, &none, &source), "files");
    assert_int_equal(source.n_rows, 8);
    check_rows(&source, 1, false);
    import_source_close(&source);
    expect_ok(importer_named("cifar")->open(paths, 2, IMPORT_TEST, &none, &source), "files");
    assert_null(source.read);
}

static void test_bad(void **state)
{
    (void)state;
    put_records("ten.bin", 0, 4, false);
    put_records("hundred.bin", 0, 4, true);
    struct bytes bytes = records(0, 3, false);
    put_file(path_in(folder, "short.bin"), bytes.at, bytes.n - 1);
    bytes.at[3073] = 10; // label of record 1
    put_file(path_in(folder, "label.bin"), bytes.at, bytes.n);
    put_gz(path_in(folder, "packed.bin.gz"), bytes.at, bytes.n);
    put_file(path_in(folder, "empty.bin"), "", 0);
    file_bytes_free(&bytes);
    bytes = records(0, 130, false); // too many to look at all when the format is told
    bytes.at[3073 * 100] = 10;
    put_file(path_in(folder, "late.bin"), bytes.at, bytes.n);
    file_bytes_free(&bytes);
    static const struct {
        const char *names[2], *target;
        enum status status;
        const char *message;
    } cases[] = {
        {{"short.bin"}, NULL, STATUS_DATA, "short.bin|9218 bytes|3073|3074"},
        {{"label.bin"}, NULL, STATUS_DATA, "label.bin|labels in range"},
        {{"late.bin"}, NULL, STATUS_DATA, "late.bin|record 100 is 10|0 to 9"},
        {{"empty.bin"}, NULL, STATUS_DATA, "empty.bin|not a CIFAR file"},
        {{"packed.bin.gz"}, NULL, STATUS_DATA, "gzip'ed, unpack"},
        {{"missing.bin"}, NULL, STATUS_DATA, "missing.bin|No such file"},
        {{"ten.bin", "hundred.bin"}, NULL, STATUS_DATA, "hundred.bin|CIFAR-100"},
        {{"ten.bin"}, "fine", STATUS_USAGE, "CIFAR-10 has one label"},
        {{"hundred.bin"}, "middle", STATUS_USAGE, "'middle'|fine or coarse"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *paths[2] = {path_in(folder, cases[i].names[0]), NULL};
        if (cases[i].names[1])
            paths[1] = path_in(folder, cases[i].names[1]);
        struct import_options options = {.target_column = cases[i].target};
        expect_error(source_try("cifar", paths, paths[1] ? 2 : 1, &options), cases[i].status,
                     cases[i].message, cases[i].names[0]);
    }
    const char *path = folder;
    expect_error(source_try("cifar", &path, 1, NULL), STATUS_DATA, "no data_batch_1.bin", "folder");
}

static void try_damaged(const uint8_t *bytes, size_t n, void *context)
{
    size_t *n_bad = context;
    const char *path = path_in(folder, "x.bin");
    put_file(path, bytes, n);
    enum status status = source_try("cifar", &path, 1, NULL);
    *n_bad += status != STATUS_OK;
    if (status != STATUS_OK)
        expect_error(status, STATUS_DATA, "x.bin", "damaged file");
}

static void test_damage(void **state)
{
    (void)state;
    for (int is_100 = 0; is_100 < 2; is_100++) {
        size_t n_bad = 0;
        struct bytes bytes = records(0, 2, is_100);
        damage(&bytes, 300, try_damaged, &n_bad);
        assert_true(n_bad > 140); // cuts and gaps at least
        file_bytes_free(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cifar10_folder, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_cifar100, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_files, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_bad, folder_begin, folder_end),
        cmocka_unit_test_setup_teardown(test_damage, folder_begin, folder_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
