// SPDX-License-Identifier: MIT
// Numbers, permutations and normals from Philox4x32-10; no state. Called by data, models, trainer.
#include "comm/random.h"

#include <math.h>
#include <Random123/philox.h>

#include "comm/error.h"

void random_words(struct random_key key, uint64_t index, uint32_t sub, uint32_t out[4])
{
    philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), sub,
                                 key.purpose << 24 | (key.epoch & 0xffffff)}};
    philox4x32_key_t words = {{(uint32_t)key.seed, (uint32_t)(key.seed >> 32)}};
    philox4x32_ctr_t result = philox4x32_R(10, counter, words);
    for (int i = 0; i < 4; i++)
        out[i] = result.v[i];
}

void random_permutation(struct random_key key, uint32_t sub, size_t n, uint32_t *out)
{
    ASSERT(n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) {
        uint32_t words[4];
        random_words(key, i, sub, words);
        uint32_t j = random_below(words[0], (uint32_t)i + 1);
        uint32_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}

// Two words as a double in [0, 1) with 53 bits.
static double unit_double(uint32_t low, uint32_t high)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

// Numbers 2k and 2k + 1 come from counter k: the cosine and the sine of one Box-Muller pair.
void random_normal(struct random_key key, uint32_t sub, uint64_t first, size_t n, float *out)
{
    for (size_t i = 0; i < n;) {
        uint64_t index = first + i;
        uint32_t words[4];
        random_words(key, index >> 1, sub, words);
        double radius = sqrt(-2.0 * log(1.0 - unit_double(words[0], words[1])));
        double angle = 6.283185307179586476925 * unit_double(words[2], words[3]);
        if ((index & 1) == 0)
            out[i++] = (float)(radius * cos(angle));
        if (i < n)
            out[i++] = (float)(radius * sin(angle));
    }
}
