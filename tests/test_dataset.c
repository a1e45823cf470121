// SPDX-License-Identifier: MIT
// data/dataset: layouts, keys and types of many tools are found and read right.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/rows_file.h"

static const char *write_parts(const struct part *parts)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    rows_file_write(path, parts, 4);
    return path;
}

// What is expected of a data set. order: how positions of a row map to the file's.
enum order_of { AS_IS, CHANNELS_FIRST };

struct found {
    uint64_t rows;
    struct sample_shape shape;
    bool is_u8;
    enum order_of order;
    struct target_shape target;
    enum fill fill; // of the targets
};

static void check_inputs(struct dataset *dataset, const struct found *want, const char *what)
{
    struct sample_shape s = want->shape;
    size_t values = s.h * s.w * s.c;
    size_t bytes = dataset_row_bytes(dataset);
    assert_int_equal(bytes, values * (want->is_u8 ? 1 : 4));
    for (uint64_t first = 0; first < want->rows; first += 7) {
        uint64_t n = want->rows - first < 7 ? want->rows - first : 7;
        unsigned char *raw = malloc(n * bytes);
        expect_ok(dataset_read(dataset, first, n, raw), what);
        for (size_t i = 0; i < n * values; i++) {
            size_t row = i / values, y = i % values / (s.w * s.c), x = i / s.c % s.w, k = i % s.c;
            size_t at = want->order == CHANNELS_FIRST ? (k * s.h + y) * s.w + x : i % values;
            double expected = rows_file_pixel((first + row) * values + at);
            double got = want->is_u8 ? raw[i] : (double)((float *)(void *)raw)[i];
            if (got != expected)
                fail_msg("%s: row %llu value %zu: %g, expected %g", what,
                         (unsigned long long)first + row, i % values, got, expected);
        }
        free(raw);
    }
}

static void check_targets(struct dataset *dataset, const struct found *want, const char *what)
{
    size_t count = want->target.count;
    for (uint64_t row = 0; row < want->rows; row++)
        for (size_t i = 0; i < count; i++) {
            const void *target = dataset_target_of(dataset, row);
            double got = want->target.type == TARGET_CLASS ? ((const int32_t *)target)[i]
                                                           : (double)((const float *)target)[i];
            double expected = want->fill == FILL_FLOATS    ? (double)row / 4 + (double)i
                              : want->fill == FILL_ONES    ? (double)(row % 10 + 1)
                              : want->fill == FILL_ONE_HOT ? (double)(row % want->target.n_classes)
                                                           : (double)(row % 10);
            if (got != expected)
                fail_msg("%s: target %zu of row %llu: %g, expected %g", what, i,
                         (unsigned long long)row, got, expected);
        }
}

static void check_found(struct dataset *dataset, const struct found *want, const char *what)
{
    struct sample_shape shape = dataset_shape(dataset);
    struct target_shape target = dataset_target(dataset);
    if (shape.h != want->shape.h || shape.w != want->shape.w || shape.c != want->shape.c)
        fail_msg("%s: %zux%zux%zu, expected %zux%zux%zu", what, shape.h, shape.w, shape.c,
                 want->shape.h, want->shape.w, want->shape.c);
    if (target.type != want->target.type || target.count != want->target.count ||
        target.n_classes != want->target.n_classes)
        fail_msg("%s: target type %d count %zu classes %zu, expected %d %zu %zu", what,
                 (int)target.type, target.count, target.n_classes, (int)want->target.type,
                 want->target.count, want->target.n_classes);
    assert_int_equal(dataset_rows(dataset), want->rows);
    assert_int_equal(dataset_is_u8(dataset), want->is_u8);
    check_inputs(dataset, want, what);
    check_targets(dataset, want, what);
}

// ---- layouts

#define U8 H5_U8
#define CLASSES(n)                                                                                 \
    {                                                                                              \
        TARGET_CLASS, 1, n                                                                         \
    }
#define Y10                                                                                        \
    {                                                                                              \
        "y", H5_I64, 1, {12}, FILL_CLASSES, 0, 0                                                   \
    }
#define Y10_IN(key)                                                                                \
    {                                                                                              \
        key, H5_I64, 1, {12}, FILL_CLASSES, 0, 0                                                   \
    }

static const int64_t shape_322[] = {3, 2, 2}, shape_12[] = {12};

static const struct layout_case {
    const char *what, *group;
    enum dataset_side side;
    struct part part[4];
    struct data_config config;
    struct found want;
    const char *said; // parts of the description
} layouts[] = {
    {.what = "NHWC",
     .part = {{"x", U8, 4, {12, 5, 4, 3}, 0, 0, 0}, Y10},
     .want = {12, {5, 4, 3}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "NCHW",
     .part = {{"x", U8, 4, {12, 3, 5, 6}, 0, 0, 0}, Y10},
     .want = {12, {5, 6, 3}, true, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES},
     .said = "channels come first"},
    {.what = "NCHW of floats, one channel",
     .part = {{"x", H5_F32, 4, {12, 1, 5, 6}, 0, 0, 0}, Y10},
     .want = {12, {5, 6, 1}, false, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES}},
    {.what = "NHWC that looks like either",
     .part = {{"x", U8, 4, {12, 3, 5, 3}, 0, 0, 0}, Y10},
     .want = {12, {3, 5, 3}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "NCHW by the recipe",
     .part = {{"x", U8, 4, {12, 3, 5, 3}, 0, 0, 0}, Y10},
     .config = {.layout = 2},
     .want = {12, {5, 3, 3}, true, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES}},
    {.what = "NHWC by the recipe",
     .part = {{"x", U8, 4, {12, 3, 5, 7}, 0, 0, 0}, Y10},
     .config = {.layout = 1},
     .want = {12, {3, 5, 7}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "NHW",
     .part = {{"x", H5_F64, 3, {12, 5, 6}, 0, 0, 0}, Y10},
     .want = {12, {5, 6, 1}, false, AS_IS, CLASSES(10), FILL_CLASSES},
     .said = "one channel"},
    {.what = "flat 28x28",
     .part = {{"x", U8, 2, {12, 784}, 0, 0, 0}, Y10},
     .want = {12, {28, 28, 1}, true, AS_IS, CLASSES(10), FILL_CLASSES},
     .said = "28x28x1"},
    {.what = "flat CIFAR",
     .part = {{"x", U8, 2, {12, 3072}, 0, 0, 0}, Y10},
     .want = {12, {32, 32, 3}, true, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES},
     .said = "channel by channel"},
    {.what = "flat CIFAR, NHWC by the recipe",
     .part = {{"x", U8, 2, {12, 3072}, 0, 0, 0}, Y10},
     .config = {.layout = 1},
     .want = {12, {32, 32, 3}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "vectors",
     .part = {{"x", H5_F32, 2, {12, 30}, 0, 0, 0}, Y10},
     .want = {12, {1, 1, 30}, false, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "numbers",
     .part = {{"x", H5_I16, 1, {12}, 0, 0, 0}, Y10},
     .want = {12, {1, 1, 1}, false, AS_IS, CLASSES(10), FILL_CLASSES},
     .said = "int16 are read as float32"},
    {.what = "flat rows of a given shape",
     .part = {{"x", U8, 2, {12, 12}, 0, 0, 0}, Y10},
     .config = {.shape = {3, shape_322}},
     .want = {12, {3, 2, 2}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
    {.what = "flat rows of a given shape, channels first",
     .part = {{"x", U8, 2, {12, 12}, 0, 0, 0}, Y10},
     .config = {.shape = {3, shape_322}, .layout = 2},
     .want = {12, {3, 2, 2}, true, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES}},
    {.what = "NCHW of a given shape",
     .part = {{"x", U8, 4, {12, 2, 3, 2}, 0, 0, 0}, Y10},
     .config = {.shape = {3, shape_322}},
     .want = {12, {3, 2, 2}, true, CHANNELS_FIRST, CLASSES(10), FILL_CLASSES}},
    {.what = "five dimensions of a given shape",
     .part = {{"x", U8, 5, {12, 3, 2, 1, 2}, 0, 0, 0}, Y10},
     .config = {.shape = {1, shape_12}},
     .want = {12, {12, 1, 1}, true, AS_IS, CLASSES(10), FILL_CLASSES}},
};

#define X_IN(key)                                                                                  \
    {                                                                                              \
        key, U8, 4, {12, 5, 4, 3}, 0, 0, 0                                                         \
    }
#define OTHER_IN(key)                                                                              \
    {                                                                                              \
        key, U8, 4, {7, 2, 2, 2}, FILL_ZEROS, 0, 0                                                 \
    }
#define OTHER_Y_IN(key)                                                                            \
    {                                                                                              \
        key, U8, 1, {7}, FILL_ZEROS, 0, 0                                                          \
    }
#define WANT_X                                                                                     \
    {                                                                                              \
        12, {5, 4, 3}, true, AS_IS, CLASSES(10), FILL_CLASSES                                      \
    }

static const struct layout_case keys[] = {
    {.what = "images, labels", .part = {X_IN("images"), Y10_IN("labels")}, .want = WANT_X},
    {.what = "X, Y", .part = {X_IN("X"), Y10_IN("Y")}, .want = WANT_X},
    {.what = "data, label", .part = {X_IN("data"), Y10_IN("label")}, .want = WANT_X},
    {.what = "features, targets", .part = {X_IN("features"), Y10_IN("targets")}, .want = WANT_X},
    {.what = "x_train among four",
     .part = {X_IN("x_train"), Y10_IN("y_train"), OTHER_IN("x_test"), OTHER_Y_IN("y_test")},
     .want = WANT_X},
    {.what = "x_test among four",
     .side = DATASET_TEST,
     .part = {OTHER_IN("x_train"), OTHER_Y_IN("y_train"), X_IN("x_test"), Y10_IN("y_test")},
     .want = WANT_X},
    {.what = "x_test among four, root named",
     .group = ":/",
     .side = DATASET_TEST,
     .part = {OTHER_IN("X_train"), OTHER_Y_IN("y_train"), X_IN("X_test"), Y10_IN("y_test")},
     .want = WANT_X},
    {.what = "train_set_x",
     .part = {X_IN("train_set_x"), Y10_IN("train_set_y"), OTHER_IN("list_classes")},
     .want = WANT_X},
    {.what = "test_set_x",
     .side = DATASET_TEST,
     .part = {X_IN("test_set_x"), Y10_IN("test_set_y")},
     .want = WANT_X},
    {.what = "train_images",
     .part = {X_IN("train_images"), Y10_IN("train_labels"), OTHER_IN("test_images"),
              OTHER_Y_IN("test_labels")},
     .want = WANT_X},
    {.what = "val for test",
     .side = DATASET_TEST,
     .part = {OTHER_IN("x_train"), OTHER_Y_IN("y_train"), X_IN("x_val"), Y10_IN("y_val")},
     .want = WANT_X},
    {.what = "groups train and test",
     .side = DATASET_TEST,
     .part = {OTHER_IN("train/x"), OTHER_Y_IN("train/y"), X_IN("test/x"), Y10_IN("test/y")},
     .want = WANT_X,
     .said = "group '/test' is taken for the test rows"},
    {.what = "a named group",
     .group = ":/a/b",
     .part = {X_IN("a/b/x"), Y10_IN("a/b/y"), OTHER_IN("x"), OTHER_Y_IN("y")},
     .want = WANT_X},
    {.what = "a named group, no slash",
     .group = ":a",
     .part = {X_IN("a/x"), Y10_IN("a/y")},
     .want = WANT_X},
    {.what = "keys of the recipe",
     .part = {X_IN("foo"), Y10_IN("bar"), OTHER_IN("x"), OTHER_Y_IN("y")},
     .config = {.input = "foo", .target = "bar"},
     .want = WANT_X},
    {.what = "one key of the recipe",
     .part = {X_IN("foo"), Y10_IN("labels"), OTHER_IN("x")},
     .config = {.input = "foo"},
     .want = WANT_X},
    {.what = "keys with {side}",
     .side = DATASET_TEST,
     .part = {X_IN("test_foo"), Y10_IN("bar_test"), OTHER_IN("train_foo")},
     .config = {.input = "{side}_foo", .target = "bar_{side}"},
     .want = WANT_X},
    {.what = "the only two",
     .part = {X_IN("apples"), Y10_IN("zebras")},
     .want = WANT_X,
     .said = "the only two data sets"},
};

#define X9                                                                                         \
    {                                                                                              \
        "x", U8, 2, {40, 9}, 0, 0, 0                                                               \
    }
#define WANT_Y(target, fill)                                                                       \
    {                                                                                              \
        40, {1, 1, 9}, true, AS_IS, target, fill                                                   \
    }

static const struct layout_case targets[] = {
    {.what = "uint8 classes",
     .part = {X9, {"y", U8, 1, {40}, FILL_CLASSES, 0, 0}},
     .want = WANT_Y(CLASSES(10), FILL_CLASSES)},
    {.what = "(N, 1) classes",
     .part = {X9, {"y", H5_I32, 2, {40, 1}, FILL_CLASSES, 0, 0}},
     .want = WANT_Y(CLASSES(10), FILL_CLASSES)},
    {.what = "classes from 1",
     .part = {X9, {"y", H5_I32, 1, {40}, FILL_ONES, 0, 0}},
     .want = WANT_Y(CLASSES(11), FILL_ONES),
     .said = "class 0 has no rows"},
    {.what = "more classes by the recipe",
     .part = {X9, {"y", H5_I32, 1, {40}, FILL_CLASSES, 0, 0}},
     .config = {.n_classes = 100},
     .want = WANT_Y(CLASSES(100), FILL_CLASSES)},
    {.what = "float classes",
     .part = {X9, {"y", H5_F32, 1, {40}, FILL_CLASSES, 0, 0}},
     .want = WANT_Y(CLASSES(10), FILL_CLASSES),
     .said = "taken as classes"},
    {.what = "float classes that are floats by the recipe",
     .part = {X9, {"y", H5_F32, 1, {40}, FILL_CLASSES, 0, 0}},
     .config = {.target_type = 2},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_FLOAT, 1, 0}, FILL_CLASSES}},
    {.what = "one-hot bytes",
     .part = {X9, {"y", U8, 2, {40, 7}, FILL_ONE_HOT, 0, 0}},
     .want = WANT_Y(CLASSES(7), FILL_ONE_HOT),
     .said = "one-hot"},
    {.what = "one-hot doubles",
     .part = {X9, {"y", H5_F64, 2, {40, 4}, FILL_ONE_HOT, 0, 0}},
     .config = {.n_classes = 4},
     .want = WANT_Y(CLASSES(4), FILL_ONE_HOT)},
    {.what = "floats",
     .part = {X9, {"y", H5_F64, 1, {40}, FILL_FLOATS, 0, 0}},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_FLOAT, 1, 0}, FILL_FLOATS}},
    {.what = "rows of floats",
     .part = {X9, {"y", H5_F32, 3, {40, 2, 3}, FILL_FLOATS, 0, 0}},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_FLOAT, 6, 0}, FILL_FLOATS}},
    {.what = "almost one-hot: floats",
     .part = {X9, {"y", H5_F32, 2, {40, 3}, FILL_ONE_HOT, 3, 0.5}},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_FLOAT, 3, 0}, FILL_ZEROS}},
    {.what = "almost one-hot: several classes a row",
     .part = {X9, {"y", H5_I16, 2, {40, 3}, FILL_ONE_HOT, 3, 2}},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_CLASS, 3, 3}, FILL_ZEROS}},
    {.what = "integers as floats by the recipe",
     .part = {X9, {"y", H5_I16, 1, {40}, FILL_CLASSES, 0, 0}},
     .config = {.target_type = 2},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_FLOAT, 1, 0}, FILL_CLASSES}},
    {.what = "several classes a row",
     .part = {X9, {"y", H5_I16, 2, {40, 3}, FILL_CLASSES, 0, 0}},
     .want = {40, {1, 1, 9}, true, AS_IS, {TARGET_CLASS, 3, 10}, FILL_CLASSES}},
};

static void check_case(const struct layout_case *c)
{
    char path[300];
    struct dataset *dataset = NULL;
    snprintf(path, sizeof path, "%s%s", write_parts(c->part), c->group ? c->group : "");
    expect_ok(dataset_open(&dataset, path, c->side, &c->config), c->what);
    if (c->want.fill != FILL_ZEROS)
        check_found(dataset, &c->want, c->what);
    struct target_shape target = dataset_target(dataset);
    assert_int_equal(target.type, c->want.target.type);
    assert_int_equal(target.count, c->want.target.count);
    assert_int_equal(target.n_classes, c->want.target.n_classes);
    char *text = dataset_describe(dataset);
    if (c->said && !strstr(text, c->said))
        fail_msg("%s: '%s' lacks '%s'", c->what, text, c->said);
    free(text);
    dataset_close(dataset);
}

static void test_layouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        check_case(&layouts[i]);
}

static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        check_case(&keys[i]);
}

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        check_case(&targets[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
