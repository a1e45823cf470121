// SPDX-License-Identifier: MIT
// Learning rates against PyTorch's schedulers, ends and warm-up by hand, and the same bits from
// every compiler.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/schedules.h"

#define STEPS_PER_EPOCH 10
#define RATES_MAX 48

static const struct {
    const char *recipe;
    size_t n;
    double rates[RATES_MAX];
} golden[] = {
#include "tests/golden/schedules.inc.h"
};

// The config borrows lists from *yaml.
static struct train_config config_of(const char *recipe, struct yaml **yaml)
{
    struct train_config config;
    expect_ok(yaml_parse(yaml, "recipe", recipe, strlen(recipe)), recipe);
    expect_ok(train_config_read(*yaml, (*yaml)->root, &config), recipe);
    return config;
}

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct yaml *yaml;
        struct schedule schedule;
        struct train_config config = config_of(golden[i].recipe, &yaml);
        expect_ok(schedule_init(&schedule, &config, STEPS_PER_EPOCH), golden[i].recipe);
        assert_int_equal(schedule.steps, golden[i].n);
        for (size_t t = golden[i].n; t-- > 0;) { // backwards: a rate depends on the step alone
            double got = schedule_lr(&schedule, t), want = golden[i].rates[t];
            // PyTorch's cosine is a recurrence, which drifts by some last places.
            if (fabs(got - want) > 1e-14)
                fail_msg("%s, step %zu of %zu: got %.17g, expected %.17g, tolerance 1e-14",
                         golden[i].recipe, t, golden[i].n, got, want);
        }
        yaml_free(yaml);
    }
}

static void test_cospi(void **state)
{
    (void)state;
    assert_true(schedule_cospi(0) == 1);
    assert_true(schedule_cospi(0.5) == 0);
    assert_true(schedule_cospi(1) == -1);
    for (int i = -100000; i <= 100000; i++) {
        double x = i / 100000.0, want = (double)cosl(3.14159265358979323846264L * (long double)x);
        if (fabs(schedule_cospi(x) - want) > 4e-16)
            fail_msg("cos(pi %.17g): got %.17g, expected %.17g, tolerance 4e-16", x,
                     schedule_cospi(x), want);
    }
}

// First, last and beyond-the-end rates that follow from the formulas.
static void test_ends(void **state)
{
    (void)state;
    static const struct {
        const char *recipe;
        uint64_t step;
        double rate;
    } cases[] = {
        {"{lr: 0.4}", 0, 0.4},
        {"{lr: 0.4}", 1000000, 0.4},
        {"{lr: 0.4, warmup: 0.1}", 0, 0.2}, // one step of warm-up
        {"{lr: 0.4, warmup: 0.1}", 1, 0.4},
        {"{lr: 0.4, warmup: 1}", 9, 0.4 * 10 / 11},
        {"{lr: 0.4, warmup: 0.04}", 0, 0.4}, // rounds to no step
        {"{lr: 0.4, epochs: 1, schedule: cosine}", 0, 0.4},
        {"{lr: 0.4, epochs: 1, schedule: cosine}", 5, 0.2},
        {"{lr: 0.4, epochs: 1, schedule: cosine, final_lr: 1}", 7, 0.4},
        {"{lr: 0.4, epochs: 2, schedule: cosine, warmup: 1}", 10, 0.4},
        {"{lr: 0.4, epochs: 2, schedule: cosine, warmup: 1}", 15, 0.2},
        {"{lr: 0.4, schedule: onecycle, epochs: 1}", 0, 0.016},
        {"{lr: 0.4, schedule: onecycle, epochs: 1}", 2, 0.4},
        {"{lr: 0.4, schedule: onecycle, epochs: 1}", 9, 0},
        {"{lr: 0.4, schedule: onecycle, epochs: 1, final_lr: 0.25}", 9, 0.1},
        {"{lr: 0.4, schedule: onecycle, epochs: 1, final_lr: 0.25}", 99, 0.1},
        {"{lr: 0.4, schedule: onecycle, steps: 1}", 0, 0.4},
        {"{lr: 0.4, schedule: onecycle, steps: 2}", 1, 0},
        {"{lr: 0.4, schedule: triangle, epochs: 1, start_lr: 0.5}", 0, 0.2},
        {"{lr: 0.4, schedule: triangle, epochs: 1}", 3, 0.4},
        {"{lr: 0.4, schedule: triangle, epochs: 1, rise: 0.5, final_lr: 0.5}", 99, 0.4 * 0.6},
        {"{lr: 0.4, schedule: triangle, steps: 1, start_lr: 0.25}", 0, 0.1},
        {"{lr: 0.4, schedule: step, lr_step: 0.01}", 2, 0.4 * 0.1 * 0.1}, // at least a step
        {"{lr: 0.4, schedule: multistep, milestones: 0.5}", 4, 0.4},
        {"{lr: 0.4, schedule: multistep, milestones: 0.5}", 5, 0.04},
        {"{lr: 0.4, schedule: multistep, milestones: [0.5, 1], warmup: 0.8}", 8, 0.04},
        {"{lr: 0.4, schedule: multistep, milestones: [0.5, 1], warmup: 0.8}", 0, 0.04 / 9},
        {"{lr: 0.4, schedule: multistep, milestones: [0.5, 1], warmup: 0.8}", 10, 0.004},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct yaml *yaml;
        struct schedule schedule;
        struct train_config config = config_of(cases[i].recipe, &yaml);
        expect_ok(schedule_init(&schedule, &config, STEPS_PER_EPOCH), cases[i].recipe);
        double got = schedule_lr(&schedule, cases[i].step);
        if (fabs(got - cases[i].rate) > 1e-16)
            fail_msg("%s, step %d: got %.17g, expected %.17g, tolerance 1e-16", cases[i].recipe,
                     (int)cases[i].step, got, cases[i].rate);
        yaml_free(yaml);
    }
}

static void test_too_short(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct schedule schedule;
    struct train_config config = config_of("{steps: 20, warmup: 2}", &yaml);
    expect_error(schedule_init(&schedule, &config, STEPS_PER_EPOCH), STATUS_USAGE,
                 "warmup of 2 epochs is 20 steps, but the run has 20 in all|raise", "steps 20");
    yaml_free(yaml);
}

// The bits of all rates above, folded (FNV-1a): they feed the weights, so they must be the same
// from gcc and clang, at every optimisation level, with and without FMA instructions.
static void test_bits(void **state)
{
    (void)state;
    uint64_t fold = 14695981039346656037u;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct yaml *yaml;
        struct schedule schedule;
        struct train_config config = config_of(golden[i].recipe, &yaml);
        expect_ok(schedule_init(&schedule, &config, STEPS_PER_EPOCH), golden[i].recipe);
        for (size_t t = 0; t < golden[i].n; t++) {
            double rate = schedule_lr(&schedule, t);
            unsigned char bytes[sizeof rate];
            memcpy(bytes, &rate, sizeof rate);
            for (size_t b = 0; b < sizeof rate; b++)
                fold = (fold ^ bytes[b]) * 1099511628211u;
        }
        yaml_free(yaml);
    }
    if (fold != 0xcea63a777d5a2206)
        fail_msg("got %016llx, expected cea63a777d5a2206", (unsigned long long)fold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),    cmocka_unit_test(test_cospi), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_too_short), cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
