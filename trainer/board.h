// SPDX-License-Identifier: MIT
// What a training run shows in TensorBoard: its records as scalars and, where asked for,
// histograms of weights and gradients. OUT/tensorboard/. Losing it is a warning, never an error.
#ifndef SW2_TRAINER_BOARD_H
#define SW2_TRAINER_BOARD_H

#include "trainer/run_folder.h"
#include "trainer/run_log.h"
#include "trainer/session.h"

struct board;

// Local; rank 0 opens the file. STATUS_ERROR: memory. histograms: epochs between them; 0: none.
// step: done before (a resume).
enum status board_init(struct board **board, const struct run_folder *folder,
                       struct session *session, uint64_t histograms, uint64_t step);
void board_free(struct board *board); // NULL is allowed
// Local, rank 0; nothing elsewhere. is_told: a failure to write was just said of the run's records.
void board_record(struct board *board, const struct run_record *record, bool is_told);
// Collective, right after the last step of an epoch, while reduce_sum() holds its gradient: where
// histograms are due, gathers them. epoch: from 1.
void board_histograms(struct board *board, uint64_t epoch, uint64_t step);

// Collective, after the run: `count` test samples, spread evenly, each beside what the final
// network saw in it (Grad-CAM), where it is a classifier with layers to look at.
void board_explain(const struct run_folder *folder, struct session *session, size_t count);

#endif
