// SPDX-License-Identifier: MIT
// The learning rate as a pure function of the step. Double arithmetic as written, without libm:
// the rate feeds the weights, so its bits must not depend on a machine's library.
// With W = warmup and T = all steps, t from 0:
//   warm-up    t < W: (t + 1) / (W + 1) of the schedule's first value (Goyal et al. 2017; PyTorch:
//              LinearLR(start_factor=1/(W+1), total_iters=W))
//   constant   lr
//   step       lr * gamma^floor(t / S), S = lr_step in steps (StepLR)
//   multistep  lr * gamma^(milestones at or before t) (MultiStepLR); both count from the run's
//              start, warm-up included
//   cosine     over the T - W steps after warm-up, u = (t - W) / (T - W):
//              lr * (final + (1 - final) (1 + cos(pi u)) / 2) (Loshchilov and Hutter 2017;
//              CosineAnnealingLR(T_max=T-W, eta_min=final*lr))
//   onecycle   over the T - W steps after warm-up, peak at p = rise * (T - W) - 1: cosine from
//              start * lr to lr, then to final * lr at the last step (Smith 2018;
//              OneCycleLR(div_factor=1/start, final_div_factor=start/final, pct_start=rise))
#ifndef SW2_TRAINER_SCHEDULES_H
#define SW2_TRAINER_SCHEDULES_H

#include <stdint.h>

#include "trainer/train_config.h"

enum schedule_row {
#define SCHEDULE(name, help) SCHEDULE_##name,
#include "trainer/schedules.def"
#undef SCHEDULE
    SCHEDULE_ROWS
};

struct schedule {
    const struct train_config *config; // borrowed
    uint64_t steps;                    // T
    uint64_t warmup;                   // W
    uint64_t steps_per_epoch;
};

// steps_per_epoch >= 1. STATUS_USAGE: the warm-up is as long as the run (names both and the fix).
enum status schedule_init(struct schedule *schedule, const struct train_config *config,
                          uint64_t steps_per_epoch);

// Rate of the step that follows `step` steps done (0: the first). Beyond the end: that of the last.
double schedule_lr(const struct schedule *schedule, uint64_t step);

// cos(pi x), |x| <= 1, to about 1e-16 absolute. For schedule_lr and its test.
double schedule_cospi(double x);

#endif
