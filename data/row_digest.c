// SPDX-License-Identifier: MIT
// Owns: the digest of a group's content. Called by import_write.c and check.c.
#include "data/row_digest.h"

#include <inttypes.h>
#include <stdio.h>

#include "comm/digest.h"

void row_digest_add(struct row_digest *digest, uint64_t row, const void *input, size_t input_bytes,
                    const void *target, size_t target_bytes)
{
    for (uint64_t half = 0; half < 2; half++) {
        uint64_t seed = digest_bytes(input, input_bytes, 2 * row + half);
        digest->sum[half] += digest_bytes(target, target_bytes, seed);
    }
}

enum status row_digest_end(const struct row_digest *digest, uint64_t n_rows,
                           struct sample_shape shape, bool is_u8, struct target_shape target,
                           char hex[33])
{
    bool is_class = target.type == TARGET_CLASS;
    char text[256];
    snprintf(text, sizeof text,
             "images %" PRIu64 " %zu %zu %zu %s labels %" PRIu64 " %zu %s %016" PRIx64
             "%016" PRIx64,
             n_rows, shape.h, shape.w, shape.c, is_u8 ? "uint8" : "float32", n_rows, target.count,
             is_class ? "int64" : "float32", digest->sum[0], digest->sum[1]);
    struct digest *all = digest_begin();
    CHECK(all, STATUS_ERROR, "out of memory: digest");
    digest_add_text(all, text);
    digest_end(all, hex);
    return STATUS_OK;
}
