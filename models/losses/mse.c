// SPDX-License-Identifier: MIT
// Mean squared error: of a sample, the mean over all outputs of (y - target)^2, so that the mean
// over samples is PyTorch's MSELoss. Targets: floats, or a class as a one-hot vector. Called
// through loss.h.
#include "models/loss.h"

enum { METRIC_LOSS, METRIC_MAE, N_METRICS };

static const struct loss_metric mse_metrics[N_METRICS] = {
    {"loss", false, false},
    {"mae", false, false},
};

static size_t n_outputs(const struct loss *loss)
{
    return loss->logits.h * loss->logits.w * loss->logits.c;
}

static enum status mse_plan(struct loss *loss)
{
    const struct loss_target *target = &loss->target;
    const size_t k = n_outputs(loss);
    if (target->is_class)
        CHECK(target->count == 1 && target->n_classes <= k, STATUS_USAGE,
              "mse: the network gives %zu numbers, the data set %zu class indices of %zu classes "
              "a sample",
              k, target->count, target->n_classes);
    else
        CHECK(target->count == k, STATUS_USAGE,
              "mse: the network gives %zux%zux%zu (h, w, c) numbers, the data set %zu a sample",
              loss->logits.h, loss->logits.w, loss->logits.c, target->count);
    return STATUS_OK;
}

static void mse_eval(const struct loss *loss, const struct tensor *y, const void *target, size_t n,
                     float scale, const struct tensor *dy, double metrics[LOSS_METRICS_MAX])
{
    const size_t k = n_outputs(loss);
    const bool is_class = loss->target.is_class;
    const float slope = scale * 2 / (float)k;
    for (int i = 0; i < N_METRICS; i++)
        metrics[i] = 0;
    for (size_t i = 0; i < n; i++) {
        const float *out = tensor_row(y, i, 0);
        const float *t = is_class ? NULL : (const float *)target + i * k;
        const size_t hot = is_class ? (size_t)((const int32_t *)target)[i] : 0;
        float *d = dy ? tensor_row(dy, i, 0) : NULL;
        double squares = 0, distances = 0;
        for (size_t j = 0; j < k; j++) {
            float error = out[j] - (is_class ? (j == hot ? 1.0f : 0.0f) : t[j]);
            squares += (double)error * (double)error;
            distances += (double)(error < 0 ? -error : error);
            if (d)
                d[j] = slope * error;
        }
        metrics[METRIC_LOSS] += squares / (double)k;
        metrics[METRIC_MAE] += distances / (double)k;
    }
}

const struct loss_ops loss_mse = {
    .name = "mse",
    .help = "mean squared error",
    .metrics = mse_metrics,
    .n_metrics = N_METRICS,
    .plan = mse_plan,
    .eval = mse_eval,
};
