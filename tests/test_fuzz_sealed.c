// SPDX-License-Identifier: MIT
// A data file of sw2-data import, cut anywhere and with any single bit flipped: it is refused, or
// gives exactly what was imported. Never other data.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/import.h"
#include "tests/support/damaged.h"
#include "tests/support/expect.h"

enum { ROWS = 5, COLUMNS = 3 };

// HDF5 asks for as much memory as a damaged size says, and copes with not getting it.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static char *folder;
static char out[300];

// All of a side that training sees.
struct content {
    struct sample_shape shape;
    struct target_shape target;
    uint64_t rows;
    double mean[COLUMNS], std[COLUMNS];
    char classes[64];
    float inputs[ROWS][COLUMNS];
    int32_t labels[ROWS];
    bool is_u8;
};
static struct content imported;

static enum status content_read(struct dataset *dataset, struct content *content)
{
    size_t n = 0;
    char *const *classes = dataset_classes(dataset, &n);
    content->rows = dataset_rows(dataset);
    content->shape = dataset_shape(dataset);
    content->target = dataset_target(dataset);
    content->is_u8 = dataset_is_u8(dataset);
    struct sample_shape shape = content->shape;
    if (content->rows != ROWS || shape.h * shape.w * shape.c != COLUMNS || content->is_u8 ||
        content->target.type != TARGET_CLASS || content->target.count != 1)
        FAIL(STATUS_VERIFY, "%s: other shapes", out);
    for (size_t i = 0; classes && i < n; i++)
        snprintf(content->classes + strlen(content->classes),
                 sizeof content->classes - strlen(content->classes), "%s,", classes[i]);
    if (shape.c == COLUMNS) {
        memcpy(content->mean, dataset_mean(dataset), sizeof content->mean);
        memcpy(content->std, dataset_std(dataset), sizeof content->std);
    }
    for (size_t i = 0; i < ROWS; i++)
        content->labels[i] = *(const int32_t *)dataset_target_of(dataset, i);
    return dataset_read(dataset, 0, ROWS, content->inputs);
}

static enum status content_open(const char *path, struct content *content)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    memset(content, 0, sizeof *content);
    TRY(dataset_open(&dataset, path, DATASET_TRAIN, &config));
    enum status status = content_read(dataset, content);
    dataset_close(dataset);
    return status;
}

static enum status content_compare(const char *path)
{
    struct content content;
    TRY(content_open(path, &content));
    CHECK(memcmp(&content, &imported, sizeof content) == 0, STATUS_VERIFY,
          "%s: other data without an error", path);
    return STATUS_OK;
}

static void test_bits_and_cuts(void **state)
{
    (void)state;
    // A sample in quick builds; the step has no factor in common with bytes.
    size_t step = getenv("SW2_TEST_QUICK") ? 13 : 1;
    damaged_run(&(struct damage_plan){"sealed", step, 0, 0, step}, folder, content_compare);
}

// What was changed is named: labels and attributes at open, a row when it is read.
static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } cases[] = {
        {"\0\0\x9c\x42", 4, "out.h5:/train|row 4 is not what was imported|damaged or was changed"},
        {"zebra", 5, "out.h5|'/train' is not what was imported|seal"},
        {"seal", 4, "out.h5|'/train' has row_digests, but no seal"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct content content;
        static unsigned char bytes[1 << 16];
        FILE *file = fopen(out, "r+b");
        assert_non_null(file);
        size_t n = fread(bytes, 1, sizeof bytes, file);
        unsigned char *at = memmem(bytes, n, cases[i].bytes, cases[i].n);
        assert_non_null(at);
        for (int undo = 0; undo < 2; undo++) {
            *at ^= 1;
            assert_int_equal(fseek(file, at - bytes, SEEK_SET), 0);
            assert_int_equal(fwrite(at, 1, 1, file), 1);
            assert_int_equal(fflush(file), 0);
            if (undo)
                expect_ok(content_open(out, &content), "undone");
            else
                expect_error(content_open(out, &content), STATUS_DATA, cases[i].message,
                             cases[i].message);
        }
        fclose(file);
    }
}

static int setup(void **state)
{
    (void)state;
    folder = folder_make();
    char csv[280];
    snprintf(csv, sizeof csv, "%s/t.csv", folder);
    snprintf(out, sizeof out, "%s/out.h5", folder);
    file_write(csv, "a,b,c,label\n1,2,3,cow\n4,5.5,6,zebra\n-7,8,9,cow\n1,1,1,emu\n9,77,78,emu\n");
    const char *paths[] = {csv};
    struct import_config config = {.paths = paths, .n_paths = 1, .out = out};
    struct import_report report;
    expect_ok(import_run(&config, &report), "import");
    free(report.note);
    damaged_image(out);
    expect_ok(content_open(out, &imported), "as imported");
    assert_string_equal(imported.classes, "cow,emu,zebra,");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    damaged_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_and_cuts),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
