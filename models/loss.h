// SPDX-License-Identifier: MIT
// The contract of a loss with its metrics: one file in losses/, one row in losses.def.
#ifndef SW2_MODELS_LOSS_H
#define SW2_MODELS_LOSS_H

#include <stdint.h>

#include "comm/options.h"
#include "models/tensor.h"

#define LOSS_METRICS_MAX 8

// What the data set's targets are: is_class: (n, count) int32 class indices below n_classes;
// else (n, count) floats.
struct loss_target {
    bool is_class;
    size_t count, n_classes;
};

struct loss_metric {
    const char *name; // "loss", "accuracy", "top5", "mae"
    bool is_percent;  // shown times 100
    bool higher_is_better;
};

struct loss {
    const struct loss_ops *ops;
    int line;
    void *args;
    struct shape logits; // output of the network
    struct loss_target target;
    void *self;
    float *work;        // work_floats, bound by the model
    size_t work_floats; // set by plan()
    size_t grain;       // most samples a call
};

struct loss_ops {
    const char *name, *help;
    const struct option *options;
    size_t n_options, args_size;
    const struct loss_metric
        *metrics; // the first is the loss itself; the second decides which checkpoint is best
    int n_metrics;
    enum status (*plan)(struct loss *loss); // logits and target fit? STATUS_USAGE naming both
    // Adds nothing: writes sums over the n samples to metrics (double; counts are exact integers),
    // and, where dy != NULL, dy = scale * d(sum of losses)/dy. y and dy are dense (no halo).
    // Samples with weight (class weights) follow PyTorch's CrossEntropyLoss(weight,
    // reduction='sum').
    void (*eval)(const struct loss *loss, const struct tensor *y, const void *target, size_t n,
                 float scale, const struct tensor *dy, double metrics[LOSS_METRICS_MAX]);
    void (*free)(struct loss *loss);
};

const struct loss_ops *loss_ops_find(const char *name);
const char *const *loss_names(size_t *n);

#endif
