// SPDX-License-Identifier: MIT
// Rings of events, one a thread, in static memory. A thread writes its own ring only; others read
// it while it is written: whole records are told from torn ones by the count read before and after.
#include "comm/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DEPTH 12 // activities inside one another that are remembered
#define STEPS 32

#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)

struct slot {
    _Atomic uint64_t at, step, number, share;
    const char *_Atomic text, *_Atomic around;
    _Atomic uint64_t ticks; // before it
    _Atomic unsigned kind, is_end, is_step;
};

struct activity {
    enum events_kind kind;
    const char *text;
    uint64_t number;
};

struct lane {
    atomic_bool is_taken;
    _Atomic unsigned role, number;
    _Atomic int thread;    // 0: none
    _Atomic uint64_t head; // events noted
    struct events_ticks ticks;
    const char *_Atomic shares[EVENTS_SHARES];
    struct slot ring[EVENTS_RING];
    // Of the thread alone.
    int depth;
    int step_depth; // of the step in hand, 0: none
    struct activity stack[DEPTH];
    uint64_t n_shares;
};

static struct lane lanes[EVENTS_LANES];
static _Atomic uint64_t current_step;
static _Atomic uint64_t step_at[STEPS]; // begin of step n at n % STEPS
static _Atomic uint64_t n_steps;        // begun

static _Thread_local struct lane *own_lane;
_Thread_local struct events_ticks *events_own;

uint64_t events_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Whoever sees a field of a new record also sees the count that came before it: so stores release.
static void note(struct lane *lane, bool is_end)
{
    const struct activity *now = &lane->stack[lane->depth < DEPTH ? lane->depth : DEPTH - 1];
    const struct activity *around = lane->depth > 0 && lane->depth < DEPTH ? now - 1 : NULL;
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    struct slot *slot = &lane->ring[head % EVENTS_RING];
    PUT(slot->at, events_now());
    PUT(slot->step, atomic_load_explicit(&current_step, memory_order_relaxed));
    PUT(slot->number, now->number);
    PUT(slot->share, lane->n_shares);
    PUT(slot->text, now->text);
    PUT(slot->around, around ? around->text : NULL);
    PUT(slot->ticks, atomic_load_explicit(&lane->ticks.n, memory_order_relaxed));
    PUT(slot->kind, (unsigned)now->kind);
    PUT(slot->is_end, is_end);
    PUT(slot->is_step, lane->step_depth > 0);
    PUT(lane->head, head + 1);
}

static void put_now(struct lane *lane, enum events_kind kind, const char *text, uint64_t number)
{
    if (kind == EVENTS_SHARE)
        PUT(lane->shares[++lane->n_shares % EVENTS_SHARES], text);
    if (lane->depth < DEPTH)
        lane->stack[lane->depth] = (struct activity){kind, text, number};
    note(lane, false);
}

// For top -H and debuggers; the main thread bears the program's name.
static void thread_name(enum events_role role, int number)
{
    char name[16]; // as the kernel takes it
    if (role == EVENTS_WORKER)
        snprintf(name, sizeof name, "worker %d", number);
    else
        snprintf(name, sizeof name, "%s", events_role_name(role));
    if (role != EVENTS_MAIN)
        prctl(PR_SET_NAME, name);
}

void events_attach(enum events_role role, int number, enum events_kind kind, const char *text)
{
    if (own_lane)
        events_detach();
    for (int i = 0; i < EVENTS_LANES; i++) {
        struct lane *lane = &lanes[i];
        if (atomic_exchange(&lane->is_taken, true))
            continue;
        own_lane = lane;
        events_own = &lane->ticks;
        lane->depth = lane->step_depth = 0;
        lane->n_shares = 0;
        PUT(lane->role, (unsigned)role);
        PUT(lane->number, (unsigned)number);
        put_now(lane, kind, text, 0);
        PUT(lane->thread, (int)syscall(SYS_gettid));
        thread_name(role, number);
        return;
    }
}

void events_detach(void)
{
    if (!own_lane)
        return;
    PUT(own_lane->thread, 0);
    atomic_store(&own_lane->is_taken, false);
    own_lane = NULL;
    events_own = NULL;
}

void events_begin(enum events_kind kind, const char *text, uint64_t number)
{
    struct lane *lane = own_lane;
    if (!lane)
        return;
    lane->depth++;
    put_now(lane, kind, text, number);
}

void events_end(void)
{
    struct lane *lane = own_lane;
    if (!lane || lane->depth == 0)
        return;
    if (--lane->depth < lane->step_depth)
        lane->step_depth = 0;
    note(lane, true);
}

void events_turn(enum events_kind kind, const char *text, uint64_t number)
{
    if (own_lane)
        put_now(own_lane, kind, text, number);
}

void events_step(uint64_t step)
{
    if (!own_lane)
        return;
    atomic_store_explicit(&current_step, step, memory_order_relaxed);
    own_lane->step_depth = own_lane->depth + 1;
    events_begin(EVENTS_WORK, "step", step);
    uint64_t n = atomic_load_explicit(&n_steps, memory_order_relaxed);
    PUT(step_at[n % STEPS], events_now());
    PUT(n_steps, n + 1);
}

// ---- looking

// Record number i of the lane; false: it has been overwritten.
static bool record_read(struct lane *lane, uint64_t i, struct events_record *out, uint64_t *ticks,
                        const char **around)
{
    struct slot *slot = &lane->ring[i % EVENTS_RING];
    *out = (struct events_record){.at = GET(slot->at),
                                  .step = GET(slot->step),
                                  .number = GET(slot->number),
                                  .share = GET(slot->share),
                                  .text = GET(slot->text),
                                  .kind = (enum events_kind)GET(slot->kind),
                                  .is_end = GET(slot->is_end) != 0,
                                  .is_step = GET(slot->is_step) != 0};
    *ticks = GET(slot->ticks);
    *around = GET(slot->around);
    return GET(lane->head) < i + EVENTS_RING; // at head - EVENTS_RING the next is being written
}

bool events_look(int at, struct events_view *view)
{
    struct lane *lane = &lanes[at];
    *view = (struct events_view){.thread = GET(lane->thread)};
    if (view->thread == 0)
        return false;
    view->role = (enum events_role)GET(lane->role);
    view->number = (int)GET(lane->number);
    for (int tries = 0; tries < 3; tries++) {
        uint64_t head = GET(lane->head), ticks = GET(lane->ticks.n), ticks_then;
        if (head == 0 || !record_read(lane, head - 1, &view->now, &ticks_then, &view->around))
            continue;
        view->progress = head + ticks;
        for (int i = 0; i < EVENTS_SHARES; i++)
            view->shares[i] = GET(lane->shares[i]);
        if (ticks > ticks_then) {
            view->tick = GET(lane->ticks.text);
            view->tick_number = GET(lane->ticks.number);
        }
        return true;
    }
    return false;
}

size_t events_copy(int at, struct events_record out[EVENTS_RING])
{
    struct lane *lane = &lanes[at];
    uint64_t head = GET(lane->head), n = head < EVENTS_RING - 1 ? head : EVENTS_RING - 1, ticks;
    const char *around;
    size_t count = 0;
    for (uint64_t i = head - n; i < head; i++)
        count += record_read(lane, i, &out[count], &ticks, &around);
    return count;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

double events_median_step(void)
{
    uint64_t n = GET(n_steps), took[STEPS], at[STEPS];
    size_t known = n < STEPS ? (size_t)n : STEPS, count = 0;
    for (size_t i = 0; i < known; i++)
        at[i] = GET(step_at[(n - known + i) % STEPS]);
    for (size_t i = 1; i < known; i++) // one may have been overwritten meanwhile: out of order
        if (at[i] > at[i - 1])
            took[count++] = at[i] - at[i - 1];
    if (count < 3)
        return 0;
    qsort(took, count, sizeof *took, compare);
    return 1e-9 * (double)took[count / 2];
}

const char *events_role_name(enum events_role role)
{
    static const char *const names[] = {"main thread", "worker", "reading thread", "saving thread",
                                        "thread"};
    return names[role <= EVENTS_OTHER ? role : EVENTS_OTHER];
}

const char *events_kind_name(enum events_kind kind)
{
    static const char *const names[] = {"work", "read", "slow", "thread", "share", "wait", "idle"};
    return kind <= EVENTS_IDLE ? names[kind] : "?";
}
