// SPDX-License-Identifier: MIT
// Outputs: a file under a temporary name that gets its own name only when every byte is on the
// disk (h5_output.c keeps write errors from HDF5). Called through h5.h by the importers and the
// checkpoint.
#include "data/h5_private.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/events.h"
#include "comm/memory.h"
#include "comm/outputs.h"

static enum status create_locked(struct h5 *file)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    CHECK(access >= 0, STATUS_ERROR, "HDF5: %s", h5_reason());
    // No sieve buffer: rows written out of order (a shuffled import) would each move 64 KiB twice.
    if (h5_output_choose(access, &file->failed) && H5Pset_sieve_buf_size(access, 1) >= 0)
        file->id = H5Fcreate(file->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    const char *why = file->id < 0 ? h5_reason() : "";
    H5Pclose(access);
    CHECK(!file->failed, STATUS_ERROR, "cannot create %s: %s", file->path, strerror(file->failed));
    CHECK(file->id >= 0, STATUS_ERROR, "cannot create %s: %s", file->path, why);
    return STATUS_OK;
}

enum status h5_create(struct h5 **out, const char *path)
{
    struct h5 *file = NULL;
    *out = NULL;
    TRY(memory_alloc(&file, 1, sizeof *file, "file"));
    file->id = file->fd = -1;
    enum status status = outputs_find(path, getpid(), &file->path, &file->temporary);
    if (status == STATUS_OK && !file->temporary) {
        status = error_set(STATUS_ERROR, __FILE__, __LINE__,
                           "cannot write %s: it is there and no regular file", path);
    } else if (status == STATUS_OK) {
        h5_lock();
        status = create_locked(file);
        h5_unlock();
    }
    if (status != STATUS_OK)
        h5_close(file);
    else
        *out = file;
    return status;
}

static enum status path_sync(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    CHECK(fd >= 0, STATUS_ERROR, "cannot open %s to flush it: %s", path, strerror(errno));
    events_tick("flushing to disk", 0);
    int result = fsync(fd), why = errno;
    close(fd);
    // Some file systems cannot fsync a folder (EINVAL): then there is nothing to do.
    CHECK(result == 0 || why == EINVAL, STATUS_ERROR, "cannot flush %s: %s", path, strerror(why));
    return STATUS_OK;
}

static enum status flush_locked(struct h5 *file)
{
    ASSERT(H5Fget_obj_count(file->id, H5F_OBJ_ALL | H5F_OBJ_LOCAL) == 1); // sets must be closed
    CHECK(H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0, STATUS_ERROR, "cannot write %s: %s",
          file->path, h5_reason());
    herr_t result = H5Fclose(file->id);
    file->id = -1;
    CHECK(result >= 0, STATUS_ERROR, "cannot write %s: %s", file->path, h5_reason());
    return h5_output_check(file);
}

static enum status file_name(struct h5 *file)
{
    CHECK(rename(file->temporary, file->path) == 0, STATUS_ERROR, "cannot rename %s to %s: %s",
          file->temporary, file->path, strerror(errno));
    free(file->temporary);
    file->temporary = NULL;
    return STATUS_OK;
}

static enum status file_publish(struct h5 *file)
{
    TRY(path_sync(file->temporary, O_RDWR));
    TRY(file_name(file));
    char *copy = strdup(file->path);
    CHECK(copy, STATUS_ERROR, "out of memory");
    enum status status = path_sync(dirname(copy), O_RDONLY | O_DIRECTORY);
    free(copy);
    return status;
}

static enum status file_end(struct h5 *file, enum status (*then)(struct h5 *file))
{
    ASSERT(file->temporary);
    h5_lock();
    enum status status = flush_locked(file);
    h5_unlock();
    if (status == STATUS_OK)
        status = then(file);
    h5_close(file);
    return status;
}

enum status h5_commit(struct h5 *file)
{
    return file_end(file, file_publish);
}

enum status h5_end(struct h5 *file)
{
    return file_end(file, file_name);
}

// ---- data sets

static enum status dataset_make(struct h5 *file, const char *name, enum h5_type type, int rank,
                                const uint64_t *dim, hid_t *id)
{
    hsize_t extent[H5_RANK_MAX];
    for (int i = 0; i < rank; i++)
        extent[i] = dim[i];
    hid_t space = rank ? H5Screate_simple(rank, extent, NULL) : H5Screate(H5S_SCALAR);
    hid_t make = H5Pcreate(H5P_DATASET_CREATE), link = H5Pcreate(H5P_LINK_CREATE);
    *id = -1;
    // No times in the file, so that the same content gives the same bytes.
    if (space >= 0 && H5Pset_obj_track_times(make, false) >= 0 &&
        H5Pset_fill_time(make, H5D_FILL_TIME_NEVER) >= 0 &&
        H5Pset_create_intermediate_group(link, 1) >= 0)
        *id = H5Dcreate2(file->id, name, h5_native(type), space, link, make, H5P_DEFAULT);
    const char *why = *id < 0 ? h5_reason() : "";
    H5Sclose(space);
    H5Pclose(make);
    H5Pclose(link);
    CHECK(*id >= 0, STATUS_ERROR, "cannot write '%s' to %s: %s", name, file->path, why);
    return STATUS_OK;
}

enum status h5_create_set(struct h5 *file, const char *dataset, enum h5_type type, int rank,
                          const uint64_t *dim, struct h5_set **set)
{
    *set = NULL;
    ASSERT(type != H5_OTHER && rank >= 0 && rank <= H5_RANK_MAX && file->temporary);
    TRY(h5_output_check(file));
    h5_lock();
    hid_t id = -1;
    enum status status = dataset_make(file, dataset, type, rank, dim, &id);
    if (status == STATUS_OK)
        status = h5_set_new(file, dataset, id, set);
    h5_unlock();
    return status;
}

static enum status set_write_locked(struct h5_set *set, uint64_t first, uint64_t count,
                                    hid_t memory, const void *in)
{
    hid_t to = H5Dget_space(set->id), from = H5S_ALL;
    herr_t result = to < 0 ? -1 : 0;
    if (result >= 0 && set->info.rank > 0) {
        hsize_t start[H5_RANK_MAX] = {first}, extent[H5_RANK_MAX] = {count};
        for (int i = 1; i < set->info.rank; i++)
            extent[i] = set->info.dim[i];
        result = H5Sselect_hyperslab(to, H5S_SELECT_SET, start, NULL, extent, NULL);
        from = H5Screate_simple(set->info.rank, extent, NULL);
    }
    if (result >= 0 && from >= 0)
        events_tick("writing to HDF5", 0);
    result = H5Dwrite(set->id, memory, from, to, H5P_DEFAULT, in);
    const char *why = result < 0 ? h5_reason() : "";
    if (set->info.rank > 0)
        H5Sclose(from);
    H5Sclose(to);
    CHECK(result >= 0, STATUS_ERROR, "cannot write '%s' to %s: %s", set->name, set->file->path,
          why);
    return h5_output_check(set->file);
}

enum status h5_set_write(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                         const void *in)
{
    uint64_t rows = set->info.rank ? set->info.dim[0] : 1;
    ASSERT(as != H5_OTHER && first <= rows && count <= rows - first);
    if (count == 0 || set->row_elements == 0)
        return STATUS_OK;
    TRY(h5_output_check(set->file));
    h5_lock();
    enum status status = set_write_locked(set, first, count, h5_native(as), in);
    h5_unlock();
    return status;
}

enum status h5_write(struct h5 *file, const char *dataset, enum h5_type type, int rank,
                     const uint64_t *dim, const void *data)
{
    struct h5_set *set = NULL;
    TRY(h5_create_set(file, dataset, type, rank, dim, &set));
    enum status status = h5_set_write(set, 0, rank ? dim[0] : 1, type, data);
    h5_set_close(set);
    return status;
}
