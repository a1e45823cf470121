// SPDX-License-Identifier: MIT
// Files through one importer: opened, every row read.
#ifndef SW2_TESTS_FUZZ_IMPORT_H
#define SW2_TESTS_FUZZ_IMPORT_H

#include <stdlib.h>
#include <string.h>

#include "data/import.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_ROW_BYTES_MAX ((size_t)1 << 24)
#define FUZZ_ROWS_MAX 1000

static inline void fuzz_import(const char *name, const char *const *paths, size_t n_paths,
                               const struct import_options *options)
{
    struct import_source source = {0};
    const struct importer *importer = NULL;
    for (size_t i = 0; i < importers_n; i++)
        if (strcmp(importers[i]->name, name) == 0)
            importer = importers[i];
    importer->accepts(paths[0]);
    enum status status = importer->open(paths, n_paths, IMPORT_TRAIN, options, &source);
    fuzz_expect(status);
    size_t values = source.shape.h * source.shape.w * source.shape.c;
    size_t bytes = values * (source.is_u8 ? 1 : sizeof(float));
    size_t target_bytes = (source.target.count + 1) * sizeof(float);
    if (status == STATUS_OK && bytes <= FUZZ_ROW_BYTES_MAX) {
        uint8_t *row = malloc(bytes);
        float *target = malloc(target_bytes);
        for (uint64_t i = 0; i < source.n_rows && i < FUZZ_ROWS_MAX && status == STATUS_OK; i++) {
            status = source.read(&source, i, row, source.labels ? NULL : target);
            fuzz_expect(status);
        }
        for (uint64_t i = 0; source.labels && i < source.n_rows; i++)
            if (source.labels[i] < 0 || (size_t)source.labels[i] >= source.target.n_classes)
                abort();
        free(row);
        free(target);
    }
    import_source_close(&source);
}

#endif
