// SPDX-License-Identifier: MIT
// OUT/starts.jsonl: a line for each time a run was started or resumed: when, on what, with what.
// For people and reports; nothing computed depends on it.
#ifndef SW2_TRAINER_RUN_START_H
#define SW2_TRAINER_RUN_START_H

#include "trainer/run_folder.h"
#include "trainer/session.h"

// Collective. anew: earlier lines go. command: argv. Rank 0 writes; a line that cannot be written
// is a log_warn.
void run_start_write(const struct run_folder *folder, const struct session *session, bool anew,
                     int argc, char *const *argv);

#endif
