// SPDX-License-Identifier: MIT
// The watchdog at this number of ranks: ranks that wait for each other for longer than its patience
// but go on are left alone. With an argument one rank, the last, hangs; e2e_watchdog.sh looks at
// what is said then.
#include <string.h>
#include <unistd.h>

#include "comm/events.h"
#include "comm/group_private.h"
#include "comm/watchdog.h"

#define SECONDS 1.0

static void pass(double seconds, bool has_ticks)
{
    for (double end = group_time() + seconds; group_time() < end; usleep(20000))
        if (has_ticks)
            events_tick("a part", 0);
}

static void steps(struct group *group, int n)
{
    for (int step = 1; step <= n; step++) {
        events_step((uint64_t)step);
        pass(0.005, false);
        group_barrier(group);
        events_end();
    }
}

// One rank is slow but alive, and one starts up for long.
static enum status check_slow(struct group *group)
{
    bool is_last = group->rank == group->size - 1;
    events_step(9);
    events_begin(EVENTS_WORK, "grain", 1);
    if (is_last)
        pass(2 * SECONDS, true);
    group_barrier(group);
    events_end();
    events_end();
    events_begin(EVENTS_SLOW, "saves", 1);
    if (group->rank == 0)
        pass(2 * SECONDS, false);
    group_barrier(group);
    events_end();
    return STATUS_OK;
}

static enum status hang_like(struct group *group, const char *how)
{
    bool is_last = group->rank == group->size - 1;
    char all[64 * sizeof(int)];
    events_step(9);
    if (is_last && strcmp(how, "order") == 0) // leaves out the gather
        group_barrier(group);
    if (is_last && strcmp(how, "work") == 0)
        pass(1000, false);
    if (is_last && strcmp(how, "gone") == 0)
        group_kill(7);
    group_allgather(group, &group->rank, sizeof group->rank, all);
    group_barrier(group);
    events_end();
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_watchdog", &argc, &argv);
    if (status == STATUS_OK)
        status = watchdog_start(group, SECONDS);
    if (status == STATUS_OK) {
        steps(group, 8);
        status = argc > 1 ? hang_like(group, argv[1]) : check_slow(group);
    }
    return group_finish(group, status);
}
