// SPDX-License-Identifier: MIT
// Options by table: values of every type, what is refused with which words, help, and that the
// resolved values read back the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/options.h"
#include "tests/support/expect.h"

struct values {
    bool flag;
    int64_t count, seed;
    double rate;
    const char *text;
    int choice;
    struct option_ints ints;
    struct option_floats floats;
    struct option_strings strings;
    const struct yaml_node *node;
};

#define AT(field) offsetof(struct values, field)

static const struct option table[] = {
    {"flag", OPTION_BOOL, AT(flag), "yes", 0, 0, NULL, "a flag"},
    {"count", OPTION_INT, AT(count), "8", 1, 1024, NULL, "a bounded integer"},
    {"seed", OPTION_INT, AT(seed), "1", 0, 0, NULL, "any integer"},
    {"rate", OPTION_FLOAT, AT(rate), "0.1", 0, 1e18, NULL, "a number"},
    {"text", OPTION_STRING, AT(text), "", 0, 0, NULL, "a text"},
    {"choice", OPTION_CHOICE, AT(choice), "sgd", 0, 0, "sgd|adamw|lars", "one of three"},
    {"ints", OPTION_INTS, AT(ints), "[1, 2]", 0, 9, NULL, "integers"},
    {"floats", OPTION_FLOATS, AT(floats), "", -1, 1, NULL, "numbers"},
    {"strings", OPTION_STRINGS, AT(strings), "a", 0, 0, NULL, "texts"},
    {"node", OPTION_NODE, AT(node), NULL, 0, 0, NULL, "a subtree"},
};
#define N_TABLE (sizeof table / sizeof *table)

static enum status read_text(const char *text, struct yaml **yaml, struct values *values)
{
    memset(values, 0xa5, sizeof *values);
    expect_ok(yaml_parse(yaml, "r.yaml", text, strlen(text)), text);
    return options_read(*yaml, yaml_find((*yaml)->root, "s"), table, N_TABLE, "s", values);
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "s:\n", "s: {}\n"};
    for (size_t i = 0; i < 3; i++) {
        struct yaml *yaml;
        struct values v;
        expect_ok(read_text(texts[i], &yaml, &v), texts[i]);
        assert_true(v.flag && v.count == 8 && v.seed == 1 && v.rate == 0.1 && v.choice == 0);
        assert_string_equal(v.text, "");
        assert_true(v.ints.n == 2 && v.ints.v[0] == 1 && v.ints.v[1] == 2);
        assert_true(v.floats.n == 0 && v.strings.n == 1);
        assert_string_equal(v.strings.v[0], "a");
        assert_null(v.node);
        yaml_free(yaml);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct values v;
    expect_ok(read_text("s:\n  flag: Off\n  count: 1024\n  seed: -9223372036854775808\n"
                        "  rate: 1e-3\n  text: 'x: y'\n  choice: lars\n  ints: 7\n"
                        "  floats: [[1, -0.5], [[0.25]], 0]\n  strings: [a, 'b c']\n"
                        "  node: {x: [1]}\n",
                        &yaml, &v),
              "values");
    assert_true(!v.flag && v.count == 1024 && v.seed == INT64_MIN && v.rate == 0.001);
    assert_string_equal(v.text, "x: y");
    assert_int_equal(v.choice, 2);
    assert_true(v.ints.n == 1 && v.ints.v[0] == 7);
    assert_true(v.floats.n == 4 && v.floats.v[0] == 1 && v.floats.v[1] == -0.5);
    assert_true(v.floats.v[2] == 0.25 && v.floats.v[3] == 0);
    assert_true(v.strings.n == 2);
    assert_string_equal(v.strings.v[1], "b c");
    assert_int_equal(yaml_find(v.node, "x")->kind, YAML_LIST);
    yaml_free(yaml);
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"\ns:\n  cuont: 1\n",
     "r.yaml:3: unknown key 'cuont' in s, did you mean 'count'? (known: flag"},
    {"s: {banana: 1}", "r.yaml:1: unknown key 'banana' in s (known: flag, count, seed, rate, text"},
    {"s: 5\n", "r.yaml:1: s is a single value, expected keys and values"},
    {"s: [1]\n", "r.yaml:1: s is a list, expected keys and values"},
    {"s: {flag: maybe}", "r.yaml:1: 'flag' in s is 'maybe', expected true or false"},
    {"s: {flag: 1}", "'1', expected true or false"},
    {"s: {flag: [yes]}", "'flag' in s is a list, expected true or false"},
    {"s:\n  count: 0\n", "r.yaml:2: 'count' in s is '0', expected 1 to 1024"},
    {"s: {count: 1025}", "expected 1 to 1024"},
    {"s: {count: 1.0}", "is '1.0', expected an integer"},
    {"s: {count: 1e3}", "expected an integer"},
    {"s: {count: 12x}", "expected an integer"},
    {"s: {count: ''}", "expected an integer"},
    {"s: {count: {a: b}}", "is a map of keys, expected an integer"},
    {"s: {seed: 9223372036854775808}", "more than 64 bits"},
    {"s: {rate: nan}", "is 'nan', expected a finite number"},
    {"s: {rate: .inf}", "expected a finite number"},
    {"s: {rate: 1e400}", "more than a double"},
    {"s: {rate: -0.1}", "is '-0.1', expected at least 0"},
    {"s: {rate: '0,1'}", "expected a number"},
    {"s: {rate: 0.1 x}", "is '0.1 x', expected a number"},
    {"s: {rate: [0.1]}", "is a list, expected a number"},
    {"s: {text: [a]}", "is a list, expected a single text"},
    {"s: {choice: sdg}", "'choice' in s is 'sdg', did you mean 'sgd'?, expected sgd|adamw|lars"},
    {"s: {choice: SGD}", "did you mean 'sgd'?"},
    {"s: {choice: zzz}", "is 'zzz', expected sgd|adamw|lars"},
    {"s: {choice: ''}", "expected sgd|adamw|lars"},
    {"s: {ints: [1, x]}", "is 'x', expected an integer"},
    {"s: {ints: [1, 10]}", "is '10', expected 0 to 9"},
    {"s: {ints: [[1]]}", "is a list, expected an integer"},
    {"s: {ints: {a: 1}}", "is a map of keys, expected an integer"},
    {"s: {floats: [1, [2]]}", "is '2', expected -1 to 1"},
    {"s: {floats: [{a: 1}]}", "is a map of keys, expected a number"},
    {"s: {floats: [{}]}", "is a map of keys, expected a number"},
    {"s: {floats: [[], nan]}", "expected a finite number"},
    {"s: {strings: [[a]]}", "is a list, expected a list of texts"},
    {"s: {strings: {a: b}}", "is a map of keys, expected a list of texts"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct yaml *yaml;
        struct values v;
        expect_error(read_text(bad[i].text, &yaml, &v), STATUS_USAGE, bad[i].message, bad[i].text);
        yaml_free(yaml);
    }
}

static void test_required(void **state)
{
    (void)state;
    static const struct option row = {"out", OPTION_INT, 0, NULL, 1, 10, NULL, "filters"};
    struct yaml *yaml;
    int64_t out = 0;
    expect_ok(yaml_parse(&yaml, "r.yaml", "\nconv: {}", 9), "parse");
    const struct yaml_node *conv = yaml_find(yaml->root, "conv");
    expect_error(options_read(yaml, conv, &row, 1, "layer conv", &out), STATUS_USAGE,
                 "r.yaml:2: layer conv lacks 'out' (filters)", "required");
    expect_error(options_read(yaml, NULL, &row, 1, "layer conv", &out), STATUS_USAGE,
                 "r.yaml: layer conv lacks 'out'", "required, no section");
    expect_ok(yaml_override(yaml, "conv.out=11"), "override");
    expect_error(options_read(yaml, conv, &row, 1, "layer conv", &out), STATUS_USAGE,
                 "r.yaml (override): 'out' in layer conv is '11', expected 1 to 10", "override");
    expect_error(options_read(yaml, conv, NULL, 0, "layer relu", &out), STATUS_USAGE,
                 "unknown key 'out' in layer relu (known: none)", "empty table");
    yaml_free(yaml);
}

static void test_parse(void **state)
{
    (void)state;
    struct yaml *yaml;
    struct values v;
    expect_ok(yaml_parse(&yaml, "command line", "", 0), "parse");
    expect_ok(options_parse(yaml, &table[1], " 12 ", "--count", &v.count), "count");
    assert_int_equal(v.count, 12);
    expect_ok(options_parse(yaml, &table[6], "3,4, 5", "--ints", &v.ints), "ints");
    assert_true(v.ints.n == 3 && v.ints.v[2] == 5);
    expect_ok(options_parse(yaml, &table[6], "[6]", "--ints", &v.ints), "ints");
    assert_true(v.ints.n == 1 && v.ints.v[0] == 6);
    expect_error(options_parse(yaml, &table[1], "x", "--count", &v.count), STATUS_USAGE,
                 "--count is 'x', expected an integer", "x");
    expect_error(options_parse(yaml, &table[4], "x\xff", "--text", &v.text), STATUS_USAGE,
                 "--text: not UTF-8 text at byte 1", "not UTF-8");
    expect_error(options_parse(yaml, &table[6], "[1", "--ints", &v.ints), STATUS_USAGE,
                 "--ints: not YAML", "[1");
    expect_ok(options_parse(yaml, &table[6], "1,", "--ints", &v.ints), "1,");
    assert_int_equal(v.ints.n, 1);
    yaml_free(yaml);
}

static void test_help(void **state)
{
    (void)state;
    char *help = options_help(table, N_TABLE, "  ");
    assert_string_equal(help, "  flag     a flag (default yes; true|false)\n"
                              "  count    a bounded integer (default 8; 1 to 1024)\n"
                              "  seed     any integer (default 1)\n"
                              "  rate     a number (default 0.1; at least 0)\n"
                              "  text     a text (default none)\n"
                              "  choice   one of three (default sgd; sgd|adamw|lars)\n"
                              "  ints     integers (default [1, 2]; 0 to 9)\n"
                              "  floats   numbers (default none; -1 to 1)\n"
                              "  strings  texts (default a)\n"
                              "  node     a subtree (optional)\n");
    free(help);
    static const struct option row = {"out", OPTION_INT, 0, NULL, 1, 10, NULL, "filters"};
    help = options_help(&row, 1, "");
    assert_string_equal(help, "out  filters (required; 1 to 10)\n");
    free(help);
}

static void test_write(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "s: {rate: 0.30000000000000004, seed: -5, floats: [[1, 0.1], 1e-7], ints: [],\n"
            "    flag: no, choice: adamw, text: 'a: b', node: {x: [1, {y: z}]}, strings: []}"};
    static const char *const wanted[] = {
        "flag: true\ncount: 8\nseed: 1\nrate: 0.1\ntext: \"\"\nchoice: sgd\nints: [1, 2]\n"
        "floats: []\nstrings: [a]\n",
        "flag: false\ncount: 8\nseed: -5\nrate: 0.30000000000000004\ntext: \"a: b\"\n"
        "choice: adamw\nints: []\nfloats: [1, 0.1, 1e-07]\nstrings: []\n"
        "node:\n  x:\n    - 1\n    - y: z\n"};
    for (size_t i = 0; i < 2; i++) {
        struct yaml *yaml, *again;
        struct values v, w;
        char *first, *second;
        expect_ok(read_text(texts[i], &yaml, &v), texts[i]);
        expect_ok(yaml_write(options_write(yaml, table, N_TABLE, &v), &first), "write");
        assert_string_equal(first, wanted[i]);
        expect_ok(yaml_parse(&again, "again", first, strlen(first)), first);
        expect_ok(options_read(again, again->root, table, N_TABLE, "s", &w), first);
        expect_ok(yaml_write(options_write(again, table, N_TABLE, &w), &second), "write");
        assert_string_equal(first, second);
        free(first);
        free(second);
        yaml_free(yaml);
        yaml_free(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_values), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_required), cmocka_unit_test(test_parse),  cmocka_unit_test(test_help),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
