// SPDX-License-Identifier: MIT
// How much the loss would change if a channel were zero, to first order (Molchanov et al. 2019,
// "Importance Estimation for Neural Network Pruning"): the square of the sum of weight times
// gradient over all weights that read the channel, summed over batches of training samples.
#ifndef SW2_TRAINER_SHRINK_IMPORTANCE_H
#define SW2_TRAINER_SHRINK_IMPORTANCE_H

#include "trainer/shrink/channels.h"
#include "trainer/trained.h"

// Adds to channels->importance. Local: the same numbers on every machine with the same
// instruction set. batches of the model's grain (chunk) samples spread evenly over the data set.
// STATUS_DATA, STATUS_ERROR.
enum status importance_measure(struct channels *channels, const struct trained *trained,
                               struct dataset *train, size_t chunk, size_t batches);

#endif
