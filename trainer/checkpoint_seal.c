// SPDX-License-Identifier: MIT
// The seal of a checkpoint: 48 bytes after the HDF5 image, which HDF5 ignores,
//     "SW2SEAL1", length of the image (8 bytes, little-endian), XXH3-128 of the image (32 hex
//     digits)
// Checked before HDF5 opens a file: damaged metadata can crash that library.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/checkpoint_private.h"

#define SEAL_BYTES ((size_t)48)
#define PIECE_BYTES ((size_t)1 << 16)

static const char magic[8] = {'S', 'W', '2', 'S', 'E', 'A', 'L', '1'};

// Reads up to n bytes; fewer only at the end of the file.
static enum status read_some(int fd, const char *path, char *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        ssize_t done = read(fd, to + *got, n - *got);
        if (done < 0 && errno == EINTR)
            continue;
        CHECK(done >= 0, STATUS_ERROR, "cannot read %s: %s", path, strerror(errno));
        if (done == 0)
            break;
        *got += (size_t)done;
    }
    return STATUS_OK;
}

static enum status pieces_add(struct digest *digest, int fd, const char *path, uint64_t length)
{
    char piece[PIECE_BYTES];
    enum status status = STATUS_OK;
    for (uint64_t at = 0; at < length && status == STATUS_OK;) {
        size_t want = length - at < PIECE_BYTES ? (size_t)(length - at) : PIECE_BYTES, got = 0;
        status = read_some(fd, path, piece, want, &got);
        if (status == STATUS_OK && got < want)
            status = error_set(STATUS_DATA, __FILE__, __LINE__,
                               "checkpoint %s became shorter while it was read", path);
        digest_add(digest, piece, got);
        at += got;
    }
    return status;
}

// The seal that belongs to the first `length` bytes of the file.
static enum status seal_of(int fd, const char *path, uint64_t length, char seal[SEAL_BYTES])
{
    char hex[33];
    struct digest *digest = digest_begin();
    CHECK(digest, STATUS_ERROR, "out of memory: digest of %s", path);
    enum status status = pieces_add(digest, fd, path, length);
    digest_end(digest, hex);
    memcpy(seal, magic, 8);
    for (size_t i = 0; i < 8; i++)
        seal[8 + i] = (char)(unsigned char)(length >> (8 * i));
    memcpy(seal + 16, hex, 32);
    return status;
}

static enum status seal_append(int fd, const char *path)
{
    struct stat stat;
    char seal[SEAL_BYTES];
    CHECK(fstat(fd, &stat) == 0, STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    TRY(seal_of(fd, path, (uint64_t)stat.st_size, seal));
    for (size_t done = 0; done < SEAL_BYTES;) {
        ssize_t n = pwrite(fd, seal + done, SEAL_BYTES - done, stat.st_size + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n > 0, STATUS_ERROR, "cannot write %s: %s", path, strerror(n < 0 ? errno : EIO));
        done += (size_t)n;
    }
    CHECK(fsync(fd) == 0, STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

enum status seal_write(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0, STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    enum status status = seal_append(fd, path);
    if (close(fd) != 0 && status == STATUS_OK)
        FAIL(STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    return status;
}

static enum status seal_compare(int fd, const char *path)
{
    struct stat stat;
    char seal[SEAL_BYTES], want[SEAL_BYTES];
    CHECK(fstat(fd, &stat) == 0, STATUS_ERROR, "cannot read %s: %s", path, strerror(errno));
    CHECK(S_ISREG(stat.st_mode), STATUS_DATA, "%s is no checkpoint: not a regular file", path);
    CHECK((size_t)stat.st_size > SEAL_BYTES, STATUS_DATA,
          "checkpoint %s is damaged: %zu bytes only", path, (size_t)stat.st_size);
    uint64_t length = (uint64_t)stat.st_size - SEAL_BYTES;
    TRY(seal_of(fd, path, length, want));
    size_t got = 0;
    TRY(read_some(fd, path, seal, SEAL_BYTES, &got));
    CHECK(got == SEAL_BYTES && memcmp(seal, want, 16) == 0, STATUS_DATA,
          "%s is no whole checkpoint: its last %zu bytes are not a seal (cut short, or rewritten "
          "by another program)",
          path, SEAL_BYTES);
    CHECK(memcmp(seal, want, SEAL_BYTES) == 0, STATUS_DATA,
          "checkpoint %s is damaged: digest of its bytes is %.32s, sealed as %.32s", path,
          want + 16, seal + 16);
    return STATUS_OK;
}

enum status seal_check(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, errno == ENOENT ? STATUS_DATA : STATUS_ERROR, "cannot open checkpoint %s: %s",
          path, strerror(errno));
    enum status status = seal_compare(fd, path);
    close(fd);
    return status;
}
