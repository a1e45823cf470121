// SPDX-License-Identifier: MIT
// Progress of sw2-data's commands, and the signals that end them. data_catch_signals is in
// data_commands.h.
#ifndef SW2_TRAINER_DATA_PROGRESS_H
#define SW2_TRAINER_DATA_PROGRESS_H

#include <signal.h>
#include <stdint.h>

#include "comm/error.h"
#include "trainer/data_commands.h"

extern volatile sig_atomic_t data_interrupted; // number of the signal

struct data_watch {
    double start, shown; // seconds
    const char *what;    // of the phase shown last
};

double data_seconds(void); // monotonic

// The import_progress of all commands: a bar on a terminal, else a line now and then. STATUS_ERROR
// after a signal.
enum status data_tick(void *context, const char *what, uint64_t done, uint64_t total);

#endif
