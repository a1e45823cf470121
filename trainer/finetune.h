// SPDX-License-Identifier: MIT
// Where a run's first weights come from if not from chance: train.init_from and train.init_skip of
// the recipe. Called by the training loop where there is no checkpoint to go on from.
#ifndef SW2_TRAINER_FINETUNE_H
#define SW2_TRAINER_FINETUNE_H

#include "trainer/session.h"

// Collective, with initial weights on all ranks: takes the weights (the EMA where there is one) of
// every layer but those of init_skip by their names, and says what was taken. STATUS_USAGE naming
// the tensor: not in the file, or of another shape; a pattern that fits no layer. STATUS_DATA: no
// checkpoint.
enum status finetune_start(struct session *session);
// Collective: averages of weights (EMA, lookahead) start from the weights there are now.
void finetune_averages(struct session *session);

#endif
