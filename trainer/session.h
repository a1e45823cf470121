// SPDX-License-Identifier: MIT
// What a recipe becomes on one rank: data sets, order, model, sums and optimiser, opened and
// checked together. Owns all of it. Used by sw2-train (loop.c, plan.c) and, for evaluation alone,
// by sw2-eval.
#ifndef SW2_TRAINER_SESSION_H
#define SW2_TRAINER_SESSION_H

#include "comm/tree.h"
#include "comm/workers.h"
#include "data/loader.h"
#include "trainer/evaluate.h"
#include "trainer/profile.h"
#include "trainer/recipe.h"
#include "trainer/schedules.h"
#include "trainer/update.h"

struct session {
    struct group *group;                  // borrowed
    struct recipe *recipe;                // borrowed
    struct dataset *train_set, *test_set; // test_set NULL: the recipe names none
    char *classes; // names of the classes, one a line; "" where there are none; owned
    struct transforms *transforms;
    struct order order;
    struct schedule schedule;
    uint64_t steps;          // of the whole run
    struct tree_run grains;  // of this rank
    struct workers *workers; // threads of this rank
    struct model **models;   // of each worker, the first of them:
    struct model *model;
    const struct model_param *list; // of the model
    size_t n_list, n;               // parameters; floats of the flat vector
    struct span *added;             // those whose gradients may go right into sums
    struct reduce *reduce;
    struct update *update;
    float *params;               // (n), in reduce_weights()
    float *ema;                  // (n) EMA weights for evaluation, or NULL
    struct loader *loader;       // training
    size_t base_bytes;           // this process before session_training, libraries included
    size_t base_peak;            // the most it took until then
    double audit;                // share of the grains that is audited, for the plan of memory
    struct evaluator *evaluator; // NULL without a test set
    struct profile *profile;     // NULL: off
    char kernels[192];           // text of session_kernels()
};

// Collective, in stages so that each can fail alike on all ranks. data: opens and checks both data
// sets. sizes: the model without memory, for the plan. training: everything else, initial weights
// included.
enum status session_data(struct session *session, struct group *group, struct recipe *recipe);
enum status session_sizes(struct session *session);
enum status session_training(struct session *session);
// Collective, after session_training: times of layers and of the loop from here on.
enum status session_profile(struct session *session);
void session_free(struct session *session);

// Collective: loss and metrics of the test set with the current weights (of the EMA where the
// recipe has one): means over samples, (n_metrics). is_averaged: over the views of train.tta, too.
enum status session_evaluate(struct session *session, bool is_averaged, double *metrics);
// Collective: shows the test metric with averaged views, where the recipe has train.tta.
enum status session_show_averaged(struct session *session);

// What changes bits beside the recipe and the data: instruction set and inner kernel. Text of the
// session, known after session_sizes; never changes, so that any thread may read it.
const char *session_kernels(const struct session *session);
// What a checkpoint says of recipe, data and kernels. Texts are borrowed from the session.
struct checkpoint_meta;
void session_describe(const struct session *session, struct checkpoint_meta *meta);

struct loss_target session_target(const struct dataset *dataset);
struct shape session_input(const struct dataset *dataset);

#endif
