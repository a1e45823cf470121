// SPDX-License-Identifier: MIT
// Faults that the environment asks for (layer.h): which call is to wait or to fail, and random
// numbers, a stream of its own on each rank.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/pmpi/layer.h"

static struct {
    int rank, fail_rank;
    long calls, fail_call;
    long delay_us; // 0: none
    bool is_holding;
    uint64_t random;
} self;

// The launcher says it before MPI does: MPI_Init_thread may be the call that fails.
static int rank_of_environment(void)
{
    const char *text = getenv("OMPI_COMM_WORLD_RANK");
    if (!text)
        text = getenv("PMI_RANK");
    return text ? atoi(text) : 0;
}

void inject_start(void)
{
    self.rank = rank_of_environment();
    long seed = 1;
    const char *text = getenv("PMPI_DELAY");
    if (text && sscanf(text, "%ld:%ld", &seed, &self.delay_us) != 2)
        abort();
    text = getenv("PMPI_HOLD");
    self.is_holding = text && sscanf(text, "%ld", &seed) == 1;
    text = getenv("PMPI_FAIL");
    if (text && sscanf(text, "%d:%ld", &self.fail_rank, &self.fail_call) != 2)
        abort();
    self.random = ((uint64_t)seed << 20) + (uint64_t)self.rank + 1;
}

// xorshift64* (Vigna 2016).
uint32_t inject_random(uint32_t n)
{
    self.random ^= self.random >> 12;
    self.random ^= self.random << 25;
    self.random ^= self.random >> 27;
    return (uint32_t)(((self.random * UINT64_C(2685821657736338717)) >> 32) % n);
}

bool inject_call(void)
{
    self.calls++;
    if (self.delay_us > 0 && inject_random(10) == 0) {
        struct timespec pause = {.tv_nsec = 1000 * (long)inject_random((uint32_t)self.delay_us)};
        nanosleep(&pause, NULL);
    }
    return self.fail_call == self.calls && self.fail_rank == self.rank;
}

bool inject_is_holding(void)
{
    return self.is_holding;
}

long inject_calls(void)
{
    return self.calls;
}
