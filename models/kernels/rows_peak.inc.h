// SPDX-License-Identifier: MIT
// The peak of the core: twelve independent chains of fused multiply-adds in registers, nothing
// else. Included by rows_isa.c.

#if defined(__AVX512F__)
#define FMA_REGISTER "+v"
#elif defined(__SSE2__)
#define FMA_REGISTER "+x"
#elif defined(__aarch64__)
#define FMA_REGISTER "+w"
#else
#define FMA_REGISTER "+m"
#endif

// One step of a chain; the empty assembly keeps it as written, in a register.
#define FMA_STEP(chain)                                                                            \
    chain = chain * a + b;                                                                         \
    __asm__ volatile("" : FMA_REGISTER(chain))

static double fma_peak(size_t rounds)
{
    volatile float seed = 0.999f; // not for the compiler to know
    vec a = vec_all(seed), b = vec_all(1 - seed);
    vec c0 = b, c1 = b, c2 = b, c3 = b, c4 = b, c5 = b, c6 = b, c7 = b, c8 = b, c9 = b;
    vec c10 = b, c11 = b;
    for (size_t round = 0; round < rounds; round++) {
        FMA_STEP(c0);
        FMA_STEP(c1);
        FMA_STEP(c2);
        FMA_STEP(c3);
        FMA_STEP(c4);
        FMA_STEP(c5);
        FMA_STEP(c6);
        FMA_STEP(c7);
        FMA_STEP(c8);
        FMA_STEP(c9);
        FMA_STEP(c10);
        FMA_STEP(c11);
    }
    vec sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
    volatile float sink = sum[0];
    (void)sink;
    return 2.0 * VEC * 12 * (double)rounds;
}
