// SPDX-License-Identifier: MIT
// The update of one step: from the summed gradient to new weights on all ranks.
// Owns the optimiser's state of this rank's slices only (momentum; adam m, v; EMA weights) and the
// table of segments (slice x tensor). Does not own parameters, the sum or the schedule. Called by
// the training loop; checkpoint.c takes the state out and puts it back.
//
// Same bits at any rank count: everything is elementwise in float without contraction, but for
// norms, which are sums of squares in double over each SPAN_BLOCK, gathered and folded in block
// order on every rank. libm: only sqrt (exact by IEEE 754).
#ifndef SW2_TRAINER_UPDATE_H
#define SW2_TRAINER_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/reduce.h"
#include "comm/workers.h"
#include "models/model.h"

#define UPDATE_STATES_MAX 5 // optimiser's own, "lookahead" and "ema"

struct update_config {
    int optimizer;       // row of optimizers.def
    double momentum;     // sgd, lars
    bool nesterov;       // sgd
    double beta1, beta2; // adamw
    double epsilon;      // adamw
    double weight_decay; // 0: none
    bool decoupled;      // sgd: p *= 1 - lr wd instead of g += wd p. adamw is always decoupled
    bool decay_all;      // decay biases and norms too
    double trust;        // lars
    double clip_norm;    // global norm; 0: off
    double ema;          // decay of the EMA of weights; 0: off
    // Lookahead (Zhang et al. 2019) as Jordan 2024 has it: after every so many steps (0: off), and
    // the last one, p = slow += (1 - d) (p - slow) with d = lookahead_decay (steps done / steps)^3.
    // Of running statistics too.
    uint64_t lookahead;
    double lookahead_decay;
    uint64_t steps;           // of the whole run
    uint64_t steps_per_epoch; // for tensors that are trained for some epochs only
};

struct update;

// Collective (all ranks the same config). list: the n_list parameters of the flat vector of n
// floats, in vector order, borrowed; params: initial weights, from which EMA starts. reduce: of
// the same n and group, borrowed. grains: G. STATUS_USAGE: a combination of options that means
// nothing; STATUS_ERROR: memory.
enum status update_init(struct update **update, const struct update_config *config,
                        struct group *group, struct reduce *reduce, size_t n, int grains,
                        const struct model_param *list, size_t n_list, const float *params);
void update_free(struct update *update); // NULL is allowed
// Memory of update_init on one rank, for the plan (to within a block a bucket).
size_t update_bytes(const struct update_config *config, size_t n, size_t n_list, int size);

struct profile;
void update_set_profile(struct update *update, struct profile *profile); // borrowed; NULL: off

// Collective, after reduce_wait: reads this rank's slices of reduce_sum(), which hold the gradient
// of the mean loss (WEIGHT, BIAS) and the sum over grains of the statistic (STATE: p += momentum *
// (sum / G - p)); updates its slices of params in place and all-gathers params. FROZEN: untouched,
// as is a trained tensor after its trained_epochs. A tensor's lr_factor f multiplies lr, and
// divides the weight decay, so that a step decays it as it does the others; lr_scale multiplies lr
// alone, as the lr of PyTorch's parameter groups does. step: steps done before
// this one in the whole run (Adam's t is step + 1). lr: of this step. STATUS_NOT_FINITE, on all
// ranks alike and before anything is changed, where a gradient or statistic is NaN or Inf; names
// the tensor. Sends n floats (all-gather) + n / SPAN_BLOCK doubles (lars: twice that).
enum status update_step(struct update *update, float *params, double lr, uint64_t step);
// Workers that carry out the update, borrowed; without this the caller does it alone.
void update_use_workers(struct update *update, struct workers *workers);
double update_share(const struct update *update); // of the flat vector that this rank updates
double update_norm(const struct update *update); // global gradient norm of the last step, unclipped

// State vectors: 0 <= i < update_n_states, names "momentum", "adam_m", "adam_v", "lookahead", "ema"
// (last).
int update_n_states(const struct update *update);
const char *update_state_name(const struct update *update, int i); // static text
// Collective: state i as a full vector of n floats, on all ranks; in reduce_sum()'s memory (valid
// until the next reduce_grain, gather or load).
const float *update_state_gather(struct update *update, int i);
// Collective: rank 0 has filled update_state_buffer() (n floats); every rank takes its slices.
float *update_state_buffer(struct update *update);
void update_state_scatter(struct update *update, int i);

bool update_has_ema(const struct update *update);
// Collective: the EMA weights into vector (n floats) on all ranks, for evaluation.
void update_ema(struct update *update, float *vector);

// Collective: digests that do not depend on who holds which slice, the same on all ranks.
struct update_digest {
    uint64_t params, state;
};
struct update_digest update_digest(struct update *update, const float *params);

#endif
