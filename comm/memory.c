// SPDX-License-Identifier: MIT
#include "comm/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "comm/rehearsal.h"

#define HUGE_PAGE ((size_t)2 << 20)

// Large memory on huge pages, where the system grants them: activations are walked through once a
// pass, and a miss of the TLB each 4 KiB costs as much as the data. Only whole huge pages are asked
// for, so that no memory is used beyond what was wanted.
static void *fresh_alloc(size_t bytes)
{
    void *fresh = NULL;
    if (bytes >= HUGE_PAGE)
        mallopt(M_MMAP_THRESHOLD, (int)HUGE_PAGE); // a mapping of its own, gone when it is freed
    if (posix_memalign(&fresh, bytes < HUGE_PAGE ? 64 : HUGE_PAGE, bytes) != 0)
        return NULL;
    if (bytes >= HUGE_PAGE)
        madvise(fresh, bytes & ~(HUGE_PAGE - 1), MADV_HUGEPAGE); // a hint: no matter if refused
    return fresh;
}

enum status memory_alloc(void *out, size_t count, size_t size, const char *what)
{
    void *fresh = NULL;
    memcpy(out, &fresh, sizeof fresh);
    size_t bytes = 0;
    CHECK(!__builtin_mul_overflow(count, size, &bytes) && bytes <= (size_t)1 << 50, STATUS_ERROR,
          "%s: %zu x %zu bytes is more than any machine has", what, count, size);
    bytes = (bytes + 64) & ~(size_t)63;
    void *folded = rehearsal_fold(bytes, what);
    fresh = folded ? folded : fresh_alloc(bytes);
    CHECK(fresh, STATUS_ERROR, "out of memory: %s needs %zu MiB", what, bytes >> 20);
    if (!folded)
        memset(fresh, 0, bytes);
    memcpy(out, &fresh, sizeof fresh);
    return STATUS_OK;
}

static size_t status_bytes(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    size_t kib = 0, n = strlen(key);
    while (file && kib == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, n) == 0)
            kib = strtoull(line + n, NULL, 10);
    if (file)
        fclose(file);
    return kib * 1024;
}

size_t memory_resident(void)
{
    return status_bytes("VmRSS:");
}

size_t memory_peak(void)
{
    return status_bytes("VmHWM:");
}
