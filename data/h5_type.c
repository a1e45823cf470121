// SPDX-License-Identifier: MIT
// Looks at the description of a type before HDF5 does: HDF5 1.10 copies the names in it, of members
// and values, to wherever they end. Format: "HDF5 File Format Specification", version 3.0,
// IV.A.2.d. Called by h5_header.c.
#include <string.h>

#include "data/h5_private.h"

enum class {
    CLASS_FIXED,
    CLASS_FLOAT,
    CLASS_TIME,
    CLASS_STRING,
    CLASS_BITS,
    CLASS_OPAQUE,
    CLASS_COMPOUND,
    CLASS_REFERENCE,
    CLASS_ENUM,
    CLASS_VARIABLE,
    CLASS_ARRAY
};
enum { HEAD_BYTES = 8, DEPTH_MAX = 8 };

static uint64_t type_bytes(const unsigned char *data, uint64_t n, int depth);

// Where what follows a name begins; 0: the name has no end. Names are padded but in version 3.
static uint64_t after_name(const unsigned char *data, uint64_t n, uint64_t at)
{
    const unsigned char *end = at < n ? memchr(data + at, 0, (size_t)(n - at)) : NULL;
    if (!end)
        return 0;
    uint64_t length = (uint64_t)(end - (data + at)) + 1;
    return at + (data[0] >> 4 < 3 ? (length + 7) / 8 * 8 : length);
}

// A type inside another one, from `at` on; where what follows begins, or 0.
static uint64_t after_type(const unsigned char *data, uint64_t n, uint64_t at, int depth)
{
    uint64_t inner = at > 0 && at < n ? type_bytes(data + at, n - at, depth + 1) : 0;
    return inner ? at + inner : 0;
}

// Members: a name, an offset, in version 1 what an array needs, a type.
static uint64_t compound_bytes(const unsigned char *data, uint64_t n, int depth)
{
    uint64_t members = h5_number(data + 1, 2), size = h5_number(data + 4, 4), at = HEAD_BYTES;
    unsigned version = data[0] >> 4;
    uint64_t offset = version == 1 ? 32 : 4;
    if (version >= 3)
        offset = size < 1U << 8 ? 1 : size < 1U << 16 ? 2 : size < 1U << 24 ? 3 : 4;
    for (uint64_t i = 0; i < members && at > 0; i++) {
        at = after_name(data, n, at);
        at = at ? after_type(data, n, at + offset, depth) : 0;
    }
    return at;
}

// The type of the values, names of all, values of all.
static uint64_t enum_bytes(const unsigned char *data, uint64_t n, int depth)
{
    uint64_t members = h5_number(data + 1, 2), at = after_type(data, n, HEAD_BYTES, depth);
    uint64_t size = at ? h5_number(data + HEAD_BYTES + 4, 4) : 0;
    for (uint64_t i = 0; i < members && at > 0; i++)
        at = after_name(data, n, at);
    return at ? at + members * size : 0;
}

// Bytes of a type's description; 0, or more than n: it is not there whole.
static uint64_t type_bytes(const unsigned char *data, uint64_t n, int depth)
{
    if (n < HEAD_BYTES || depth > DEPTH_MAX)
        return 0;
    switch ((enum class)(data[0] & 15)) {
    case CLASS_FIXED:
    case CLASS_BITS:
        return HEAD_BYTES + 4;
    case CLASS_FLOAT:
        return HEAD_BYTES + 12;
    case CLASS_TIME:
        return HEAD_BYTES + 2;
    case CLASS_OPAQUE:
        return HEAD_BYTES + (uint64_t)data[1];
    case CLASS_COMPOUND:
        return compound_bytes(data, n, depth);
    case CLASS_ENUM:
        return enum_bytes(data, n, depth);
    case CLASS_VARIABLE:
        return after_type(data, n, HEAD_BYTES, depth);
    case CLASS_ARRAY: // dimensions; in version 2 padding before, and their order behind
        if (n == HEAD_BYTES)
            return 0;
        return after_type(
            data, n,
            HEAD_BYTES + (data[0] >> 4 < 3 ? 4 + 8 * (uint64_t)data[8] : 1 + 4 * (uint64_t)data[8]),
            depth);
    default: // texts, references; what is no class at all HDF5 refuses
        return HEAD_BYTES;
    }
}

bool h5_type_is_sound(const unsigned char *data, uint64_t n)
{
    uint64_t bytes = type_bytes(data, n, 0);
    return bytes > 0 && bytes <= n;
}
