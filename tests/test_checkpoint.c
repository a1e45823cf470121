// SPDX-License-Identifier: MIT
// Checkpoints of one process: what is in the file, the way there and back, the folder, and what
// does not fit this run. Damage and full disks: test_checkpoint_damage.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/h5.h"
#include "tests/support/expect.h"
#include "tests/support/fake_run.h"
#include "trainer/optimizer.h"
#include "trainer/recipe.h"

static struct group alone;
static char *folder;

static int setup(void **state)
{
    (void)state;
    alone = fake_alone();
    folder = folder_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

// Path of a file in the folder; kept for four calls.
static const char *in_folder(const char *name)
{
    static char paths[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static void run_begin(struct fake_run *run, size_t config, size_t bucket_bytes)
{
    expect_ok(fake_run_init(run, &alone, &fake_configs[config], bucket_bytes), "fake_run_init");
}

static void run_steps(struct fake_run *run, uint64_t from, uint64_t to)
{
    for (uint64_t step = from; step < to; step++)
        expect_ok(fake_run_step(run, step), "fake_run_step");
}

static void same_digest(struct fake_run *a, struct fake_run *b)
{
    struct update_digest x = update_digest(a->update, a->params);
    struct update_digest y = update_digest(b->update, b->params);
    assert_int_equal(x.params, y.params);
    assert_int_equal(x.state, y.state);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t config = 0; config < fake_configs_n; config++) {
        struct fake_run run, other;
        run_begin(&run, config, 4096);
        run_begin(&other, config, 1 << 20);
        run_steps(&run, 0, 3);
        expect_ok(fake_save(&run, folder, 0, false, 3), "save");
        expect_ok(fake_load(&other, folder), "load");
        same_digest(&run, &other);
        assert_memory_equal(run.params, other.params, run.model.n * sizeof(float));
        run_steps(&run, 3, 5);
        run_steps(&other, 3, 5);
        same_digest(&run, &other);
        fake_run_free(&run);
        fake_run_free(&other);
    }
}

static void test_meta(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 1, 4096);
    expect_ok(fake_save(&run, folder, 0, false, 123), "save");
    struct checkpoint *checkpoint;
    expect_ok(checkpoint_open(&checkpoint, &alone, in_folder("step-0000000123.h5")), "open");
    const struct checkpoint_meta *got = checkpoint_meta(checkpoint);
    struct checkpoint_meta want = fake_meta(123);
    assert_int_equal(got->next_epoch, want.next_epoch);
    assert_int_equal(got->next_step, want.next_step);
    assert_int_equal(got->global_step, want.global_step);
    assert_string_equal(got->recipe, want.recipe);
    assert_string_equal(got->train, want.train);
    assert_string_equal(got->test, want.test);
    assert_string_equal(got->isa, want.isa);
    assert_string_equal(got->versions, want.versions);
    assert_int_equal(got->n_metrics, want.n_metrics);
    assert_memory_equal(got->metrics, want.metrics, sizeof want.metrics);
    assert_true(got->has_best && got->best == want.best && got->best_epoch == want.best_epoch);
    struct update_digest digest = update_digest(run.update, run.params);
    assert_memory_equal(&got->digest, &digest, sizeof digest);
    assert_string_equal(checkpoint_path(checkpoint), in_folder("step-0000000123.h5"));
    assert_true(checkpoint_has_state(checkpoint, "adam_m"));
    assert_true(checkpoint_has_state(checkpoint, "ema"));
    assert_false(checkpoint_has_state(checkpoint, "adam"));
    assert_false(checkpoint_has_state(checkpoint, "momentum"));
    checkpoint_close(checkpoint);
    fake_run_free(&run);
}

// Other tools find the weights under plain names, in natural shape.
static void test_layout(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 1, 4096);
    run_steps(&run, 0, 2);
    expect_ok(fake_save(&run, folder, 0, false, 2), "save");
    struct h5 *file;
    struct h5_info info;
    static float values[3 * 3 * 7 * 13];
    expect_ok(h5_open(&file, in_folder("step-0000000002.h5")), "h5_open");
    expect_ok(h5_info(file, "/model/conv1/weight", &info), "h5_info");
    assert_int_equal(info.type, H5_F32);
    assert_int_equal(info.rank, 4);
    const uint64_t dim[4] = {3, 3, 7, 13};
    assert_memory_equal(info.dim, dim, sizeof dim);
    expect_ok(h5_read_rows(file, "/model/conv1/weight", 0, 3, H5_F32, values), "read");
    assert_memory_equal(values, run.params, sizeof values);
    static const struct {
        const char *path;
        bool is_there;
    } cases[] = {
        {"/model/norm1/running_mean", true},
        {"/model/bank/weight", true},
        {"/optimizer/adam_m/dense/bias", true},
        {"/optimizer/adam_v/conv1/weight", true},
        {"/optimizer/ema/norm1/running_mean", true},
        {"/optimizer/adam_m/bank/weight", false},
        {"/optimizer/adam_m/norm1/running_mean", false},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        if (h5_exists(file, cases[c].path) != cases[c].is_there)
            fail_msg("%s: expected %s", cases[c].path, cases[c].is_there ? "there" : "absent");
    h5_close(file);
    uint64_t bytes = checkpoint_bytes(run.update, run.model.list, run.model.n_list);
    size_t trained = 819 + 13 + 13 + 510 + 10;
    assert_int_equal(bytes, 4 * (2 * (trained + 13 + 400) + 2 * trained));
    fake_run_free(&run);
}

static void test_weights_alone(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 1, 4096);
    run_steps(&run, 0, 3);
    expect_ok(fake_save(&run, folder, 0, false, 3), "save");
    struct checkpoint *checkpoint;
    expect_ok(checkpoint_open(&checkpoint, &alone, folder), "open");
    size_t n = run.model.n;
    float *got = calloc(n, sizeof *got), *ema = calloc(n, sizeof *ema);
    assert_true(got && ema);
    expect_ok(checkpoint_load_weights(checkpoint, NULL, run.model.list, run.model.n_list, got, n),
              "weights");
    assert_memory_equal(got, run.params, n * sizeof *got);
    expect_ok(checkpoint_load_weights(checkpoint, "ema", run.model.list, run.model.n_list, got, n),
              "ema");
    update_ema(run.update, ema);
    assert_memory_equal(got, ema, n * sizeof *got);
    expect_error(
        checkpoint_load_weights(checkpoint, "momentum", run.model.list, run.model.n_list, got, n),
        STATUS_USAGE, "no state 'momentum'|adam_m, adam_v, ema", "other state");
    free(got);
    free(ema);
    checkpoint_close(checkpoint);
    fake_run_free(&run);
}

static bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static void test_keep(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 0, 4096);
    for (uint64_t step = 1; step <= 5; step++)
        expect_ok(fake_save(&run, folder, 2, false, step), "save");
    expect_ok(fake_save(&run, folder, 2, true, 5), "best");
    static const char *const gone[] = {"step-0000000001.h5", "step-0000000002.h5",
                                       "step-0000000003.h5"};
    for (size_t i = 0; i < 3; i++)
        assert_false(is_there(gone[i]));
    assert_true(is_there("step-0000000004.h5") && is_there("step-0000000005.h5"));
    assert_true(is_there("best.h5"));
    expect_ok(fake_load(&run, in_folder("best.h5")), "best is a whole file");
    // Back at step 3 (another run's 4 and 5 are newer): its own file survives.
    expect_ok(fake_save(&run, folder, 1, false, 3), "save");
    assert_true(is_there("step-0000000003.h5") && is_there("step-0000000005.h5"));
    expect_ok(fake_save(&run, folder, 1, false, 5), "save");
    assert_false(is_there("step-0000000003.h5") || is_there("step-0000000004.h5"));
    expect_ok(fake_save(&run, folder, 0, false, 12345678901), "eleven digits");
    assert_true(is_there("step-12345678901.h5"));
    expect_ok(fake_load(&run, folder), "load");
    fake_run_free(&run);
}

static void test_stale(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_stale;
    } cases[] = {
        {"step-0000000007.h5.tmp.4711", true}, {"step-0000000007.h5.tmp.open", true},
        {"best.h5.tmp.open.tmp.1", true},      {"step-0000000007.h5", false},
        {"notes.h5.tmp.txt", false},           {"best of all.h5.tmp.x", false},
        {"step-0000000007.txt", false},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        file_write(in_folder(cases[c].name), "x");
    capture_begin();
    expect_ok(checkpoint_folder_open(&alone, folder), "folder");
    char *said = capture_end();
    assert_non_null(strstr(said, "removed 3 unfinished checkpoints"));
    free(said);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        if (is_there(cases[c].name) == cases[c].is_stale)
            fail_msg("%s: expected %s", cases[c].name, cases[c].is_stale ? "removed" : "kept");
}

static void test_folder(void **state)
{
    (void)state;
    const char *deep = in_folder("a/b/checkpoints");
    expect_ok(checkpoint_folder_open(&alone, deep), "deep");
    expect_ok(checkpoint_folder_open(&alone, deep), "again");
    struct checkpoint *checkpoint = (struct checkpoint *)folder;
    expect_ok(checkpoint_open(&checkpoint, &alone, deep), "empty");
    assert_null(checkpoint);
    checkpoint = (struct checkpoint *)folder;
    expect_ok(checkpoint_open(&checkpoint, &alone, in_folder("nowhere")), "missing");
    assert_null(checkpoint);
    file_write(in_folder("file"), "x");
    expect_error(checkpoint_folder_open(&alone, in_folder("file")), STATUS_ERROR,
                 "cannot write to folder|file", "a file");
    expect_error(checkpoint_folder_open(&alone, in_folder("file/sub")), STATUS_ERROR,
                 "cannot write to folder|file/sub", "below a file");
    struct fake_run run;
    run_begin(&run, 0, 4096);
    expect_error(fake_save(&run, in_folder("nowhere"), 0, false, 1), STATUS_ERROR, "nowhere",
                 "save");
    expect_error(fake_load(&run, in_folder("nothing.h5")), STATUS_DATA, "nothing.h5", "load");
    fake_run_free(&run);
}

// Networks that differ from fake_network in one thing.
static void test_other_network(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 0, 4096);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    struct fake_tensor tensors[FAKE_MAX];
    static const struct {
        const char *what;
        size_t n_tensors, at;
        struct fake_tensor tensor;
        const char *says;
    } cases[] = {
        {"shape",
         7,
         5,
         {"dense", "weight", PARAM_WEIGHT, 2, {51, 12}, 0},
         "'/model/dense/weight' is 51 x 10|51 x 12"},
        {"order", 7, 5, {"dense", "weight", PARAM_WEIGHT, 2, {10, 51}, 0}, "51 x 10|10 x 51"},
        {"rank", 7, 5, {"dense", "weight", PARAM_WEIGHT, 1, {51}, 0}, "51 x 10|is 51"},
        {"name", 7, 6, {"dense", "shift", PARAM_BIAS, 1, {10}, 0}, "'/model/dense/bias'|does not"},
        {"fewer", 6, 6, {0}, "'/model/dense/bias', which this network does not have"},
        {"more",
         8,
         7,
         {"dense2", "bias", PARAM_BIAS, 1, {3}, 0},
         "no '/model/dense2/bias', which this network needs"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        memcpy(tensors, fake_network, fake_network_n * sizeof tensors[0]);
        if (cases[c].at < cases[c].n_tensors)
            tensors[cases[c].at] = cases[c].tensor;
        struct fake_run other;
        expect_ok(
            fake_run_init_with(&other, &alone, &fake_configs[0], 4096, tensors, cases[c].n_tensors),
            cases[c].what);
        expect_error(fake_load(&other, folder), STATUS_USAGE, cases[c].says, cases[c].what);
        fake_run_free(&other);
    }
    fake_run_free(&run);
}

static void test_other_optimizer(void **state)
{
    (void)state;
    struct fake_run sgd, adamw;
    struct update_config with_ema = fake_configs[0];
    with_ema.ema = 0.9;
    run_begin(&sgd, 0, 4096);
    run_begin(&adamw, 1, 4096);
    expect_ok(fake_save(&sgd, folder, 0, false, 1), "save");
    expect_error(fake_load(&adamw, folder), STATUS_USAGE,
                 "states momentum, this run needs adam_m, adam_v, ema", "adamw from sgd");
    expect_ok(fake_save(&adamw, folder, 0, false, 2), "save");
    expect_error(fake_load(&sgd, folder), STATUS_USAGE,
                 "states adam_m, adam_v, ema, this run needs momentum", "sgd from adamw");
    fake_run_free(&adamw);
    expect_ok(fake_run_init(&adamw, &alone, &with_ema, 4096), "sgd with ema");
    expect_error(fake_load(&adamw, in_folder("step-0000000001.h5")), STATUS_USAGE,
                 "this run needs momentum, ema", "ema switched on");
    expect_ok(fake_save(&adamw, folder, 0, false, 3), "save");
    expect_error(fake_load(&sgd, folder), STATUS_USAGE, "states ema, momentum", "ema off");
    fake_run_free(&sgd);
    fake_run_free(&adamw);
}

// A key that this program knows and the one that wrote the checkpoint did not has its default
// there.
static void test_expect_newer_keys(void **state)
{
    (void)state;
    static const char saved[] = "data: {train: x.h5}\nhead:\n- dense: {out: 10}\n"
                                "train: {epochs: 3, lr: 0.5}\n";
    static const struct {
        const char *text, *says;
    } cases[] = {
        {saved, NULL},
        {"data: {train: x.h5}\nhead:\n- dense: {out: 10}\ntrain: {epochs: 3, lr: 0.5, ema: 0.9}\n",
         "recipe key train.ema: 0, this run has 0.9"},
        {"data: {train: x.h5}\nhead:\n- dense: {out: 10}\ntrain: {epochs: 4, lr: 0.5}\n",
         "recipe key train.epochs: 3, this run has 4"},
    };
    struct fake_run run;
    struct checkpoint *checkpoint;
    run_begin(&run, 0, 4096);
    struct checkpoint_meta meta = fake_meta(1);
    meta.recipe = saved;
    expect_ok(checkpoint_save(run.group, folder, 0, false, &meta, run.update, run.model.list,
                              run.model.n_list, run.params),
              "save");
    expect_ok(checkpoint_open(&checkpoint, &alone, folder), "open");
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct recipe recipe;
        expect_ok(recipe_parse(&recipe, "recipe", cases[c].text, NULL), "recipe");
        struct checkpoint_expect expect = {.recipe = recipe.resolved};
        if (cases[c].says)
            expect_error(checkpoint_check(checkpoint, &expect), STATUS_USAGE, cases[c].says,
                         cases[c].says);
        else
            expect_ok(checkpoint_check(checkpoint, &expect), "fits");
        recipe_free(&recipe);
    }
    checkpoint_close(checkpoint);
    fake_run_free(&run);
}

static void test_expect(void **state)
{
    (void)state;
    struct fake_run run;
    run_begin(&run, 0, 4096);
    expect_ok(fake_save(&run, folder, 0, false, 1), "save");
    struct checkpoint *checkpoint;
    expect_ok(checkpoint_open(&checkpoint, &alone, folder), "open");
    struct checkpoint_meta same = fake_meta(1);
    static const struct {
        struct checkpoint_expect expect;
        const char *says; // NULL: fits
    } cases[] = {
        {{.recipe = NULL}, NULL},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.1}\nhead: [dense: {out: 10}]"}, NULL},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.1, recompute: on, bucket_kib: 64}\n"
                    "head: [dense: {out: 10}]"},
         NULL},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.2}\nhead: [dense: {out: 10}]"},
         "recipe key train.lr: 0.1, this run has 0.2"},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.1}\nhead: [dense: {out: 11}]"},
         "recipe key head.0.dense.out: 10, this run has 11"},
        {{.recipe = "name: fake\ntrain: {lr: 0.1}\nhead: [dense: {out: 10}]"},
         "recipe key train.epochs: 3, this run has nothing"},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.1, ema: 1}\nhead: [dense: {out: 10}]"},
         "recipe key train.ema: nothing, this run has 1"},
        {{.recipe = "name: fake\ntrain: {epochs: 3, lr: 0.1}\nhead: [dense: {out: 10}, relu: {}]"},
         "recipe key head.1: nothing, this run has a map"},
        {{.recipe = "name: fake\ntrain: 1\nhead: [dense: {out: 10}]"},
         "recipe key train: a map, this run has 1"},
        {{.train = "11111111111111111111111111111111"},
         "training data of fingerprint 0123456789abcdef0123456789abcdef, this run has 1111"},
        {{.test = ""}, "test data of fingerprint fedc"},
        {{.isa = "avx512"}, "instruction set avx2, this run has avx512|SW2_ISA, SW2_GEMM"},
        {{.isa = "avx2"}, NULL},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct checkpoint_expect expect = cases[c].expect;
        if (cases[c].says)
            expect_error(checkpoint_check(checkpoint, &expect), STATUS_USAGE, cases[c].says,
                         cases[c].says);
        else
            expect_ok(checkpoint_check(checkpoint, &expect), "fits");
        expect.force = true;
        expect_ok(checkpoint_check(checkpoint, &expect), "forced");
    }
    struct checkpoint_expect all = {same.recipe, same.train, same.test, same.isa, false};
    expect_ok(checkpoint_check(checkpoint, &all), "same");
    checkpoint_close(checkpoint);
    fake_run_free(&run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_meta),
        TEST(test_layout),
        TEST(test_weights_alone),
        TEST(test_keep),
        TEST(test_stale),
        TEST(test_folder),
        TEST(test_other_network),
        TEST(test_other_optimizer),
        TEST(test_expect),
        TEST(test_expect_newer_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
