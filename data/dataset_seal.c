// SPDX-License-Identifier: MIT
#include "data/dataset_seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/memory.h"

#define BLOCK_BYTES ((uint64_t)1 << 20)
#define NUMBERS_MAX ((size_t)1 << 20) // values of an attribute

uint64_t seal_row(uint64_t row, const void *input, size_t input_bytes)
{
    return digest_bytes(input, input_bytes, row);
}

static void add_number(struct digest *digest, uint64_t number)
{
    unsigned char bytes[8]; // low first, whatever the machine
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    digest_add(digest, bytes, sizeof bytes);
}

static void add_info(struct digest *digest, const char *name, const struct h5_info *info)
{
    digest_add_text(digest, name);
    add_number(digest, (uint64_t)info->type);
    add_number(digest, (uint64_t)info->rank);
    for (int i = 0; i < info->rank; i++)
        add_number(digest, info->dim[i]);
}

// All values of a data set, in blocks.
static enum status add_values(struct digest *digest, struct h5_set *set)
{
    const struct h5_info *info = h5_set_info(set);
    uint64_t row_bytes = h5_type_bytes(info->type), rows = info->rank > 0 ? info->dim[0] : 1;
    for (int i = 1; i < info->rank; i++)
        row_bytes *= info->dim[i]; // h5 has compared it with the file's size
    uint64_t block = row_bytes < BLOCK_BYTES ? BLOCK_BYTES / (row_bytes ? row_bytes : 1) : 1;
    void *bytes = NULL;
    TRY(memory_alloc(&bytes, block, row_bytes, "labels"));
    enum status status = STATUS_OK;
    for (uint64_t first = 0; first < rows && status == STATUS_OK; first += block) {
        uint64_t count = rows - first < block ? rows - first : block;
        status = h5_set_read(set, first, count, info->type, bytes);
        if (status == STATUS_OK)
            digest_add(digest, bytes, count * row_bytes);
    }
    free(bytes);
    return status;
}

static enum status path_join(struct h5 *file, const char *group, const char *name, char path[1024])
{
    const char *prefix = strcmp(group, "/") == 0 ? "" : group;
    CHECK(snprintf(path, 1024, "%s/%s", prefix, name) < 1024, STATUS_DATA,
          "%s: the name of group '%.100s...' is too long", h5_path(file), group);
    return STATUS_OK;
}

static enum status add_set(struct digest *digest, struct h5 *file, const char *group,
                           const char *name, bool has_values)
{
    struct h5_set *set = NULL;
    char path[1024];
    TRY(path_join(file, group, name, path));
    TRY(h5_set_open(file, path, &set));
    add_info(digest, name, h5_set_info(set));
    enum status status = has_values ? add_values(digest, set) : STATUS_OK;
    h5_set_close(set);
    return status;
}

static enum status add_numbers(struct digest *digest, struct h5 *file, const char *group,
                               const char *name)
{
    size_t n = 0;
    double *value = NULL;
    TRY(h5_attr_count(file, group, name, &n));
    CHECK(n <= NUMBERS_MAX, STATUS_DATA, "%s: attribute '%s' of '%s' has %zu values", h5_path(file),
          name, group, n);
    TRY(memory_alloc(&value, n, sizeof *value, name));
    enum status status = h5_attr_read(file, group, name, H5_F64, n, value);
    for (size_t i = 0; i < n && status == STATUS_OK; i++) {
        uint64_t bits = 0;
        memcpy(&bits, &value[i], sizeof bits);
        add_number(digest, bits);
    }
    free(value);
    return status;
}

static enum status add_texts(struct digest *digest, struct h5 *file, const char *group,
                             const char *name)
{
    size_t n = 0;
    char **texts = NULL;
    TRY(h5_attr_read_texts(file, group, name, &n, &texts));
    add_number(digest, n);
    for (size_t i = 0; i < n; i++)
        digest_add_text(digest, texts[i]);
    h5_texts_free(n, texts);
    return STATUS_OK;
}

static enum status add_attributes(struct digest *digest, struct h5 *file, const char *group)
{
    static const struct {
        const char *name;
        enum status (*add)(struct digest *, struct h5 *, const char *, const char *);
    } attributes[] = {
        {"classes", add_texts}, {"digest", add_texts}, {"layout", add_texts},
        {"licence", add_texts}, {"mean", add_numbers}, {"source", add_texts},
        {"std", add_numbers},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        const char *name = attributes[i].name;
        bool is_there = h5_attr_exists(file, group, name);
        digest_add_text(digest, is_there ? name : "");
        if (is_there)
            TRY(attributes[i].add(digest, file, group, name));
    }
    return STATUS_OK;
}

static enum status seal_add(struct digest *digest, struct h5 *file, const char *group)
{
    digest_add_text(digest, "sw2 rows 1");
    TRY(add_set(digest, file, group, SEAL_INPUTS, false));
    TRY(add_set(digest, file, group, SEAL_TARGETS, true));
    TRY(add_set(digest, file, group, SEAL_ROWS, true));
    return add_attributes(digest, file, group);
}

// The text that the attribute should hold.
static enum status seal_make(struct h5 *file, const char *group, char text[SEAL_BYTES])
{
    char hex[33];
    struct digest *digest = digest_begin();
    CHECK(digest, STATUS_ERROR, "out of memory: digest");
    enum status status = seal_add(digest, file, group);
    digest_end(digest, hex);
    snprintf(text, SEAL_BYTES, SEAL_PREFIX "%s", hex);
    return status;
}

enum status seal_group(struct h5 *file, const char *group, const uint64_t *row_digests, uint64_t n)
{
    char path[1024], text[SEAL_BYTES];
    TRY(path_join(file, group, SEAL_ROWS, path));
    TRY(h5_write(file, path, H5_U64, 1, &n, row_digests));
    TRY(seal_make(file, group, text));
    return h5_attr_write_text(file, group, SEAL_ATTRIBUTE, text);
}

static enum status group_check(struct h5 *file, const char *group)
{
    char text[SEAL_BYTES], *stored = NULL;
    TRY(h5_attr_read_text(file, group, SEAL_ATTRIBUTE, &stored));
    enum status status = seal_make(file, group, text);
    if (status == STATUS_OK && strcmp(stored, text) != 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "%s: '%s' is not what was imported: labels, shapes or attributes do not"
                           " fit its seal (%.40s, expected %s): the file is damaged or was changed",
                           h5_path(file), group, stored, text);
    free(stored);
    return status;
}

static enum status rows_read(struct h5 *file, const char *path, uint64_t **row_digests, uint64_t *n)
{
    struct h5_info info;
    TRY(h5_info(file, path, &info));
    CHECK(info.rank == 1 && info.type == H5_U64, STATUS_DATA,
          "%s: '%s' is damaged: %d dimensions of %s, expected 1 of uint64", h5_path(file), path,
          info.rank, h5_type_name(info.type));
    *n = info.dim[0];
    TRY(memory_alloc(row_digests, *n, sizeof **row_digests, "digests of rows"));
    return h5_read_rows(file, path, 0, *n, H5_U64, *row_digests);
}

enum status seal_open(struct h5 *file, const char *group, uint64_t **row_digests, uint64_t *n)
{
    char path[1024];
    *row_digests = NULL;
    *n = 0;
    TRY(path_join(file, group, SEAL_ROWS, path));
    bool has_seal = h5_attr_exists(file, group, SEAL_ATTRIBUTE);
    bool has_rows = h5_exists(file, path);
    if (!has_seal && !has_rows)
        return STATUS_OK;
    CHECK(has_seal && has_rows, STATUS_DATA,
          "%s: '%s' has %s, but no %s: the file is damaged or was changed", h5_path(file), group,
          has_seal ? "a seal" : SEAL_ROWS, has_seal ? SEAL_ROWS : "seal");
    TRY(group_check(file, group));
    enum status status = rows_read(file, path, row_digests, n);
    if (status != STATUS_OK) {
        free(*row_digests);
        *row_digests = NULL;
    }
    return status;
}
