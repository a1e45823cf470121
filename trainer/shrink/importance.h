// SPDX-License-Identifier: MIT
// How much the mean loss would grow without a channel or a body, both in the loss's own unit, so
// that they compare. A channel: the square of the sum of weight times gradient over all weights
// that read it, over batches of training samples (Molchanov et al. 2019, "Importance Estimation for
// Neural Network Pruning"), as an estimate of the second-order term, chunk / 2 times the mean of
// these squares (Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher
// pruning": squares of single samples' gradients; a batch's mean is chunk times less). A body is
// far too large a step for derivatives: the loss is measured with the body zero.
#ifndef SW2_TRAINER_SHRINK_IMPORTANCE_H
#define SW2_TRAINER_SHRINK_IMPORTANCE_H

#include "trainer/shrink/bodies.h"
#include "trainer/trained.h"

// Adds to channels->importance. Local: the same numbers on every machine with the same
// instruction set. batches of the model's grain (chunk) samples spread evenly over the data set.
// STATUS_DATA, STATUS_ERROR.
enum status importance_measure(struct channels *channels, const struct trained *trained,
                               struct dataset *train, size_t chunk, size_t batches);
// Sets loss of all bodies, on the same samples. Then, after importance_measure, channels inside a
// body are worth more in proportion, where theirs together was less than the body's: without the
// last of them the body is zero. The model has to be prepared anew afterwards.
enum status importance_bodies(struct bodies *bodies, struct channels *channels,
                              const struct trained *trained, struct dataset *train, size_t chunk,
                              size_t batches);

#endif
