// SPDX-License-Identifier: MIT
#include "tests/support/import_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cmocka.h>

#include "comm/random.h"
#include "tests/support/expect.h"

void bytes_add(struct bytes *bytes, const void *from, size_t n)
{
    if (bytes->n + n > bytes->room || !bytes->at) {
        bytes->room = 2 * (bytes->n + n) + 64;
        bytes->at = realloc(bytes->at, bytes->room);
        assert_non_null(bytes->at);
    }
    memcpy(bytes->at + bytes->n, from, n);
    bytes->n += n;
}

void bytes_add_be(struct bytes *bytes, uint64_t value, size_t width)
{
    for (size_t i = width; i-- > 0;) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        bytes_add(bytes, &byte, 1);
    }
}

void file_bytes_free(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){0};
}

const char *path_in(const char *folder, const char *name)
{
    static char paths[8][512];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0)
        fail_msg("cannot write %s", path);
}

void put_gz(const char *path, const void *bytes, size_t n)
{
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)n), (int)n);
    assert_int_equal(gzclose(file), Z_OK);
}

void put_folder(const char *path)
{
    if (mkdir(path, 0777) != 0)
        fail_msg("cannot make %s", path);
}

struct bytes idx_header(uint8_t type, int rank, const uint32_t *dim)
{
    struct bytes bytes = {0};
    bytes_add_be(&bytes, (uint64_t)type << 8 | (uint64_t)rank, 4);
    for (int i = 0; i < rank; i++)
        bytes_add_be(&bytes, dim[i], 4);
    return bytes;
}

uint8_t pixel_of(uint64_t row, size_t i)
{
    return (uint8_t)(row * 37 + i * 11 + i / 7 + 5);
}

const struct importer *importer_named(const char *name)
{
    for (size_t i = 0; i < importers_n; i++)
        if (strcmp(importers[i]->name, name) == 0)
            return importers[i];
    fail_msg("no importer %s", name);
    return NULL;
}

void source_open(struct import_source *source, const char *importer, const char *path,
                 enum import_side side, const struct import_options *options)
{
    struct import_options none = {0};
    *source = (struct import_source){0};
    expect_ok(importer_named(importer)->open(&path, 1, side, options ? options : &none, source),
              path);
}

static enum status read_all(struct import_source *source)
{
    struct sample_shape shape = source->shape;
    size_t values = shape.h * shape.w * shape.c;
    // Exactly as long as a row: a byte too many is seen by the address sanitizer.
    void *input = malloc(values * (source->is_u8 ? 1 : sizeof(float)) + (values == 0));
    float *target = malloc(source->target.count * sizeof *target + 1);
    enum status status = STATUS_OK;
    for (uint64_t row = 0; row < source->n_rows && status == STATUS_OK; row++)
        status = source->read(source, row, input, target);
    free(input);
    free(target);
    return status;
}

enum status source_try(const char *importer, const char *const *paths, size_t n_paths,
                       const struct import_options *options)
{
    struct import_options none = {0};
    struct import_source source = {0};
    enum status status = importer_named(importer)->open(paths, n_paths, IMPORT_TRAIN,
                                                        options ? options : &none, &source);
    if (status == STATUS_OK) {
        assert_non_null(source.read);
        assert_true(source.n_rows > 0);
        if (source.labels)
            for (uint64_t i = 0; i < source.n_rows; i++)
                assert_in_range(source.labels[i], 0, source.target.n_classes - 1);
        status = read_all(&source);
    }
    import_source_close(&source);
    return status;
}

void damage(const struct bytes *bytes, size_t n_cases,
            void (*one)(const uint8_t *bytes, size_t n, void *context), void *context)
{
    for (size_t i = 0; i < n_cases; i++) {
        uint32_t words[4];
        random_words((struct random_key){.seed = 4711, .purpose = RANDOM_GENERATE}, i, 0, words);
        size_t n = bytes->n, at = words[0] % n;
        if (i % 4 == 0) // cut short: evenly spread, then anywhere
            n = i < n_cases / 2 ? i * 2 * n / n_cases : at;
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, bytes->at, n);
        // Half of the damage hits the first 64 bytes, where headers are.
        if (i % 8 < 4 && n > 64)
            at = words[0] % 64;
        if (n > 0 && i % 4 == 1)
            copy[at % n] ^= (uint8_t)(1u << (words[1] % 8));
        if (n > 0 && i % 4 == 2)
            for (size_t k = 0; k < 1 + words[1] % 8; k++)
                copy[(at + k) % n] = (uint8_t)(words[2] >> (k * 3));
        if (n > 1 && i % 4 == 3) { // a piece left out
            size_t gap = 1 + words[1] % 16;
            gap = gap < n - at % n ? gap : n - at % n;
            memmove(copy + at % n, copy + at % n + gap, n - at % n - gap);
            n -= gap;
            uint8_t *shorter = malloc(n ? n : 1);
            memcpy(shorter, copy, n);
            free(copy);
            copy = shorter;
        }
        one(copy, n, context);
        free(copy);
    }
}
