// SPDX-License-Identifier: MIT
// Instruction sets change bits, so there is one setting for the process, and all ranks agree on it.
#ifndef SW2_COMM_ISA_H
#define SW2_COMM_ISA_H

#include <stdbool.h>

#include "comm/error.h"

enum isa {
    ISA_BASE = 0,
    ISA_AVX2 = 1,
    ISA_AVX512 = 2
}; // x86-64-v2, -v3, -v4; higher contains lower

enum isa isa_detect(void);  // best this CPU (and its OS) has; ISA_BASE on other architectures
enum isa isa_current(void); // what is in force: isa_detect() until isa_set()
void isa_set(enum isa isa); // before any kernel is planned
// That of three tables which is for the one in force.
static inline const void *isa_choose(const void *base, const void *avx2, const void *avx512)
{
    const void *const tables[] = {[ISA_BASE] = base, [ISA_AVX2] = avx2, [ISA_AVX512] = avx512};
    return tables[isa_current()];
}
const char *isa_name(enum isa isa); // "base", "avx2", "avx512"
// From a name, for the environment variable SW2_ISA (lowers what is used); STATUS_USAGE.
// "avx512_bf16" is ISA_AVX512 and has_bf16, all others are without.
enum status isa_from_name(const char *name, enum isa *out, bool *has_bf16);

// AVX512_BF16, beside ISA_AVX512: used only where a recipe asks for it, so it is no level of its
// own and changes no other bits.
bool isa_detect_bf16(void);            // this CPU and its OS have both
const char *isa_bf16_missing(void);    // NULL: in force; else what lacks it: "its CPU has avx2"
void isa_forbid_bf16(const char *why); // copied; NULL: allowed again, where this CPU has it

#endif
