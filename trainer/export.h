// SPDX-License-Identifier: MIT
// A trained network for other programs. export_net.c makes a list of plain nodes out of it, without
// what only training needs (dropout, fusions, grains); the writers (ONNX, Keras, NPZ, C) read that
// list and nothing else. Shapes are h, w, c of one sample, weights those of our layers. Used by
// sw2-export alone.
#ifndef SW2_TRAINER_EXPORT_H
#define SW2_TRAINER_EXPORT_H

#include "trainer/trained.h"

#define EXPORT_IDENT_MAX 96

enum export_kind {
    EXPORT_CONV,  // weight (R, S, C / groups, K), bias (K) or NULL; window
    EXPORT_DENSE, // weight (C, K), bias (K) or NULL
    EXPORT_NORM,  // weight, bias, mean, variance (C); value: eps
    EXPORT_RELU,
    EXPORT_LEAKY_RELU, // value: slope
    EXPORT_GELU,       // exact
    EXPORT_SILU,
    EXPORT_MAXPOOL, // window
    EXPORT_AVGPOOL, // window, counts_pad
    EXPORT_GLOBALPOOL,
    EXPORT_FLATTEN, // h, w, c in this order, channels fastest
    EXPORT_ADD,
    EXPORT_CONCAT,    // along channels
    EXPORT_SUBSAMPLE, // window.stride; `before` channels of zeros before the input's
    EXPORT_SCALE,     // value: factor
    EXPORT_HOG,       // window.kernel: side of a cell; y.c / 4 orientations; value: eps
    EXPORT_KINDS
};

struct export_window {
    size_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
};

struct export_node {
    enum export_kind kind;
    const char *name;                   // of the layer; borrowed
    char ident[EXPORT_IDENT_MAX];       // the same as a name of C and Python; unique
    int from[LAYER_INPUTS_MAX], n_from; // earlier nodes, or -1: the input
    struct shape x, y;                  // of the first input and the output
    struct export_window window;
    bool counts_pad;
    size_t before;
    double value;
    const float *weight, *bias, *mean, *variance; // borrowed
};

struct export_net {
    const struct trained *trained;
    char name[EXPORT_IDENT_MAX]; // a name of C and Python
    struct export_node *nodes;
    size_t n;
    struct shape input;
    float **folded; // (n_folded) weights that are not the checkpoint's; owned
    size_t n_folded;
    // Raw values to inputs of the network, per channel: x = raw scale + shift. NULL: not wanted.
    float *scale, *shift; // (input.c) owned
};

struct export_config {
    const char *name;   // NULL or "": the recipe's
    bool folds_norms;   // batch-norms right behind a convolution or dense layer become part of it
    bool prepares;      // take the preprocessing along
    bool probabilities; // softmax behind the scores
    bool weights_apart; // C: numbers in a file of their own
};

// trained: borrowed. STATUS_USAGE naming the layer: no kind here stands for it; preprocessing that
// is more than a factor and an offset for each channel. STATUS_DATA: weights that are not finite.
enum status export_net_open(struct export_net *net, const struct trained *trained,
                            const struct export_config *config);
void export_net_close(struct export_net *net);
// Moves every norm that can into the layer before it. Called by export_net_open.
enum status export_net_fold(struct export_net *net);
// Letters, digits and _, not beginning with a digit: "3x3-a" becomes net_3x3_a.
void export_identifier(char out[EXPORT_IDENT_MAX], const char *from, const char *prefix);
// Sets ident of every node.
void export_net_name(struct export_net *net);
size_t export_readers(const struct export_net *net, int node); // how many inputs are this output
size_t export_weight_count(const struct export_node *node);    // floats of node->weight
static inline size_t export_shape_count(struct shape s)
{
    return s.h * s.w * s.c;
}
static inline struct shape export_output(const struct export_net *net)
{
    return net->n > 0 ? net->nodes[net->n - 1].y : net->input;
}

// Writers. path: of the file, which appears whole or not at all. STATUS_ERROR: it cannot be
// written; STATUS_USAGE: the format cannot hold this network.
enum status export_onnx(const struct export_net *net, const struct export_config *config,
                        const char *path);
enum status export_npz(const struct export_net *net, const struct export_config *config,
                       const char *path);
// PATH.weights.h5 and, beside it, PATH.py that builds the model.
enum status export_keras(const struct export_net *net, const struct export_config *config,
                         const char *path);
// PATH.c and PATH.h (and PATH.bin: weights_apart).
enum status export_c(const struct export_net *net, const struct export_config *config,
                     const char *path);

#endif
