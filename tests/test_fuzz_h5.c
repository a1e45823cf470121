// SPDX-License-Identifier: MIT
// Damaged HDF5 files: cut anywhere, or with one bit flipped, a data file is refused or read, but
// nothing crashes, hangs or asks for absurd memory. In children, so that a fault is one case's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "tests/support/damaged.h"
#include "tests/support/expect.h"
#include "tests/support/rows_file.h"

// HDF5 asks for as much memory as a damaged size says, and copes with not getting it.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static char *folder;

static enum status damaged_read(const char *path)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    TRY(dataset_open(&dataset, path, DATASET_TRAIN, &config));
    enum status status = STATUS_OK;
    uint64_t rows = dataset_rows(dataset), step = rows / 50 + 7;
    void *out = malloc(7 * dataset_row_bytes(dataset));
    for (uint64_t first = 0; first < rows && status == STATUS_OK; first += step)
        status = dataset_read(dataset, first, rows - first < 7 ? rows - first : 7, out);
    free(out);
    dataset_close(dataset);
    return status;
}

static void fuzz(const struct damage_plan *plan)
{
    damaged_run(plan, folder, damaged_read);
}

static void test_own_file(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/own.h5", folder);
    rows_file_images(path, 24, 3, 3, 1, H5_U8);
    damaged_image(path);
    fuzz(&(struct damage_plan){"own", 97, 0, 0, 29});
}

// Chunked and compressed, by h5py: in the old and in the newest format. Then the places at which
// HDF5 1.10 itself goes wrong unless it is kept from them, bit by bit: chunk dimensions, filters,
// layout and attributes in the object headers, and where a group keeps its names.
static void test_chunked_files(void **state)
{
    (void)state;
    damaged_image(SW2_GOLDEN "/foreign/latest.h5");
    fuzz(&(struct damage_plan){"latest", 211, 0, 0, 41});
    damaged_image(SW2_GOLDEN "/foreign/gzip.h5");
    fuzz(&(struct damage_plan){"gzip", 211, 0, 0, 101});
    fuzz(&(struct damage_plan){"chunks of x", 0, 1024 * 8, 1072 * 8, 1});
    fuzz(&(struct damage_plan){"header of y", 0, 7160 * 8, 7280 * 8, 1});
    damaged_image(SW2_GOLDEN "/foreign/classes.h5");
    fuzz(&(struct damage_plan){"attribute", 0, 1690 * 8, 1750 * 8, 1});
    fuzz(&(struct damage_plan){"tree of names", 0, 136 * 8, 192 * 8, 1});
    fuzz(&(struct damage_plan){"heap of names", 0, 680 * 8, 800 * 8, 1});
    fuzz(&(struct damage_plan){"table of names", 0, 1072 * 8, 1200 * 8, 1});
    damaged_image(SW2_GOLDEN "/foreign/variable.h5");
    fuzz(&(struct damage_plan){"texts in the heap", 211, 0, 0, 37});
}

static int setup(void **state)
{
    (void)state;
    folder = folder_make();
    return folder ? 0 : -1;
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
        cmocka_unit_test(test_own_file),
        cmocka_unit_test(test_chunked_files),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
