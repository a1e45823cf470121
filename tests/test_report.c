// SPDX-License-Identifier: MIT
// The parts of a report: axes, escaping, lines with gaps, and what is read of a run's folder.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/report/plot_private.h"
#include "trainer/report/run.h"

static void axes_have_round_ticks(void **state)
{
    (void)state;
    static const struct {
        double low, high;
        int most;
        bool from_zero;
        double want_low, want_high, want_step;
    } cases[] = {
        {0, 10, 5, false, 0, 10, 2},
        {0.53, 0.97, 5, false, 0.5, 1.0, 0.1},
        {3, 7.2, 5, true, 0, 8, 2},
        {-1.1, 1.1, 4, false, -2, 2, 1},
        {1e-6, 9e-6, 5, false, 0, 1e-5, 2e-6},
        {5, 5, 5, false, 4.5, 5.6, 0.2},
        {NAN, NAN, 5, false, 0, 1, 0.2},
        {INFINITY, -INFINITY, 5, false, 0, 1, 0.2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plot_axis a =
            plot_axis_of(cases[i].low, cases[i].high, cases[i].most, cases[i].from_zero);
        if (fabs(a.step - cases[i].want_step) > 1e-9 * cases[i].want_step ||
            fabs(a.low - cases[i].want_low) > a.step * 0.51 ||
            fabs(a.high - cases[i].want_high) > a.step * 0.51)
            fail_msg("case %zu: %g to %g by %g, expected %g to %g by %g", i, a.low, a.high, a.step,
                     cases[i].want_low, cases[i].want_high, cases[i].want_step);
        if (isfinite(cases[i].low) && (a.low > cases[i].low || a.high < cases[i].high))
            fail_msg("case %zu: %g to %g does not hold %g to %g", i, a.low, a.high, cases[i].low,
                     cases[i].high);
    }
}

static void ticks_are_short(void **state)
{
    (void)state;
    static const struct {
        double value, step;
        bool is_percent;
        const char *want;
    } cases[] = {{0.5, 0.1, false, "0.5"},      {3, 1, false, "3"},
                 {0.25, 0.05, true, "25 %"},    {0.925, 0.005, true, "92.5 %"},
                 {-1e-17, 0.2, false, "0.0"},   {4e-6, 2e-6, false, "0.000004"},
                 {2.5e7, 5e6, false, "2.5e+07"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        plot_tick(cases[i].value, cases[i].step, cases[i].is_percent, text);
        assert_string_equal(text, cases[i].want);
    }
}

// What a drawing function wrote.
static char *drawn;
static size_t drawn_n;
static FILE *draw_begin(void)
{
    FILE *file = open_memstream(&drawn, &drawn_n);
    assert_non_null(file);
    return file;
}

static void names_cannot_break_the_page(void **state)
{
    (void)state;
    FILE *file = draw_begin();
    plot_text(file, "a<script>&\"b\x01\x1f é");
    fclose(file);
    assert_string_equal(drawn, "a&lt;script&gt;&amp;&quot;b é");
    free(drawn);

    static const char *const names[] = {"<b>", "x\"y"};
    static const uint64_t counts[] = {3, 1, 0, 4};
    static const double x[] = {1, 2}, y[] = {0.5, 0.25};
    struct plot plot = {.id = "i", .title = "<t>", .x_name = "<x>", .y_name = "<y>"};
    struct plot_series series = {.name = "</svg>", .n = 2, .x = x, .y = y};
    file = draw_begin();
    plot_matrix(file, &plot, counts, 2, names);
    plot_lines(file, &plot, &series, 1);
    fclose(file);
    assert_null(strstr(drawn, "<b>"));
    assert_null(strstr(drawn, "x\"y"));
    assert_null(strstr(drawn, "<t>"));
    assert_null(strstr(drawn, "<x>"));
    size_t ends = 0;
    for (const char *at = drawn; (at = strstr(at, "</svg>")); at++)
        ends++;
    assert_int_equal(ends, 2);
    free(drawn);
}

static void lines_skip_what_is_not_finite(void **state)
{
    (void)state;
    static const double x[] = {1, 2, 3, 4}, y[] = {0.5, NAN, INFINITY, 0.25}, none[] = {NAN, 1};
    struct plot plot = {.id = "i", .title = "t", .x_name = "epoch", .y_name = "loss"};
    struct plot_series series = {.name = "s", .n = 4, .x = x, .y = y};
    assert_true(plot_has_lines(&series, 1));
    FILE *file = draw_begin();
    plot_lines(file, &plot, &series, 1);
    fclose(file);
    assert_non_null(strstr(drawn, "data-x=\"1 4\""));
    assert_non_null(strstr(drawn, "data-y=\"0.5 0.25\""));
    assert_non_null(strstr(drawn, "s ends at 0.25."));
    assert_null(strstr(drawn, "nan"));
    assert_null(strstr(drawn, "inf"));
    free(drawn);
    struct plot_series one = {.name = "s", .n = 2, .x = x, .y = none};
    assert_false(plot_has_lines(&one, 1));
}

static void runs_are_read(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    struct run run;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    file_write(path,
               "{\"type\":\"step\",\"epoch\":1,\"step\":5,\"seconds\":0.5,\"train_loss\":2}\n"
               "{\"type\":\"epoch\",\"epoch\":1,\"step\":10,\"seconds\":1,\"train_loss\":1.5,"
               "\"test_loss\":1e-05,\"digest\":\"aa-bb\"}\n"
               "{\"type\":\"epoch\",\"epoch\":2,\"step\":20,\"seconds\":2,\"train_loss\":null,"
               "\"test_loss\":0.5,\"digest\":\"cc-dd\"}\n"
               "{\"type\":\"epoch\",\"epoch\":3,\"ste"); // the run goes on
    expect_ok(run_open(&run, folder), "open");
    assert_int_equal(run.n, 3);
    assert_string_equal(run.digest, "cc-dd");
    assert_true(isnan(run_column(&run, "train_loss")[2]));
    assert_true(isnan(run_column(&run, "test_loss")[0]));
    assert_true(run_last(&run, "train_loss") == 1.5);
    double epoch;
    assert_true(run_extreme(&run, "test_loss", false, &epoch) == 1e-05 && epoch == 1);
    assert_true(run_extreme(&run, "test_loss", true, &epoch) == 0.5 && epoch == 2);
    assert_null(run_column(&run, "accuracy"));
    assert_null(run.recipe);
    run_close(&run);

    file_write(path, "{\"type\":\"step\",\"epoch\":1}\n[1, 2\n");
    expect_error(run_open(&run, folder), STATUS_DATA, "metrics.jsonl:2|no record", "damaged");
    run_close(&run);
    file_write(path, "");
    expect_error(run_open(&run, folder), STATUS_USAGE, "no folder of a run", "empty");
    run_close(&run);
    expect_error(run_open(&run, path), STATUS_USAGE, "is no folder", "a file");
    run_close(&run);
    expect_error(run_open(&run, "/no/such"), STATUS_USAGE, "/no/such", "missing");
    run_close(&run);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_have_round_ticks),
        cmocka_unit_test(ticks_are_short),
        cmocka_unit_test(names_cannot_break_the_page),
        cmocka_unit_test(lines_skip_what_is_not_finite),
        cmocka_unit_test(runs_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
