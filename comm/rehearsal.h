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

// Reads the tape to play. After group_init. STATUS_USAGE: no such file, or no tape.
enum status rehearsal_open(void);
bool rehearsal_is_playing(void);

// Recording. start: a piece of work begins. lap: the piece since the last start or lap ends; `at`
// tells laps of a grain apart (backward's offset), in their order; is_first: of a grain.
void rehearsal_start(void);
void rehearsal_lap(size_t at, bool is_first);
void rehearsal_lap_prepare(void);
enum status rehearsal_save(void); // medians over all grains; nothing to do unless recording

// Playing: what a grain is made of, and time that passes on the simulated clock.
size_t rehearsal_n_laps(void);
size_t rehearsal_play_lap(size_t lap); // passes its time; its `at`
void rehearsal_play_prepare(void);
void rehearsal_play_add(float *restrict a, const float *restrict b, size_t n);

// Playing: zeroed memory that all ranks share if they ask for the same `what` and bytes; NULL where
// it is not folded (small, or not playing).
void *rehearsal_fold(size_t bytes, const char *what);

#else

static inline bool rehearsal_is_built(void)
{
    return false;
}
static inline bool rehearsal_is_playing(void)
{
    return false;
}

#endif
#endif
