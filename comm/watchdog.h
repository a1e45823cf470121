// SPDX-License-Identifier: MIT
// Names a rank that hangs, and ends the job. One thread a rank looks at what the other threads note
// (events.h) and tells rank 0's several times a second; rank 0's judges, rank 1's where rank 0 does
// not answer, any other where both do not. Over UDP: MPI belongs to the main thread.
//
// Named are, with host, step and activity: a rank that is stopped or whose host is gone (no word
// from it), that loops or blocks in I/O (no progress while others or its own main thread wait), or
// that has left the order of collectives. After `seconds` or 10 median steps, whatever is longer;
// where no progress is promised (starting up, saving), after 60 times that. Time that a thread was
// ready to run but had no core does not count, nor does time in which everything stood still (a
// suspended laptop, Ctrl-Z).
#ifndef SW2_COMM_WATCHDOG_H
#define SW2_COMM_WATCHDOG_H

#include "comm/group.h"

#define WATCHDOG_SECONDS 4.0

// "off" (0) or seconds, at least 0.1. STATUS_USAGE.
enum status watchdog_parse(const char *text, double *seconds);

// Collective, main thread, once: attaches it to the events and begins to watch; rank 0's `seconds`
// count, 0: no watch. Where there is no network it warns and goes on without.
enum status watchdog_start(struct group *group, double seconds);
// Where the rings go (hang-rank-N.txt); before: the current folder.
void watchdog_folder(const char *path);
// Local: nothing is judged any more. Called by group_free.
void watchdog_stop(void);

#endif
