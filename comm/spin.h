// SPDX-License-Identifier: MIT
// Waiting for another thread or rank that is expected within microseconds.
#ifndef SW2_COMM_SPIN_H
#define SW2_COMM_SPIN_H

#include <sched.h>

// Rounds before the core is offered to others. Set once at start, to few where there are fewer
// cores than ranks and threads (group.c, workers.c): then the one that is waited for needs it. Else
// to some hundred microseconds: whoever gets the core, keeps it for milliseconds.
extern unsigned spin_patience;
#define SPIN_PATIENT 16384u
#define SPIN_CROWDED 16u

// One round of a waiting loop; *rounds starts at 0.
static inline void spin_wait(unsigned *rounds)
{
    if (++*rounds >= spin_patience) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif
