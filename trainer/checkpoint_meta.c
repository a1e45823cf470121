// SPDX-License-Identifier: MIT
// What a checkpoint holds beside tensors: one table row per field drives writing, reading, sharing
// and the digest. And the digest over everything.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/checkpoint_private.h"

// COUNT: a U64 that is left out where it is 0, as in files of older versions.
enum field_kind { FIELD_TEXT, FIELD_U64, FIELD_F64, FIELD_BOOL, FIELD_COUNT };

struct field {
    const char *name; // of the attribute
    enum field_kind kind;
    size_t offset;
};

#define FIELD(name, kind, member)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct checkpoint_meta, member)                                       \
    }
static const struct field fields[] = {
    FIELD("next_epoch", FIELD_U64, next_epoch),
    FIELD("next_step", FIELD_U64, next_step),
    FIELD("global_step", FIELD_U64, global_step),
    FIELD("recipe", FIELD_TEXT, recipe),
    FIELD("fingerprint_train", FIELD_TEXT, train),
    FIELD("fingerprint_test", FIELD_TEXT, test),
    FIELD("input_height", FIELD_U64, input_h),
    FIELD("input_width", FIELD_U64, input_w),
    FIELD("input_channels", FIELD_U64, input_c),
    FIELD("input_is_uint8", FIELD_BOOL, input_is_u8),
    FIELD("target_is_class", FIELD_BOOL, target_is_class),
    FIELD("target_count", FIELD_U64, target_count),
    FIELD("target_classes", FIELD_U64, target_classes),
    FIELD("classes", FIELD_TEXT, classes),
    FIELD("isa", FIELD_TEXT, isa),
    FIELD("versions", FIELD_TEXT, versions),
    FIELD("has_best", FIELD_BOOL, has_best),
    FIELD("best", FIELD_F64, best),
    FIELD("best_epoch", FIELD_U64, best_epoch),
    FIELD("skipped", FIELD_COUNT, skipped),
    FIELD("skipped_in_row", FIELD_COUNT, skipped_in_row),
    FIELD("digest_params", FIELD_U64, digest.params),
    FIELD("digest_state", FIELD_U64, digest.state),
};
#define FIELDS (sizeof fields / sizeof fields[0])

static bool is_absent(const struct checkpoint_meta *meta, const struct field *field)
{
    return field->kind == FIELD_COUNT &&
           *(const uint64_t *)((const char *)meta + field->offset) == 0;
}

static const char **text_of(const struct checkpoint_meta *meta, const struct field *field)
{
    return (const char **)((char *)(uintptr_t)meta + field->offset);
}

static enum status field_write(struct h5 *file, const struct checkpoint_meta *meta,
                               const struct field *field)
{
    const void *at = (const char *)meta + field->offset;
    uint8_t flag = 0;
    if (is_absent(meta, field))
        return STATUS_OK;
    switch (field->kind) {
    case FIELD_TEXT:
        return h5_attr_write_text(file, "/", field->name, *text_of(meta, field));
    case FIELD_U64:
    case FIELD_COUNT:
        return h5_attr_write(file, "/", field->name, H5_U64, 1, at);
    case FIELD_F64:
        return h5_attr_write(file, "/", field->name, H5_F64, 1, at);
    case FIELD_BOOL:
        flag = *(const bool *)at;
        return h5_attr_write(file, "/", field->name, H5_U8, 1, &flag);
    }
    return STATUS_OK;
}

static enum status field_read(struct h5 *file, struct checkpoint_meta *meta,
                              const struct field *field)
{
    void *at = (char *)meta + field->offset;
    char *text = NULL;
    uint8_t flag = 0;
    if (field->kind == FIELD_COUNT && !h5_attr_exists(file, "/", field->name))
        return STATUS_OK;
    switch (field->kind) {
    case FIELD_TEXT:
        TRY(h5_attr_read_text(file, "/", field->name, &text));
        *text_of(meta, field) = text;
        return STATUS_OK;
    case FIELD_U64:
    case FIELD_COUNT:
        return h5_attr_read(file, "/", field->name, H5_U64, 1, at);
    case FIELD_F64:
        return h5_attr_read(file, "/", field->name, H5_F64, 1, at);
    case FIELD_BOOL:
        TRY(h5_attr_read(file, "/", field->name, H5_U8, 1, &flag));
        *(bool *)at = flag != 0;
        return STATUS_OK;
    }
    return STATUS_OK;
}

enum status meta_write(struct h5 *file, const struct checkpoint_meta *meta)
{
    for (size_t i = 0; i < FIELDS; i++)
        TRY(field_write(file, meta, &fields[i]));
    return h5_attr_write(file, "/", "metrics", H5_F64, meta->n_metrics, meta->metrics);
}

enum status meta_read(struct h5 *file, struct checkpoint_meta *meta)
{
    memset(meta, 0, sizeof *meta);
    for (size_t i = 0; i < FIELDS; i++)
        TRY(field_read(file, meta, &fields[i]));
    TRY(h5_attr_count(file, "/", "metrics", &meta->n_metrics));
    CHECK(meta->n_metrics <= CHECKPOINT_METRICS_MAX, STATUS_DATA,
          "checkpoint %s: %zu metrics, expected at most %d", h5_path(file), meta->n_metrics,
          CHECKPOINT_METRICS_MAX);
    return h5_attr_read(file, "/", "metrics", H5_F64, meta->n_metrics, meta->metrics);
}

void meta_free(struct checkpoint_meta *meta)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].kind == FIELD_TEXT) {
            free((char *)(uintptr_t)*text_of(meta, &fields[i]));
            *text_of(meta, &fields[i]) = NULL;
        }
}

static enum status text_broadcast(struct group *group, const char **text)
{
    uint64_t length = group->rank == 0 ? strlen(*text) : 0;
    group_broadcast(group, &length, sizeof length, 0);
    char *copy = NULL;
    enum status status = STATUS_OK;
    if (group->rank != 0) {
        status = memory_alloc(&copy, length + 1, 1, "texts of a checkpoint");
        *text = copy;
    }
    TRY(group_agree(group, status));
    group_broadcast(group, group->rank == 0 ? (char *)(uintptr_t)*text : copy, length, 0);
    return STATUS_OK;
}

enum status meta_broadcast(struct group *group, struct checkpoint_meta *meta)
{
    struct checkpoint_meta own = *meta;
    group_broadcast(group, meta, sizeof *meta, 0);
    for (size_t i = 0; i < FIELDS; i++) // pointers are each rank's own
        if (fields[i].kind == FIELD_TEXT)
            *text_of(meta, &fields[i]) = group->rank == 0 ? *text_of(&own, &fields[i]) : NULL;
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].kind == FIELD_TEXT)
            TRY(text_broadcast(group, text_of(meta, &fields[i])));
    return STATUS_OK;
}

// ---- digest

enum status contents_reserve(struct contents *contents, size_t n)
{
    if (n <= contents->capacity)
        return STATUS_OK;
    struct contents_entry *more = realloc(contents->entry, n * sizeof *contents->entry);
    CHECK(more, STATUS_ERROR, "out of memory: names of a checkpoint's tensors");
    contents->entry = more;
    contents->capacity = n;
    return STATUS_OK;
}

enum status contents_add(struct contents *contents, const char *path, int rank, const uint64_t *dim,
                         const float *data)
{
    if (contents->n == contents->capacity)
        TRY(contents_reserve(contents, 2 * contents->capacity + 32));
    struct contents_entry *entry = &contents->entry[contents->n];
    memset(entry, 0, sizeof *entry);
    CHECK(strlen(path) < sizeof entry->path, STATUS_DATA, "'%s' in a checkpoint: longer than %zu",
          path, sizeof entry->path - 1);
    strcpy(entry->path, path);
    struct digest *digest = digest_begin();
    CHECK(digest, STATUS_ERROR, "out of memory: digest of %s", path);
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= dim[i];
    digest_add_text(digest, path);
    digest_add(digest, dim, (size_t)rank * sizeof *dim);
    digest_add(digest, data, count * sizeof *data);
    digest_end(digest, entry->hex);
    contents->n++;
    return STATUS_OK;
}

void contents_free(struct contents *contents)
{
    free(contents->entry);
    *contents = (struct contents){0};
}

static int entry_compare(const void *a, const void *b)
{
    return strcmp(((const struct contents_entry *)a)->path,
                  ((const struct contents_entry *)b)->path);
}

enum status contents_digest(struct contents *contents, const struct checkpoint_meta *meta,
                            char hex[33])
{
    struct digest *digest = digest_begin();
    CHECK(digest, STATUS_ERROR, "out of memory: digest of a checkpoint");
    if (contents->n > 1)
        qsort(contents->entry, contents->n, sizeof *contents->entry, entry_compare);
    for (size_t i = 0; i < contents->n; i++)
        digest_add_text(digest, contents->entry[i].hex);
    for (size_t i = 0; i < FIELDS; i++) {
        const char *at = (const char *)meta + fields[i].offset;
        if (is_absent(meta, &fields[i]))
            continue;
        digest_add_text(digest, fields[i].name);
        if (fields[i].kind == FIELD_TEXT)
            digest_add_text(digest, *text_of(meta, &fields[i]));
        else
            digest_add(digest, at, fields[i].kind == FIELD_BOOL ? sizeof(bool) : 8);
    }
    digest_add(digest, meta->metrics, meta->n_metrics * sizeof(double));
    digest_end(digest, hex);
    return STATUS_OK;
}
