// SPDX-License-Identifier: MIT
// Whole networks against PyTorch in double: the losses of 20 steps of SGD with momentum on the
// networks of mnist.yaml and cifar10.yaml (ResNet-20), from the same weights and batches, and the
// weights and running statistics at the end, at every instruction set of this machine, with and
// without Winograd convolution. Values in golden/networks.h5 (scripts/make_golden.py).
//
// Tolerances: rounding errors grow from step to step (a ReLU may switch), so the file holds how far
// PyTorch itself strays when it rounds as float does (largest of 13 runs). Another order of the
// same sums may switch another one, so a multiple is allowed. The floor is that of one float step.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/isa.h"
#include "comm/memory.h"
#include "tests/support/golden.h"

#define SPREAD_TIMES 16
#define LOSS_FLOOR 2e-6
#define TENSOR_FLOOR 1e-5
#define N_SAMPLES 8 // of each final tensor

static struct h5 *file;
static bool winograd; // whether Winograd convolution serves the layers where it pays

struct run {
    const char *name;
    struct golden_model m;
    size_t n, grain, n_grains, n_batches, n_classes, pixels; // pixels: floats of one image
    double lr, momentum;
    float *sum, *moved; // gradient of the step; momentum
    float *x;           // (n, h, w, c)
    int32_t *labels;    // (n)
    uint64_t *rows;     // (n)
};

// --- the formula that scripts/golden_random.py computes too ---

// The i-th number of a stream, in [0, 1), 24 bits: splitmix64 (Steele et al. 2014) from the
// stream's name (FNV-1a).
static uint64_t stream_of(const char *text)
{
    uint64_t value = 0xCBF29CE484222325u;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 0x100000001B3u;
    return value;
}

static double uniform(uint64_t stream, uint64_t i)
{
    uint64_t z = stream + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 40) * 0x1p-24;
}

static uint64_t stream_named(const struct run *run, const char *name)
{
    char text[160];
    snprintf(text, sizeof text, "%s/%s", run->name, name);
    return stream_of(text);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void params_fill(struct run *run)
{
    const struct model_param *list;
    size_t n_list = model_params(run->m.model, &list);
    for (size_t i = 0; i < n_list; i++) {
        const struct param *param = list[i].param;
        const char *name = list[i].name;
        uint64_t stream = stream_named(run, name);
        size_t last = param->dim[param->rank - 1];
        double bound = sqrt(6.0 * (double)last / (double)param->count); // He: 6 / fan in
        for (size_t j = 0; j < param->count; j++) {
            double u = 2 * uniform(stream, j) - 1, value = 0.25 * u;
            if (param->rank > 1)
                value = bound * u;
            else if (ends_with(name, "/running_mean"))
                value = 0;
            else if (ends_with(name, "/running_var"))
                value = 1;
            else if (strncmp(name, "batchnorm", 9) == 0 && ends_with(name, "/weight"))
                value = 1 + 0.25 * u;
            run->m.params[param->offset + j] = (float)value;
        }
    }
}

static void batch_fill(struct run *run, size_t number)
{
    char text[32];
    uint64_t pattern = stream_named(run, "pattern");
    snprintf(text, sizeof text, "labels%zu", number);
    uint64_t labels = stream_named(run, text);
    snprintf(text, sizeof text, "noise%zu", number);
    uint64_t noise = stream_named(run, text);
    for (size_t i = 0; i < run->n; i++) {
        size_t label = (size_t)(uniform(labels, i) * (double)run->n_classes);
        run->labels[i] = (int32_t)label;
        run->rows[i] = i;
        for (size_t j = 0; j < run->pixels; j++)
            run->x[i * run->pixels + j] = (float)(uniform(pattern, label * run->pixels + j) +
                                                  0.5 * uniform(noise, i * run->pixels + j) - 0.75);
    }
}

// --- training ---

// One grain's loss (sum over its samples); its gradient of the batch's mean loss is added to sum.
static double grain_run(struct run *run, size_t grain)
{
    struct golden_model *m = &run->m;
    size_t first = grain * run->grain;
    double metrics[LOSS_METRICS_MAX];
    struct pass pass = {.n = run->grain,
                        .is_training = true,
                        .params = m->params,
                        .grads = m->grads,
                        .seed = 1,
                        .row = run->rows + first};
    model_forward(m->model, &pass, run->x + first * run->pixels);
    model_loss_eval(m->model, &pass, run->labels + first, true, 1.0f / (float)run->n, metrics);
    model_backward(m->model, &pass, NULL, NULL);
    for (size_t i = 0; i < model_floats(m->model); i++)
        run->sum[i] = grain == 0 ? m->grads[i] : run->sum[i] + m->grads[i];
    return metrics[0];
}

static void weights_update(struct run *run)
{
    const struct model_param *list;
    size_t n_list = model_params(run->m.model, &list);
    for (size_t i = 0; i < n_list; i++) {
        const struct param *param = list[i].param;
        float *p = run->m.params + param->offset, *v = run->moved + param->offset;
        const float *g = run->sum + param->offset;
        for (size_t j = 0; j < param->count; j++) {
            if (param->kind == PARAM_STATE) {
                p[j] += param->state_momentum * (g[j] / (float)run->n_grains - p[j]);
            } else {
                v[j] = (float)run->momentum * v[j] + g[j];
                p[j] -= (float)run->lr * v[j];
            }
        }
    }
}

static double step_run(struct run *run, size_t step)
{
    double loss = 0;
    batch_fill(run, step % run->n_batches);
    model_prepare(run->m.model, run->m.params, NULL);
    for (size_t grain = 0; grain < run->n_grains; grain++)
        loss += grain_run(run, grain);
    weights_update(run);
    return loss / (double)run->n;
}

// --- the test ---

static char *section_text(const struct yaml *yaml, const char *key)
{
    char *text = NULL;
    const struct yaml_node *node = yaml_find(yaml->root, key);
    if (node)
        golden_try(yaml_write(node, &text));
    return text ? text : strdup("");
}

static char *file_text(const char *path, size_t *n)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    *n = fread(text, 1, 1 << 20, in);
    fclose(in);
    return text;
}

// The golden values are worth something only while they are of the recipe that people train.
static void check_recipe(const struct run *run)
{
    static const char *const sections[] = {"features", "head", "loss"};
    char path[512];
    size_t n;
    struct yaml *yaml;
    snprintf(path, sizeof path, SW2_SOURCEDIR "/models/recipes/%s.yaml", run->name);
    char *text = file_text(path, &n);
    golden_try(yaml_parse(&yaml, path, text, n));
    for (size_t i = 0; i < 3; i++) {
        char *now = section_text(yaml, sections[i]), *then = section_text(run->m.yaml, sections[i]);
        if (strcmp(now, then) != 0)
            fail_msg("%s of %s.yaml is not what the golden values were made from: run "
                     "scripts/make_golden.py tests/golden",
                     sections[i], run->name);
        free(now);
        free(then);
    }
    yaml_free(yaml);
    free(text);
}

static void run_open(struct run *run)
{
    run->n = (size_t)golden_int(file, run->name, "n");
    run->n_grains = (size_t)golden_int(file, run->name, "grains");
    run->grain = run->n / run->n_grains;
    run->n_batches = (size_t)golden_int(file, run->name, "batches");
    run->n_classes = (size_t)golden_int(file, run->name, "classes");
    run->lr = golden_double(file, run->name, "lr");
    run->momentum = golden_double(file, run->name, "momentum");
    struct shape in = golden_shape(file, run->name, "input");
    run->pixels = in.h * in.w * in.c;
    struct model_config config = {.input = in,
                                  .target = {true, 1, run->n_classes},
                                  .grain = run->grain,
                                  .mode = {.winograd = winograd}};
    char *recipe = golden_text(file, run->name, "recipe");
    golden_model_init(&run->m, recipe, config);
    free(recipe);
    size_t floats = model_floats(run->m.model);
    golden_try(memory_alloc(&run->sum, floats, sizeof(float), "sum"));
    golden_try(memory_alloc(&run->moved, floats, sizeof(float), "momentum"));
    golden_try(memory_alloc(&run->x, run->n * run->pixels, sizeof(float), "images"));
    golden_try(memory_alloc(&run->labels, run->n, sizeof(int32_t), "labels"));
    golden_try(memory_alloc(&run->rows, run->n, sizeof(uint64_t), "rows"));
    params_fill(run);
}

static void run_close(struct run *run)
{
    golden_model_free(&run->m);
    free(run->sum);
    free(run->moved);
    free(run->x);
    free(run->labels);
    free(run->rows);
}

static bool check_losses(struct run *run)
{
    size_t n_steps;
    double *want = golden_read(file, run->name, "losses", H5_F64, &n_steps);
    double *spread = golden_read(file, run->name, "spread_losses", H5_F64, NULL);
    bool is_ok = n_steps == 20;
    for (size_t step = 0; step < n_steps; step++) {
        double got = step_run(run, step), tolerance = LOSS_FLOOR + SPREAD_TIMES * spread[step];
        if (is_ok && !(fabs(got - want[step]) <= tolerance * want[step])) {
            print_error("loss of step %zu: got %.9g, PyTorch %.9g, tolerance %.3g relative\n", step,
                        got, want[step], tolerance);
            is_ok = false;
        }
    }
    free(want);
    free(spread);
    return is_ok;
}

static bool check_final(const struct model_param *p, const float *at, const double *samples,
                        double norm, double largest, double tolerance)
{
    double squares = 0;
    size_t count = p->param->count;
    for (size_t j = 0; j < count; j++)
        squares += (double)at[j] * (double)at[j];
    if (!(fabs(sqrt(squares) - norm) <= tolerance * norm)) {
        print_error("norm of %s after the last step: got %.9g, PyTorch %.9g, tolerance %.3g\n",
                    p->name, sqrt(squares), norm, tolerance);
        return false;
    }
    for (size_t j = 0; j < N_SAMPLES; j++) {
        double got = (double)at[j * count / N_SAMPLES];
        if (fabs(got - samples[j]) <= tolerance * largest)
            continue;
        print_error("%s[%zu] of %zu after the last step: got %.9g, PyTorch %.9g, tolerance %.3g of "
                    "the largest, %.9g\n",
                    p->name, j * count / N_SAMPLES, count, got, samples[j], tolerance, largest);
        return false;
    }
    return true;
}

static bool check_finals(struct run *run)
{
    const struct model_param *list;
    size_t n_list = model_params(run->m.model, &list), n;
    double *norms = golden_read(file, run->name, "norms", H5_F64, &n);
    double *samples = golden_read(file, run->name, "samples", H5_F64, NULL);
    double *largest = golden_read(file, run->name, "largest", H5_F64, NULL);
    double *spread = golden_read(file, run->name, "spread_tensors", H5_F64, NULL);
    char *names = golden_text(file, run->name, "params"), *rest = names;
    bool is_ok = true;
    assert_int_equal(n, n_list);
    for (size_t i = 0; i < n_list; i++) {
        assert_string_equal(list[i].name, strsep(&rest, "\n"));
        is_ok =
            check_final(&list[i], run->m.params + list[i].param->offset, samples + i * N_SAMPLES,
                        norms[i], largest[i], TENSOR_FLOOR + SPREAD_TIMES * spread[i]) &&
            is_ok;
    }
    free(norms);
    free(samples);
    free(largest);
    free(spread);
    free(names);
    return is_ok;
}

static void test_network(void **state)
{
    struct run run = {.name = *state};
    run_open(&run);
    check_recipe(&run);
    bool is_ok = check_losses(&run);
    is_ok = check_finals(&run) && is_ok;
    run_close(&run);
    assert_true(is_ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "mnist", .test_func = test_network, .initial_state = (void *)(uintptr_t) "mnist"},
        {.name = "cifar10",
         .test_func = test_network,
         .initial_state = (void *)(uintptr_t) "cifar10"},
    };
    if (h5_open(&file, SW2_GOLDEN "/networks.h5") != STATUS_OK) {
        fprintf(stderr, "%s\n", error_text());
        return 1;
    }
    int failures = 0;
    enum isa best = isa_detect();
    for (int i = 0; i < 2 * ((int)best + 1); i++) {
        char title[64];
        enum isa isa = (enum isa)(i / 2);
        winograd = i % 2 != 0;
        snprintf(title, sizeof title, "golden networks, %s, %s convolution", isa_name(isa),
                 winograd ? "Winograd" : "direct");
        isa_set(isa);
        failures += cmocka_run_group_tests_name(title, tests, NULL, NULL);
    }
    h5_close(file);
    return failures;
}
