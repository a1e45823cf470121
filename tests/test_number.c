// SPDX-License-Identifier: MIT
// Numbers as text: exact, complete, and the same in a locale that writes decimal commas.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/number.h"
#include "tests/support/expect.h"

static const struct {
    const char *text;
    double value;
} good[] = {
    {"0", 0},
    {"-0", -0.0},
    {"1", 1},
    {"+1.5", 1.5},
    {".5", 0.5},
    {"5.", 5},
    {"1e3", 1000},
    {"1E-3", 0.001},
    {"0.1", 0.1},
    {"010", 10},
    {"-2.5e+2", -250},
    {"1.7976931348623157e308", 1.7976931348623157e308},
    {"4.9406564584124654e-324", 4.9406564584124654e-324},
    {"0e999999", 0},
    {"9007199254740993", 9007199254740992.0},
    // half-way between two doubles: to the even one; and just below
    {"0.3000000000000000166533453693773481063544750213623046875", 0x1.3333333333334p-2},
    {"0.3000000000000000166533453693773481063544750213623046874", 0x1.3333333333333p-2},
};

static const struct {
    const char *text, *problem;
} bad[] = {
    {"", "a number"},        {"abc", "a number"},          {"1x", "a number"},
    {"1 2", "a number"},     {" 1", "a number"},           {"1 ", "a number"},
    {"0x10", "a number"},    {"1,5", "a number"},          {".", "a number"},
    {"e5", "a number"},      {"1e", "a number"},           {"1e+", "a number"},
    {"--1", "a number"},     {"1_000", "a number"},        {"nan", "finite"},
    {"-inf", "finite"},      {".inf", "finite"},           {"-.Inf", "finite"},
    {".NaN", "finite"},      {"Infinity", "finite"},       {"1e999", "more than a double"},
    {"-1e999", "more than"}, {"1e-999", "nearer to zero"},
};

static void check_double(void)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *problem = "";
        double value = 77;
        if (!number_double(good[i].text, &value, &problem))
            fail_msg("'%s': %s", good[i].text, problem);
        if (memcmp(&value, &good[i].value, sizeof value) != 0)
            fail_msg("'%s': got %.17g, expected %.17g", good[i].text, value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *problem = "";
        double value = 77;
        if (number_double(bad[i].text, &value, &problem))
            fail_msg("'%s' was read as %g", bad[i].text, value);
        if (!strstr(problem, bad[i].problem))
            fail_msg("'%s': '%s' lacks '%s'", bad[i].text, problem, bad[i].problem);
    }
}

static void test_double(void **state)
{
    (void)state;
    check_double();
}

static void test_int(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } ints[] = {
        {"0", 0},
        {"-7", -7},
        {"+7", 7},
        {"007", 7},
        {"9007199254740993", 9007199254740993},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *const wrong[] = {"",
                                        "-",
                                        "1.0",
                                        "1e3",
                                        "0x1",
                                        "1 ",
                                        " 1",
                                        "abc",
                                        "1_0",
                                        "9223372036854775808",
                                        "+-1",
                                        "-9223372036854775809",
                                        "99999999999999999999999999"};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        int64_t value = 77;
        const char *problem = "";
        assert_true(number_int(ints[i].text, &value, &problem));
        assert_true(value == ints[i].value);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t value = 77;
        const char *problem = "";
        if (number_int(wrong[i], &value, &problem))
            fail_msg("'%s' was read as %lld", wrong[i], (long long)value);
        assert_true(strlen(problem) > 0);
    }
}

static void check_text(void)
{
    static const struct {
        double value;
        const char *text;
    } texts[] = {{0.1, "0.1"},
                 {1000, "1000"},
                 {-0.0, "-0"},
                 {1e-5, "1e-05"},
                 {1e20, "1e+20"},
                 {0.5, "0.5"},
                 {1.0 / 3, "0.3333333333333333"},
                 {123456789012345, "123456789012345"}};
    char out[NUMBER_BYTES];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        number_text(texts[i].value, out);
        assert_string_equal(out, texts[i].text);
    }
    // Any double comes back bit for bit.
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        double value, back = 0;
        const char *problem = "";
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        number_text(value, out);
        if (!number_double(out, &back, &problem) || memcmp(&back, &value, sizeof back) != 0)
            fail_msg("%.17g became '%s'", value, out);
    }
}

static void test_text(void **state)
{
    (void)state;
    check_text();
}

// A locale with a decimal comma: an installed one, or one made from Debian's sources.
static bool comma_locale(const char *folder)
{
    if (setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, "fr_FR.UTF-8"))
        return true;
    char command[512];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1",
             folder);
    setenv("LOCPATH", folder, 1);
    return system(command) == 0 && setlocale(LC_ALL, "de_DE.UTF-8");
}

static void test_locale(void **state)
{
    (void)state;
    char *folder = folder_make(), half[8] = "";
    bool has_comma = comma_locale(folder);
    if (has_comma) {
        snprintf(half, sizeof half, "%.1f", 0.5);
        assert_string_equal(half, "0,5");
        check_double();
        check_text();
    }
    setlocale(LC_ALL, "C");
    folder_remove(folder);
    if (!has_comma) {
        print_message("no locale with a decimal comma can be had here\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
