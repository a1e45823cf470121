// SPDX-License-Identifier: MIT
// A clock of laps: where the time of one thread goes. Each mark gives the time since the mark
// before it to a numbered slot, so that the slots' times add up to the thread's wall time, gaps
// included. What a slot means is the business of whoever marks it: models/model.h numbers those of
// layers, trainer/profile.h the rest. Time is for people: nothing computed may depend on it.
//
// A NULL clock is off: a mark is then one branch. One clock a thread; no locks.
#ifndef SW2_COMM_LAPS_H
#define SW2_COMM_LAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct lap_slot {
    double seconds;
    uint64_t calls;
};

struct lap_event {
    double begin, end; // seconds since laps_start
    uint32_t slot, lane;
};

struct laps {
    double origin, last; // laps_now() of start and of the last mark
    size_t n_slots;
    struct lap_slot *slots;   // (n_slots), owned
    struct lap_event *events; // (max_events), owned: the first laps, for a trace
    size_t n_events, max_events;
    uint32_t lane; // number of the thread in the trace
};

// All memory of a clock; slots start at zero. STATUS_ERROR: memory.
enum status laps_init(struct laps *laps, size_t n_slots, size_t max_events, uint32_t lane);
void laps_free(struct laps *laps);
double laps_now(void);              // seconds, monotonic
void laps_start(struct laps *laps); // time 0, nothing marked; the first lap begins
void laps_clear(struct laps *laps); // slots to zero (a warm-up is over); events stay
void laps_lap(struct laps *laps, size_t slot);
// An event beside the laps (a span that encloses some of them): adds to no slot.
void laps_span(struct laps *laps, size_t slot, double begin, double end);
// total[i] += slots[i].
void laps_add(const struct laps *laps, struct lap_slot *total);

static inline void laps_mark(struct laps *laps, size_t slot)
{
    if (laps)
        laps_lap(laps, slot);
}

#endif
