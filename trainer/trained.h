// SPDX-License-Identifier: MIT
// A trained network out of a checkpoint alone: its recipe, the transforms of its inputs and the
// model with its weights, without any data set. What was done to inputs in training is done here,
// from the numbers in the checkpoint. Used by sw2-predict and its like.
#ifndef SW2_TRAINER_TRAINED_H
#define SW2_TRAINER_TRAINED_H

#include "data/transform.h"
#include "trainer/checkpoint.h"
#include "trainer/recipe.h"

struct trained {
    struct group *group; // borrowed
    struct checkpoint *checkpoint;
    struct recipe recipe;
    struct transforms *transforms;
    struct model *model;
    const struct model_param *list;
    size_t n_list, n; // parameters; floats of params
    float *params;    // (n)
    struct sample_shape input;
    bool is_u8;           // rows are bytes; else float32
    size_t n_classes;     // of the output where is_classifier; else its values
    bool is_classifier;   // one class a sample
    const char **classes; // (n_classes) names, or "0", "1" ...
    char *names;          // memory of classes
};

struct trained_config {
    const char *path;    // a checkpoint, or a folder of them (the newest good one)
    const char *weights; // "auto" (EMA if there is one), "model", "ema"
    size_t chunk;        // samples of one forward
    bool input_gradient;
    const char *keep; // see struct model_config; may be NULL
};

// Collective. The model is prepared: forward may run. STATUS_USAGE, STATUS_DATA.
enum status trained_open(struct trained *trained, struct group *group,
                         const struct trained_config *config);
// The weights that --weights asks for ("auto": the EMA where there is one, "model", "ema") into
// params (n floats, all ranks). Collective. STATUS_USAGE: another word, or no EMA in the file.
enum status trained_weights(struct checkpoint *checkpoint, const char *which,
                            const struct model_param *list, size_t n_list, float *params, size_t n);
void trained_close(struct trained *trained);

#endif
