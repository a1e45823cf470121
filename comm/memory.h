// SPDX-License-Identifier: MIT
// Checked allocation: overflow-safe sizes, 64-byte alignment, a named error when memory is out.
#ifndef SW2_COMM_MEMORY_H
#define SW2_COMM_MEMORY_H

#include <stddef.h>

#include "comm/error.h"

// Allocates count * size bytes, zeroed and aligned to 64 bytes, into *out (owned by the caller,
// release with free). count or size 0 gives a valid pointer. `what` names it in the error.
// Fails with STATUS_ERROR when the product overflows or memory is out; *out is then NULL.
enum status memory_alloc(void *out, size_t count, size_t size, const char *what);

// Bytes of this process in memory now, and the most so far (VmRSS and VmHWM of /proc/self/status,
// proc(5)); 0 where the system does not tell.
size_t memory_resident(void);
size_t memory_peak(void);

#endif
