// SPDX-License-Identifier: MIT
// What sw2-eval says of a checkpoint on a data set: means of the loss's metrics and, for classes,
// confusion matrix, precision and recall. Text for people, JSON for programs. Rank-free: filled on
// all ranks, shown by rank 0.
#ifndef SW2_TRAINER_EVAL_REPORT_H
#define SW2_TRAINER_EVAL_REPORT_H

#include "comm/group.h"
#include "data/loader.h"
#include "models/model.h"

struct eval_report {
    const char *checkpoint, *data; // borrowed
    const char *tta;               // views averaged, "off"; borrowed
    uint64_t n;                    // samples
    const struct loss_metric *metrics;
    int n_metrics;
    double mean[LOSS_METRICS_MAX];
    size_t n_classes;    // 0: no confusion matrix (targets are not one class index)
    uint64_t *confusion; // (n_classes, n_classes): [truth][predicted]; owned
    char *const *names;  // of classes, borrowed, may be NULL
};

enum status eval_report_init(struct eval_report *report, size_t n_classes);
void eval_report_free(struct eval_report *report);
// Counts a batch: an evaluator_each. The prediction is the first largest logit.
void eval_report_count(void *report, const struct batch *batch, const struct tensor *logits);
// Collective: adds up the ranks' confusion matrices.
enum status eval_report_sum(struct eval_report *report, struct group *group);

void eval_report_show(const struct eval_report *report); // log_line
// path "-": standard output. Rank 0 only. STATUS_ERROR names the path.
enum status eval_report_json(const struct eval_report *report, const char *path);

#endif
