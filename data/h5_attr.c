// SPDX-License-Identifier: MIT
// Attributes: numbers, texts and lists of texts beside the data. Called through h5.h.
#include "data/h5_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

#define TEXT_BYTES_MAX ((size_t)64 << 20)

// An open attribute and what it is made of.
struct attr {
    struct h5 *file;
    const char *object, *name;
    hid_t parent, id, type, space;
    size_t n;
};

static void attr_close(struct attr *attr)
{
    H5Sclose(attr->space);
    H5Tclose(attr->type);
    H5Aclose(attr->id);
    H5Oclose(attr->parent);
}

static enum status attr_look(struct attr *attr)
{
    CHECK(H5Aexists(attr->parent, attr->name) > 0, STATUS_DATA, "%s: '%s' has no attribute '%s'",
          attr->file->path, attr->object, attr->name);
    attr->id = H5Aopen(attr->parent, attr->name, H5P_DEFAULT);
    attr->type = H5Aget_type(attr->id);
    attr->space = H5Aget_space(attr->id);
    hssize_t n = H5Sget_simple_extent_npoints(attr->space);
    CHECK(attr->id >= 0 && attr->type >= 0 && n >= 0, STATUS_DATA,
          "%s: attribute '%s' of '%s' is damaged (HDF5: %s)", attr->file->path, attr->name,
          attr->object, h5_reason());
    size_t bytes = 0;
    bool is_big = __builtin_mul_overflow((size_t)n, H5Tget_size(attr->type), &bytes) ||
                  bytes > TEXT_BYTES_MAX;
    CHECK(!is_big, STATUS_DATA, "%s: attribute '%s' of '%s' claims more than %zu bytes",
          attr->file->path, attr->name, attr->object, TEXT_BYTES_MAX);
    attr->n = (size_t)n;
    return STATUS_OK;
}

// On success to be closed by attr_close.
static enum status attr_open(struct attr *attr, struct h5 *file, const char *object,
                             const char *name)
{
    *attr = (struct attr){file, object, name, -1, -1, -1, -1, 0};
    TRY(h5_object_open(file, object, &attr->parent));
    enum status status = attr_look(attr);
    if (status != STATUS_OK)
        attr_close(attr);
    return status;
}

bool h5_attr_exists(struct h5 *file, const char *object, const char *name)
{
    h5_lock();
    hid_t parent = -1;
    bool exists = h5_object_open(file, object, &parent) == STATUS_OK;
    exists = exists && H5Aexists(parent, name) > 0;
    H5Oclose(parent);
    h5_unlock();
    return exists;
}

enum status h5_attr_count(struct h5 *file, const char *object, const char *name, size_t *n)
{
    struct attr attr;
    h5_lock();
    enum status status = attr_open(&attr, file, object, name);
    if (status == STATUS_OK) {
        *n = attr.n;
        attr_close(&attr);
    }
    h5_unlock();
    return status;
}

// ---- numbers

static enum status attr_read_open(struct attr *attr, enum h5_type as, size_t n, void *out)
{
    bool is_native = false;
    CHECK(h5_type_of(attr->type, &is_native) != H5_OTHER, STATUS_DATA,
          "%s: attribute '%s' of '%s' is %s", attr->file->path, attr->name, attr->object,
          h5_type_name(H5_OTHER));
    CHECK(attr->n == n, STATUS_DATA, "%s: attribute '%s' of '%s' has %zu values, expected %zu",
          attr->file->path, attr->name, attr->object, attr->n, n);
    CHECK(n == 0 || H5Aread(attr->id, h5_native(as), out) >= 0, STATUS_DATA,
          "%s: cannot read attribute '%s' of '%s' (HDF5: %s)", attr->file->path, attr->name,
          attr->object, h5_reason());
    return STATUS_OK;
}

enum status h5_attr_read(struct h5 *file, const char *object, const char *name, enum h5_type as,
                         size_t n, void *out)
{
    struct attr attr;
    h5_lock();
    enum status status = attr_open(&attr, file, object, name);
    if (status == STATUS_OK) {
        status = attr_read_open(&attr, as, n, out);
        attr_close(&attr);
    }
    h5_unlock();
    return status;
}

// Replaces an attribute of that name. n == 0 with is_scalar false is an empty list.
static enum status attr_write_locked(struct h5 *file, const char *object, const char *name,
                                     hid_t type, bool is_scalar, size_t n, const void *data)
{
    hid_t parent = -1;
    TRY(h5_output_check(file));
    TRY(h5_object_open(file, object, &parent));
    if (H5Aexists(parent, name) > 0)
        H5Adelete(parent, name);
    hsize_t extent = n;
    hid_t space = is_scalar ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &extent, NULL);
    hid_t id = H5Acreate2(parent, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t result = id < 0 ? -1 : 0;
    if (result >= 0 && (is_scalar || n > 0))
        result = H5Awrite(id, type, data);
    const char *why = result < 0 ? h5_reason() : "";
    H5Aclose(id);
    H5Sclose(space);
    H5Oclose(parent);
    CHECK(result >= 0, STATUS_ERROR, "cannot write attribute '%s' of '%s' to %s: %s", name, object,
          file->path, why);
    return STATUS_OK;
}

enum status h5_attr_write(struct h5 *file, const char *object, const char *name, enum h5_type type,
                          size_t n, const void *data)
{
    ASSERT(type != H5_OTHER);
    h5_lock();
    enum status status = attr_write_locked(file, object, name, h5_native(type), n == 1, n, data);
    h5_unlock();
    return status;
}

// ---- texts

static hid_t text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    ASSERT(type >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 &&
           H5Tset_cset(type, H5T_CSET_UTF8) >= 0);
    return type;
}

// Texts are written with a fixed length, padded with zeros: HDF5 1.10 does not check what it reads
// from the heap where variable lengths are kept, so one flipped bit there crashes the reader.
// Attributes end at 64 KiB, though; longer ones go to the heap.
#define FIXED_BYTES_MAX ((size_t)60000)

static enum status texts_write_fixed(struct h5 *file, const char *object, const char *name,
                                     bool is_scalar, size_t n, const char *const *texts,
                                     size_t bytes)
{
    char *flat = NULL;
    TRY(memory_alloc(&flat, n, bytes, name));
    for (size_t i = 0; i < n; i++)
        memcpy(flat + i * bytes, texts[i], strlen(texts[i]));
    hid_t type = H5Tcopy(H5T_C_S1);
    ASSERT(type >= 0 && H5Tset_size(type, bytes) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0 &&
           H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0);
    enum status status = attr_write_locked(file, object, name, type, is_scalar, n, flat);
    H5Tclose(type);
    free(flat);
    return status;
}

static enum status texts_write(struct h5 *file, const char *object, const char *name,
                               bool is_scalar, size_t n, const char *const *texts)
{
    size_t longest = 1;
    for (size_t i = 0; i < n; i++)
        longest = strlen(texts[i]) > longest ? strlen(texts[i]) : longest;
    h5_lock();
    enum status status = STATUS_OK;
    if (n <= FIXED_BYTES_MAX / longest) {
        status = texts_write_fixed(file, object, name, is_scalar, n, texts, longest);
    } else {
        hid_t type = text_type();
        status = attr_write_locked(file, object, name, type, is_scalar, n, texts);
        H5Tclose(type);
    }
    h5_unlock();
    return status;
}

enum status h5_attr_write_text(struct h5 *file, const char *object, const char *name,
                               const char *text)
{
    return texts_write(file, object, name, true, 1, &text);
}

enum status h5_attr_write_texts(struct h5 *file, const char *object, const char *name, size_t n,
                                const char *const *texts)
{
    return texts_write(file, object, name, false, n, texts);
}

// Variable-length strings: HDF5 allocates each; copied and given back.
static enum status texts_read_variable(struct attr *attr, char **texts)
{
    char **borrowed = NULL;
    TRY(memory_alloc(&borrowed, attr->n, sizeof *borrowed, attr->name));
    hid_t type = text_type();
    H5Tset_cset(type, H5Tget_cset(attr->type));
    herr_t result = H5Aread(attr->id, type, borrowed);
    const char *why = result < 0 ? h5_reason() : "";
    bool is_copied = true;
    for (size_t i = 0; i < attr->n && result >= 0; i++) {
        texts[i] = strdup(borrowed[i] ? borrowed[i] : "");
        is_copied = is_copied && texts[i];
    }
    if (result >= 0)
        H5Dvlen_reclaim(type, attr->space, H5P_DEFAULT, borrowed);
    H5Tclose(type);
    free(borrowed);
    CHECK(result >= 0, STATUS_DATA, "%s: cannot read attribute '%s' of '%s' (HDF5: %s)",
          attr->file->path, attr->name, attr->object, why);
    CHECK(is_copied, STATUS_ERROR, "out of memory: attribute '%s'", attr->name);
    return STATUS_OK;
}

static enum status texts_read_fixed(struct attr *attr, char **texts)
{
    size_t bytes = H5Tget_size(attr->type);
    char *flat = NULL;
    TRY(memory_alloc(&flat, attr->n, bytes, attr->name));
    enum status status = STATUS_OK;
    if (H5Aread(attr->id, attr->type, flat) < 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "%s: cannot read attribute '%s' of '%s' (HDF5: %s)", attr->file->path,
                           attr->name, attr->object, h5_reason());
    bool is_padded = H5Tget_strpad(attr->type) == H5T_STR_SPACEPAD;
    for (size_t i = 0; i < attr->n && status == STATUS_OK; i++) {
        size_t length = strnlen(flat + i * bytes, bytes);
        while (is_padded && length > 0 && flat[i * bytes + length - 1] == ' ')
            length--;
        texts[i] = strndup(flat + i * bytes, length);
        if (!texts[i])
            status = error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory");
    }
    free(flat);
    return status;
}

static enum status texts_read_open(struct attr *attr, size_t *n, char ***texts)
{
    CHECK(H5Tget_class(attr->type) == H5T_STRING, STATUS_DATA,
          "%s: attribute '%s' of '%s' is not text", attr->file->path, attr->name, attr->object);
    char **out = NULL;
    TRY(memory_alloc(&out, attr->n, sizeof *out, attr->name));
    enum status status = STATUS_OK;
    if (attr->n > 0)
        status = H5Tis_variable_str(attr->type) > 0 ? texts_read_variable(attr, out)
                                                    : texts_read_fixed(attr, out);
    if (status != STATUS_OK) {
        h5_texts_free(attr->n, out);
        return status;
    }
    *n = attr->n;
    *texts = out;
    return STATUS_OK;
}

enum status h5_attr_read_texts(struct h5 *file, const char *object, const char *name, size_t *n,
                               char ***texts)
{
    struct attr attr;
    *n = 0;
    *texts = NULL;
    h5_lock();
    enum status status = attr_open(&attr, file, object, name);
    if (status == STATUS_OK) {
        status = texts_read_open(&attr, n, texts);
        attr_close(&attr);
    }
    h5_unlock();
    return status;
}

enum status h5_attr_read_text(struct h5 *file, const char *object, const char *name, char **text)
{
    size_t n = 0;
    char **texts = NULL;
    *text = NULL;
    TRY(h5_attr_read_texts(file, object, name, &n, &texts));
    if (n == 1) {
        *text = texts[0];
        texts[0] = NULL;
    }
    h5_texts_free(n, texts);
    CHECK(*text, STATUS_DATA, "%s: attribute '%s' of '%s' has %zu texts, expected 1", file->path,
          name, object, n);
    return STATUS_OK;
}

void h5_texts_free(size_t n, char **texts)
{
    for (size_t i = 0; texts && i < n; i++)
        free(texts[i]);
    free(texts);
}
