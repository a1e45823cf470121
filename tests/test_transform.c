// SPDX-License-Identifier: MIT
// data/transform: each transform against a naive reference in double, drawn with the same random
// words; lists of several; what is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/random.h"
#include "data/transform.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/rows_file.h"

#define SEED 23
#define MOST 4096

struct fixture {
    size_t h, w, c, n;
    struct yaml *yaml;
    struct dataset *dataset;
    struct transforms *transforms;
};

static enum status fixture_try(struct fixture *fixture, size_t h, size_t w, size_t c,
                               enum h5_type type, const char *list)
{
    char path[256], text[1024];
    *fixture = (struct fixture){.h = h, .w = w, .c = c, .n = h * w * c};
    snprintf(path, sizeof path, "%s/rows.h5", folder);
    rows_file_images(path, 12, h, w, c, type);
    struct data_config config = dataset_defaults();
    expect_ok(dataset_open(&fixture->dataset, path, DATASET_TRAIN, &config), "open");
    snprintf(text, sizeof text, "list: %s\n", list);
    expect_ok(yaml_parse(&fixture->yaml, "test.yaml", text, strlen(text)), "yaml");
    return transforms_plan(&fixture->transforms, fixture->yaml,
                           *list ? yaml_find(fixture->yaml->root, "list") : NULL, fixture->dataset);
}

static void fixture_close(struct fixture *fixture)
{
    transforms_free(fixture->transforms);
    yaml_free(fixture->yaml);
    dataset_close(fixture->dataset);
}

// ---- the naive references: x[y][i][k] in double, of one sample

struct naive {
    size_t h, w, c;
    const struct dataset *dataset;
    uint32_t word[4];
    uint32_t first[4]; // the words of epoch 0
    uint32_t epoch;
};

static size_t at(const struct naive *n, size_t y, size_t i, size_t k)
{
    return (y * n->w + i) * n->c + k;
}

static double unit(uint32_t word)
{
    return (double)(word >> 8) / 16777216.0;
}

static void naive_normalize(const struct naive *n, const double *in, double *out)
{
    for (size_t i = 0; i < n->h * n->w * n->c; i++)
        out[i] = (in[i] - dataset_mean(n->dataset)[i % n->c]) / dataset_std(n->dataset)[i % n->c];
}

static void naive_scale(const struct naive *n, const double *in, double *out)
{
    for (size_t i = 0; i < n->h * n->w * n->c; i++)
        out[i] = in[i] * 3 - 0.5;
}

static void naive_flip(const struct naive *n, const double *in, double *out)
{
    bool is_flipped = unit(n->word[0]) < 0.5;
    for (size_t y = 0; y < n->h; y++)
        for (size_t i = 0; i < n->w; i++)
            for (size_t k = 0; k < n->c; k++)
                out[at(n, y, i, k)] = in[at(n, y, is_flipped ? n->w - 1 - i : i, k)];
}

static void naive_alternate(const struct naive *n, const double *in, double *out)
{
    bool is_flipped = (unit(n->first[0]) < 0.3) == (n->epoch % 2 == 0);
    for (size_t y = 0; y < n->h; y++)
        for (size_t i = 0; i < n->w; i++)
            for (size_t k = 0; k < n->c; k++)
                out[at(n, y, i, k)] = in[at(n, y, is_flipped ? n->w - 1 - i : i, k)];
}

// ... c b | a b c d | c b a ...
static int64_t naive_mirror(int64_t i, int64_t n)
{
    return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i;
}

static void naive_crop_mirror(const struct naive *n, const double *in, double *out)
{
    int64_t pad_y = n->h > 1 ? 3 : 0, pad_x = n->w > 1 ? 3 : 0;
    int64_t top = (int64_t)((n->word[0] * (uint64_t)(2 * pad_y + 1)) >> 32) - pad_y;
    int64_t left = (int64_t)((n->word[1] * (uint64_t)(2 * pad_x + 1)) >> 32) - pad_x;
    for (size_t y = 0; y < n->h; y++)
        for (size_t i = 0; i < n->w; i++)
            for (size_t k = 0; k < n->c; k++)
                out[at(n, y, i, k)] =
                    in[at(n, (size_t)naive_mirror((int64_t)y + top, (int64_t)n->h),
                          (size_t)naive_mirror((int64_t)i + left, (int64_t)n->w), k)];
}

static void naive_crop_by(const struct naive *n, const double *in, double *out, int64_t pad)
{
    int64_t pad_y = n->h > 1 ? pad : 0, pad_x = n->w > 1 ? pad : 0;
    int64_t top = (int64_t)((n->word[0] * (uint64_t)(2 * pad_y + 1)) >> 32) - pad_y;
    int64_t left = (int64_t)((n->word[1] * (uint64_t)(2 * pad_x + 1)) >> 32) - pad_x;
    for (int64_t y = 0; y < (int64_t)n->h; y++)
        for (int64_t i = 0; i < (int64_t)n->w; i++)
            for (size_t k = 0; k < n->c; k++) {
                bool is_in = y + top >= 0 && y + top < (int64_t)n->h && i + left >= 0 &&
                             i + left < (int64_t)n->w;
                out[at(n, (size_t)y, (size_t)i, k)] =
                    is_in ? in[at(n, (size_t)(y + top), (size_t)(i + left), k)] : 0;
            }
}

static void naive_crop(const struct naive *n, const double *in, double *out)
{
    naive_crop_by(n, in, out, 2);
}

static void naive_crop_far(const struct naive *n, const double *in, double *out)
{
    naive_crop_by(n, in, out, 9);
}

static void naive_cutout(const struct naive *n, const double *in, double *out)
{
    int64_t y0 = (int64_t)((n->word[0] * (uint64_t)n->h) >> 32) - 3 / 2;
    int64_t x0 = (int64_t)((n->word[1] * (uint64_t)n->w) >> 32) - 3 / 2;
    for (int64_t y = 0; y < (int64_t)n->h; y++)
        for (int64_t i = 0; i < (int64_t)n->w; i++)
            for (size_t k = 0; k < n->c; k++) {
                bool is_cut = y >= y0 && y < y0 + 3 && i >= x0 && i < x0 + 3;
                size_t here = at(n, (size_t)y, (size_t)i, k);
                out[here] = is_cut ? 0 : in[here];
            }
}

static double clip(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double naive_grey(const struct naive *n, const double *x, size_t y, size_t i)
{
    if (n->c == 1)
        return x[at(n, y, i, 0)];
    return 0.2989 * x[at(n, y, i, 0)] + 0.587 * x[at(n, y, i, 1)] + 0.114 * x[at(n, y, i, 2)];
}

// ColorJitter(0.4, 0.5, saturation), one after the other.
static void naive_colour_by(const struct naive *n, const double *in, double *out, double saturation)
{
    size_t pixels = n->h * n->w, size = pixels * n->c;
    double b = 0.6 + 0.8 * unit(n->word[0]), t = 0.5 + 1.0 * unit(n->word[1]), mean = 0;
    for (size_t i = 0; i < size; i++)
        out[i] = clip(in[i] * b);
    for (size_t i = 0; i < pixels; i++)
        mean += naive_grey(n, out, i / n->w, i % n->w) / (double)pixels;
    for (size_t i = 0; i < size; i++)
        out[i] = clip(t * out[i] + (1 - t) * mean);
    double low = saturation > 1 ? 0 : 1 - saturation;
    double s = low + (1 + saturation - low) * unit(n->word[2]);
    for (size_t i = 0; i < pixels && saturation > 0; i++) {
        double g = naive_grey(n, out, i / n->w, i % n->w);
        for (size_t k = 0; k < n->c; k++)
            out[i * n->c + k] = clip(s * out[i * n->c + k] + (1 - s) * g);
    }
}

static void naive_colour(const struct naive *n, const double *in, double *out)
{
    naive_colour_by(n, in, out, n->c == 3 ? 1.5 : 0);
}

// ---- lists of them

typedef void (*naive_apply)(const struct naive *, const double *, double *);

static const struct list_case {
    const char *list; // "" = none in the recipe
    size_t h, w, c;
    naive_apply step[4];
    bool is_random[4];
} lists[] = {
    {"", 5, 4, 3, {naive_normalize}, {0}},
    {"[]", 5, 4, 1, {NULL}, {0}},
    {"[{normalize: {}}]", 3, 7, 4, {naive_normalize}, {0}},
    {"[{scale: {factor: 3, offset: -0.5}}, normalize]",
     2,
     9,
     3,
     {naive_scale, naive_normalize},
     {0}},
    {"[flip]", 4, 5, 3, {naive_flip}, {1}},
    {"[flip]", 4, 6, 1, {naive_flip}, {1}},
    {"[{crop: {pad: 2}}]", 5, 4, 3, {naive_crop}, {1}},
    {"[{crop: {pad: 9}}]", 5, 4, 1, {naive_crop_far}, {1}},
    {"[{crop: {pad: 2}}]", 1, 30, 2, {naive_crop}, {1}},
    {"[{crop: {pad: 2}}]", 1, 1, 8, {naive_crop}, {1}},
    {"[{flip: {p: 0.3, alternate: true}}]", 4, 5, 3, {naive_alternate}, {1}},
    {"[{crop: {pad: 3, border: reflect}}]", 5, 4, 3, {naive_crop_mirror}, {1}},
    {"[{crop: {pad: 3, border: reflect}}]", 1, 30, 2, {naive_crop_mirror}, {1}},
    {"[{crop: {pad: 3, border: reflect}}]", 1, 1, 8, {naive_crop_mirror}, {1}},
    {"[normalize, {crop: {pad: 3, border: reflect}}, {flip: {p: 0.3, alternate: true}}]",
     7,
     6,
     3,
     {naive_normalize, naive_crop_mirror, naive_alternate},
     {0, 1, 1}},
    {"[{cutout: {size: 3}}]", 6, 5, 3, {naive_cutout}, {1}},
    {"[{colour: {brightness: 0.4, contrast: 0.5, saturation: 1.5}}]", 6, 5, 3, {naive_colour}, {1}},
    {"[{colour: {brightness: 0.4, contrast: 0.5}}]", 6, 5, 1, {naive_colour}, {1}},
    {"[{crop: {pad: 2}}, flip, normalize, {cutout: {size: 3}}]",
     7,
     6,
     3,
     {naive_crop, naive_flip, naive_normalize, naive_cutout},
     {1, 1, 0, 1}},
    {"[normalize, {crop: {pad: 2}}, {crop: {pad: 2}}, flip]",
     7,
     6,
     1,
     {naive_normalize, naive_crop, naive_crop, naive_flip},
     {0, 1, 1, 1}},
};

static void naive_list(const struct list_case *c, struct naive *naive, uint32_t epoch, uint64_t row,
                       bool is_training, double *x)
{
    struct random_key key = {.seed = SEED, .purpose = RANDOM_AUGMENT, .epoch = epoch};
    struct random_key first = {.seed = SEED, .purpose = RANDOM_AUGMENT};
    double out[MOST];
    for (uint32_t i = 0; i < 4 && c->step[i]; i++) {
        if (c->is_random[i] && !is_training)
            continue;
        random_words(key, row, i, naive->word);
        random_words(first, row, i, naive->first);
        naive->epoch = epoch;
        c->step[i](naive, x, out);
        memcpy(x, out, c->h * c->w * c->c * sizeof *x);
    }
}

static void check_sample(const struct list_case *c, struct fixture *f, bool is_u8, bool is_training,
                         uint32_t epoch, uint64_t row)
{
    uint8_t bytes[MOST];
    float floats[MOST], out[MOST], scratch[MOST];
    double x[MOST];
    struct naive naive = {.h = f->h, .w = f->w, .c = f->c, .dataset = f->dataset};
    for (size_t i = 0; i < f->n; i++) {
        bytes[i] = (uint8_t)rows_file_pixel(row * f->n + i);
        floats[i] = (float)bytes[i] / 255;
        x[i] = (double)bytes[i] / 255;
    }
    transforms_apply(f->transforms, is_u8 ? (void *)bytes : (void *)floats, is_u8, is_training,
                     SEED, epoch, row, out, scratch);
    naive_list(c, &naive, epoch, row, is_training, x);
    for (size_t i = 0; i < f->n; i++) {
        double error = (double)out[i] - x[i];
        if (!(error < 1e-5 && error > -1e-5))
            fail_msg("%s %zux%zux%zu epoch %u row %llu value %zu: %g, expected %g", c->list, f->h,
                     f->w, f->c, epoch, (unsigned long long)row, i, (double)out[i], x[i]);
    }
}

static void test_against_naive(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const struct list_case *c = &lists[i];
        struct fixture fixture;
        expect_ok(fixture_try(&fixture, c->h, c->w, c->c, H5_U8, c->list), c->list);
        for (uint32_t epoch = 0; epoch < 3; epoch++)
            for (uint64_t row = 0; row < 40; row++)
                for (int k = 0; k < 4; k++)
                    check_sample(c, &fixture, k % 2, k / 2, epoch, row + epoch * 1000000007ull);
        char *text = transforms_describe(fixture.transforms);
        assert_non_null(strstr(text, "0..1"));
        free(text);
        fixture_close(&fixture);
    }
}

// Alternating: every row is seen unflipped in one of two epochs in a row and flipped in the other.
static void test_alternating(void **state)
{
    (void)state;
    struct fixture f;
    float x[3] = {1, 2, 3}, out[3], scratch[3];
    int n_flipped = 0;
    expect_ok(fixture_try(&f, 1, 3, 1, H5_F32, "[{flip: {alternate: true}}]"), "plan");
    for (uint64_t row = 0; row < 1000; row++)
        for (uint32_t epoch = 0, last = 0; epoch < 6; epoch++) {
            transforms_apply(f.transforms, x, false, true, SEED, epoch, row, out, scratch);
            uint32_t is_flipped = out[0] == 3;
            assert_true(epoch == 0 || is_flipped != last);
            n_flipped += epoch == 0 && is_flipped;
            last = is_flipped;
        }
    assert_in_range(n_flipped, 420, 580); // 500 expected, standard deviation 16
    fixture_close(&f);
}

// The table of bytes must give the very bits of the arithmetic it stands for.
static void test_table_same_bits(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t bytes[256 * 3];
    float floats[256 * 3], out[2][256 * 3], scratch[256 * 3];
    expect_ok(fixture_try(&f, 16, 16, 3, H5_U8, "[{scale: {factor: 1.1, offset: 0.3}}, normalize]"),
              "plan");
    for (size_t i = 0; i < 256 * 3; i++) {
        bytes[i] = (uint8_t)(i / 3);
        floats[i] = (float)bytes[i] / 255.0f;
    }
    transforms_apply(f.transforms, bytes, true, false, 1, 0, 0, out[0], scratch);
    transforms_apply(f.transforms, floats, false, false, 1, 0, 0, out[1], scratch);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    fixture_close(&f);
}

// Every draw is used: shifts, flips and squares cover their whole range, evenly enough.
static void test_draws(void **state)
{
    (void)state;
    struct fixture f;
    float x[81], out[81], scratch[81];
    int shifts[5][5] = {{0}}, n_flips = 0;
    expect_ok(fixture_try(&f, 9, 9, 1, H5_F32, "[{crop: {pad: 2}}, {flip: {p: 0.25}}]"), "plan");
    memset(x, 0, sizeof x);
    x[3 * 9 + 3] = 1;
    x[3 * 9 + 4] = 2;
    for (uint64_t row = 0; row < 5000; row++) {
        transforms_apply(f.transforms, x, false, true, SEED, 1, row, out, scratch);
        size_t i = 0;
        while (out[i] != 1)
            i++;
        bool is_flipped = (i + 1) % 9 == 0 || out[i + 1] != 2;
        size_t column = is_flipped ? 8 - i % 9 : i % 9;
        n_flips += is_flipped;
        shifts[i / 9 - 1][column - 1]++;
    }
    // 200 expected a shift (standard deviation 14), 1,250 flips (31).
    for (int i = 0; i < 25; i++)
        if (shifts[i / 5][i % 5] < 130 || shifts[i / 5][i % 5] > 270)
            fail_msg("shift %d, %d: %d of 5000", i / 5 - 2, i % 5 - 2, shifts[i / 5][i % 5]);
    assert_in_range(n_flips, 1100, 1400);
    fixture_close(&f);
}

static void test_given_statistics(void **state)
{
    (void)state;
    struct fixture f;
    float x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, out[12], scratch[12];
    expect_ok(fixture_try(&f, 2, 2, 3, H5_F32, "[{normalize: {mean: [1, 2, 3], std: 2}}]"), "plan");
    transforms_apply(f.transforms, x, false, true, 1, 0, 0, out, scratch);
    for (int i = 0; i < 12; i++)
        assert_true(out[i] == (x[i] - (float)(1 + i % 3)) / 2);
    fixture_close(&f);
}

static const struct {
    const char *list, *parts;
    size_t c, w; // w 0: 4
} refused[] = {
    {"[{normalise: {}}]", "test.yaml:1|unknown transform 'normalise'|did you mean 'normalize'", 1,
     0},
    {"[xyz]", "unknown transform 'xyz'|known: scale, normalize", 1, 0},
    {"{normalize: {}}", "is a list", 1, 0},
    {"[[flip]]", "is written {name: {options}}", 1, 0},
    {"[{flip: {}, crop: {}}]", "is written {name: {options}}", 1, 0},
    {"[{flip: {q: 1}}]", "unknown key 'q'|transform flip", 1, 0},
    {"[{flip: {p: 1.5}}]", "1.5", 1, 0},
    {"[{crop: {pad: -1}}]", "-1", 1, 0},
    {"[{crop: {pad: 4, border: reflect}}]", "pad 4 cannot be mirrored from 4 x 4", 1, 0},
    {"[{crop: {pad: 4, border: reflect}}]", "pad 4 cannot be mirrored from 4 x 9", 1, 9},
    {"[{crop: {pad: 3, border: reflect}}]", "pad 3 cannot be mirrored from 4 x 2", 1, 2},
    {"[{crop: {border: wrap}}]", "'wrap'|zero|reflect", 1, 0},
    {"[{normalize: {mean: [1, 2]}}]", "2 numbers in mean, expected 1 or 3", 3, 0},
    {"[{normalize: {std: 0}}]", "std", 3, 0},
    {"[normalize, normalize]", "twice", 1, 0},
    {"[normalize, {colour: {brightness: 1}}]", "before normalize", 3, 0},
    {"[{colour: {saturation: 1}}]", "saturation needs 3 channels", 1, 0},
    {"[{colour: {brightness: 1}}]", "1 or 3 channels, the data have 2", 2, 0},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct fixture f;
        expect_error(fixture_try(&f, 4, refused[i].w ? refused[i].w : 4, refused[i].c, H5_U8,
                                 refused[i].list),
                     STATUS_USAGE, refused[i].parts, refused[i].list);
        assert_null(f.transforms);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_naive), cmocka_unit_test(test_table_same_bits),
        cmocka_unit_test(test_draws),         cmocka_unit_test(test_given_statistics),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_alternating),
    };
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
