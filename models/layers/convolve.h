// SPDX-License-Identifier: MIT
// What the layers that are convolutions share (conv, dense, filterbank): a planned struct conv in
// layer->self, weights in parameter 0, an optional bias in parameter 1, a fused ReLU.
#ifndef SW2_MODELS_LAYERS_CONVOLVE_H
#define SW2_MODELS_LAYERS_CONVOLVE_H

#include "models/kernels/conv.h"
#include "models/layer.h"

// Sets y, halos, keep and flops, and declares the weight and, if wanted, the bias.
void convolve_declare(struct layer *layer, const struct conv_shape *shape, bool has_bias,
                      enum init init);
enum status convolve_plan(struct layer *layer, const struct conv_shape *shape);
void convolve_prepare(struct layer *layer, const float *params);
void convolve_forward(struct layer *layer, const struct pass *pass);
void convolve_backward(struct layer *layer, const struct pass *pass);
void convolve_free(struct layer *layer);
bool convolve_fuses_relu(const struct layer *layer);

#endif
