// SPDX-License-Identifier: MIT
// The one granularity of flat vectors: tensors start, and slices and buckets end, on multiples of
// it, so a block belongs to one tensor and one owner (norms and digests fold over blocks).
#ifndef SW2_COMM_SPAN_H
#define SW2_COMM_SPAN_H

#include <stddef.h>

#define SPAN_BLOCK ((size_t)256) // floats: 1 KiB

struct span {
    size_t offset, count; // floats
};

static inline size_t span_round(size_t n) {
    return (n + SPAN_BLOCK - 1) / SPAN_BLOCK * SPAN_BLOCK;
}

#endif
