// SPDX-License-Identifier: MIT
// Which channels of a network belong together: removing an output channel of a convolution also
// removes its place in norms, in inputs of later layers and, through a residual sum, in other
// convolutions. Every channel of every tensor is a variable; layers tie variables (union-find); a
// unit is a set of them that appear in the same tensors and can be thinned together. Pure.
#ifndef SW2_TRAINER_SHRINK_CHANNELS_H
#define SW2_TRAINER_SHRINK_CHANNELS_H

#include "models/model.h"

struct channels {
    const struct model *model; // borrowed
    size_t n_tensors;          // tensor 0: the input; i + 1: what layer i makes
    size_t *first; // (n_tensors + 1): channel k of tensor t is variable var[first[t] + k]
    int *var;
    int *parent; // (n_vars) of the union-find
    bool *is_fixed;
    size_t n_vars;
    int *unit; // (n_vars) of roots: number of its unit, -1: it stays
    size_t n_units;
    bool *keep;      // (n_vars) of roots; all true at first
    size_t *instead; // (n_tensors) what is read in a tensor's place: itself, or its layer is gone
    double *importance; // (n_vars) of roots; zero at first
};

// STATUS_ERROR: memory.
enum status channels_trace(struct channels *channels, const struct model *model);
void channels_free(struct channels *channels);

// The root variable of a channel.
int channels_root(const struct channels *channels, size_t tensor, size_t k);
static inline size_t channels_count(const struct channels *channels, size_t tensor)
{
    return channels->first[tensor + 1] - channels->first[tensor];
}
size_t channels_kept(const struct channels *channels, size_t tensor); // of its channels
// How many of a unit are kept.
size_t channels_unit_kept(const struct channels *channels, size_t unit);
size_t channels_unit_size(const struct channels *channels, size_t unit);
// The tensor that input 0 of a layer reads.
size_t channels_input(const struct channels *channels, size_t layer);
static inline bool channels_is_gone(const struct channels *channels, size_t layer)
{
    return channels->instead[layer + 1] != layer + 1;
}
// What is left to be read where `tensor` was.
size_t channels_instead(const struct channels *channels, size_t tensor);

#endif
