// SPDX-License-Identifier: MIT
// Messages between two ranks: prints the latency of one byte in seconds and the bandwidth of
// messages as long as half a bucket in bytes a second. scripts/simulate.sh calibrates with it.
#include <stdio.h>
#include <stdlib.h>

#include "comm/group.h"
#include "comm/memory.h"

#define BYTES ((size_t)512 << 10)
#define ROUNDS 9

// Best of some rounds: seconds of one message of n bytes, there and back in turn.
static double message_seconds(struct group *group, void *bytes, size_t n, int count)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        group_barrier(group);
        double start = group_time();
        for (int i = 0; i < count; i++)
            group_broadcast(group, bytes, n, i % 2);
        double took = (group_time() - start) / count;
        best = took < best ? took : best;
    }
    return best;
}

static enum status measure(struct group *group)
{
    void *bytes;
    CHECK(group->size == 2, STATUS_USAGE, "%d ranks: run it with mpirun -np 2", group->size);
    TRY(memory_alloc(&bytes, BYTES, 1, "a message"));
    double latency = message_seconds(group, bytes, 1, 2000);
    double seconds = message_seconds(group, bytes, BYTES, 200) - latency;
    if (group->rank == 0)
        printf("%.3e %.4e\n", latency, (double)BYTES / seconds);
    free(bytes);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "bench_pingpong", &argc, &argv);
    if (status == STATUS_OK)
        status = measure(group);
    return group_finish(group, status);
}
