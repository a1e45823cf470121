// SPDX-License-Identifier: MIT
// A planned network for one grain: a graph of layers, its memory, forward and backward.
// Knows neither data files nor ranks: gradients go to a vector the caller gives, and a hook tells
// the caller when a tail of that vector is final.
#ifndef SW2_MODELS_MODEL_H
#define SW2_MODELS_MODEL_H

#include "models/layer.h"
#include "models/loss.h"

// What the recipe's section train says about arithmetic. All false: plain fp32.
struct model_mode {
    bool winograd, bf16; // see struct conv_mode; change bits
    bool recompute;      // keep few activations and compute the others again in backward (Chen et
                         // al. 2016): less memory, the same bits
};

// What the recipe's section train says about layers by their names: patterns (fnmatch(3)), or the
// words features and head. A pattern that fits no layer is an error.
struct model_tuning {
    struct option_strings freeze;   // "conv*"
    struct option_strings lr_scale; // "conv1=0.1"; of several that fit, the last
};

struct model_config {
    struct yaml *yaml;                // the recipe, borrowed for the model's life
    const struct yaml_node *features; // list of layers; may be NULL
    const struct yaml_node *head;     // list of layers; may be NULL (one of them must be there)
    const struct yaml_node *loss;     // map of one loss; NULL: softmax
    struct shape input;
    struct loss_target target;
    struct model_mode mode;
    const struct model_tuning *tuning; // NULL: as the layers say
    size_t grain;                      // samples of one grain
    bool is_plan;                      // sizes only: no memory is bound, nothing can run
    bool input_gradient;               // compute d(loss)/d(input) too (tests, explanations)
    // A layer's name, or MODEL_KEEP_AUTO: its y, and with input_gradient its dy, hold what the
    // layer gave and the gradient with respect to it until backward is over: nothing is fused into
    // it or laid over it. NULL: none. STATUS_USAGE: unknown.
    const char *keep;
};
// The block of the last convolution with positions: the last layer of the same height and width,
// pools excepted. None where there is no such convolution.
#define MODEL_KEEP_AUTO "auto"

struct model;

// Reads, shapes, plans and binds all memory. STATUS_USAGE with layer, line and shapes;
// STATUS_ERROR: memory.
enum status model_init(struct model **model, const struct model_config *config);
void model_free(struct model *model);

size_t
model_floats(const struct model *model); // length of the flat vector, a multiple of SPAN_BLOCK
size_t model_n_trained(
    const struct model *model); // trained numbers, without padding, state and frozen ones
size_t model_n_layers(const struct model *model);
const struct layer *model_layer(const struct model *model, size_t i); // topological order
struct shape model_input_shape(const struct model *model);
// Which layer reads which: nodes as the layers above, implied flattens included. Borrowed.
struct network;
const struct network *model_network(const struct model *model);
const struct layer *model_kept(const struct model *model); // config.keep's; NULL: none
const struct loss *model_loss(const struct model *model);
// Memory by kind, bytes: activations, gradients of activations, work and packed weights.
struct model_memory {
    size_t activations, gradients, work;
};
struct model_memory model_memory(const struct model *model);
double model_flops(const struct model *model);       // forward, one sample
double model_flops_again(const struct model *model); // what recompute adds to a training step

// Flat list of all parameters in vector order, with their layer.
struct model_param {
    const struct layer *layer;
    const struct param *param;
    char name[96]; // "conv1/weight"
};
size_t model_params(const struct model *model, const struct model_param **params);

// Initial weights from the seed, into params (model_floats), padding zero.
enum status model_init_params(const struct model *model, uint64_t seed, float *params);
// Does a layer take its first weights from training samples (INIT_SAMPLES)? Then, after
// model_init_params: from n > 0 samples (n, h, w, c) dense, as training will see them.
bool model_wants_samples(const struct model *model);
enum status model_init_samples(const struct model *model, const float *x, size_t n, float *params);

// Once after each change of params, before forward. laps: as in struct pass, may be NULL.
void model_prepare(struct model *model, const float *params, struct laps *laps);

// x: (n, h, w, c) dense. pass->n samples.
void model_forward(struct model *model, const struct pass *pass, const float *x);
// Loss of the last forward: sums over samples into metrics; is_gradient: prepares backward, each
// sample's loss weighted by scale (1 / global batch for a mean).
void model_loss_eval(struct model *model, const struct pass *pass, const void *target,
                     bool is_gradient, float scale, double metrics[LOSS_METRICS_MAX]);
// Instead of a loss: the gradient of some score with respect to the output, dy (n, outputs) dense.
void model_seed_backward(struct model *model, const struct pass *pass, const float *dy);
// Writes all gradients of pass->grads (NULL: those of activations alone, without a hook); after
// each layer calls hook(context, offset): [offset, previous) is final; the last call has offset 0.
// hook may be NULL.
void model_backward(struct model *model, const struct pass *pass,
                    void (*hook)(void *context, size_t offset), void *context);
const struct tensor *model_output(const struct model *model); // logits of the last forward, dense
// d(loss)/d(input) after model_backward, where config.input_gradient asked for it; else at == NULL.
const struct tensor *model_input_gradient(const struct model *model);

// What a clock of laps (comm/laps.h) in pass->laps learns. Its slots: layer i, part p at
// i * LAYER_PARTS + p; behind them those of the whole model; model_n_slots in all.
enum model_lap {
    MODEL_INPUT, // copy of the samples into the first tensor
    MODEL_LOSS,
    MODEL_HOOK, // the caller's
    MODEL_LAPS
};
size_t model_n_slots(const struct model *model);
static inline size_t model_slot(const struct model *model, enum model_lap lap)
{
    return model_n_slots(model) - MODEL_LAPS + lap;
}
// Arithmetic of a part, one sample, and the bytes of a part's operands, each counted once, one
// grain (0: not known, or the part does not exist).
double model_part_flops(const struct layer *layer, enum layer_part part);
double model_part_bytes(const struct layer *layer, enum layer_part part);

#endif
