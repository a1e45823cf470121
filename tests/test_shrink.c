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
#include "comm/random.h"
#include "tests/support/expect.h"
#include "tests/support/rows_file.h"
#include "trainer/shrink/importance.h"
#include "trainer/shrink/slice.h"

#define CHUNK 4
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *name, *layers;
    size_t units, channels; // that can be thinned; channels in them
} networks[] = {
    {"a chain with a dense head",
     "features:\n"
     "- conv: {out: 8, kernel: 3, pad: 1, bias: false}\n- batchnorm: {}\n- relu: {}\n"
     "- maxpool: {kernel: 2}\n- conv: {out: 12, kernel: 3, pad: 1}\n- gelu: {}\n"
     "head:\n- dense: {out: 9}\n- leaky_relu: {}\n- dense: {out: 10}\n",
     3, 8 + 12 + 9},
    {"residuals, one with a shortcut of option A",
     "features:\n- conv: {out: 4, kernel: 3, pad: 1, bias: false}\n- batchnorm: {}\n- relu: {}\n"
     "- repeat:\n    times: 2\n    layers:\n    - residual:\n        body:\n"
     "        - conv: {out: 4, kernel: 3, pad: 1, bias: false}\n        - batchnorm: {}\n"
     "        - relu: {}\n        - conv: {out: 4, kernel: 3, pad: 1, bias: false}\n"
     "        - batchnorm: {}\n    - relu: {}\n"
     "- residual:\n    body:\n    - conv: {out: 10, kernel: 3, stride: 2, pad: 1}\n    - relu: {}\n"
     "    - conv: {out: 10, kernel: 3, pad: 1}\n    shortcut:\n    - subsample: {stride: 2, out: "
     "10}\n"
     "- relu: {}\n- conv: {out: 6, kernel: 1}\nhead:\n- globalpool: {}\n- dense: {out: 10}\n",
     6, 4 + 4 + 4 + 10 + 6 + 6}, // the stream, two bodies, a body, zeros of the shortcut, the last
    {"a shortcut with weights, depthwise and grouped convolutions",
     "features:\n- conv: {out: 8, kernel: 3, pad: 1}\n- silu: {}\n"
     "- conv: {out: 8, kernel: 3, pad: 1, groups: 8}\n- batchnorm: {}\n"
     "- residual:\n    body:\n    - conv: {out: 6, kernel: 1}\n    - relu: {}\n"
     "    - conv: {out: 12, kernel: 1}\n    shortcut:\n    - conv: {out: 12, kernel: 1}\n"
     "- conv: {out: 6, kernel: 3, pad: 1, groups: 2}\n- conv: {out: 4, kernel: 3}\n"
     "head:\n- avgpool: {kernel: 2}\n- dense: {out: 10}\n",
     3, 8 + 6 + 4}, // what groups read and make stays
    {"branches, fixed filters and names",
     "features:\n- filterbank: {filters: [sobel_x, laplacian]}\n"
     "- conv: {out: 7, kernel: 3, pad: 1, name: a}\n"
     "- branches:\n    lists:\n    - - conv: {out: 5, kernel: 1}\n"
     "    - - conv: {out: 6, kernel: 3, pad: 1}\n      - batchnorm: {}\n    - - relu: {}\n"
     "- conv: {out: 4, kernel: 1, name: f}\n- dropout: {}\nhead:\n- dense: {out: 10}\n",
     4, 7 + 5 + 6 + 4},
};

struct net {
    struct trained trained; // recipe, model, params
    struct channels channels;
};

static struct model *model_open(struct recipe *recipe)
{
    struct model *model;
    struct model_config config = {
        .yaml = recipe->yaml,
        .features = recipe->features,
        .head = recipe->head,
        .input = {12, 10, 3},
        .target = {.is_class = true, .count = 1, .n_classes = 10},
        .grain = CHUNK,
    };
    expect_ok(model_init(&model, &config), "model");
    return model;
}

static float number(uint64_t i)
{
    uint32_t words[4];
    random_words((struct random_key){7, RANDOM_GENERATE, 0}, i, 0, words);
    return 2 * random_uniform(words[0]) - 1;
}

static void net_open(struct net *net, const char *layers)
{
    struct trained *t = &net->trained;
    char text[2048];
    *net = (struct net){0};
    snprintf(text, sizeof text, "data: {train: none.h5}\n%s", layers);
    expect_ok(recipe_parse(&t->recipe, "recipe", text, NULL), layers);
    t->model = model_open(&t->recipe);
    t->n = model_floats(t->model);
    t->n_list = model_params(t->model, &t->list);
    expect_ok(memory_alloc(&t->params, t->n, sizeof *t->params, "weights"), "memory");
    for (size_t p = 0; p < t->n_list; p++)
        for (size_t i = 0; i < t->list[p].param->count; i++) {
            bool is_variance = strcmp(t->list[p].param->name, "running_var") == 0;
            float value = number(p << 32 | i);
            t->params[t->list[p].param->offset + i] = is_variance ? 1 + value * value : value;
        }
    expect_ok(model_init_params(t->model, 1, t->params), "fixed filters");
    for (size_t p = 0; p < t->n_list; p++) // and everything else away from its first value
        for (size_t i = 0; t->list[p].param->kind != PARAM_FROZEN && i < t->list[p].param->count;
             i++) {
            bool is_variance = strcmp(t->list[p].param->name, "running_var") == 0;
            float value = number(p << 32 | i);
            t->params[t->list[p].param->offset + i] = is_variance ? 1 + value * value : value;
        }
    expect_ok(channels_trace(&net->channels, t->model), "channels");
}

static void net_close(struct net *net)
{
    channels_free(&net->channels);
    model_free(net->trained.model);
    recipe_free(&net->trained.recipe);
    free(net->trained.params);
}

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

static void answer(struct model *model, const float *params, float y[CHUNK * 10])
{
    static float x[CHUNK * 12 * 10 * 3];
    const uint64_t rows[CHUNK] = {0, 1, 2, 3};
    struct pass pass = {.n = CHUNK, .params = params, .row = rows};
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = number(1u << 30 | i);
    model_prepare(model, params, NULL);
    model_forward(model, &pass, x);
    memcpy(y, model_output(model)->at, CHUNK * 10 * sizeof *y);
}

// Every third channel of each unit goes, more or less.
static void some_go(struct channels *c, uint64_t round)
{
    for (size_t v = 0; v < c->n_vars; v++)
        if (c->unit[v] >= 0)
            c->keep[v] = number(round << 20 | v) > -0.3f;
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
            struct slice_train train = {"small", 3, 0.01};
            struct recipe recipe;
            char *text;
            float *params, want[CHUNK * 10], got[CHUNK * 10];
            net_open(&net, networks[i].layers);
            some_go(&net.channels, round);
            readers_silence(&net);
            answer(net.trained.model, net.trained.params, want);
            expect_ok(slice_recipe(&net.channels, &net.trained, &train, &text), "recipe");
            expect_ok(recipe_parse(&recipe, "small", text, NULL), text);
            struct model *model = model_open(&recipe);
            assert_true(model_n_trained(model) < model_n_trained(net.trained.model));
            expect_ok(memory_alloc(&params, model_floats(model), sizeof *params, "weights"), "");
            expect_ok(slice_weights(&net.channels, net.trained.params, model, params), "weights");
            answer(model, params, got);
            for (size_t k = 0; k < COUNT(want); k++)
                if (!(fabsf(want[k] - got[k]) <= 2e-5f * (1 + fabsf(want[k]))))
                    fail_msg("%s, round %d: answer %zu is %g, expected %g\n%s", networks[i].name,
                             (int)round, k, (double)got[k], (double)want[k], text);
            assert_int_equal(recipe.train.epochs, 3);
            assert_true(recipe.train.lr == 0.01);
            model_free(model);
            recipe_free(&recipe);
            free(params);
            free(text);
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

// Mean loss of the rows that one batch of importance_measure takes, in training, with what reads
// channel k of tensor x scaled.
static double loss_scaled(struct trained *t, struct dataset *train, const struct channels *c,
                          size_t x, size_t k, float factor)
{
    static float rows[CHUNK * 12 * 10 * 3], *params;
    uint8_t raw[12 * 10 * 3];
    float scratch[4096];
    int32_t target[CHUNK];
    uint64_t row[CHUNK];
    double metrics[LOSS_METRICS_MAX];
    assert_true(transforms_scratch(t->transforms) <= COUNT(scratch));
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
    for (size_t i = 0; i < CHUNK; i++) {
        row[i] = i * (dataset_rows(train) / CHUNK);
        expect_ok(dataset_read(train, row[i], 1, raw), "row");
        transforms_apply(t->transforms, raw, true, false, 0, 0, row[i], rows + i * sizeof raw,
                         scratch);
        target[i] = *(const int32_t *)dataset_target_of(train, row[i]);
    }
    struct pass pass = {.n = CHUNK, .is_training = true, .params = params, .row = row};
    model_prepare(t->model, params, NULL);
    model_forward(t->model, &pass, rows);
    model_loss_eval(t->model, &pass, target, false, 1, metrics);
    free(params);
    return metrics[0] / CHUNK;
}

// The sum of weight times gradient over a channel's readers is how fast the loss changes when they
// are scaled: against central differences. One batch, so that importance is its square.
static void importance_is_the_slope_of_the_loss(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512], side[600];
    struct net net;
    struct dataset *train;
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    snprintf(side, sizeof side, "%s:/train", path);
    rows_file_images(path, 64, 12, 10, 3, H5_U8);
    net_open(&net, networks[0].layers);
    struct trained *t = &net.trained;
    struct data_config config = dataset_defaults();
    expect_ok(dataset_open(&train, side, DATASET_TRAIN, &config), "data");
    t->input = (struct sample_shape){12, 10, 3};
    expect_ok(transforms_plan(&t->transforms, t->recipe.yaml, NULL, train), "transforms");
    assert_int_equal(dataset_target(train).n_classes, 10);
    model_prepare(t->model, t->params, NULL);
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
            double got = sqrt(net.channels.importance[channels_root(&net.channels, x, k)]);
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
