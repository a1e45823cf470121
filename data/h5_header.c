// SPDX-License-Identifier: MIT
// Looks at an object header of the old format (which has no checksum) before HDF5 opens it: HDF5
// 1.10 divides by the chunk dimensions of a damaged one, and copies what an attribute claims to
// have. Read past HDF5, from the file itself;
// everything not understood here is left to HDF5. Format: "HDF5 File Format Specification", version
// 3.0, IV.A.1.a (header version 1), IV.A.2.b (data space), IV.A.2.i (layout), IV.A.2.m
// (attribute), IV.A.2.q (continuation).
#include "data/h5_private.h"

#include <stdlib.h>
#include <unistd.h>

#define BLOCKS_MAX 32
#define BLOCK_BYTES_MAX ((uint64_t)1 << 20)

enum {
    MESSAGE_SPACE = 0x1,
    MESSAGE_LAYOUT = 0x8,
    MESSAGE_ATTRIBUTE = 0xc,
    MESSAGE_CONTINUATION = 0x10
};

struct header {
    const struct h5 *file;
    uint64_t base; // of addresses in the file
    // Blocks of messages still to be read.
    size_t n_blocks, next;
    struct {
        uint64_t at, bytes;
    } block[BLOCKS_MAX];
    int space_rank;  // -1: none seen
    int layout_rank; // of chunks, with the element; -1: not chunked
    bool has_zero;   // a chunk dimension is 0
    bool is_short;   // an attribute claims more bytes than it has
};

static uint64_t number(const unsigned char *bytes, int n)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static bool bytes_read(const struct header *header, uint64_t at, uint64_t n, void *out)
{
    uint64_t from = 0;
    if (__builtin_add_overflow(header->base, at, &from) || from > header->file->bytes ||
        n > header->file->bytes - from)
        return false;
    return pread(header->file->fd, out, (size_t)n, (off_t)from) == (ssize_t)n;
}

static void block_add(struct header *header, uint64_t at, uint64_t bytes)
{
    if (header->n_blocks < BLOCKS_MAX && bytes <= BLOCK_BYTES_MAX) {
        header->block[header->n_blocks].at = at;
        header->block[header->n_blocks++].bytes = bytes;
    }
}

// Chunk dimensions of 4 bytes each, the last one the element's size. Versions 1 and 2 have the
// rank before the class and 5 bytes after it; version 3 the class first.
static void layout_look(struct header *header, const unsigned char *data, uint64_t bytes)
{
    if (bytes < 12)
        return;
    bool is_old = data[0] < 3;
    int rank = is_old ? data[1] : data[2], class = is_old ? data[2] : data[1];
    const unsigned char *dim = data + (is_old ? 8 : 3) + 8;
    if (class != 2 || data[0] > 3)
        return;
    header->layout_rank = rank;
    for (int i = 0; i < rank && dim + 4 * i + 4 <= data + bytes; i++)
        header->has_zero = header->has_zero || number(dim + 4 * i, 4) == 0;
}

// Elements of a data space message (versions 1 and 2); false: not understood.
static bool space_elements(const unsigned char *data, uint64_t bytes, uint64_t *n)
{
    if (bytes < 4 || data[0] < 1 || data[0] > 2)
        return false;
    uint64_t dims = data[0] == 1 ? 8 : 4, rank = data[1];
    if (dims + 8 * rank > bytes)
        return false;
    *n = data[0] == 2 && data[3] == 2 ? 0 : 1; // type 2: no elements
    for (uint64_t i = 0; i < rank; i++)
        if (__builtin_mul_overflow(*n, number(data + dims + 8 * i, 8), n))
            *n = UINT64_MAX;
    return true;
}

// HDF5 copies as many bytes as type and space of an attribute claim, whether or not the message has
// them. Version, flags, sizes of name, type and space (2 each), in version 3 the character set;
// then the three, in version 1 each padded to 8 bytes; then the data.
static void attribute_look(struct header *header, const unsigned char *data, uint64_t bytes)
{
    if (bytes < 9 || data[0] < 1 || data[0] > 3 || (data[0] > 1 && data[1]))
        return; // flags: type or space stand elsewhere
    uint64_t unit = data[0] == 1 ? 8 : 1, size[3], at[4] = {data[0] == 3 ? 9 : 8}, n = 0;
    for (int i = 0; i < 3; i++) {
        size[i] = number(data + 2 + 2 * i, 2);
        at[i + 1] = at[i] + (size[i] + unit - 1) / unit * unit;
    }
    uint64_t needed = 0;
    header->is_short = header->is_short || at[3] > bytes || size[1] < 8;
    if (header->is_short || !space_elements(data + at[2], size[2], &n))
        return;
    if (__builtin_mul_overflow(n, number(data + at[1] + 4, 4), &needed) || needed > bytes - at[3])
        header->is_short = true;
}

static void message_look(struct header *header, uint64_t type, const unsigned char *data,
                         uint64_t bytes)
{
    if (type == MESSAGE_CONTINUATION && bytes >= 16)
        block_add(header, number(data, 8), number(data + 8, 8));
    if (type == MESSAGE_SPACE && bytes >= 2)
        header->space_rank = data[1];
    if (type == MESSAGE_ATTRIBUTE)
        attribute_look(header, data, bytes);
    if (type == MESSAGE_LAYOUT)
        layout_look(header, data, bytes);
}

// Messages: type (2 bytes), size (2), flags (1), 3 reserved, data.
static void block_look(struct header *header, const unsigned char *bytes, uint64_t n)
{
    for (uint64_t at = 0; at + 8 <= n;) {
        uint64_t type = number(bytes + at, 2), size = number(bytes + at + 2, 2);
        at += 8;
        if (size > n - at)
            return;
        message_look(header, type, bytes + at, size);
        at += size;
    }
}

static void blocks_look(struct header *header)
{
    for (; header->next < header->n_blocks; header->next++) {
        uint64_t n = header->block[header->next].bytes;
        unsigned char *bytes = malloc((size_t)n + 1);
        if (bytes && bytes_read(header, header->block[header->next].at, n, bytes))
            block_look(header, bytes, n);
        free(bytes);
    }
}

// Version 1, 1 reserved, messages (2), references (4), bytes of the first block (4), 4 reserved.
static bool header_is_sound(const struct h5 *file, uint64_t base, uint64_t at)
{
    struct header header = {.file = file, .base = base, .space_rank = -1, .layout_rank = -1};
    unsigned char prefix[16];
    if (!bytes_read(&header, at, sizeof prefix, prefix) || prefix[0] != 1)
        return true;
    block_add(&header, at + sizeof prefix, number(prefix + 8, 4));
    blocks_look(&header);
    if (header.is_short)
        return false;
    if (header.layout_rank < 0)
        return true;
    return !header.has_zero && header.layout_rank == header.space_rank + 1;
}

#if H5_VERSION_GE(1, 12, 0)
// Later libraries check this themselves.
bool h5_header_check(const struct h5 *file, hid_t at, const char *name)
{
    (void)file, (void)at, (void)name, (void)header_is_sound;
    return true;
}
#else
bool h5_header_check(const struct h5 *file, hid_t at, const char *name)
{
    H5O_info_t info;
    size_t address_bytes = 0, size_bytes = 0;
    hsize_t base = 0;
    if (file->fd < 0 || H5Oget_info_by_name2(at, name, &info, H5O_INFO_BASIC, h5_links()) < 0)
        return true; // HDF5 will say why
    hid_t plist = H5Fget_create_plist(file->id);
    bool is_known = plist >= 0 && H5Pget_userblock(plist, &base) >= 0 &&
                    H5Pget_sizes(plist, &address_bytes, &size_bytes) >= 0 && address_bytes == 8 &&
                    size_bytes == 8;
    H5Pclose(plist);
    return !is_known || header_is_sound(file, base, info.addr);
}
#endif
