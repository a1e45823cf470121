// SPDX-License-Identifier: MIT
// Softmax cross-entropy with label smoothing (Szegedy et al. 2016) and class weights, as PyTorch's
// CrossEntropyLoss(weight, label_smoothing, reduction='sum'): with q = (1 - e) target + e / K,
//     loss = -sum_k w_k q_k log p_k,    dloss/dz_j = p_j sum_k w_k q_k - w_j q_j.
// Targets: one class, or K floats (one-hot or a distribution). Called through loss.h.
#include "models/kernels/rows.h"
#include "models/loss.h"

struct softmax_args {
    double label_smoothing;
    struct option_floats class_weights;
};

enum { METRIC_LOSS, METRIC_ACCURACY, METRIC_TOP5, N_METRICS };

static const struct loss_metric softmax_metrics[N_METRICS] = {
    {"loss", false, false},
    {"accuracy", true, true},
    {"top5", true, true},
};

static size_t n_logits(const struct loss *loss)
{
    return loss->logits.h * loss->logits.w * loss->logits.c;
}

static enum status softmax_plan(struct loss *loss)
{
    const struct softmax_args *args = loss->args;
    const struct loss_target *target = &loss->target;
    const size_t k = n_logits(loss);
    CHECK(loss->logits.h == 1 && loss->logits.w == 1, STATUS_USAGE,
          "softmax needs a vector of logits, the network gives %zux%zux%zu (h, w, c): end it in "
          "globalpool or dense",
          loss->logits.h, loss->logits.w, loss->logits.c);
    if (target->is_class) {
        CHECK(target->count == 1, STATUS_USAGE,
              "softmax needs one class a sample, the data set has %zu", target->count);
        CHECK(target->n_classes <= k, STATUS_USAGE,
              "the network gives %zu logits (last layer's 'out'), the data set has %zu classes", k,
              target->n_classes);
    } else {
        CHECK(target->count == k, STATUS_USAGE,
              "the network gives %zu logits, the data set has %zu target numbers a sample", k,
              target->count);
    }
    CHECK(
        args->label_smoothing < 1, STATUS_USAGE,
        "softmax: label_smoothing is %g, expected less than 1: nothing of the labels would be left",
        args->label_smoothing);
    const size_t n = args->class_weights.n;
    CHECK(n == 0 || n == k, STATUS_USAGE,
          "softmax: class_weights has %zu numbers, the network gives %zu logits", n, k);
    loss->work_floats = 2 * k; // weighted targets, exponentials
    return STATUS_OK;
}

// t[k] = w_k q_k; returns their sum.
static double targets_weigh(const struct loss *loss, const void *target, size_t i, float *t)
{
    const struct softmax_args *args = loss->args;
    const size_t k = n_logits(loss);
    const double *weight = args->class_weights.n ? args->class_weights.v : NULL;
    const double e = args->label_smoothing;
    const bool is_class = loss->target.is_class;
    const size_t hot = is_class ? (size_t)((const int32_t *)target)[i] : 0;
    const float *soft = is_class ? NULL : (const float *)target + i * k;
    double sum = 0;
    for (size_t j = 0; j < k; j++) {
        double q = is_class ? (j == hot ? 1.0 : 0.0) : (double)soft[j];
        q = (weight ? weight[j] : 1) * ((1 - e) * q + e / (double)k);
        t[j] = (float)q;
        sum += q;
    }
    return sum;
}

// How many logits stand before that of class `hot` (the larger first, the first of equals first);
// k if anything is not a number.
static size_t rank_of(const float *z, size_t k, size_t hot)
{
    size_t before = 0;
    for (size_t j = 0; j < k; j++) {
        if (z[j] != z[j])
            return k;
        before += z[j] > z[hot] || (z[j] == z[hot] && j < hot);
    }
    return before;
}

static size_t largest(const float *z, size_t k)
{
    size_t best = 0;
    for (size_t j = 1; j < k; j++)
        if (z[j] > z[best])
            best = j;
    return best;
}

static void softmax_eval(const struct loss *loss, const struct tensor *y, const void *target,
                         size_t n, float scale, const struct tensor *dy,
                         double metrics[LOSS_METRICS_MAX])
{
    const size_t k = n_logits(loss);
    float *t = loss->work, *e = loss->work + k; // (k) each
    for (int i = 0; i < N_METRICS; i++)
        metrics[i] = 0;
    for (size_t i = 0; i < n; i++) {
        const float *z = tensor_row(y, i, 0);
        const float top = z[largest(z, k)];
        for (size_t j = 0; j < k; j++)
            e[j] = z[j] - top;
        double weight = targets_weigh(loss, target, i, t), cross = 0, sum = 0;
        for (size_t j = 0; j < k; j++)
            cross += (double)t[j] * (double)e[j];
        rows_exp(e, e, k);
        for (size_t j = 0; j < k; j++)
            sum += (double)e[j];
        metrics[METRIC_LOSS] += weight * (double)rows_log((float)sum) - cross;
        size_t hot = loss->target.is_class ? (size_t)((const int32_t *)target)[i]
                                           : largest((const float *)target + i * k, k);
        size_t rank = rank_of(z, k, hot);
        metrics[METRIC_ACCURACY] += rank == 0;
        metrics[METRIC_TOP5] += rank < 5 && rank < k;
        if (dy) {
            float *d = tensor_row(dy, i, 0);
            const float p = (float)(weight / sum);
            for (size_t j = 0; j < k; j++)
                d[j] = scale * (e[j] * p - t[j]);
        }
    }
}

static const struct option softmax_options[] = {
    {"label_smoothing", OPTION_FLOAT, offsetof(struct softmax_args, label_smoothing), "0", 0, 1,
     NULL, "share of the target spread over all classes"},
    {"class_weights", OPTION_FLOATS, offsetof(struct softmax_args, class_weights), "[]", 0, 1e30,
     NULL, "weight of each class; empty: all 1"},
};

const struct loss_ops loss_softmax = {
    .name = "softmax",
    .help = "softmax cross-entropy",
    .options = softmax_options,
    .n_options = sizeof softmax_options / sizeof *softmax_options,
    .args_size = sizeof(struct softmax_args),
    .metrics = softmax_metrics,
    .n_metrics = N_METRICS,
    .plan = softmax_plan,
    .eval = softmax_eval,
};
