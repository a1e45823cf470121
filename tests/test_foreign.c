// SPDX-License-Identifier: MIT
// Reading what other programs wrote: ONNX in all the ways that exporters write it, state_dicts in
// HDF5; and damaged files, cut at every byte and with every bit turned over: an error or other
// numbers, never a crash (run under sanitizers).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "comm/log.h"
#include "data/h5.h"
#include "tests/support/expect.h"
#include "trainer/export_bytes.h"
#include "trainer/import_foreign.h"
#include "trainer/onnx.h"

static char folder[] = "/tmp/sw2_foreign_XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

// ---- a file as PyTorch, TensorFlow's converter and others would write its parts

struct maker {
    struct bytes graph, part, inner;
};

static float value(size_t seed, size_t i)
{
    return (float)seed + (float)i / 64;
}

enum { AS_RAW, AS_FLOATS, AS_SINGLE_FLOATS, AS_DOUBLES_RAW, AS_DOUBLES };

// A TensorProto into m->part.
static void tensor_put(struct maker *m, const char *name, int rank, const size_t *dim, size_t seed,
                       int as)
{
    size_t n = 1;
    for (int d = 0; d < rank; d++)
        n *= dim[d];
    if (as == AS_FLOATS) // packed dims, too
        for (int d = 0; d < rank; d++)
            bytes_put_number(&m->inner, dim[d], 1);
    else
        for (int d = 0; d < rank; d++)
            pb_int(&m->part, ONNX_TENSOR_DIMS, (int64_t)dim[d]);
    if (as == AS_FLOATS)
        pb_message(&m->part, ONNX_TENSOR_DIMS, &m->inner);
    bool is_double = as == AS_DOUBLES_RAW || as == AS_DOUBLES;
    pb_int(&m->part, ONNX_TENSOR_TYPE, is_double ? ONNX_DOUBLE : ONNX_FLOAT);
    for (size_t i = 0; i < n; i++) {
        float x = value(seed, i);
        double y = (double)x;
        uint64_t bits;
        memcpy(&bits, &y, sizeof bits);
        if (as == AS_SINGLE_FLOATS)
            pb_float(&m->part, ONNX_TENSOR_FLOATS, x);
        else if (is_double)
            bytes_put_number(&m->inner, bits, 8);
        else
            bytes_put_floats(&m->inner, &x, 1);
    }
    static const int fields[] = {ONNX_TENSOR_RAW, ONNX_TENSOR_FLOATS, 0, ONNX_TENSOR_RAW,
                                 ONNX_TENSOR_DOUBLES};
    if (as != AS_SINGLE_FLOATS)
        pb_message(&m->part, fields[as], &m->inner);
    pb_text(&m->part, ONNX_TENSOR_NAME, name);
}

static void constant_put(struct maker *m, const char *name, int rank, const size_t *dim,
                         size_t seed, int as)
{
    tensor_put(m, name, rank, dim, seed, as);
    pb_message(&m->graph, ONNX_GRAPH_INITIALISER, &m->part);
}

// inputs: separated by spaces. attribute: an int, or none where its name is NULL.
static void node_put(struct maker *m, const char *op, const char *inputs, const char *output,
                     const char *attribute, int64_t number)
{
    char text[128];
    snprintf(text, sizeof text, "%s", inputs);
    for (char *one = strtok(text, " "); one; one = strtok(NULL, " "))
        pb_text(&m->part, ONNX_NODE_INPUT, one);
    pb_text(&m->part, ONNX_NODE_OUTPUT, output);
    pb_text(&m->part, ONNX_NODE_OP, op);
    if (attribute) {
        pb_text(&m->inner, ONNX_ATTRIBUTE_NAME, attribute);
        pb_int(&m->inner, ONNX_ATTRIBUTE_I, number);
        pb_message(&m->part, ONNX_NODE_ATTRIBUTE, &m->inner);
    }
    pb_message(&m->graph, ONNX_GRAPH_NODE, &m->part);
}

// A Constant node that holds a tensor.
static void held_put(struct maker *m, const char *name, size_t n, size_t seed)
{
    struct maker tensor = {0};
    tensor_put(&tensor, "", 1, &n, seed, AS_RAW);
    pb_text(&m->inner, ONNX_ATTRIBUTE_NAME, "value");
    pb_message(&m->inner, ONNX_ATTRIBUTE_T, &tensor.part);
    pb_message(&m->part, ONNX_NODE_ATTRIBUTE, &m->inner);
    pb_text(&m->part, ONNX_NODE_OUTPUT, name);
    pb_text(&m->part, ONNX_NODE_OP, "Constant");
    pb_message(&m->graph, ONNX_GRAPH_NODE, &m->part);
    bytes_free(&tensor.part);
    bytes_free(&tensor.inner);
}

static void model_end(struct maker *m, struct bytes *model)
{
    pb_int(model, ONNX_MODEL_IR_VERSION, 7);
    pb_message(model, ONNX_MODEL_GRAPH, &m->graph);
    bytes_free(&m->graph);
    bytes_free(&m->part);
    bytes_free(&m->inner);
}

// Conv, norm with an aliased weight, MatMul + Add, Gemm both ways, behind a Transpose.
static struct bytes model_make(void)
{
    struct maker m = {0};
    struct bytes model = {0};
    const size_t conv[] = {4, 3, 2, 1}, in_out[] = {8, 5}, out_in[] = {6, 5}, four = 4, five = 5;
    constant_put(&m, "w1", 4, conv, 1, AS_RAW);
    constant_put(&m, "b1", 1, &four, 2, AS_FLOATS);
    constant_put(&m, "one", 1, &four, 3, AS_SINGLE_FLOATS);
    constant_put(&m, "mean", 1, &four, 4, AS_DOUBLES_RAW);
    constant_put(&m, "w2", 2, in_out, 5, AS_DOUBLES);
    constant_put(&m, "w3", 2, out_in, 6, AS_RAW);
    held_put(&m, "b2", five, 7);
    node_put(&m, "Identity", "one", "variance", NULL, 0);
    node_put(&m, "Conv", "x w1 b1", "y1", NULL, 0);
    node_put(&m, "BatchNormalization", "y1 one b1 mean variance", "y2", NULL, 0);
    node_put(&m, "Relu", "y2", "y3", NULL, 0);
    node_put(&m, "MatMul", "y3 w2", "y4", NULL, 0);
    node_put(&m, "Add", "b2 y4", "y5", NULL, 0);
    node_put(&m, "Gemm", "y5 w3", "y6", "transB", 1);
    model_end(&m, &model);
    return model;
}

static void bytes_write(const uint8_t *at, size_t n, const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(at, 1, n, file), n);
    fclose(file);
}

static void values_check(const char *what, const float *got, size_t n, size_t seed)
{
    assert_non_null(got);
    for (size_t i = 0; i < n; i++)
        if (got[i] != value(seed, i))
            fail_msg("%s[%zu] is %g, expected %g", what, i, (double)got[i], (double)value(seed, i));
}

static void test_onnx(void **state)
{
    (void)state;
    struct bytes model = model_make();
    struct foreign_net net = {0};
    expect_ok(bytes_save(&model, path_of("good.onnx")), "save");
    expect_ok(foreign_onnx_read(&net, path_of("good.onnx")), "read");
    assert_int_equal(net.n, 4);
    const struct foreign_layer *conv = &net.layers[0], *norm = conv + 1, *a = conv + 2, *b = a + 1;
    const size_t shape[] = {4, 3, 2, 1};
    assert_memory_equal(conv->dim, shape, sizeof shape);
    values_check("conv weight", conv->weight, 24, 1);
    values_check("conv bias", conv->bias, 4, 2);
    assert_int_equal(norm->kind, FOREIGN_NORM);
    values_check("norm weight", norm->weight, 4, 3);
    values_check("norm bias", norm->bias, 4, 2);
    values_check("mean", norm->mean, 4, 4);
    values_check("variance", norm->variance, 4, 3);
    assert_true(a->is_in_out && a->dim[0] == 5 && a->dim[1] == 8);
    values_check("matmul", a->weight, 40, 5);
    values_check("added bias", a->bias, 5, 7);
    assert_true(!b->is_in_out && b->dim[0] == 6 && b->dim[1] == 5 && !b->bias);
    values_check("gemm", b->weight, 30, 6);
    assert_string_equal(conv->name, "y1");
    foreign_free(&net);
    bytes_free(&model);
}

static void reads_or_refuses(const uint8_t *at, size_t n)
{
    struct foreign_net net = {0};
    bytes_write(at, n, path_of("damaged.onnx"));
    enum status status = foreign_onnx_read(&net, path_of("damaged.onnx"));
    if (status != STATUS_OK && status != STATUS_DATA)
        fail_msg("status %d: %s", status, error_text());
    foreign_free(&net);
}

static void test_damaged_onnx(void **state)
{
    (void)state;
    struct bytes model = model_make();
    for (size_t n = 0; n < model.n; n++) {
        struct foreign_net net = {0};
        bytes_write(model.at, n, path_of("damaged.onnx"));
        assert_int_equal(foreign_onnx_read(&net, path_of("damaged.onnx")), STATUS_DATA);
        foreign_free(&net);
    }
    for (size_t i = 0; i < model.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            model.at[i] ^= (uint8_t)(1 << bit);
            reads_or_refuses(model.at, model.n);
            model.at[i] ^= (uint8_t)(1 << bit);
        }
    uint32_t random = 1;
    for (int round = 0; round < 2000; round++) { // several bytes, with large numbers among them
        struct bytes copy = {0};
        bytes_put(&copy, model.at, model.n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            copy.at[(random >> 8) % copy.n] = k == 0 ? 0xff : (uint8_t)(random >> 24);
        }
        reads_or_refuses(copy.at, copy.n);
        bytes_free(&copy);
    }
    bytes_free(&model);
}

// One network at a time that is refused, and what the error says.
static void test_refused_onnx(void **state)
{
    (void)state;
    static const struct {
        const char *op, *inputs, *attribute, *text;
        int64_t number;
    } cases[] = {
        {"ConvTranspose", "x w", NULL, "for which there is no layer here", 0},
        {"LSTM", "x w", NULL, "for which there is no layer here", 0},
        {"Conv", "x gone", NULL, "is no constant", 0},
        {"Conv", "x", NULL, "is no constant", 0},
        {"Conv", "x v", NULL, "has 1 dimensions, expected 4", 0},
        {"Gemm", "x w", "transA", "alpha, beta or transA", 1},
        {"BatchNormalization", "x v v v b", NULL, "has 3 numbers, expected 4", 0},
        {"Conv", "x half", NULL, "expected float32 or float64", 0},
        {"Conv", "x large", NULL, "more than the file has", 0},
        {"Conv", "x longer", NULL, "has 2 numbers, its shape says 1", 0},
        {"Conv", "x outside", NULL, "stored in another file", 0},
        {"Relu", "x", NULL, "has no convolution, dense layer or batch-norm", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct maker m = {0};
        struct bytes model = {0};
        struct foreign_net net = {0};
        const size_t w[] = {2, 2}, v = 4, b = 3;
        constant_put(&m, "w", 2, w, 1, AS_RAW);
        constant_put(&m, "v", 1, &v, 1, AS_RAW);
        constant_put(&m, "b", 1, &b, 1, AS_RAW);
        static const char *const odd[] = {"half", "large", "outside", "longer"};
        for (int k = 0; k < 4; k++) {
            for (int d = 0; d < 4; d++)
                pb_int(&m.part, ONNX_TENSOR_DIMS, k == 1 ? 30000 : 1);
            pb_int(&m.part, ONNX_TENSOR_TYPE, k == 0 ? 10 : ONNX_FLOAT);
            pb_text(&m.part, ONNX_TENSOR_RAW, k == 3 ? "12345678" : "1234");
            if (k == 2)
                pb_int(&m.part, ONNX_TENSOR_LOCATION, 1);
            pb_text(&m.part, ONNX_TENSOR_NAME, odd[k]);
            pb_message(&m.graph, ONNX_GRAPH_INITIALISER, &m.part);
        }
        node_put(&m, cases[i].op, cases[i].inputs, "y", cases[i].attribute, cases[i].number);
        model_end(&m, &model);
        expect_ok(bytes_save(&model, path_of("bad.onnx")), "save");
        assert_int_equal(foreign_onnx_read(&net, path_of("bad.onnx")), STATUS_DATA);
        if (!strstr(error_text(), cases[i].text))
            fail_msg("case %zu: '%s' does not say '%s'", i, error_text(), cases[i].text);
        foreign_free(&net);
        bytes_free(&model);
    }
}

// ---- HDF5

struct array {
    const char *path;
    int rank;
    uint64_t dim[5];
};

static void h5_make(const char *path, const struct array *arrays, size_t n)
{
    struct h5 *file;
    float x[512];
    expect_ok(h5_create(&file, path), "create");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 512; k++)
            x[k] = value(i, k);
        expect_ok(h5_write(file, arrays[i].path, H5_F32, arrays[i].rank, arrays[i].dim, x),
                  arrays[i].path);
    }
    expect_ok(h5_commit(file), "commit");
}

// Names with dots and in groups; numbers in them as numbers.
static void test_h5(void **state)
{
    (void)state;
    static const struct array arrays[] = {
        {"/layer.10.conv.weight", 4, {2, 3, 1, 1}},
        {"/layer.2.conv.weight", 4, {4, 3, 2, 2}},
        {"/layer.2.conv.bias", 1, {4}},
        {"/layer.2.bn.weight", 1, {4}},
        {"/layer.2.bn.bias", 1, {4}},
        {"/layer.2.bn.running_mean", 1, {4}},
        {"/layer.2.bn.running_var", 1, {4}},
        {"/layer.2.bn.num_batches_tracked", 1, {1}},
        {"/head/fc/weight", 2, {5, 7}},
        {"/head/fc/bias", 1, {5}},
        {"/layer.3.weight", 3, {6, 2, 9}},
    };
    struct foreign_net net = {0};
    h5_make(path_of("good.h5"), arrays, sizeof arrays / sizeof *arrays);
    expect_ok(foreign_h5_read(&net, path_of("good.h5")), "read");
    static const char *const names[] = {"head.fc", "layer.2.bn", "layer.2.conv", "layer.3",
                                        "layer.10.conv"};
    assert_int_equal(net.n, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(net.layers[i].name, names[i]);
    values_check("fc", net.layers[0].weight, 35, 8);
    values_check("fc bias", net.layers[0].bias, 5, 9);
    values_check("mean", net.layers[1].mean, 4, 5);
    values_check("variance", net.layers[1].variance, 4, 6);
    values_check("conv", net.layers[2].weight, 48, 1);
    const size_t signal[] = {6, 2, 1, 9};
    assert_memory_equal(net.layers[3].dim, signal, sizeof signal);
    foreign_free(&net);
}

static void test_refused_h5(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        struct array arrays[2];
    } cases[] = {
        {"no batch-norm", 1, {{"/a.weight", 1, {4}}}},
        {"has 5 dimensions", 1, {{"/a.weight", 5, {2, 2, 2, 2, 2}}}},
        {"has 2 dimensions, expected 1", 1, {{"/a.bias", 2, {2, 2}}}},
        {"has 3 outputs, its bias or statistics 4",
         2,
         {{"/a.weight", 2, {3, 2}}, {"/a.bias", 1, {4}}}},
        {"has 3 numbers, its layer has 4 outputs",
         2,
         {{"/a.bias", 1, {4}}, {"/a.running_mean", 1, {3}}}},
        {"is no batch-norm", 2, {{"/a.weight", 2, {4, 2}}, {"/a.running_mean", 1, {4}}}},
        {"there twice", 2, {{"/a/b.weight", 2, {4, 2}}, {"/a/b/weight", 2, {4, 2}}}},
        {"no arrays named weight", 1, {{"/images", 2, {4, 2}}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct foreign_net net = {0};
        h5_make(path_of("bad.h5"), cases[i].arrays, cases[i].n);
        assert_int_equal(foreign_h5_read(&net, path_of("bad.h5")), STATUS_DATA);
        if (!strstr(error_text(), cases[i].text))
            fail_msg("case %zu: '%s' does not say '%s'", i, error_text(), cases[i].text);
        foreign_free(&net);
    }
}

static int files_begin(void **state)
{
    (void)state;
    log_set_level(LOG_QUIET);
    return mkdtemp(folder) ? 0 : -1;
}

static int files_end(void **state)
{
    (void)state;
    static const char *const names[] = {"good.onnx", "damaged.onnx", "bad.onnx", "good.h5",
                                        "bad.h5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onnx),         cmocka_unit_test(test_damaged_onnx),
        cmocka_unit_test(test_refused_onnx), cmocka_unit_test(test_h5),
        cmocka_unit_test(test_refused_h5),
    };
    return cmocka_run_group_tests(tests, files_begin, files_end);
}
