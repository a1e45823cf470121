// SPDX-License-Identifier: MIT
// The contract of a layer. A layer is one file in layers/ that ends in one `const struct layer_ops
// layer_<name>`, and one row in layers.def; the build, the registry, the recipe schema and the
// generic tests follow from the row.
//
// Life: shape (may fail) -> memory is bound by the graph -> plan (may fail) -> prepare (after each
// change of the weights) -> forward -> backward ... -> free. prepare, forward and backward cannot
// fail and do not allocate.
//
// The one accumulation rule: forward writes y. backward writes (never adds to) the gradient of each
// parameter (but see struct pass's sums), and for each input with dx[i].at != NULL computes dx[i] =
// dx_beta[i] * dx[i] + its contribution, where dx_beta is 0 (then dx must not be read) or 1. x, y
// and dy are not changed by backward - except that a layer with a fused ReLU (relu == true) and
// ops->mutates_dy may mask dy in place. Only the first pass->n samples count; training always has
// n = the grain.
#ifndef SW2_MODELS_LAYER_H
#define SW2_MODELS_LAYER_H

#include <stdint.h>

#include "comm/laps.h"
#include "comm/options.h"
#include "models/kernels/conv.h"
#include "models/tensor.h"

struct layer;

#define LAYER_INPUTS_MAX 8
#define LAYER_PARAMS_MAX 4

enum init {
    INIT_ZERO,
    INIT_ONE,
    INIT_HE_NORMAL,
    INIT_HE_UNIFORM,
    INIT_XAVIER_NORMAL,
    INIT_XAVIER_UNIFORM,
    INIT_DIRAC, // R,S,C,K: filter k < C passes channel k on; the others uniform in +-1/sqrt(fan_in)
    INIT_VALUES,
    INIT_SAMPLES // by the layer's init(), from training samples
};
#define INIT_CHOICES                                                                               \
    "he_normal|he_uniform|xavier_normal|xavier_uniform" // in a recipe: INIT_HE_NORMAL + index

enum param_kind {
    PARAM_WEIGHT, // trained, weight decay applies
    PARAM_BIAS,   // trained; biases and norms: no weight decay by default
    PARAM_STATE,  // running statistic: backward writes the grain's value, the trainer averages over
                  // grains and moves: p += momentum * (average - p)
    PARAM_FROZEN  // never changed; backward writes nothing
};

struct param {
    const char *name; // "weight", "bias", "running_mean"; static text
    int rank;
    size_t dim[4];
    enum param_kind kind;
    enum init init;
    size_t fan_in, fan_out; // of the random inits (He et al. 2015, Glorot and Bengio 2010)
    const float *values;    // INIT_VALUES: borrowed from the layer's self or args
    float state_momentum;   // PARAM_STATE
    float lr_factor;        // trained ones: times the learning rate, not the decay; 0: 1
    float lr_scale;         // trained ones: times learning rate and decay of a step; 0: 1
    double trained_epochs;  // trained ones: frozen after so many epochs; 0: never
    bool is_added;          // its gradient can go into struct pass's sums
    size_t count;           // product of dim; set by the graph
    size_t offset;          // in the flat vector, a multiple of SPAN_BLOCK; set by the graph
};

// What one call works on. Pointers are borrowed for the call.
struct pass {
    size_t n;            // samples, at most the grain
    bool is_training;    // batch statistics and dropout
    bool is_again;       // forward of the same samples once more (recompute): keep still holds what
                         // the first one drew and measured
    const float *params; // flat vector
    float *grads;        // flat vector of this grain; NULL: backward computes dx alone
    float *sums;         // flat vector: where a parameter is_added, backward does sums = sums +
                         // gradient and leaves grads as it is; NULL: grads has all
    uint64_t seed; // random numbers: (seed, RANDOM_DROPOUT, epoch, row, layer << 20 | element / 4)
    uint32_t epoch;
    const uint64_t *row; // (n) row numbers in the data set
    struct laps *laps;   // times of a profile, of at least model_n_slots slots; NULL: none
    // Called after each layer's forward (not again), when its y is made; NULL: nobody looks.
    void (*seen)(void *context, const struct layer *layer);
    void *seen_context;
};

// Parts of a layer's work that a profile tells apart.
enum layer_part {
    PART_PREPARE,
    PART_FORWARD,
    PART_FUSED,    // bias and ReLU that a convolution does beside its products, both ways
    PART_WEIGHTS,  // backward of convolutions: gradient of the weights
    PART_BACKWARD, // everything else of backward; of convolutions: gradient of x
    LAYER_PARTS
};

struct layer {
    const struct layer_ops *ops;
    const char *name;      // as in the recipe or made: "conv1"; unique; names its parameters
    int line;              // in the recipe, for messages
    int index;             // position in topological order
    struct conv_mode mode; // what the recipe allows convolutions; set by the graph before shape()
    void *args;            // options of the recipe, read by ops->options into ops->args_size bytes

    int n_x;
    struct tensor x[LAYER_INPUTS_MAX], dx[LAYER_INPUTS_MAX]; // views; dx[i].at NULL: not wanted
    float dx_beta[LAYER_INPUTS_MAX];
    struct tensor y, dy;
    bool is_deferred; // a norm whose y is never made: who alone reads it applies the norm
    struct layer *norm[LAYER_INPUTS_MAX]; // of that add or max-pool: x[k] is the norm's x; or NULL
    struct layer *pool; // of a deferred norm: that max-pool, whose backward it does; NULL: an add
    struct layer *source; // of a max-pool: the convolution before it, whose ReLU and bias it does
    bool is_pooled;       // of that convolution, in backward, on its own smaller dy
    bool is_frozen; // by the recipe: parameters and running statistics stay, norms use the latter
    bool relu;      // a following ReLU was fused: y is max(0, .), and backward masks dy by y > 0

    // Set by shape():
    size_t x_halo_h[LAYER_INPUTS_MAX], x_halo_w[LAYER_INPUTS_MAX]; // halo wanted on x[i]
    size_t dy_halo_h, dy_halo_w;                                   // halo wanted on dy
    struct param param[LAYER_PARAMS_MAX];
    int n_params;
    size_t keep_floats; // memory of its own, from forward to backward and from prepare on
    size_t work_floats; // scratch during one call, shared by all layers
    double flops;       // forward, one sample (a multiply-add counts 2)

    float *keep, *work; // bound by the graph, 64-byte aligned, keep initially zero
    void *
        self; // planned data (kernels, offsets), allocated in shape() or plan(), released by free()
};

// Bits. A layer's test fills what it spares with NaN before backward.
enum layer_spares {
    SPARES_X = 1,    // the values of x
    SPARES_Y = 2,    // the values of y, but for the mask of a fused ReLU
    SPARES_MASK = 4, // with SPARES_Y: finds that mask without y
};

struct layer_ops {
    const char *name;             // recipe key: "conv"
    const char *help;             // one line
    const struct option *options; // rows for args
    size_t n_options, args_size;
    int min_x, max_x; // inputs
    bool mutates_dy;  // backward masks dy in place when relu is fused
    unsigned spares;  // enum layer_spares: what backward does not read, so that it need not stay
    bool marks_laps;  // forward and backward call layer_lap for their parts

    // From x[i].{n,h,w,c}: sets y.{h,w,c}, params, halos, keep, work, flops. STATUS_USAGE naming
    // layer and shapes.
    enum status (*shape)(struct layer *layer);
    // For INIT_SAMPLES, of a layer on the network's input: its parameters in the flat vector from n
    // > 0 samples (n, h, w, c) dense. May be NULL. STATUS_ERROR: memory.
    enum status (*init)(const struct layer *layer, const float *x, size_t n, float *params);
    // With all views and memory bound: kernels. May be NULL.
    enum status (*plan)(struct layer *layer);
    // The weights changed (once a step): packing. May be NULL.
    void (*prepare)(struct layer *layer, const float *params);
    void (*forward)(struct layer *layer, const struct pass *pass);
    void (*backward)(struct layer *layer, const struct pass *pass);
    void (*free)(struct layer *layer); // releases self; may be NULL
    // Can a following ReLU be fused into this layer (as planned so far)? NULL: no.
    bool (*fuses_relu)(const struct layer *layer);
};

// Registry. Borrowed, static.
const struct layer_ops *layer_ops_find(const char *name); // NULL if unknown
const struct layer_ops *const *layer_ops_all(size_t *n);
const char *const *layer_names(size_t *n); // for names_nearest

size_t layer_subsample_before(const struct layer *layer); // zeros before the input's channels

#define LAYER_FAIL(layer, format, ...)                                                             \
    FAIL(STATUS_USAGE, "layer '%s' (line %d): " format, (layer)->name, (layer)->line, __VA_ARGS__)

// Ends a part's work for the profile: the time since the last lap is its own.
static inline void layer_lap(const struct layer *layer, const struct pass *pass,
                             enum layer_part part)
{
    laps_mark(pass->laps, (size_t)layer->index * LAYER_PARTS + part);
}

// The shape() of layers that map each value of x[0] by itself: y like x[0], one FLOP a value.
static inline enum status layer_shape_same(struct layer *layer)
{
    const struct tensor *x = &layer->x[0];
    layer->y.h = x->h;
    layer->y.w = x->w;
    layer->y.c = x->c;
    layer->flops = (double)(x->h * x->w * x->c);
    return STATUS_OK;
}

static inline const float *layer_param(const struct layer *layer, const struct pass *pass, int i)
{
    return pass->params + layer->param[i].offset;
}
static inline float *layer_grad(const struct layer *layer, const struct pass *pass, int i)
{
    return pass->grads + layer->param[i].offset;
}

#endif
