// SPDX-License-Identifier: MIT
// sw2-train --replay STEP: computes a recorded step again and says which layer and tensor first
// differ from the digests in OUT/digests.jsonl. Changes nothing in the run's folder. Called by
// sw2-train's main.
#ifndef SW2_TRAINER_REPLAY_H
#define SW2_TRAINER_REPLAY_H

#include "trainer/run_folder.h"
#include "trainer/session.h"

// Collective, after session_training, at any number of ranks. Starts from the newest good
// checkpoint before the step, or from the initial weights where there is none; step is counted from
// 1. STATUS_OK: all digests are those recorded. STATUS_VERIFY: names the first that is not.
// STATUS_USAGE: the step is not recorded (names the nearest that is).
enum status replay_run(struct session *session, const struct run_folder *folder, uint64_t step);

#endif
