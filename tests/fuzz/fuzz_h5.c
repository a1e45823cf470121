// SPDX-License-Identifier: MIT
// An HDF5 data file: looked through, opened as a data set of both sides, every row read.
#include <stdio.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "tests/fuzz/fuzz.h"

#define ROW_BYTES_MAX ((size_t)1 << 24)
#define ROWS_MAX 200

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:detect_leaks=0"; // HDF5 leaks what it refuses
}

struct look {
    struct h5 *file;
    const char *group;
    int depth;
};

static enum status look(void *context, const char *name, bool is_dataset)
{
    const struct look *at = context;
    struct h5_info info;
    char path[512], *text = NULL;
    if (snprintf(path, sizeof path, "%s/%s", at->group, name) >= (int)sizeof path)
        return STATUS_OK;
    fuzz_expect(h5_attr_read_text(at->file, path, "digest", &text));
    free(text);
    if (is_dataset) {
        fuzz_expect(h5_info(at->file, path, &info));
    } else if (at->depth < 4) {
        struct look inner = {at->file, path, at->depth + 1};
        fuzz_expect(h5_list(at->file, path, look, &inner));
    }
    return STATUS_OK;
}

static void read_side(const char *path, enum dataset_side side)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    enum status status = dataset_open(&dataset, path, side, &config);
    fuzz_expect(status);
    size_t bytes = status == STATUS_OK ? dataset_row_bytes(dataset) : 0;
    void *row = bytes > 0 && bytes <= ROW_BYTES_MAX ? malloc(bytes) : NULL;
    for (uint64_t i = 0; row && i < dataset_rows(dataset) && i < ROWS_MAX; i++)
        fuzz_expect(dataset_read(dataset, i, 1, row));
    free(row);
    dataset_close(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *path = fuzz_file(0, data, n);
    struct h5 *file = NULL;
    enum status status = h5_open(&file, path);
    fuzz_expect(status);
    if (status != STATUS_OK)
        return 0;
    struct look root = {file, "", 0};
    fuzz_expect(h5_list(file, "/", look, &root));
    h5_close(file);
    read_side(path, DATASET_TRAIN);
    read_side(path, DATASET_TEST);
    return 0;
}
