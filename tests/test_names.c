// SPDX-License-Identifier: MIT
// Nearest names: slips are found, strangers are not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm/names.h"

static const char *const known[] = {"batch", "epochs",   "lr",          "momentum", "nesterov",
                                    "conv",  "maxpool",  "avgpool",     "dense",    "schedule",
                                    "seed",  "lr_gamma", "batch_norms", "warmup"};
static const size_t n_known = sizeof known / sizeof *known;

static const struct {
    const char *name, *nearest;
} cases[] = {
    {"momentun", "momentum"},      // replace
    {"momentm", "momentum"},       // insert
    {"mommentum", "momentum"},     // delete
    {"ecpohs", "epochs"},          // swap of neighbours and another place
    {"epohcs", "epochs"},          // swap
    {"Epochs", "epochs"},          // case
    {"MOMENTUN", "momentum"},      // case and slip
    {"LR", "lr"},                  // case alone
    {"mom", "momentum"},           // start
    {"m", "momentum"},             // start, the first of the table
    {"maxpol", "maxpool"},         // not avgpool
    {"avgpol", "avgpool"},         //
    {"sed", "seed"},               //
    {"cnov", "conv"},              // swap counts one: 1 < 2
    {"rl", NULL},                  // 1 is not nearer than half of 2
    {"banana", NULL},              //
    {"xyz", NULL},                 //
    {"", NULL},                    //
    {"transformer", NULL},         //
    {"batch_norm", "batch_norms"}, // start of it; batch is farther
    {"momentum_and_a_long_tail_that_is_more_than_sixty_four_characters_long", NULL},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = names_nearest(cases[i].name, known, n_known);
        const char *want = cases[i].nearest;
        if (got != want && (!got || !want || strcmp(got, want) != 0))
            fail_msg("'%s': got %s, expected %s", cases[i].name, got ? got : "none",
                     want ? want : "none");
    }
}

static void test_empty_table(void **state)
{
    (void)state;
    assert_null(names_nearest("conv", known, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_empty_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
