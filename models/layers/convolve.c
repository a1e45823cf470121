// SPDX-License-Identifier: MIT
#include "models/layers/convolve.h"

#include "models/kernels/rows.h"

void convolve_declare(struct layer *layer, const struct conv_shape *s, bool has_bias,
                      enum init init)
{
    const struct tensor *x = &layer->x[0];
    struct shape in = tensor_shape(x), out = conv_output(s, in);
    layer->y = tensor_of(x->n, out, 0, 0);
    size_t x_halo[2] = {0, 0}, dy_halo[2] = {0, 0};
    if (!conv_pads_itself(s, in, x->n, &layer->mode))
        conv_halos(s, in, out, x_halo, dy_halo);
    layer->x_halo_h[0] = x_halo[0];
    layer->x_halo_w[0] = x_halo[1];
    layer->dy_halo_h = dy_halo[0];
    layer->dy_halo_w = dy_halo[1];
    size_t c = in.c / s->groups, taps = s->kernel_h * s->kernel_w;
    layer->param[layer->n_params++] =
        (struct param){.name = "weight",
                       .rank = 4,
                       .dim = {s->kernel_h, s->kernel_w, c, s->out},
                       .kind = PARAM_WEIGHT,
                       .init = init,
                       .is_added = conv_can_add(s, in, x->n, &layer->mode),
                       .fan_in = taps * c,
                       .fan_out = taps * s->out / s->groups};
    if (has_bias)
        layer->param[layer->n_params++] = (struct param){
            .name = "bias", .rank = 1, .dim = {s->out}, .kind = PARAM_BIAS, .init = INIT_ZERO};
    layer->keep_floats = conv_keep_floats(s, in, x->n, &layer->mode);
    layer->work_floats = conv_work_floats(s, in, x->n, &layer->mode);
    layer->flops = 2.0 * (double)(taps * c) * (double)(out.h * out.w * s->out);
}

enum status convolve_plan(struct layer *layer, const struct conv_shape *shape)
{
    struct conv *conv;
    struct conv_config config = {.shape = *shape,
                                 .mode = layer->mode,
                                 .x = layer->x[0],
                                 .y = layer->y,
                                 .dy = layer->dy,
                                 .dx = layer->dx[0],
                                 .dx_beta = layer->dx_beta[0] > 0,
                                 .keep = layer->keep,
                                 .work = layer->work};
    TRY(conv_plan(&conv, &config));
    layer->self = conv;
    return STATUS_OK;
}

void convolve_prepare(struct layer *layer, const float *params)
{
    conv_pack(layer->self, params + layer->param[0].offset);
}

void convolve_forward(struct layer *layer, const struct pass *pass)
{
    conv_forward(layer->self, pass->n);
    layer_lap(layer, pass, PART_FORWARD);
    const float *bias = layer->n_params > 1 ? layer_param(layer, pass, 1) : NULL;
    if (!bias && !layer->relu)
        return;
    rows_bias(&layer->y, pass->n, bias, layer->relu);
    layer_lap(layer, pass, PART_FUSED);
}

void convolve_backward(struct layer *layer, const struct pass *pass)
{
    if (layer->relu && !layer->is_pooled)
        rows_relu_mask(&layer->y, &layer->dy, pass->n);
    if (layer->n_params > 1 && !layer->is_pooled && !layer->is_frozen && pass->grads)
        rows_channel_sum(&layer->dy, pass->n, layer_grad(layer, pass, 1));
    if ((layer->relu || layer->n_params > 1) && !layer->is_pooled)
        layer_lap(layer, pass, PART_FUSED);
    if (layer->param[0].kind != PARAM_FROZEN && pass->grads) {
        if (pass->sums && layer->param[0].is_added)
            conv_add_weights(layer->self, pass->n, pass->sums + layer->param[0].offset);
        else
            conv_backward_weights(layer->self, pass->n, layer_grad(layer, pass, 0));
        layer_lap(layer, pass, PART_WEIGHTS);
    }
    if (layer->dx[0].at) {
        conv_backward_data(layer->self, pass->n);
        layer_lap(layer, pass, PART_BACKWARD);
    }
}

void convolve_free(struct layer *layer)
{
    conv_free(layer->self);
}

bool convolve_fuses_relu(const struct layer *layer)
{
    (void)layer;
    return true;
}
