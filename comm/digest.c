// SPDX-License-Identifier: MIT
// XXH3 over bytes, over pieces in order, and over the blocks of a flat vector.
#include "comm/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "comm/error.h"
#include "comm/span.h"

struct digest {
    XXH3_state_t *state;
};

uint64_t digest_bytes(const void *bytes, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, n, seed);
}

struct digest *digest_begin(void)
{
    struct digest *digest = malloc(sizeof *digest);
    if (!digest)
        return NULL;
    digest->state = XXH3_createState();
    if (!digest->state) {
        free(digest);
        return NULL;
    }
    ASSERT(XXH3_128bits_reset(digest->state) == XXH_OK);
    return digest;
}

void digest_add(struct digest *digest, const void *bytes, size_t n)
{
    if (n > 0)
        ASSERT(XXH3_128bits_update(digest->state, bytes, n) == XXH_OK);
}

void digest_add_text(struct digest *digest, const char *text)
{
    uint64_t length = strlen(text);
    digest_add(digest, &length, sizeof length);
    digest_add(digest, text, length);
}

void digest_end(struct digest *digest, char hex[33])
{
    XXH128_hash_t hash = XXH3_128bits_digest(digest->state);
    snprintf(hex, 33, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    XXH3_freeState(digest->state);
    free(digest);
}

uint64_t digest_span(const float *at, size_t offset, size_t count, uint64_t salt)
{
    ASSERT(offset % SPAN_BLOCK == 0);
    // An odd constant (2^64 over the golden ratio) keeps the seeds of different salts apart.
    uint64_t base = salt * 0x9e3779b97f4a7c15u + offset / SPAN_BLOCK;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i += SPAN_BLOCK) {
        size_t floats = count - i < SPAN_BLOCK ? count - i : SPAN_BLOCK;
        sum += digest_bytes(at + i, floats * sizeof *at, base + i / SPAN_BLOCK);
    }
    return sum;
}
