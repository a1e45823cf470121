// SPDX-License-Identifier: MIT
// Small networks with random weights for the tests of trainer/shrink/: what is left of one when
// channels or bodies go, what it answers and what its loss is.
#ifndef SW2_TESTS_SUPPORT_SHRINK_NET_H
#define SW2_TESTS_SUPPORT_SHRINK_NET_H

#include "trainer/shrink/bodies.h"
#include "trainer/shrink/slice.h"

#define CHUNK 4
#define COUNT(array) (sizeof(array) / sizeof *(array))

struct shrink_case {
    const char *name, *layers;
    size_t units, channels; // that can be thinned; channels in them
    size_t bodies;          // that can go
};
#define SHRINK_CASES 5
extern const struct shrink_case networks[SHRINK_CASES];

struct net {
    struct trained trained; // recipe, model, params
    struct channels channels;
};

// The network that is left of net, and its weights.
struct rest {
    struct recipe recipe;
    struct model *model;
    float *params;
    char *text;
};

// Everything fails the test that calls it. Inputs are 12x10x3, answers 10 logits.
void net_open(struct net *net, const char *layers);
void net_close(struct net *net);
// With data to train on, 64 rows in a new file `path`, and transforms; the caller frees both.
void net_data(struct net *net, const char *layers, const char *path, struct dataset **train);
void rest_open(struct rest *rest, const struct net *net);
void rest_close(struct rest *rest);

float shrink_number(uint64_t i); // of [-1, 1)
void shrink_answer(struct model *model, const float *params, float y[CHUNK * 10]);
// Mean loss of the rows that one batch of importance_measure takes, in training.
double shrink_loss(const struct trained *trained, struct dataset *train, struct model *model,
                   const float *params);

#endif
