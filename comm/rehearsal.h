// SPDX-License-Identifier: MIT
// Rehearsal: the program itself on a simulated cluster (SimGrid's SMPI; builds with SW2_SMPI, see
// scripts/simulate.sh). Messages, clocks and pauses are simulated; computation is real, and its
// measured CPU time passes on the simulated clock, unless a tape stands for it.
//
// A tape is a text file with the times of one rank's computation, measured before: the laps of one
// grain (until each call of backward's hook), of preparing weights, of one addition. Environment:
//   SW2_TAPE_RECORD=FILE  compute, and write the tape of this run (one rank)
//   SW2_TAPE_PLAY=FILE    pass the tape's times instead of computing; large buffers are folded: one
//                         memory for all ranks, whose messages are not copied. Weights then mean
//                         nothing, times do.
// In other builds everything here is a constant and compiles to nothing.
#ifndef SW2_COMM_REHEARSAL_H
#define SW2_COMM_REHEARSAL_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/error.h"

#ifdef SW2_SMPI

static inline bool rehearsal_is_built(void)
{
    return true;
}

// Reads the tape to play, or begins to record. `what` says what the tape is good for (sizes of the
// run): other tapes are refused. After group_init. STATUS_USAGE: no such file, not its tape.
enum status rehearsal_open(const char *what);
bool rehearsal_is_playing(void);

// Recording (else nothing happens). grain: a grain begins. lap: what was done since the grain began
// or the last lap went on ends, at this call of backward's hook. go_on: after the hook. prepared:
// weights were prepared since go_on. updated: all weights were updated since go_on.
void rehearsal_grain(void);
void rehearsal_lap(size_t offset);
void rehearsal_go_on(void);
void rehearsal_prepared(void);
void rehearsal_updated(void);
enum status rehearsal_save(void); // medians over the grains of the run

// Playing: laps of a grain: passes the time of one, returns the hook's offset.
size_t rehearsal_n_laps(void);
size_t rehearsal_play(size_t lap);
void rehearsal_play_prepare(void);
void rehearsal_play_update(double share); // of the weights that this rank updates

// What adds in the place of `add`: while playing, time passes. Recording measures it.
typedef void rehearsal_add_fn(float *sum, const float *a, const float *b, size_t n);
rehearsal_add_fn *rehearsal_add(rehearsal_add_fn *add);

// Playing: zeroed memory that all ranks share if they ask for the same `what` and bytes; NULL where
// it is not folded (small, or not playing).
void *rehearsal_fold(size_t bytes, const char *what);

#else

typedef void rehearsal_add_fn(float *sum, const float *a, const float *b, size_t n);

static inline bool rehearsal_is_built(void)
{
    return false;
}

static inline enum status rehearsal_open(const char *what)
{
    (void)what;
    return STATUS_OK;
}

static inline bool rehearsal_is_playing(void)
{
    return false;
}

static inline void rehearsal_grain(void) {}

static inline void rehearsal_lap(size_t offset)
{
    (void)offset;
}

static inline void rehearsal_go_on(void) {}

static inline void rehearsal_prepared(void) {}

static inline void rehearsal_updated(void) {}

static inline void rehearsal_play_update(double share)
{
    (void)share;
}

static inline enum status rehearsal_save(void)
{
    return STATUS_OK;
}

static inline size_t rehearsal_n_laps(void)
{
    return 0;
}

static inline size_t rehearsal_play(size_t lap)
{
    return lap;
}

static inline void rehearsal_play_prepare(void) {}

static inline rehearsal_add_fn *rehearsal_add(rehearsal_add_fn *add)
{
    return add;
}

static inline void *rehearsal_fold(size_t bytes, const char *what)
{
    (void)bytes;
    (void)what;
    return NULL;
}

#endif
#endif
