// SPDX-License-Identifier: MIT
// Instruction sets change bits, so there is one setting for the process, and all ranks agree on it.
#ifndef SW2_COMM_ISA_H
#define SW2_COMM_ISA_H

#include "comm/error.h"

enum isa {
    ISA_BASE = 0,
    ISA_AVX2 = 1,
    ISA_AVX512 = 2
}; // x86-64-v2, -v3, -v4; higher contains lower

enum isa isa_detect(void);  // best this CPU (and its OS) has; ISA_BASE on other architectures
enum isa isa_current(void); // what is in force: isa_detect() until isa_set()
void isa_set(enum isa isa); // before any kernel is planned
const char *isa_name(enum isa isa); // "base", "avx2", "avx512"
// From a name, for the environment variable SW2_ISA (lowers what is used) and checkpoints;
// STATUS_USAGE.
enum status isa_from_name(const char *name, enum isa *out);

#endif
