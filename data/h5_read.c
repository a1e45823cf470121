// SPDX-License-Identifier: MIT
// Data sets of an input: what they claim, whether the file can hold it, and their rows. A file is
// not believed: sizes are compared with the bytes there are before memory is allocated or read.
// Contiguous numbers in the machine's byte order are read past HDF5 by pread: twice as fast, and
// without its lock. Called through h5.h.
#include "data/h5_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/memory.h"

#define CHUNK_BYTES_MAX ((uint64_t)1 << 30)

static enum status set_check_filters(struct h5_set *set, hid_t plist)
{
    static const H5Z_filter_t known[] = {H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE,
                                         H5Z_FILTER_FLETCHER32};
    int n = H5Pget_nfilters(plist);
    CHECK(n >= 0 && n <= H5_FILTERS_MAX, STATUS_DATA, "%s: '%s' has a damaged list of filters",
          set->file->path, set->name);
    for (int i = 0; i < n; i++) {
        char name[64] = "";
        size_t n_values = 0;
        unsigned flags = 0, config = 0;
        H5Z_filter_t filter =
            H5Pget_filter2(plist, (unsigned)i, &flags, &n_values, NULL, sizeof name, name, &config);
        name[sizeof name - 1] = 0;
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            is_known = is_known || filter == known[k];
        CHECK(is_known && H5Zfilter_avail(filter) > 0, STATUS_DATA,
              "%s: '%s' is stored with filter %d (%s), which cannot be read here; "
              "rewrite it with gzip or none",
              set->file->path, set->name, (int)filter, name);
        set->info.is_compressed |= filter == H5Z_FILTER_DEFLATE;
    }
    return STATUS_OK;
}

static enum status set_check_chunk(struct h5_set *set, hid_t plist)
{
    hsize_t chunk[H5_RANK_MAX];
    CHECK(H5Pget_chunk(plist, H5_RANK_MAX, chunk) == set->info.rank, STATUS_DATA,
          "%s: '%s' has damaged chunks", set->file->path, set->name);
    uint64_t bytes = set->type_bytes;
    bool is_big = false;
    for (int i = 0; i < set->info.rank; i++) {
        set->info.chunk[i] = chunk[i];
        is_big = is_big || !chunk[i] || __builtin_mul_overflow(bytes, chunk[i], &bytes);
    }
    CHECK(!is_big && bytes <= CHUNK_BYTES_MAX, STATUS_DATA,
          "%s: '%s' has chunks of more than %llu MiB", set->file->path, set->name,
          (unsigned long long)(CHUNK_BYTES_MAX >> 20));
    return STATUS_OK;
}

// How the data set is stored. STATUS_DATA for what we do not read.
static enum status set_check_storage(struct h5_set *set, hid_t plist, H5D_layout_t *layout)
{
    *layout = H5Pget_layout(plist);
    CHECK(H5Pget_external_count(plist) == 0, STATUS_DATA,
          "%s: '%s' is stored in other files (external storage), which is not supported",
          set->file->path, set->name);
    CHECK(*layout != H5D_VIRTUAL, STATUS_DATA,
          "%s: '%s' is a virtual data set, which is not supported; copy it (h5repack)",
          set->file->path, set->name);
    CHECK(*layout == H5D_COMPACT || *layout == H5D_CONTIGUOUS || *layout == H5D_CHUNKED,
          STATUS_DATA, "%s: '%s' has an unknown storage layout", set->file->path, set->name);
    TRY(set_check_filters(set, plist));
    return *layout == H5D_CHUNKED ? set_check_chunk(set, plist) : STATUS_OK;
}

// Compares the bytes the shape needs with the bytes stored and with the file's size.
static enum status set_check_size(struct h5_set *set, H5D_layout_t layout)
{
    const struct h5_info *info = &set->info;
    uint64_t bytes = set->type_bytes;
    bool is_big = false;
    for (int i = 0; i < info->rank; i++)
        is_big = __builtin_mul_overflow(bytes, info->dim[i], &bytes) || is_big;
    // A zero dimension must not hide an overflow of the others.
    set->row_elements = 1;
    for (int i = 1; i < info->rank; i++)
        is_big =
            __builtin_mul_overflow(set->row_elements, info->dim[i], &set->row_elements) || is_big;
    CHECK(!is_big, STATUS_DATA, "%s: '%s' claims more values than fit in 64 bits", set->file->path,
          set->name);
    set->info.stored_bytes = H5Dget_storage_size(set->id);
    uint64_t stored = info->stored_bytes, file_bytes = set->file->bytes;
    if (set->file->temporary || bytes == 0)
        return STATUS_OK;
    CHECK(stored > 0, STATUS_DATA, "%s: '%s' was created but never written", set->file->path,
          set->name);
    uint64_t most = info->is_compressed ? stored * H5_EXPANSION_MAX : stored;
    bool is_wrong = layout == H5D_CHUNKED ? bytes > most : bytes != stored;
    CHECK(stored <= file_bytes && !is_wrong, STATUS_DATA,
          "%s: '%s' needs %llu bytes, but %llu are stored in a file of %llu: the file is truncated "
          "or damaged",
          set->file->path, set->name, (unsigned long long)bytes, (unsigned long long)stored,
          (unsigned long long)file_bytes);
    if (layout != H5D_CONTIGUOUS)
        return STATUS_OK;
    haddr_t offset = H5Dget_offset(set->id);
    CHECK(offset != HADDR_UNDEF && offset <= file_bytes && file_bytes - offset >= bytes,
          STATUS_DATA, "%s: '%s' ends at byte %llu of a file of %llu: the file is truncated",
          set->file->path, set->name, (unsigned long long)(offset + bytes),
          (unsigned long long)file_bytes);
    if (set->is_native)
        set->offset = offset;
    return STATUS_OK;
}

static enum status set_shape(struct h5_set *set, hid_t space)
{
    H5S_class_t kind = H5Sget_simple_extent_type(space);
    CHECK(kind == H5S_SCALAR || kind == H5S_SIMPLE, STATUS_DATA, "%s: '%s' holds no values",
          set->file->path, set->name);
    int rank = H5Sget_simple_extent_ndims(space);
    CHECK(rank >= 0 && rank <= H5_RANK_MAX, STATUS_DATA, "%s: '%s' has %d dimensions, more than %d",
          set->file->path, set->name, rank, H5_RANK_MAX);
    hsize_t dim[H5_RANK_MAX] = {0};
    CHECK(H5Sget_simple_extent_dims(space, dim, NULL) == rank, STATUS_DATA,
          "%s: '%s' has a damaged shape (HDF5: %s)", set->file->path, set->name, h5_reason());
    set->info.rank = rank;
    for (int i = 0; i < rank; i++)
        set->info.dim[i] = dim[i];
    return STATUS_OK;
}

static enum status set_look(struct h5_set *set)
{
    hid_t space = H5Dget_space(set->id);
    hid_t plist = H5Dget_create_plist(set->id);
    H5D_layout_t layout = H5D_LAYOUT_ERROR;
    enum status status = STATUS_OK;
    set->type = H5Dget_type(set->id);
    if (set->type < 0 || space < 0 || plist < 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: '%s' is damaged (HDF5: %s)",
                           set->file->path, set->name, h5_reason());
    if (status == STATUS_OK) {
        set->info.type = h5_type_of(set->type, &set->is_native);
        set->type_bytes = H5Tget_size(set->type);
    }
    if (status == STATUS_OK)
        status = set_shape(set, space);
    if (status == STATUS_OK && set->info.type != H5_OTHER) {
        status = set_check_storage(set, plist, &layout);
        if (status == STATUS_OK)
            status = set_check_size(set, layout);
        if (status == STATUS_OK && layout == H5D_CHUNKED)
            status = h5_chunks_init(set, plist);
    }
    H5Sclose(space);
    H5Pclose(plist);
    return status;
}

static void set_free(struct h5_set *set)
{
    if (set->type >= 0)
        H5Tclose(set->type);
    H5Oclose(set->id);
    h5_chunks_free(set->chunks);
    free(set->name);
    free(set);
}

enum status h5_set_new(struct h5 *file, const char *name, hid_t id, struct h5_set **out)
{
    struct h5_set *set = NULL;
    enum status status = memory_alloc(&set, 1, sizeof *set, "data set");
    if (status != STATUS_OK) {
        H5Oclose(id);
        return status;
    }
    set->file = file;
    set->id = id;
    set->type = -1;
    set->name = strdup(name);
    if (!set->name)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory");
    else if (H5Iget_type(id) != H5I_DATASET)
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: '%s' is a group, not a data set",
                           file->path, name);
    else
        status = set_look(set);
    if (status == STATUS_OK)
        *out = set;
    else
        set_free(set);
    return status;
}

static enum status set_open_locked(struct h5 *file, const char *dataset, struct h5_set **set)
{
    hid_t id = -1;
    TRY(h5_object_open(file, dataset, &id));
    return h5_set_new(file, dataset, id, set);
}

enum status h5_set_open(struct h5 *file, const char *dataset, struct h5_set **set)
{
    *set = NULL;
    h5_lock();
    enum status status = set_open_locked(file, dataset, set);
    h5_unlock();
    return status;
}

void h5_set_close(struct h5_set *set)
{
    if (!set)
        return;
    h5_lock();
    set_free(set);
    h5_unlock();
}

const struct h5_info *h5_set_info(const struct h5_set *set)
{
    return &set->info;
}

enum status h5_info(struct h5 *file, const char *dataset, struct h5_info *out)
{
    struct h5_set *set = NULL;
    memset(out, 0, sizeof *out);
    TRY(h5_set_open(file, dataset, &set));
    *out = set->info;
    h5_set_close(set);
    return STATUS_OK;
}

static enum status set_read_raw(struct h5_set *set, uint64_t at, uint64_t bytes, void *out)
{
    char *to = out;
    while (bytes > 0) {
        size_t part = bytes < ((size_t)1 << 30) ? (size_t)bytes : (size_t)1 << 30;
        ssize_t got = pread(set->file->fd, to, part, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        CHECK(got >= 0, STATUS_DATA, "%s: cannot read '%s': %s", set->file->path, set->name,
              strerror(errno));
        CHECK(got > 0, STATUS_DATA, "%s: cannot read '%s': the file ends at byte %llu",
              set->file->path, set->name, (unsigned long long)at);
        to += got;
        at += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return STATUS_OK;
}

static enum status set_read_locked(struct h5_set *set, uint64_t first, uint64_t count, hid_t memory,
                                   void *out)
{
    hid_t from = H5Dget_space(set->id), to = H5S_ALL;
    herr_t result = from < 0 ? -1 : 0;
    if (result >= 0 && set->info.rank > 0) {
        hsize_t start[H5_RANK_MAX] = {first}, extent[H5_RANK_MAX] = {count};
        for (int i = 1; i < set->info.rank; i++)
            extent[i] = set->info.dim[i];
        result = H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, extent, NULL);
        to = H5Screate_simple(set->info.rank, extent, NULL);
    }
    if (result >= 0 && to >= 0)
        result = H5Dread(set->id, memory, to, from, H5P_DEFAULT, out);
    const char *why = result < 0 ? h5_reason() : "";
    if (set->info.rank > 0)
        H5Sclose(to);
    H5Sclose(from);
    CHECK(result >= 0, STATUS_DATA, "%s: cannot read rows %llu to %llu of '%s' (HDF5: %s)",
          set->file->path, (unsigned long long)first, (unsigned long long)(first + count - 1),
          set->name, why);
    return STATUS_OK;
}

enum status h5_set_read(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                        void *out)
{
    uint64_t rows = set->info.rank ? set->info.dim[0] : 1;
    CHECK(first <= rows && count <= rows - first, STATUS_DATA,
          "%s: rows %llu to %llu of '%s' are asked for, which has %llu", set->file->path,
          (unsigned long long)first, (unsigned long long)(first + count), set->name,
          (unsigned long long)rows);
    CHECK(set->info.type != H5_OTHER, STATUS_DATA, "%s: '%s' is of a type that is %s",
          set->file->path, set->name, h5_type_name(H5_OTHER));
    ASSERT(as != H5_OTHER);
    if (count == 0 || set->row_elements == 0)
        return STATUS_OK;
    if (set->offset && as == set->info.type && set->file->fd >= 0) {
        uint64_t row_bytes = set->row_elements * h5_type_bytes(as);
        return set_read_raw(set, set->offset + first * row_bytes, count * row_bytes, out);
    }
    h5_lock();
    enum status status = set->chunks ? h5_chunks_read(set, first, count, as, out)
                                     : set_read_locked(set, first, count, h5_native(as), out);
    h5_unlock();
    return status;
}

enum status h5_set_probe(struct h5_set *set)
{
    if (set->info.chunk[0] == 0 || set->info.rank == 0 || set->row_elements == 0)
        return STATUS_OK;
    h5_lock();
    enum status status = h5_chunks_probe(set);
    h5_unlock();
    return status;
}

enum status h5_read_rows(struct h5 *file, const char *dataset, uint64_t first, uint64_t count,
                         enum h5_type as, void *out)
{
    struct h5_set *set = NULL;
    TRY(h5_set_open(file, dataset, &set));
    enum status status = h5_set_read(set, first, count, as, out);
    h5_set_close(set);
    return status;
}
