// SPDX-License-Identifier: MIT
// sw2-train --profile: where a step's time goes, by layer and part, as a table of rank 0 and a
// trace of all ranks (trace.json, for chrome://tracing and ui.perfetto.dev) in the run's folder.
// Owns one clock of laps a thread of the rank (lane); the model and the loop mark them. Every
// function takes a NULL profile, which is off: then a mark is one branch. Used by loop.c, update.c
// and train_main.c.
#ifndef SW2_TRAINER_PROFILE_H
#define SW2_TRAINER_PROFILE_H

#include "comm/group.h"
#include "comm/laps.h"
#include "models/model.h"
#include "trainer/run_folder.h"

// Slots behind those of the model, in the order of the table.
enum profile_slot {
    PROFILE_DATA,       // waiting for the loader
    PROFILE_WAIT,       // waiting for the sum over ranks: what backward did not hide of it
    PROFILE_IDLE,       // a thread without a grain
    PROFILE_AGREE,      // notes and metrics of all ranks
    PROFILE_UPDATE,     // norms and optimiser
    PROFILE_GATHER,     // new weights from all ranks
    PROFILE_REST,       // of a step: what no other slot has
    PROFILE_BETWEEN,    // steps: progress, records
    PROFILE_EVALUATE,   // evaluation, with its own forward passes
    PROFILE_CHECKPOINT, // snapshot and hand-over to the writing thread
    PROFILE_STEP,       // span: a step
    PROFILE_FLIGHT,     // span: from the first message of the sum to its end
    PROFILE_SLOTS
};

struct profile;

// FMA peak of this core, FLOP/s, as measured in 10 ms.
double profile_peak(void);

// model: names the slots, borrowed. batch: global; grains: of this rank. Measures the FMA peak of
// this core (10 ms). All memory is allocated here. STATUS_ERROR: memory.
enum status profile_init(struct profile **profile, struct group *group, const struct model *model,
                         size_t grain, int grains, int lanes);
void profile_free(struct profile *profile); // NULL is allowed
// Collective: time 0, behind a barrier, so that the ranks' clocks agree to a few microseconds.
void profile_start(struct profile *profile);

// Clock of one thread, 0 <= lane < lanes: for struct pass and laps_mark(.., profile_slot_at()).
// NULL: off.
struct laps *profile_lane(struct profile *profile, int lane);
size_t profile_slot_at(const struct profile *profile, enum profile_slot slot);
// Lane 0: the lap that ends here was `slot`.
void profile_mark(struct profile *profile, enum profile_slot slot);

// Around each step, on the main thread while the others rest. The first step is a warm-up, in no
// sum unless it stays the only one.
void profile_step_begin(struct profile *profile);
void profile_step_end(struct profile *profile);
// After reduce_wait, in place of a mark. began: reduce_began().
void profile_sum_end(struct profile *profile, double began);

// Collective: rank 0 prints the table and writes it to profile.txt, beside trace.json of all
// ranks' first steps. A file that cannot be written is an error on all ranks.
enum status profile_finish(struct profile *profile, const struct run_folder *folder);

#endif
