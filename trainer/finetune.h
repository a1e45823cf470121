// SPDX-License-Identifier: MIT
// Where a run's first weights come from if not from chance: train.init_from and train.init_skip of
// the recipe. Called by session_training.
#ifndef SW2_TRAINER_FINETUNE_H
#define SW2_TRAINER_FINETUNE_H

#include "trainer/session.h"

// Collective, with initial weights on all ranks: takes the weights (the EMA where there is one) of
// every layer but those of init_skip by their names, and says what was taken. A resumed run loads
// its own checkpoint afterwards. STATUS_USAGE naming the tensor: not in the file, or of another
// shape; a pattern that fits no layer. STATUS_DATA: no checkpoint.
enum status finetune_start(struct session *session);

#endif
