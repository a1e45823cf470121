// SPDX-License-Identifier: MIT
// The measured peak: independent chains of fused multiply-adds, nothing else.
#include <time.h>

#include "comm/isa.h"
#include "tests/bench/conv_sides.h"

double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void bench_fill(float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((i * 2654435761u >> 7) % 255) / 1024.0f - 0.12f;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define FMA(sum) "vfmadd213ps %13, %12, " sum "\n\t"
enum { CHAINS = 12, TURNS = 50000 };

__attribute__((target("avx512f"), noinline)) static float turns_512(float seed)
{
    const __m512 x = _mm512_set1_ps(seed), y = _mm512_set1_ps(1e-9f);
    __m512 a0 = x, a1 = x, a2 = x, a3 = x, a4 = x, a5 = x, a6 = x, a7 = x, a8 = x, a9 = x, a10 = x,
           a11 = x;
    for (int t = 0; t < TURNS; t++)
        __asm__ volatile(FMA("%0") FMA("%1") FMA("%2") FMA("%3") FMA("%4") FMA("%5") FMA("%6")
                             FMA("%7") FMA("%8") FMA("%9") FMA("%10") FMA("%11")
                         : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5), "+v"(a6),
                           "+v"(a7), "+v"(a8), "+v"(a9), "+v"(a10), "+v"(a11)
                         : "v"(x), "v"(y));
    __m512 sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
    return _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx2,fma"), noinline)) static float turns_256(float seed)
{
    const __m256 x = _mm256_set1_ps(seed), y = _mm256_set1_ps(1e-9f);
    __m256 a0 = x, a1 = x, a2 = x, a3 = x, a4 = x, a5 = x, a6 = x, a7 = x, a8 = x, a9 = x, a10 = x,
           a11 = x;
    for (int t = 0; t < TURNS; t++)
        __asm__ volatile(FMA("%0") FMA("%1") FMA("%2") FMA("%3") FMA("%4") FMA("%5") FMA("%6")
                             FMA("%7") FMA("%8") FMA("%9") FMA("%10") FMA("%11")
                         : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(a6),
                           "+x"(a7), "+x"(a8), "+x"(a9), "+x"(a10), "+x"(a11)
                         : "x"(x), "x"(y));
    float lanes[8], sum = 0;
    _mm256_storeu_ps(lanes, a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
    for (int i = 0; i < 8; i++)
        sum += lanes[i];
    return sum;
}

double bench_peak(double seconds)
{
    enum isa isa = isa_current();
    volatile float sink = 0;
    double start = bench_now(), flops = 0, end = start;
    if (isa == ISA_BASE)
        return 0;
    while ((end = bench_now()) - start < seconds) {
        sink = sink + (isa == ISA_AVX512 ? turns_512(0.5f) : turns_256(0.5f));
        flops += 2.0 * CHAINS * TURNS * (isa == ISA_AVX512 ? 16 : 8);
    }
    return flops / (end - start) / 1e9;
}
#else
double bench_peak(double seconds)
{
    (void)seconds;
    return 0; // unknown
}
#endif
