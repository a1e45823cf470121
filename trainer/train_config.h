// SPDX-License-Identifier: MIT
// The recipe's section train: its table of options and the checks across keys. What it means is in
// schedules.h (learning rate), update.h (optimiser), the training loop (the rest).
#ifndef SW2_TRAINER_TRAIN_CONFIG_H
#define SW2_TRAINER_TRAIN_CONFIG_H

#include "comm/options.h"
#include "models/model.h"
#include "trainer/update.h"

struct train_config {
    int64_t batch, grains; // global batch B; G grains of B / G samples
    int64_t epochs;
    int64_t steps; // 0: epochs decide; else the run is so many steps long, schedule included
    int64_t seed;

    int optimizer; // row of optimizers.def
    double lr, momentum;
    bool nesterov;
    double beta1, beta2, epsilon;
    double weight_decay;
    bool decoupled, decay_all;
    double trust;      // lars
    double clip_norm;  // 0: off
    double ema;        // 0: off
    int64_t lookahead; // steps; 0: off
    double lookahead_decay;

    int schedule;                    // row of schedules.def
    double warmup;                   // epochs
    double lr_step;                  // epochs; schedule step
    struct option_floats milestones; // epochs, ascending; schedule multistep
    double lr_gamma;                 // step, multistep
    double final_lr;                 // fraction of lr at the end; cosine, onecycle, triangle
    double start_lr;                 // fraction of lr at the start; onecycle, triangle
    double rise;                     // fraction of the steps that rise; onecycle, triangle

    const char *init_from;           // checkpoint to take the first weights from; "": none
    struct option_strings init_skip; // layers that it does not give (patterns)
    struct model_tuning tuning;
    int not_finite; // enum train_not_finite

    int winograd;  // enum train_winograd
    int precision; // enum train_precision
    int recompute; // enum train_recompute

    int64_t threads; // workers of a rank
    int64_t bucket_kib;
    int64_t slots; // prefetched items

    int tta;                 // enum tta, of one more test at the end
    int64_t eval_every;      // epochs; 0: only after the last
    double checkpoint_every; // epochs; 0: only at the end
    int64_t checkpoint_steps;
    double checkpoint_seconds;
    int64_t keep;
    int64_t log_every; // steps; 0: by time
};

enum train_not_finite { TRAIN_NOT_FINITE_STOP, TRAIN_NOT_FINITE_SKIP };
enum train_winograd { TRAIN_WINOGRAD_AUTO, TRAIN_WINOGRAD_OFF };
enum train_precision { TRAIN_PRECISION_FP32, TRAIN_PRECISION_BF16 };
enum train_recompute { TRAIN_RECOMPUTE_OFF, TRAIN_RECOMPUTE_ON };

extern const struct option train_options[];
extern const size_t train_options_n;

// Reads the map node (NULL: all defaults) and checks across keys. STATUS_USAGE with line, values
// and the fix. What else needs the data set (steps an epoch) or the ranks is checked by its owner.
enum status train_config_read(struct yaml *yaml, const struct yaml_node *map,
                              struct train_config *out);

struct model_mode train_config_mode(const struct train_config *config);
// For programs that only infer: where this machine or build has no bf16 they go on in fp32 and warn
// (weights are fp32 either way).
struct model_mode train_config_mode_inference(const struct train_config *config);
struct update_config train_config_update(const struct train_config *config);

// Steps of the whole run; steps_per_epoch: order.steps. Local, pure, at least 1.
uint64_t train_config_steps(const struct train_config *config, uint64_t steps_per_epoch);

// Steps between checkpoints from checkpoint_every and checkpoint_steps (the smaller; 0: none but
// the last). A checkpoint is due after global step s where s % that == 0, and at the end.
uint64_t train_config_checkpoint_steps(const struct train_config *config, uint64_t steps_per_epoch);

#endif
