// SPDX-License-Identifier: MIT
// Every sample of a data set exactly once, spread over the ranks in chunks: sums of the loss's
// metrics that are the same bits at any rank count (chunks are folded in order; ranks may hold
// none).
#ifndef SW2_TRAINER_EVALUATE_H
#define SW2_TRAINER_EVALUATE_H

#include "comm/group.h"
#include "comm/workers.h"
#include "data/loader.h"
#include "models/model.h"
#include "trainer/tta.h"

struct evaluator;

// Local. Chunks of `chunk` samples (the models' grain). models: one for each worker. All borrowed.
enum status evaluator_init(struct evaluator **evaluator, struct group *group,
                           struct dataset *dataset, const struct transforms *transforms,
                           struct model *const *models, struct workers *workers, size_t chunk);
// Local. Memory for evaluator_run with views of each sample; TTA_OFF: nothing. Once.
enum status evaluator_tta_init(struct evaluator *evaluator, enum tta_kind kind);
// Local, the same on all ranks: from now on evaluator_run asks `pending` every some batches and
// ends with STATUS_STOPPED, on all ranks alike, where any rank's answer is not 0 (a signal).
void evaluator_stop_by(struct evaluator *evaluator, int (*pending)(void));
// That answer, of the last evaluation that was stopped: of the lowest rank that had one.
int evaluator_stopped_by(const struct evaluator *evaluator);
void evaluator_free(struct evaluator *evaluator); // NULL is allowed
size_t evaluator_bytes(const struct group *group, struct dataset *dataset,
                       const struct transforms *transforms, size_t chunk, int n_metrics,
                       int workers);

// Called for each batch on the rank that has it, with the logits. Only with one worker.
typedef void evaluator_each(void *context, const struct batch *batch, const struct tensor *logits);

// Collective: sums over all samples into sums (n_metrics of the loss). each may be NULL.
// is_averaged: logits are means over the views of evaluator_tta_init. 1 gather of 8 n_metrics bytes
// a chunk; with evaluator_stop_by 8 bytes of each rank every 8 chunks.
enum status evaluator_run(struct evaluator *evaluator, const float *params, bool is_averaged,
                          double *sums, evaluator_each *each, void *context);

#endif
