// SPDX-License-Identifier: MIT
// Digest of the content of a group of rows that does not depend on the order in which they are
// seen: sum mod 2^128 (two halves) over the rows of XXH3(target, seed XXH3(input, seed 2 i +
// half)), then XXH3-128 over names, types, shapes and the sums. Stored as attribute "digest".
#ifndef SW2_DATA_ROW_DIGEST_H
#define SW2_DATA_ROW_DIGEST_H

#include "data/dataset.h"

// Marks a digest of this kind in an attribute that others may use too.
#define ROW_DIGEST_PREFIX "sw2:"

struct row_digest {
    uint64_t sum[2];
};

// Row i: its input as stored (uint8 or float32, NHWC) and its target (int64 or floats).
void row_digest_add(struct row_digest *digest, uint64_t row, const void *input, size_t input_bytes,
                    const void *target, size_t target_bytes);
// STATUS_ERROR when memory is out.
enum status row_digest_end(const struct row_digest *digest, uint64_t n_rows,
                           struct sample_shape shape, bool is_u8, struct target_shape target,
                           char hex[33]);

#endif
