// SPDX-License-Identifier: MIT
#include "tests/support/shrink_net.h"

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

const struct shrink_case networks[SHRINK_CASES] = {
    {"a chain with a dense head",
     "features:\n"
     "- conv: {out: 8, kernel: 3, pad: 1, bias: false}\n- batchnorm: {}\n- relu: {}\n"
     "- maxpool: {kernel: 2}\n- conv: {out: 12, kernel: 3, pad: 1}\n- gelu: {}\n"
     "head:\n- dense: {out: 9}\n- leaky_relu: {}\n- dense: {out: 10}\n",
     3, 8 + 12 + 9, 0},
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
     6, 4 + 4 + 4 + 10 + 6 + 6,
     2}, // the stream, two bodies, a body, zeros of the shortcut, the last
    {"a shortcut with weights, depthwise and grouped convolutions",
     "features:\n- conv: {out: 8, kernel: 3, pad: 1}\n- silu: {}\n"
     "- conv: {out: 8, kernel: 3, pad: 1, groups: 8}\n- batchnorm: {}\n"
     "- residual:\n    body:\n    - conv: {out: 6, kernel: 1}\n    - relu: {}\n"
     "    - conv: {out: 12, kernel: 1}\n    shortcut:\n    - conv: {out: 12, kernel: 1}\n"
     "- conv: {out: 6, kernel: 3, pad: 1, groups: 2}\n- conv: {out: 4, kernel: 3}\n"
     "head:\n- avgpool: {kernel: 2}\n- dense: {out: 10}\n",
     3, 8 + 6 + 4, 0}, // what groups read and make stays
    {"branches, fixed filters and names",
     "features:\n- filterbank: {filters: [sobel_x, laplacian]}\n"
     "- conv: {out: 7, kernel: 3, pad: 1, name: a}\n"
     "- branches:\n    lists:\n    - - conv: {out: 5, kernel: 1}\n"
     "    - - conv: {out: 6, kernel: 3, pad: 1}\n      - batchnorm: {}\n    - - relu: {}\n"
     "- conv: {out: 4, kernel: 1, name: f}\n- dropout: {}\nhead:\n- dense: {out: 10}\n",
     4, 7 + 5 + 6 + 4, 0},
    {"bodies in bodies, of the input, of one layer, and one that is read from outside",
     "features:\n- residual:\n    body:\n    - conv: {out: 3, kernel: 3, pad: 1}\n    - gelu: {}\n"
     "- residual:\n    body:\n    - conv: {out: 5, kernel: 1}\n    - residual:\n        body:\n"
     "        - conv: {out: 5, kernel: 3, pad: 1}\n        - dropout: {rate: 0.0}\n"
     "    - relu: {}\n    - conv: {out: 3, kernel: 1}\n- relu: {}\n"
     "- residual:\n    body:\n    - conv: {out: 3, kernel: 1, name: seen}\n- relu: {name: sum}\n"
     "- concat: {from: [sum, seen]}\n- scale: {factor: 0.05}\n- conv: {out: 8, kernel: 3, stride: "
     "2}\nhead:\n"
     "- dense: {out: 11}\n- relu: {}\n- residual:\n    body:\n    - dense: {out: 7}\n"
     "    - gelu: {}\n    - dense: {out: 11}\n- relu: {}\n- dense: {out: 10}\n",
     4, 5 + 8 + 11 + 7, 4},
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

float shrink_number(uint64_t i)
{
    uint32_t words[4];
    random_words((struct random_key){7, RANDOM_GENERATE, 0}, i, 0, words);
    return 2 * random_uniform(words[0]) - 1;
}

void net_open(struct net *net, const char *layers)
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
            float value = shrink_number(p << 32 | i);
            t->params[t->list[p].param->offset + i] = is_variance ? 1 + value * value : value;
        }
    expect_ok(model_init_params(t->model, 1, t->params), "fixed filters");
    for (size_t p = 0; p < t->n_list; p++) // and everything else away from its first value
        for (size_t i = 0; t->list[p].param->kind != PARAM_FROZEN && i < t->list[p].param->count;
             i++) {
            bool is_variance = strcmp(t->list[p].param->name, "running_var") == 0;
            float value = shrink_number(p << 32 | i);
            t->params[t->list[p].param->offset + i] = is_variance ? 1 + value * value : value;
        }
    expect_ok(channels_trace(&net->channels, t->model), "channels");
}

void net_close(struct net *net)
{
    channels_free(&net->channels);
    model_free(net->trained.model);
    recipe_free(&net->trained.recipe);
    free(net->trained.params);
}

void net_data(struct net *net, const char *layers, const char *path, struct dataset **train)
{
    char side[600];
    struct trained *t = &net->trained;
    struct data_config config = dataset_defaults();
    rows_file_images(path, 64, 12, 10, 3, H5_U8);
    net_open(net, layers);
    snprintf(side, sizeof side, "%s:/train", path);
    expect_ok(dataset_open(train, side, DATASET_TRAIN, &config), "data");
    t->input = (struct sample_shape){12, 10, 3};
    expect_ok(transforms_plan(&t->transforms, t->recipe.yaml, NULL, *train), "transforms");
    assert_int_equal(dataset_target(*train).n_classes, 10);
    model_prepare(t->model, t->params, NULL);
}

void rest_open(struct rest *rest, const struct net *net)
{
    struct slice_train train = {"small", 3, 0.01};
    expect_ok(slice_recipe(&net->channels, &net->trained, &train, &rest->text), "recipe");
    expect_ok(recipe_parse(&rest->recipe, "small", rest->text, NULL), rest->text);
    rest->model = model_open(&rest->recipe);
    expect_ok(memory_alloc(&rest->params, model_floats(rest->model), sizeof *rest->params, ""), "");
    expect_ok(slice_weights(&net->channels, net->trained.params, rest->model, rest->params), "");
}

void rest_close(struct rest *rest)
{
    model_free(rest->model);
    recipe_free(&rest->recipe);
    free(rest->params);
    free(rest->text);
}

void shrink_answer(struct model *model, const float *params, float y[CHUNK * 10])
{
    static float x[CHUNK * 12 * 10 * 3];
    const uint64_t rows[CHUNK] = {0, 1, 2, 3};
    struct pass pass = {.n = CHUNK, .params = params, .row = rows};
    for (size_t i = 0; i < COUNT(x); i++)
        x[i] = shrink_number(1u << 30 | i);
    model_prepare(model, params, NULL);
    model_forward(model, &pass, x);
    memcpy(y, model_output(model)->at, CHUNK * 10 * sizeof *y);
}

double shrink_loss(const struct trained *t, struct dataset *train, struct model *model,
                   const float *params)
{
    static float rows[CHUNK * 12 * 10 * 3];
    uint8_t raw[12 * 10 * 3];
    float scratch[4096];
    int32_t target[CHUNK];
    uint64_t row[CHUNK];
    double metrics[LOSS_METRICS_MAX];
    assert_true(transforms_scratch(t->transforms) <= COUNT(scratch));
    for (size_t i = 0; i < CHUNK; i++) {
        row[i] = i * (dataset_rows(train) / CHUNK);
        expect_ok(dataset_read(train, row[i], 1, raw), "row");
        transforms_apply(t->transforms, raw, true, false, 0, 0, row[i], rows + i * sizeof raw,
                         scratch);
        target[i] = *(const int32_t *)dataset_target_of(train, row[i]);
    }
    struct pass pass = {.n = CHUNK, .is_training = true, .params = params, .row = row};
    model_prepare(model, params, NULL);
    model_forward(model, &pass, rows);
    model_loss_eval(model, &pass, target, false, 1, metrics);
    return metrics[0] / CHUNK;
}
