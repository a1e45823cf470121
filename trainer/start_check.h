// SPDX-License-Identifier: MIT
// Are the ranks of a job set up alike? Looked at before anything is computed or written. Called by
// the programs' mains.
#ifndef SW2_TRAINER_START_CHECK_H
#define SW2_TRAINER_START_CHECK_H

#include "trainer/session.h"

// Collective, first of all: program (its bytes), libraries, arguments. STATUS_USAGE names who has
// what.
enum status start_check_program(struct group *group, const char *program, int argc,
                                char *const *argv);
// Collective, after session_data: the data sets (by fingerprint), STATUS_DATA; the resolved recipe,
// STATUS_USAGE. And a warning where ranks share cores.
enum status start_check_session(const struct session *session);

#endif
