// SPDX-License-Identifier: MIT
// The section train: defaults, checks across keys with their words, and what follows from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/optimizer.h"
#include "trainer/schedules.h"
#include "trainer/train_config.h"

static enum status read_text(const char *text, struct yaml **yaml, struct train_config *config)
{
    expect_ok(yaml_parse(yaml, "r.yaml", text, strlen(text)), text);
    return train_config_read(*yaml, yaml_find((*yaml)->root, "train"), config);
}

static void test_defaults(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct train_config c;
    memset(&c, 0xa5, sizeof c);
    expect_ok(read_text("", &yaml, &c), "defaults");
    assert_true(c.batch == 128 && c.grains == 8 && c.epochs == 10 && c.steps == 0 && c.seed == 1);
    assert_true(c.optimizer == OPTIMIZER_sgd && c.schedule == SCHEDULE_constant);
    assert_true(c.lr == 0.1 && c.momentum == 0.9 && !c.nesterov && c.weight_decay == 0);
    assert_true(c.beta1 == 0.9 && c.beta2 == 0.999 && c.epsilon == 1e-8 && c.trust == 0.001);
    assert_true(!c.decoupled && !c.decay_all && c.clip_norm == 0 && c.ema == 0);
    assert_true(c.warmup == 0 && c.milestones.n == 0 && c.lr_gamma == 0.1 && c.final_lr == 0);
    assert_true(c.bucket_kib == 1024 && c.slots == 0 && c.keep == 2 && c.eval_every == 1);
    assert_true(c.checkpoint_every == 1 && c.checkpoint_steps == 0 && c.log_every == 0);
    assert_true(c.checkpoint_seconds == 0 && c.start_lr == 0.04 && c.rise == 0.3);
    struct model_mode mode = train_config_mode(&c);
    assert_true(mode.winograd && !mode.bf16 && !mode.recompute);
    yaml_free(yaml);
}

static void test_mode(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct train_config c;
    expect_ok(read_text("train: {winograd: off, precision: bf16, recompute: on}", &yaml, &c),
              "mode");
    struct model_mode mode = train_config_mode(&c);
    assert_true(!mode.winograd && mode.bf16 && mode.recompute);
    yaml_free(yaml);
}

// Every row has its own place in the struct, a default that its bounds allow, and a help line.
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < train_options_n; i++) {
        const struct option *row = &train_options[i];
        assert_non_null(row->fallback);
        assert_true(strlen(row->help) > 0 && strlen(row->help) < 90);
        for (size_t k = 0; k < i; k++)
            if (train_options[k].offset == row->offset ||
                strcmp(train_options[k].name, row->name) == 0)
                fail_msg("%s and %s are mixed up", train_options[k].name, row->name);
    }
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"train:\n  momentun: 0.9\n",
     "r.yaml:2: unknown key 'momentun' in train|'momentum'?|(known: batch"},
    {"train:\n  batch: 100\n  grains: 8\n",
     "r.yaml:2: batch: 100 is not a multiple of grains: 8|nearest that are: 96 and 104"},
    {"train:\n  batch: 64\n  grains: 6\n",
     "r.yaml:3: grains: 6 is not a power of two, the nearest are 4 and 8"},
    {"train:\n  batch: 4\n", "r.yaml:2: batch: 4 samples cannot be cut into 8 grains"},
    {"train: {batch: 0}", "'batch' in train is '0', expected 1 to 1000000000"},
    {"train: {grains: 0}", "expected 1 to 4096"},
    {"train: {lr: -1}", "'lr' in train is '-1', expected 0 to"},
    {"train: {lr: .inf}", "finite"},
    {"train: {epochs: 2.5}", "'epochs' in train is '2.5', expected an integer"},
    {"train: {optimizer: adam}", "'optimizer' in train is 'adam', did you mean 'adamw'?"},
    {"train: {schedule: cosin}", "did you mean 'cosine'?|expected constant"},
    {"train:\n  optimizer: adamw\n  nesterov: yes\n",
     "r.yaml:3: nesterov is an option of optimizer: sgd, not of adamw"},
    {"train: {nesterov: yes, momentum: 0}", "nesterov needs momentum above 0"},
    {"train: {optimizer: lars, decoupled: yes}", "decoupled is an option of optimizer: sgd"},
    {"train: {momentum: 1}", "momentum is 1, expected less"},
    {"train: {ema: 1}", "ema is 1, expected less"},
    {"train: {beta1: 1}", "beta1 is 1, expected less"},
    {"train: {beta2: 1}", "beta2 is 1, expected less"},
    {"train: {optimizer: adamw, epsilon: 0}", "epsilon is 0, adamw would divide by zero"},
    {"train: {schedule: multistep}", "schedule: multistep needs milestones"},
    {"train: {milestones: [1]}", "milestones are for schedule: multistep only"},
    {"train: {schedule: multistep, milestones: [2, 2]}", "must rise, but 2 stands before 2"},
    {"train: {schedule: multistep, milestones: [2, x]}", "'x', expected a number"},
    {"train: {schedule: step, lr_step: 0}", "lr_step is 0"},
    {"train: {schedule: onecycle, rise: 1}", "rise is 1, schedule: onecycle needs"},
    {"train: {schedule: onecycle, rise: 0}", "rise is 0, schedule: onecycle needs"},
    {"train:\n  epochs: 3\n  warmup: 3\n", "r.yaml:3: warmup of 3 epochs is as long as the run"},
    {"train: {keep: 0}", "'keep' in train is '0', expected 1 to"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct yaml *yaml;
        struct train_config config;
        expect_error(read_text(bad[i].text, &yaml, &config), STATUS_USAGE, bad[i].message,
                     bad[i].text);
        yaml_free(yaml);
    }
}

static void test_good(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "train: {batch: 1, grains: 1}",
        "train: {batch: 96, grains: 32}",
        "train: {grains: 4096, batch: 8192}",
        "train: {optimizer: lars, momentum: 0, trust: 0.02}",
        "train: {nesterov: on, decoupled: on}",
        "train: {schedule: multistep, milestones: 5}",
        "train: {steps: 10, epochs: 1, warmup: 1}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct yaml *yaml;
        struct train_config config;
        expect_ok(read_text(texts[i], &yaml, &config), texts[i]);
        yaml_free(yaml);
    }
}

static void test_update(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct train_config c;
    expect_ok(read_text("train: {optimizer: sgd, momentum: 0.5, nesterov: on, beta1: 0.25, beta2: "
                        "0.125, epsilon: 0.0625, weight_decay: 0.03125, decoupled: on, decay_all: "
                        "on, trust: 2, clip_norm: 3, ema: 0.75}",
                        &yaml, &c),
              "update");
    struct update_config u = train_config_update(&c);
    assert_true(u.optimizer == OPTIMIZER_sgd && u.momentum == 0.5 && u.nesterov);
    assert_true(u.beta1 == 0.25 && u.beta2 == 0.125 && u.epsilon == 0.0625);
    assert_true(u.weight_decay == 0.03125 && u.decoupled && u.decay_all);
    assert_true(u.trust == 2 && u.clip_norm == 3 && u.ema == 0.75);
    yaml_free(yaml);
}

static void test_steps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t steps, checkpoint; // at 100 steps an epoch
    } cases[] = {
        {"train: {epochs: 3}", 300, 100},
        {"train: {steps: 7}", 7, 100},
        {"train: {checkpoint_every: 0}", 1000, 0},
        {"train: {checkpoint_every: 0.25}", 1000, 25},
        {"train: {checkpoint_every: 2.5}", 1000, 250},
        {"train: {checkpoint_every: 0.001}", 1000, 1},
        {"train: {checkpoint_steps: 30}", 1000, 30},
        {"train: {checkpoint_steps: 300}", 1000, 100},
        {"train: {checkpoint_steps: 300, checkpoint_every: 0}", 1000, 300},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct yaml *yaml;
        struct train_config config;
        expect_ok(read_text(cases[i].text, &yaml, &config), cases[i].text);
        uint64_t steps = train_config_steps(&config, 100);
        uint64_t checkpoint = train_config_checkpoint_steps(&config, 100);
        if (steps != cases[i].steps || checkpoint != cases[i].checkpoint)
            fail_msg("%s: %d and %d", cases[i].text, (int)steps, (int)checkpoint);
        yaml_free(yaml);
    }
}

// What is stored in a checkpoint reads back to the same values.
static void test_resolved(void **state)
{
    (void)state;
    struct yaml *yaml, *again;
    struct train_config first, second;
    char *text, *text_again;
    expect_ok(read_text("train: {lr: 0.30000000000000004, schedule: multistep, milestones: [1, "
                        "2.5], optimizer: lars, seed: 123456789}",
                        &yaml, &first),
              "resolved");
    expect_ok(yaml_write(options_write(yaml, train_options, train_options_n, &first), &text), "w");
    expect_ok(yaml_parse(&again, "again", text, strlen(text)), text);
    expect_ok(train_config_read(again, again->root, &second), text);
    expect_ok(
        yaml_write(options_write(again, train_options, train_options_n, &second), &text_again),
        "w");
    assert_string_equal(text, text_again);
    assert_true(second.lr == first.lr && second.milestones.v[1] == 2.5);
    free(text);
    free(text_again);
    yaml_free(yaml);
    yaml_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_table),
        cmocka_unit_test(test_mode),     cmocka_unit_test(test_bad),
        cmocka_unit_test(test_good),     cmocka_unit_test(test_update),
        cmocka_unit_test(test_steps),    cmocka_unit_test(test_resolved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
