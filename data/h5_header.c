// SPDX-License-Identifier: MIT
// Looks at an object header before HDF5 opens the object: what we do not read is refused there,
// virtual data sets, external storage, committed and shared types, as HDF5 1.10 loops or crashes
// on damaged ones; it divides by the chunk dimensions of a damaged header, copies what an
// attribute claims to have, and believes what a heap of texts says and a group of its names. Read
// past HDF5, from the file itself; what is not understood here is left to HDF5. Format: "HDF5 File
// Format Specification", version 3.0, IV.A.1.a and b (header versions 1 and 2), IV.A.2.b (data
// space), IV.A.2.i (layout), IV.A.2.m (attribute), IV.A.2.q (continuation), IV.A.2.r (symbol
// table). Heap, groups, chunks, types: h5_heap.c, h5_group.c, h5_chunk_tree.c, h5_type.c.
#include "data/h5_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS_MAX 32
#define BLOCK_BYTES_MAX ((uint64_t)1 << 20)

enum {
    MESSAGE_SPACE = 0x1,
    MESSAGE_LINK_INFO = 0x2,
    MESSAGE_TYPE = 0x3,
    MESSAGE_LINK = 0x6,
    MESSAGE_EXTERNAL = 0x7,
    MESSAGE_LAYOUT = 0x8,
    MESSAGE_BOGUS = 0x9,
    MESSAGE_FILTERS = 0xb,
    MESSAGE_ATTRIBUTE = 0xc,
    MESSAGE_SHARED_TABLE = 0xf,
    MESSAGE_CONTINUATION = 0x10,
    MESSAGE_SYMBOL_TABLE = 0x11,
    MESSAGE_DRIVER = 0x14,
    MESSAGE_LAST = 0x17
};
enum { FLAG_SHARED = 2, CLASS_VIRTUAL = 3, TYPE_VARIABLE = 9 };

struct header {
    struct h5 *file;
    uint64_t base;            // of addresses in the file
    unsigned tree_k, table_k; // see h5_group_is_sound
    // Blocks of messages still to be read.
    size_t n_blocks, next;
    struct {
        uint64_t at, bytes;
    } block[BLOCKS_MAX];
    size_t message_bytes; // of the head of a message: 8; 4 or 6 in version 2
    uint32_t seen;        // bit i: a message of type i
    int space_rank;       // -1: none seen
    int layout_rank;      // of chunks, with the element; -1: not chunked
    uint64_t tree;        // of chunks: its address
    uint64_t chunk_bytes; // the product of the chunk dimensions, with the element
    bool has_zero;        // a chunk dimension is 0
    bool is_known_sound;  // a group whose names were looked at before
    const char *refused;  // why; NULL: nothing found
};

static void refuse(struct header *header, const char *why)
{
    if (!header->refused)
        header->refused = why;
}

static const char too_long[] = "is damaged: its header claims more bytes than the file has";

static void block_add(struct header *header, uint64_t at, uint64_t bytes)
{
    if (bytes > header->file->bytes)
        refuse(header, too_long);
    if (header->n_blocks < BLOCKS_MAX && bytes <= BLOCK_BYTES_MAX) {
        header->block[header->n_blocks].at = at;
        header->block[header->n_blocks++].bytes = bytes;
    }
}

// Chunk dimensions of 4 bytes each, the last one the element's size. Versions 1 and 2 have the
// rank before the class and 5 bytes after it; version 3 the class first.
static void layout_look(struct header *header, const unsigned char *data, uint64_t bytes)
{
    if (bytes < 4)
        return;
    bool is_old = data[0] < 3;
    int rank = is_old ? data[1] : data[2], class = is_old ? data[2] : data[1];
    if (data[0] >= 3 && class == CLASS_VIRTUAL)
        refuse(header, "is a virtual data set, which is not supported; copy it (h5repack)");
    const unsigned char *dim = data + (is_old ? 8 : 3) + 8;
    if (class != 2 || data[0] > 3 || bytes < 12)
        return;
    header->layout_rank = rank;
    header->tree = h5_number(dim - 8, 8);
    header->chunk_bytes = 1;
    for (int i = 0; i < rank && dim + 4 * i + 4 <= data + bytes; i++) {
        uint64_t n = h5_number(dim + 4 * i, 4);
        header->has_zero = header->has_zero || n == 0;
        if (__builtin_mul_overflow(header->chunk_bytes, n, &header->chunk_bytes))
            header->chunk_bytes = UINT64_MAX;
    }
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
        if (__builtin_mul_overflow(*n, h5_number(data + dims + 8 * i, 8), n))
            *n = UINT64_MAX;
    return true;
}

// Texts of variable length: a length (4 bytes), the address of a heap (8) and a number in it (4).
static void variable_look(struct header *header, const unsigned char *data, uint64_t n)
{
    for (uint64_t i = 0; i < n && !header->refused; i++, data += 16)
        if (h5_number(data, 4) > 0 &&
            !h5_heap_holds(header->file, header->base, h5_number(data + 4, 8),
                           h5_number(data + 12, 4), h5_number(data, 4)))
            refuse(header, "is damaged: an attribute's texts are not where it says");
}

// HDF5 copies as many bytes as type and space of an attribute claim, whether or not the message has
// them. Version, flags, sizes of name, type and space (2 each), in version 3 the character set;
// then the three, in version 1 each padded to 8 bytes; then the data.
static void attribute_look(struct header *header, const unsigned char *data, uint64_t bytes)
{
    if (bytes < 9 || data[0] < 1 || data[0] > 3)
        return;
    if (data[0] > 1 && data[1])
        refuse(header, "has an attribute of a committed type, which is not supported");
    uint64_t unit = data[0] == 1 ? 8 : 1, size[3], at[4] = {data[0] == 3 ? 9 : 8}, n = 0;
    for (int i = 0; i < 3; i++) {
        size[i] = h5_number(data + 2 + 2 * i, 2);
        at[i + 1] = at[i] + (size[i] + unit - 1) / unit * unit;
    }
    uint64_t needed = 0;
    if (at[3] > bytes || !memchr(data + at[0], 0, (size_t)size[0]) ||
        !h5_type_is_sound(data + at[1], size[1]))
        refuse(header, "is damaged: an attribute claims more bytes than it has");
    if (header->refused || !space_elements(data + at[2], size[2], &n))
        return;
    if (__builtin_mul_overflow(n, h5_number(data + at[1] + 4, 4), &needed) ||
        needed > bytes - at[3])
        refuse(header, "is damaged: an attribute claims more bytes than it has");
    else if ((data[at[1]] & 0xf) == TYPE_VARIABLE && h5_number(data + at[1] + 4, 4) == 16)
        variable_look(header, data + at[3], n);
}

// A link of a new group. HDF5 1.10 frees what it has not read yet when it cannot read one: version,
// flags, perhaps its type, order of creation (8) and character set, length of the name (1, 2, 4 or
// 8), the name, then an address, or a length (2) and as much.
static bool link_is_sound(const unsigned char *data, uint64_t bytes)
{
    if (bytes < 2 || data[0] != 1 || data[1] > 0x1f)
        return false;
    unsigned flags = data[1], width = 1U << (flags & 3);
    uint64_t at = 2 + (flags & 8 ? 1U : 0U);
    unsigned type = flags & 8 && bytes > 2 ? data[2] : 0;
    at += flags & 4 ? 8 : 0;
    if (flags & 0x10 && (at >= bytes || data[at++] > 1))
        return false;
    if ((type > 1 && type < 64) || at + width > bytes)
        return false;
    uint64_t name = h5_number(data + at, (int)width);
    at += width;
    if (name == 0 || name > bytes - at)
        return false;
    at += name;
    if (type == 0)
        return bytes - at >= 8;
    return bytes - at >= 2 && bytes - at - 2 >= h5_number(data + at, 2) &&
           (type > 1 || h5_number(data + at, 2) > 0);
}

static void message_look(struct header *header, uint64_t type, unsigned flags,
                         const unsigned char *data, uint64_t bytes)
{
    if (type <= MESSAGE_LAST)
        header->seen |= (uint32_t)1 << type;
    if (type > MESSAGE_LAST || type == MESSAGE_BOGUS || type == MESSAGE_SHARED_TABLE ||
        type == MESSAGE_DRIVER)
        refuse(header, "is damaged: its header holds what belongs to no group or data set");
    if (type == MESSAGE_EXTERNAL)
        refuse(header, "is stored in other files (external storage), which is not supported");
    if (flags & FLAG_SHARED) {
        refuse(header, type == MESSAGE_TYPE ? "has a committed type, which is not supported"
                                            : "shares parts of its header, which is not supported");
        return;
    }
    if (type == MESSAGE_CONTINUATION && bytes < 16) {
        refuse(header, "is damaged: its header claims more bytes than it has");
    } else if (type == MESSAGE_CONTINUATION) {
        bool is_old = header->message_bytes == 8; // later: a signature before, a checksum behind
        uint64_t at = h5_number(data, 8), n = h5_number(data + 8, 8);
        block_add(header, at + (is_old ? 0 : 4), is_old || n < 8 ? n : n - 8);
    }
    if (type == MESSAGE_LINK && !link_is_sound(data, bytes))
        refuse(header, "is damaged: its names are not where it says");
    if (type == MESSAGE_SYMBOL_TABLE && !header->is_known_sound &&
        (bytes < 16 || !h5_group_is_sound(header->file, header->base, h5_number(data, 8),
                                          h5_number(data + 8, 8), header->tree_k, header->table_k)))
        refuse(header, "is damaged: its names are not where it says");
    if (type == MESSAGE_TYPE && !h5_type_is_sound(data, bytes))
        refuse(header, "is damaged: its type is not all there");
    if (type == MESSAGE_SPACE && bytes >= 2)
        header->space_rank = data[1];
    if (type == MESSAGE_ATTRIBUTE)
        attribute_look(header, data, bytes);
    if (type == MESSAGE_LAYOUT)
        layout_look(header, data, bytes);
}

// Messages. Version 1: type (2 bytes), size (2), flags (1), 3 reserved, data. Version 2: type (1),
// size (2), flags (1), perhaps the order of creation (2), data.
static void block_look(struct header *header, const unsigned char *bytes, uint64_t n)
{
    bool is_old = header->message_bytes == 8;
    for (uint64_t at = 0; at + header->message_bytes <= n;) {
        const unsigned char *head = bytes + at;
        uint64_t type = h5_number(head, is_old ? 2 : 1),
                 size = h5_number(head + (is_old ? 2 : 1), 2);
        at += header->message_bytes;
        if (size > n - at) {
            refuse(header, "is damaged: its header claims more bytes than it has");
            return;
        }
        message_look(header, type, head[is_old ? 4 : 3], bytes + at, size);
        at += size;
    }
}

static void blocks_look(struct header *header)
{
    for (; header->next < header->n_blocks; header->next++) {
        uint64_t n = header->block[header->next].bytes;
        unsigned char *bytes = malloc((size_t)n + 1);
        if (bytes &&
            h5_bytes_read(header->file, header->base, header->block[header->next].at, n, bytes))
            block_look(header, bytes, n);
        free(bytes);
    }
}

// Version 1: version, 1 reserved, messages (2), references (4), bytes of the first block (4), 4
// reserved. Version 2: signature, version, flags, perhaps times (16) and bounds (4), bytes of the
// first block (1, 2, 4 or 8). False: there is none, of which HDF5 1.10 reads past the file's end.
static bool prefix_look(struct header *header, uint64_t at)
{
    enum { LEAST = 16 };
    unsigned char prefix[40] = {0};
    uint64_t n = sizeof prefix;
    while (n >= LEAST && !h5_bytes_read(header->file, header->base, at, n, prefix))
        n--;
    if (n < LEAST)
        return false;
    if (prefix[0] == 1) {
        header->message_bytes = 8;
        block_add(header, at + 16, h5_number(prefix + 8, 4));
        return true;
    }
    unsigned flags = prefix[5], width = 1U << (flags & 3);
    unsigned place = 6U + (flags & 0x20 ? 16U : 0U) + (flags & 0x10 ? 4U : 0U);
    if (memcmp(prefix, "OHDR", 4) != 0 || place + width > n)
        return false;
    header->message_bytes = flags & 4 ? 6 : 4;
    block_add(header, at + place + width, h5_number(prefix + place, (int)width));
    return true;
}

// Why this object must not be opened; NULL: it may.
static const char *header_refuses(struct header header, uint64_t at)
{
    struct h5 *file = header.file;
    const unsigned n_places = sizeof file->sound / sizeof *file->sound;
    header.space_rank = header.layout_rank = -1;
    for (unsigned i = 0; i < n_places; i++)
        header.is_known_sound = header.is_known_sound || (at > 0 && file->sound[i] == at);
    if (!prefix_look(&header, at))
        refuse(&header, "is damaged: its header is not where it should be");
    if (header.refused)
        return header.refused;
    blocks_look(&header);
    const uint32_t group = 1U << MESSAGE_LINK_INFO | 1U << MESSAGE_SYMBOL_TABLE;
    const uint32_t set = 1U << MESSAGE_SPACE | 1U << MESSAGE_TYPE | 1U << MESSAGE_LAYOUT;
    if (!(header.seen & group) && (header.seen & set) == 1U << MESSAGE_TYPE)
        refuse(&header, "is a committed type, expected a group or a data set");
    if (!(header.seen & (group | set)))
        refuse(&header, "is damaged: neither a group nor a data set");
    if (header.layout_rank >= 0 && (header.has_zero || header.layout_rank != header.space_rank + 1))
        refuse(&header, "is damaged: its header claims what cannot be");
    bool has_tree = header.layout_rank >= 0 && !(header.seen & 1U << MESSAGE_FILTERS);
    if (!header.refused && has_tree && !header.is_known_sound &&
        !h5_chunk_tree_is_sound(file, header.base, header.tree, header.layout_rank,
                                header.chunk_bytes))
        refuse(&header, "is damaged: its chunks are not of the size it says");
    if (!header.refused && !header.is_known_sound &&
        (has_tree || header.seen & 1U << MESSAGE_SYMBOL_TABLE))
        file->sound[file->n_sound++ % n_places] = at;
    return header.refused;
}

// The root group's header, of which HDF5 1.10 allocates what it claims when it opens the file.
// base: where the superblock is ("HDF5 File Format Specification", II.A and III.C): in versions 0
// and 1 after four addresses and the root's name, in 2 and 3 after three addresses.
const char *h5_root_refuses(const struct h5 *file, uint64_t base)
{
    struct h5 copy = *file;
    struct header header = {.file = &copy, .base = base, .is_known_sound = true};
    unsigned char block[80] = {0};
    if (!h5_bytes_read(file, base, 0, sizeof block, block) || block[8] > 3)
        return NULL;
    bool is_new = block[8] >= 2;
    const unsigned char *sizes = block + (is_new ? 9 : 13);
    size_t place = is_new ? 36 : block[8] == 1 ? 68 : 64;
    if (sizes[0] != 8 || sizes[1] != 8 || !prefix_look(&header, h5_number(block + place, 8)))
        return NULL;
    blocks_look(&header);
    return header.refused == too_long ? too_long : NULL; // of all else HDF5 says it
}

#if H5_VERSION_GE(1, 12, 0)
// Later libraries check this themselves.
const char *h5_header_refuses(struct h5 *file, hid_t at, const char *name)
{
    (void)file, (void)at, (void)name, (void)header_refuses;
    return NULL;
}
#else
// Where the object's header is, without HDF5 reading it, but for the root's, which is open. Why
// not: *refused, or NULL where HDF5 will say why.
static bool place_find(const struct h5 *file, hid_t at, const char *name, uint64_t *address,
                       const char **refused)
{
    H5O_info_t object;
    H5L_info_t link;
    *refused = NULL;
    if (!name[strspn(name, "/")]) {
        bool is_found = H5Oget_info2(file->id, &object, H5O_INFO_BASIC) >= 0;
        *address = is_found ? object.addr : 0;
        return is_found;
    }
    if (H5Lget_info(at, name, &link, h5_links()) < 0)
        return false;
    if (link.type != H5L_TYPE_HARD)
        *refused = "is a link, which is not followed";
    *address = link.type == H5L_TYPE_HARD ? link.u.address : 0;
    return link.type == H5L_TYPE_HARD;
}

const char *h5_header_refuses(struct h5 *file, hid_t at, const char *name)
{
    struct header header = {.file = file};
    size_t address_bytes = 0, size_bytes = 0;
    uint64_t address = 0;
    hsize_t base = 0;
    const char *refused = NULL;
    if (file->fd < 0 || !place_find(file, at, name, &address, &refused))
        return refused;
    hid_t plist = H5Fget_create_plist(file->id);
    bool is_known = plist >= 0 && H5Pget_userblock(plist, &base) >= 0 &&
                    H5Pget_sizes(plist, &address_bytes, &size_bytes) >= 0 && address_bytes == 8 &&
                    size_bytes == 8 && H5Pget_sym_k(plist, &header.tree_k, &header.table_k) >= 0;
    H5Pclose(plist);
    header.base = base;
    return is_known ? header_refuses(header, address) : NULL;
}
#endif
