// SPDX-License-Identifier: MIT
// Which residual bodies can go as a whole: y = body(x) + x becomes y = x. A trained residual
// network loses little without one of them (Veit, Wilber, Belongie 2016, "Residual Networks Behave
// Like Ensembles of Relatively Shallow Networks"). A block whose shortcut has layers of its own
// changes the shape and stays. Finding and taking are pure.
#ifndef SW2_TRAINER_SHRINK_BODIES_H
#define SW2_TRAINER_SHRINK_BODIES_H

#include "trainer/shrink/channels.h"

struct body {
    size_t add;      // the layer that sums
    size_t shortcut; // the tensor that takes its place
    size_t gate;     // a layer of the body: with its weights zero, the body is zero
    bool *is_in;     // (layers) those that go: the body, the sum, a relu that then reads a relu
    double loss;     // what the mean loss grows by without it; importance_bodies
};

struct bodies {
    struct body *v; // owned
    size_t n, n_layers;
};

// STATUS_ERROR: memory.
enum status bodies_find(struct bodies *bodies, const struct channels *channels);
void bodies_free(struct bodies *bodies);

// From now on its layers are gone; channels->instead undoes it. Bodies may hold others.
void body_take(struct channels *channels, const struct body *body);
static inline bool body_is_gone(const struct channels *channels, const struct body *body)
{
    return channels_is_gone(channels, body->add);
}
// Makes the body zero in params (model_floats), running statistics left alone.
void body_silence(const struct channels *channels, const struct body *body, float *params);

#endif
