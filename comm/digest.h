// SPDX-License-Identifier: MIT
// Digests (XXH3, xxHash 0.8) of byte runs, and one of a flat vector that does not depend on who
// holds which slice of it.
#ifndef SW2_COMM_DIGEST_H
#define SW2_COMM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

uint64_t digest_bytes(const void *bytes, size_t n, uint64_t seed); // XXH3_64bits_withSeed

// Running digest (XXH3 128 bit) over many pieces in order.
struct digest;
struct digest *digest_begin(void); // NULL when memory is out
void digest_add(struct digest *digest, const void *bytes, size_t n);
void digest_add_text(struct digest *digest, const char *text); // length and bytes
void digest_end(struct digest *digest, char hex[33]);          // frees it; 32 hex digits

// Sum mod 2^64 of digest_bytes over the blocks of SPAN_BLOCK floats that [offset, offset + count)
// covers, each seeded with its absolute block number: partial sums of slices add up to the whole
// vector's digest. offset is a multiple of SPAN_BLOCK. `at` points to element `offset`.
uint64_t digest_span(const float *at, size_t offset, size_t count, uint64_t salt);

#endif
