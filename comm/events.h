// SPDX-License-Identifier: MIT
// What each thread of this process is doing, and what it did last: a ring of events a thread, for
// the watchdog (watchdog.h) and for people. Noting costs some 30 ns, a tick 2 ns; neither locks,
// allocates nor fails, and in a thread that is not attached both do nothing. Nothing computed may
// depend on it.
//
// Texts are static: they outlive the thread, and another thread reads them.
#ifndef SW2_COMM_EVENTS_H
#define SW2_COMM_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENTS_RING 256  // newest events of a thread that are kept
#define EVENTS_LANES 160 // threads at a time; more are not seen
#define EVENTS_SHARES 8  // newest collectives that are known by name, however long ago

// What a thread without progress may be blamed for.
enum events_kind {
    EVENTS_WORK,   // computes: progress is expected
    EVENTS_READ,   // reads data: progress is expected
    EVENTS_SLOW,   // starts up, saves: may take long without a sign
    EVENTS_THREAD, // waits for another thread of this process: `number` is its events_role
    EVENTS_SHARE, // waits for other ranks in a collective, which gets the next number (main thread)
    EVENTS_WAIT,  // waits for other ranks' or threads' parts of a sum
    EVENTS_IDLE,  // has nothing to do
};

enum events_role { EVENTS_MAIN, EVENTS_WORKER, EVENTS_LOADER, EVENTS_WRITER, EVENTS_OTHER };

// The calling thread begins and ends to be seen. A thread attaches itself first thing, as number
// `number` of its role, with an activity that is below all others.
void events_attach(enum events_role role, int number, enum events_kind kind, const char *text);
void events_detach(void); // before the thread ends

// An activity inside the one in hand; after its end that one is in hand again.
void events_begin(enum events_kind kind, const char *text, uint64_t number);
void events_end(void);
// The activity in hand is another from here on.
void events_turn(enum events_kind kind, const char *text, uint64_t number);
// Main thread: training step `step` (counted from 1) begins, as an activity. The times between
// these calls are the steps' times.
void events_step(uint64_t step);

// Progress inside the activity in hand, not kept in the ring: "layer conv, 3".
struct events_ticks {
    _Atomic uint64_t n, number;
    const char *_Atomic text;
};
extern _Thread_local struct events_ticks *events_own; // NULL: not attached

static inline void events_tick(const char *text, uint64_t number)
{
    struct events_ticks *own = events_own;
    if (!own)
        return;
    atomic_store_explicit(&own->text, text, memory_order_relaxed);
    atomic_store_explicit(&own->number, number, memory_order_relaxed);
    uint64_t n = atomic_load_explicit(&own->n, memory_order_relaxed);
    atomic_store_explicit(&own->n, n + 1, memory_order_relaxed);
}

// ---- for the watchdog: any thread may look

struct events_record {
    uint64_t at;            // ns, CLOCK_MONOTONIC
    uint64_t step;          // of the main thread, 0: none yet
    uint64_t number, share; // share: collectives begun by then
    const char *text;
    enum events_kind kind;
    bool is_end;  // back to it, from one inside it
    bool is_step; // inside a training step
};

struct events_view {
    enum events_role role;
    int number, thread;                // thread: the kernel's number of it
    uint64_t progress;                 // changes with every event and tick
    struct events_record now;          // what is in hand
    const char *around;                // what that is inside of; NULL: nothing
    const char *shares[EVENTS_SHARES]; // name of collective n at n % EVENTS_SHARES, or NULL
    const char *tick;                  // last tick since `now` began, NULL: none
    uint64_t tick_number;
};

// False: lane (below EVENTS_LANES) has no thread, or it is noting just now.
bool events_look(int lane, struct events_view *view);
// The newest events, oldest first; their count, at most EVENTS_RING - 1.
size_t events_copy(int lane, struct events_record out[EVENTS_RING]);
double events_median_step(void); // seconds, of the last 31 steps; 0: fewer than 3 so far
uint64_t events_now(void);       // ns, CLOCK_MONOTONIC
const char *events_role_name(enum events_role role);
const char *events_kind_name(enum events_kind kind);

#endif
