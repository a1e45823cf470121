// SPDX-License-Identifier: MIT
#include "comm/memory.h"

#include <stdlib.h>
#include <string.h>

#include "comm/rehearsal.h"

enum status memory_alloc(void *out, size_t count, size_t size, const char *what)
{
    void *fresh = NULL;
    memcpy(out, &fresh, sizeof fresh);
    size_t bytes = 0;
    CHECK(!__builtin_mul_overflow(count, size, &bytes) && bytes <= (size_t)1 << 50, STATUS_ERROR,
          "%s: %zu x %zu bytes is more than any machine has", what, count, size);
    bytes = (bytes + 64) & ~(size_t)63;
    void *folded = rehearsal_fold(bytes, what);
    fresh = folded ? folded : aligned_alloc(64, bytes);
    CHECK(fresh, STATUS_ERROR, "out of memory: %s needs %zu MiB", what, bytes >> 20);
    if (!folded)
        memset(fresh, 0, bytes);
    memcpy(out, &fresh, sizeof fresh);
    return STATUS_OK;
}
