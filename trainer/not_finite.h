// SPDX-License-Identifier: MIT
// Which layer, grain and samples a loss or gradient that is not finite comes from: the grains of
// the step are computed once more, looking at every layer's output. Owns nothing between two calls.
// Called by step.c after a step that all ranks have found not finite, before it stops or skips it.
#ifndef SW2_TRAINER_NOT_FINITE_H
#define SW2_TRAINER_NOT_FINITE_H

#include "trainer/session.h"

// Collective: step `at` of the epoch; weights are those that it began with. Adds to the error in
// hand on all ranks, alike, where it began: data, a layer's output, the loss or a tensor's
// gradient; in which grain, and for which rows of the training data. Where that cannot be found out
// (the data set cannot be opened again), nothing is added. Allocates. Returns STATUS_NOT_FINITE.
enum status not_finite_explain(struct session *session, uint64_t epoch, uint64_t at);

#endif
