// SPDX-License-Identifier: MIT
// The file driver of outputs: plain writes that never tell HDF5 of an error. HDF5 1.10 leaves a
// file half freed when a write fails while it closes, and crashes when the process ends; so the
// first error is kept here (struct h5, failed), everything after it is dropped, and h5_write.c asks
// before it lets the file have its name. Reads after an error give what is there, or zeros.
#include "data/h5_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct output {
    H5FD_t base; // first: HDF5 sees only this
    int fd;
    int *failed; // errno of the first failed write; of struct h5
    haddr_t end_allocated, end_written;
    dev_t device;
    ino_t inode;
};

struct output_info {
    int *failed;
};

static void output_fail(struct output *output, int why)
{
    if (!*output->failed)
        *output->failed = why ? why : EIO;
}

static H5FD_t *output_open(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)most;
    const struct output_info *info = H5Pget_driver_info(access);
    struct output *output = calloc(1, sizeof *output);
    struct stat stat;
    int mode = O_RDWR | O_CREAT | O_CLOEXEC | (flags & H5F_ACC_TRUNC ? O_TRUNC : 0);
    int fd = info && output ? open(name, mode, 0666) : -1;
    if (fd < 0 || fstat(fd, &stat) != 0) {
        if (info)
            *info->failed = output ? errno : ENOMEM;
        if (fd >= 0)
            close(fd);
        free(output);
        return NULL;
    }
    output->fd = fd;
    output->failed = info->failed;
    output->end_written = (haddr_t)stat.st_size;
    output->device = stat.st_dev;
    output->inode = stat.st_ino;
    return &output->base;
}

static herr_t output_close(H5FD_t *file)
{
    struct output *output = (struct output *)file;
    if (close(output->fd) != 0)
        output_fail(output, errno);
    free(output);
    return 0;
}

static int output_compare(const H5FD_t *a, const H5FD_t *b)
{
    const struct output *x = (const struct output *)a, *y = (const struct output *)b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static herr_t output_query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t output_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct output *)file)->end_allocated;
}

static herr_t output_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((struct output *)file)->end_allocated = end;
    return 0;
}

static haddr_t output_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct output *)file)->end_written;
}

static herr_t output_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          void *to)
{
    (void)type, (void)transfer;
    struct output *output = (struct output *)file;
    char *out = to;
    while (bytes > 0) {
        ssize_t got = pread(output->fd, out, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            output_fail(output, errno);
        if (got <= 0) {
            memset(out, 0, bytes);
            break;
        }
        out += got;
        at += (haddr_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

static herr_t output_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *from)
{
    (void)type, (void)transfer;
    struct output *output = (struct output *)file;
    const char *in = from;
    haddr_t end = at + bytes;
    while (bytes > 0 && !*output->failed) {
        ssize_t put = pwrite(output->fd, in, bytes, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            output_fail(output, put < 0 ? errno : EIO);
            break;
        }
        in += put;
        at += (haddr_t)put;
        bytes -= (size_t)put;
    }
    if (end > output->end_written)
        output->end_written = end;
    return 0;
}

static herr_t output_truncate(H5FD_t *file, hid_t transfer, hbool_t is_closing)
{
    (void)transfer, (void)is_closing;
    struct output *output = (struct output *)file;
    if (output->end_allocated == output->end_written)
        return 0;
    if (!*output->failed && ftruncate(output->fd, (off_t)output->end_allocated) != 0)
        output_fail(output, errno);
    output->end_written = output->end_allocated;
    return 0;
}

static const H5FD_class_t output_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)600, // numbers above 511 are free for all
#endif
    .name = "sw2_output",
    .maxaddr = (haddr_t)1 << 62,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(struct output_info),
    .open = output_open,
    .close = output_close,
    .cmp = output_compare,
    .query = output_query,
    .get_eoa = output_get_eoa,
    .set_eoa = output_set_eoa,
    .get_eof = output_get_eof,
    .read = output_read,
    .write = output_write,
    .truncate = output_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

bool h5_output_choose(hid_t access, int *failed)
{
    static hid_t driver = -1;
    if (driver < 0)
        driver = H5FDregister(&output_class);
    struct output_info info = {failed};
    return driver >= 0 && H5Pset_driver(access, driver, &info) >= 0;
}

enum status h5_output_check(const struct h5 *file)
{
    CHECK(!file->failed, STATUS_ERROR, "cannot write %s: %s", file->path, strerror(file->failed));
    return STATUS_OK;
}
