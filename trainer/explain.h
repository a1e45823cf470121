// SPDX-License-Identifier: MIT
// Why a network decides as it does: what a sample's score of one output rests on, as a map over its
// positions. A score is an output as it is, before any softmax (as Captum and tf-explain take it).
// Knows a planned model and its weights; no files, no pictures (explain_render.h), no inputs.
// Used by sw2-explain and by whoever wants a map (reports).
//
//     struct model_config: .input_gradient = true, .keep = MODEL_KEEP_AUTO
//     TRY(explain_init(&explain, group, model, params, &config));     model_prepare()d
//     explain_outputs(explain, x, y);
//     explain_run(explain, EXPLAIN_GRADCAM, x, class, raw);
//     explain_map(explain, EXPLAIN_GRADCAM, raw, map);
//
// What a sample gives depends on nothing but itself, the weights and the configuration: not on
// other samples, ranks or chance (draws are counter-based, comm/random.h).
#ifndef SW2_TRAINER_EXPLAIN_H
#define SW2_TRAINER_EXPLAIN_H

#include "comm/group.h"
#include "models/model.h"

enum explain_method {
    EXPLAIN_GRADCAM,        // Selvaraju et al. 2017; raw: (lh, lw) before its ReLU
    EXPLAIN_GRADCAM_PP,     // Chattopadhay et al. 2018; raw: (lh, lw)
    EXPLAIN_GRADIENT,       // Simonyan et al. 2013; raw: (h, w, c), signed
    EXPLAIN_GRADIENT_INPUT, // Shrikumar et al. 2016; raw: (h, w, c)
    EXPLAIN_INTEGRATED,     // Sundararajan et al. 2017; raw: (h, w, c)
    EXPLAIN_SMOOTHGRAD,     // Smilkov et al. 2017; raw: (h, w, c), mean of signed gradients
    EXPLAIN_OCCLUSION,      // Zeiler and Fergus 2014; raw: (h, w), mean drop of the score
    EXPLAIN_ACTIVATION,     // what the layer gives; raw: (lh, lw, lc)
    EXPLAIN_METHODS
};

struct explain_info {
    const char *name;  // of options and files: "gradcam"
    const char *title; // for people
    bool is_signed;    // its map has both signs: for and against
    bool is_layer;     // needs a layer with positions (model_config.keep)
};
const struct explain_info *explain_info(enum explain_method method);

// Quadrature of integrated gradients: Captum's gausslegendre and riemann_middle.
enum explain_rule { EXPLAIN_GAUSS_LEGENDRE, EXPLAIN_MIDDLE };
#define EXPLAIN_RULES "gausslegendre|middle"

enum explain_draw { EXPLAIN_DRAW_NOISE, EXPLAIN_DRAW_MASK, EXPLAIN_DRAW_WEIGHT };

struct explain_config {
    size_t steps; // of integrated gradients
    enum explain_rule rule;
    size_t samples;        // of SmoothGrad
    double noise;          // its standard deviation, as a share of the sample's range
    size_t window, stride; // of occlusion, pixels; 0: a seventh of the smaller side, half of window
    uint64_t seed;
    const float *baseline; // (h, w, c): a sample without features; borrowed; NULL: zeros
};
struct explain_config explain_defaults(void);

struct explain;

// Collective: rank 0 draws what all use. model: with input_gradient, prepared with params; both
// borrowed. STATUS_USAGE: the output is no vector; STATUS_ERROR: memory.
enum status explain_init(struct explain **explain, struct group *group, struct model *model,
                         const float *params, const struct explain_config *config);
void explain_free(struct explain *explain); // NULL is allowed
// Other weights of the same model (after model_prepare). Borrowed.
void explain_set_params(struct explain *explain, const float *params);

size_t explain_n_outputs(const struct explain *explain);
const struct layer *explain_layer(const struct explain *explain);           // NULL: none
const struct explain_config *explain_config(const struct explain *explain); // defaults filled in
// Whether the method can be had of this network, and the shape of what it gives: one number a
// position where c is 1.
bool explain_can(const struct explain *explain, enum explain_method method);
struct shape explain_raw_shape(const struct explain *explain, enum explain_method method);

// Local, never fail. x: one sample (h, w, c). y: (n_outputs).
void explain_outputs(struct explain *explain, const float *x, float *y);
// raw: explain_raw_shape floats.
void explain_run(struct explain *explain, enum explain_method method, const float *x, size_t target,
                 float *raw);
// From raw to one number a position of the sample, map (h, w): CAMs after their ReLU and the mean
// of activations' sizes, resampled bilinearly; of gradients the largest size over the channels
// (Simonyan et al. 2013); of the others the sum over the channels.
void explain_map(const struct explain *explain, enum explain_method method, const float *raw,
                 float *map);
// Completeness of integrated gradients (Sundararajan et al. 2017, axiom 3): the sum of raw less
// the difference of the scores of x and of the baseline, as a share of that difference's size.
double explain_completeness(struct explain *explain, const float *x, size_t target,
                            const float *raw);

#endif
