// SPDX-License-Identifier: MIT
// Looks at a collection of the global heap, where texts of variable length are, before HDF5 does:
// HDF5 1.10 walks its objects by sizes it does not check, out of bounds or for ever. Format: "HDF5
// File Format Specification", version 3.0, III.E. Called by h5_header.c.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/h5_private.h"

#define HEAD_BYTES 16 // of a collection and of an object in it
#define COLLECTION_BYTES_MAX ((uint64_t)64 << 20)

// Objects: number (2 bytes), references (2), 4 reserved, bytes (8), data padded to 8. Number 0 is
// the free space, the last. All are walked, as HDF5 will.
static bool objects_hold(const unsigned char *bytes, uint64_t n, uint64_t wanted, uint64_t length)
{
    bool is_found = false;
    for (uint64_t at = HEAD_BYTES; at + HEAD_BYTES <= n;) {
        uint64_t object = h5_number(bytes + at, 2), size = h5_number(bytes + at + 8, 8),
                 left = n - at;
        if (object == 0)
            return is_found && (size == 0 || size <= left);
        if (size > left - HEAD_BYTES || (size + 7) / 8 * 8 > left - HEAD_BYTES)
            return false;
        is_found = is_found || (object == wanted && size >= length);
        at += HEAD_BYTES + (size + 7) / 8 * 8;
    }
    return is_found;
}

bool h5_bytes_read(const struct h5 *file, uint64_t base, uint64_t at, uint64_t n, void *out)
{
    uint64_t from = 0;
    if (__builtin_add_overflow(base, at, &from) || from > file->bytes || n > file->bytes - from)
        return false;
    return pread(file->fd, out, (size_t)n, (off_t)from) == (ssize_t)n;
}

bool h5_heap_holds(const struct h5 *file, uint64_t base, uint64_t at, uint64_t object,
                   uint64_t length)
{
    unsigned char head[HEAD_BYTES], *bytes = NULL;
    if (!h5_bytes_read(file, base, at, sizeof head, head))
        return false;
    uint64_t n = h5_number(head + 8, 8); // signature, version, 3 reserved, bytes of all
    if (memcmp(head, "GCOL\1", 5) != 0 || n < HEAD_BYTES || n > COLLECTION_BYTES_MAX ||
        n > file->bytes)
        return false;
    bytes = malloc((size_t)n);
    bool is_ok =
        bytes && h5_bytes_read(file, base, at, n, bytes) && objects_hold(bytes, n, object, length);
    free(bytes);
    return is_ok;
}
