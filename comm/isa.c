// SPDX-License-Identifier: MIT
// Finds the instruction set of this CPU and keeps the one in force. Called by group (agreement)
// and by whoever plans kernels.
#include "comm/isa.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const names[] = {"base", "avx2", "avx512"};
static enum isa current;
static int is_set;
static char forbidden[256]; // why bf16 is, or empty

#if defined(__x86_64__)
// What the compiler's built-in names do not cover on all compilers: MOVBE, F16C and LZCNT.
static int has_v3_rest(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 22) || !(c & 1u << 29))
        return 0;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1u << 5);
}
#endif

enum isa isa_detect(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") || !has_v3_rest())
        return ISA_BASE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return ISA_AVX2;
    return ISA_AVX512;
#else
    return ISA_BASE;
#endif
}

bool isa_detect_bf16(void)
{
#if defined(__x86_64__)
    static int has = -1; // once: CPUID is slow under a hypervisor
    unsigned a, b, c, d;
    if (has < 0)
        has =
            isa_detect() == ISA_AVX512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
    return has;
#else
    return false;
#endif
}

const char *isa_bf16_missing(void)
{
    if (forbidden[0])
        return forbidden;
    static const char *const at_most[] = {"this CPU has base at most", "this CPU has avx2 at most",
                                          "this CPU has avx512 without it"};
    return isa_detect_bf16() && isa_current() == ISA_AVX512 ? NULL : at_most[isa_current()];
}

void isa_forbid_bf16(const char *why)
{
    snprintf(forbidden, sizeof forbidden, "%s", why ? why : "");
}

enum isa isa_current(void)
{
    if (!is_set) // once: CPUID is slow where a hypervisor traps it, and kernels ask at every call
        isa_set(isa_detect());
    return current;
}

void isa_set(enum isa isa)
{
    current = isa;
    is_set = 1;
}

const char *isa_name(enum isa isa)
{
    ASSERT(isa >= ISA_BASE && isa <= ISA_AVX512);
    return names[isa];
}

enum status isa_from_name(const char *name, enum isa *out, bool *has_bf16)
{
    *has_bf16 = strcmp(name, "avx512_bf16") == 0;
    if (*has_bf16) {
        *out = ISA_AVX512;
        return STATUS_OK;
    }
    for (int i = 0; i <= ISA_AVX512; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum isa)i;
            return STATUS_OK;
        }
    }
    FAIL(STATUS_USAGE,
         "unknown instruction set '%s', expected base, avx2, avx512 or "
         "avx512_bf16",
         name);
}
