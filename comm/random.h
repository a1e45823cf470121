// SPDX-License-Identifier: MIT
// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, from Random123).
// A number is a pure function of (seed, purpose, epoch, index, sub): no state, nothing per rank.
#ifndef SW2_COMM_RANDOM_H
#define SW2_COMM_RANDOM_H

#include <stddef.h>
#include <stdint.h>

// Values are part of what makes a run reproducible: never renumber.
enum random_purpose {
    RANDOM_INIT = 1,     // index: element of the tensor, sub: tensor number
    RANDOM_BLOCKS = 2,   // permutation of a file's blocks
    RANDOM_WINDOW = 3,   // permutation of rows within a window, sub: stream
    RANDOM_AUGMENT = 4,  // index: row of the data set, sub: transform number
    RANDOM_DROPOUT = 5,  // index: row of the data set, sub: layer << 20 | element / 4
    RANDOM_IMPORT = 6,   // shuffle and split at import
    RANDOM_GENERATE = 7, // generated data
    RANDOM_AUDIT = 8,    // index: step, sub: grain; which ones are computed twice
    RANDOM_EXPLAIN = 9   // epoch: enum explain_draw, sub: number of the draw (trainer/explain.h)
};

struct random_key {
    uint64_t seed;
    uint32_t purpose; // enum random_purpose
    uint32_t epoch;   // below 2^24
};

// Four independent 32-bit words. Counter: {index low, index high, sub, purpose << 24 | epoch}.
void random_words(struct random_key key, uint64_t index, uint32_t sub, uint32_t out[4]);

// Uniform in [0, 1): the top 24 bits of a word.
static inline float random_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

// Uniform integer in [0, n), n > 0, from one word (multiply-shift, Lemire 2019, bias below n /
// 2^32).
static inline uint32_t random_below(uint32_t word, uint32_t n)
{
    return (uint32_t)(((uint64_t)word * n) >> 32);
}

// Writes a uniform permutation of 0..n-1 (Fisher-Yates; draw i uses index i). n < 2^32.
void random_permutation(struct random_key key, uint32_t sub, size_t n, uint32_t *out);

// Standard normal numbers for indices first..first+n-1 (Box-Muller in double, rounded once).
// libm may differ between machines: rank 0 draws, all others receive.
void random_normal(struct random_key key, uint32_t sub, uint64_t first, size_t n, float *out);

#endif
