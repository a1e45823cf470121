// SPDX-License-Identifier: MIT
// Taking channels away: where nothing reads a channel, the network without it answers the same;
// which channels hang together; and that importance is what the loss says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/memory.h"
#include "tests/support/expect.h"
#include "tests/support/rows_file.h"
#include "tests/support/shrink_net.h"
#include "trainer/shrink/importance.h"

// Weights that read a channel which is not kept become zero.
static void readers_silence(struct net *net)
{
    struct channels *c = &net->channels;
    for (size_t i = 0; i < model_n_layers(net->trained.model); i++) {
        const struct layer *layer = model_layer(net->trained.model, i);
        size_t x = channels_input(c, i);
        if (layer->n_params == 0 || layer->param[0].rank < 2 || !layer->ops->marks_laps)
            continue;
        const struct param *p = &layer->param[0];
        size_t out = p->dim[p->rank - 1], in = p->dim[p->rank - 2];
        for (size_t at = 0; in == channels_count(c, x) && at < p->count; at++)
            if (!c->keep[channels_root(c, x, at / out % in)])
                net->trained.params[p->offset + at] = 0;
    }
}

// Every third channel of each unit goes, more or less.
static void some_go(struct channels *c, uint64_t round)
{
    for (size_t v = 0; v < c->n_vars; v++)
        if (c->unit[v] >= 0)
            c->keep[v] = shrink_number(round << 20 | v) > -0.3f;
    for (size_t unit = 0; unit < c->n_units; unit++)
        for (size_t v = 0; channels_unit_kept(c, unit) == 0 && v < c->n_vars; v++)
            c->keep[v] = c->keep[v] || c->unit[v] == (int)unit;
}

static void without_silent_channels_the_answer_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++)
        for (uint64_t round = 0; round < 5; round++) {
            struct net net;
            struct rest rest;
            float want[CHUNK * 10], got[CHUNK * 10];
            net_open(&net, networks[i].layers);
            some_go(&net.channels, round);
            readers_silence(&net);
            shrink_answer(net.trained.model, net.trained.params, want);
            rest_open(&rest, &net);
            assert_true(model_n_trained(rest.model) < model_n_trained(net.trained.model));
            shrink_answer(rest.model, rest.params, got);
            for (size_t k = 0; k < COUNT(want); k++)
                if (!(fabsf(want[k] - got[k]) <= 2e-5f * (1 + fabsf(want[k]))))
                    fail_msg("%s, round %d: answer %zu is %g, expected %g\n%s", networks[i].name,
                             (int)round, k, (double)got[k], (double)want[k], rest.text);
            assert_int_equal(rest.recipe.train.epochs, 3);
            assert_true(rest.recipe.train.lr == 0.01);
            rest_close(&rest);
            net_close(&net);
        }
}

static void channels_hang_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(networks); i++) {
        struct net net;
        size_t channels = 0;
        net_open(&net, networks[i].layers);
        for (size_t unit = 0; unit < net.channels.n_units; unit++)
            channels += channels_unit_size(&net.channels, unit);
        if (net.channels.n_units != networks[i].units || channels != networks[i].channels)
            fail_msg("%s: %zu units of %zu channels, expected %zu of %zu", networks[i].name,
                     net.channels.n_units, channels, networks[i].units, networks[i].channels);
        net_close(&net);
    }
}

// The same with what reads channel k of tensor x scaled.
static double loss_scaled(struct trained *t, struct dataset *train, const struct channels *c,
                          size_t x, size_t k, float factor)
{
    float *params;
    expect_ok(memory_alloc(&params, t->n, sizeof *params, "weights"), "memory");
    memcpy(params, t->params, t->n * sizeof *params);
    for (size_t i = 0; i < model_n_layers(t->model); i++) {
        const struct param *p = &model_layer(t->model, i)->param[0];
        if (channels_input(c, i) != x || !model_layer(t->model, i)->ops->marks_laps)
            continue;
        size_t out = p->dim[p->rank - 1], in = p->dim[p->rank - 2];
        for (size_t at = 0; at < p->count; at++)
            if (channels_root(c, x, at / out % in) == channels_root(c, x, k))
                params[p->offset + at] *= factor;
    }
    double loss = shrink_loss(t, train, t->model, params);
    free(params);
    return loss;
}

// The sum of weight times gradient over a channel's readers is how fast the loss changes when they
// are scaled: against central differences. One batch, so that importance is half of CHUNK times its
// square.
static void importance_is_the_slope_of_the_loss(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    struct net net;
    struct dataset *train;
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    net_data(&net, networks[0].layers, path, &train);
    struct trained *t = &net.trained;
    expect_ok(importance_measure(&net.channels, t, train, CHUNK, 1), "importance");
    size_t checked = 0;
    for (size_t i = 0; i < model_n_layers(t->model); i++) {
        const struct layer *layer = model_layer(t->model, i);
        size_t x = channels_input(&net.channels, i);
        if (!layer->ops->marks_laps || net.channels.unit[channels_root(&net.channels, x, 0)] < 0)
            continue;
        double most = 0;
        for (size_t k = 0; k < 8; k++) {
            double slope = (loss_scaled(t, train, &net.channels, x, k, 1.001f) -
                            loss_scaled(t, train, &net.channels, x, k, 0.999f)) /
                           0.002;
            double got =
                sqrt(net.channels.importance[channels_root(&net.channels, x, k)] * 2 / CHUNK);
            // The loss, of about 20, has seven digits: a slope is good to 2e-3.
            if (!(fabs(fabs(slope) - got) <= 0.02 * fabs(slope) + 2e-3))
                fail_msg("layer %s, channel %zu: importance %g, slope %g", layer->name, k, got,
                         slope);
            most = fmax(most, fabs(slope));
        }
        assert_true(most > 0.1);
        checked++;
    }
    assert_int_equal(checked, 3);
    transforms_free(t->transforms);
    dataset_close(train);
    net_close(&net);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_silent_channels_the_answer_stays),
        cmocka_unit_test(channels_hang_together),
        cmocka_unit_test(importance_is_the_slope_of_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
