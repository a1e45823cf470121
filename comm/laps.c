// SPDX-License-Identifier: MIT
#include "comm/laps.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/memory.h"

double laps_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum status laps_init(struct laps *laps, size_t n_slots, size_t max_events, uint32_t lane)
{
    *laps = (struct laps){.n_slots = n_slots, .max_events = max_events, .lane = lane};
    TRY(memory_alloc(&laps->slots, n_slots, sizeof *laps->slots, "times of the profile"));
    TRY(memory_alloc(&laps->events, max_events, sizeof *laps->events, "events of the profile"));
    return STATUS_OK;
}

void laps_free(struct laps *laps)
{
    free(laps->slots);
    free(laps->events);
    *laps = (struct laps){0};
}

void laps_clear(struct laps *laps)
{
    memset(laps->slots, 0, laps->n_slots * sizeof *laps->slots);
}

void laps_start(struct laps *laps)
{
    laps_clear(laps);
    laps->n_events = 0;
    laps->origin = laps->last = laps_now();
}

void laps_span(struct laps *laps, size_t slot, double begin, double end)
{
    if (laps->n_events < laps->max_events)
        laps->events[laps->n_events++] = (struct lap_event){
            begin - laps->origin, end - laps->origin, (uint32_t)slot, laps->lane};
}

void laps_lap(struct laps *laps, size_t slot)
{
    ASSERT(slot < laps->n_slots);
    double now = laps_now();
    laps->slots[slot].seconds += now - laps->last;
    laps->slots[slot].calls++;
    laps_span(laps, slot, laps->last, now);
    laps->last = now;
}

void laps_add(const struct laps *laps, struct lap_slot *total)
{
    for (size_t i = 0; i < laps->n_slots; i++) {
        total[i].seconds += laps->slots[i].seconds;
        total[i].calls += laps->slots[i].calls;
    }
}
