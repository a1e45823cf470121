// SPDX-License-Identifier: MIT
// Deterministic mutations of a recipe through parser, overrides, options and writer: no crash,
// always a status, every failure has a message, and what was read can be written and read again.
// Meant for the sanitizer build.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/options.h"
#include "tests/support/expect.h"

#define N_MUTATIONS 10000
#define TEXT_MAX 2048

static const char recipe[] =
    "# a recipe\n"
    "name: \"digits \\u00e9\"\n"
    "defaults: &d {kernel: 3, pad: 1, bias: false}\n"
    "data: {train: data/digits.h5:/train, test: 'data/digits.h5:/test', shape: [8, 8, 1]}\n"
    "features:\n"
    "  - conv: {out: 32, kernel: 3}\n"
    "  - conv: *d\n"
    "  - batchnorm: {}\n"
    "  - relu\n"
    "  - filterbank: {values: [[1, 0, -1], [2e0, 0.5, -2]]}\n"
    "head:\n"
    "- dense: {out: 10}\n"
    "train:\n"
    "  batch: 128\n"
    "  lr: 1e-1\n"
    "  nesterov: yes\n"
    "  optimizer: lars\n"
    "  milestones: [1, 2.5]\n"
    "note: |\n"
    "  two\n"
    "  lines\n";

static const char *const assignments[] = {
    "train.lr=0.5",    "features.0.conv.out=64", "train.milestones=[3, {a: b}]", "a.b.c={x: 'y'}",
    "head.0=\"text\"", "train=&x [*x]",          "data.shape=[1,[2,3]]",         "note=",
};

static const char *const pieces[] = {
    "[",     "]",   "{",   "}",    ": ", ",",        "\n", "- ",     "&d ",   "*d",
    "\"",    "'",   "#",   "|",    "%",  "!!x ",     "\t", "---\n",  "...\n", "\xff",
    "1e999", "nan", "0x1", "\xc3", "\\", "<<: *d\n", "? ", "train:", "lr: ",  "9223372036854775808",
};

struct train {
    int64_t batch;
    double lr;
    bool nesterov;
    int optimizer;
    struct option_floats milestones;
    struct option_strings names;
    const struct yaml_node *more;
};

#define AT(field) offsetof(struct train, field)

static const struct option table[] = {
    {"batch", OPTION_INT, AT(batch), "1", 1, 1e6, NULL, "batch"},
    {"lr", OPTION_FLOAT, AT(lr), "1", 0, 1e6, NULL, "rate"},
    {"nesterov", OPTION_BOOL, AT(nesterov), "no", 0, 0, NULL, "flag"},
    {"optimizer", OPTION_CHOICE, AT(optimizer), "sgd", 0, 0, "sgd|adamw|lars", "choice"},
    {"milestones", OPTION_FLOATS, AT(milestones), "", 0, 0, NULL, "numbers"},
    {"names", OPTION_STRINGS, AT(names), "", 0, 0, NULL, "texts"},
    {"more", OPTION_NODE, AT(more), NULL, 0, 0, NULL, "node"},
};

#define N_TABLE (sizeof table / sizeof *table)

static uint64_t random_state = 42;

static size_t draw(size_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(random_state >> 33) % n;
}

static void expect_message(enum status status)
{
    if (status != STATUS_OK && (error_text()[0] == '\0' || strchr(error_text(), '\n')))
        fail_msg("status %d with the message '%s'", (int)status, error_text());
}

// One to four changes: a byte, a piece put in, a run taken out, a run copied elsewhere.
static size_t mutate(char *text, size_t n)
{
    for (size_t changes = 1 + draw(4); changes > 0; changes--) {
        size_t at = draw(n + 1), kind = draw(4), run = 1 + draw(20);
        const char *piece = pieces[draw(sizeof pieces / sizeof *pieces)];
        if (kind == 0 && at < n)
            text[at] = (char)draw(256);
        if (kind == 1 && n + strlen(piece) <= TEXT_MAX) {
            memmove(text + at + strlen(piece), text + at, n - at);
            memcpy(text + at, piece, strlen(piece));
            n += strlen(piece);
        }
        if (kind == 2 && at + run <= n) {
            memmove(text + at, text + at + run, n - at - run);
            n -= run;
        }
        if (kind == 3 && at + run <= n)
            memmove(text + draw(n - run + 1), text + at, run);
    }
    return n;
}

static void check_tree(struct yaml *yaml)
{
    char *text = NULL, *second = NULL;
    struct yaml *again = NULL;
    expect_ok(yaml_write(yaml->root, &text), "write");
    expect_ok(yaml_parse(&again, "again", text, strlen(text)), text);
    expect_ok(yaml_write(again->root, &second), "write again");
    assert_string_equal(text, second);
    yaml_free(again);
    free(text);
    free(second);
}

static bool try_recipe(const char *text, size_t n)
{
    struct yaml *yaml = NULL;
    struct train train;
    char *exact = malloc(n + 1); // no byte more: reads beyond the end are seen
    assert_non_null(exact);
    memcpy(exact, text, n);
    enum status status = yaml_parse(&yaml, "fuzz.yaml", exact, n);
    free(exact);
    expect_message(status);
    assert_true(status == STATUS_OK || (status == STATUS_USAGE && !yaml));
    if (status != STATUS_OK)
        return false;
    for (size_t i = 0; i < 2; i++) {
        char assignment[TEXT_MAX + 1];
        strcpy(assignment, assignments[draw(sizeof assignments / sizeof *assignments)]);
        assignment[mutate(assignment, strlen(assignment))] = '\0';
        expect_message(yaml_override(yaml, assignment));
    }
    const struct yaml_node *map = yaml_find(yaml->root, "train");
    status = options_read(yaml, map, table, N_TABLE, "train", &train);
    expect_message(status);
    if (status == STATUS_OK && !yaml_find(yaml->root, "resolved")) {
        struct yaml_node *resolved = options_write(yaml, table, N_TABLE, &train);
        resolved->key = "resolved";
        yaml_add(yaml->root, resolved);
    }
    check_tree(yaml);
    yaml_free(yaml);
    return status == STATUS_OK;
}

static void test_mutations(void **state)
{
    (void)state;
    size_t n_good = 0;
    assert_true(try_recipe(recipe, sizeof recipe - 1));
    for (size_t i = 0; i < N_MUTATIONS; i++) {
        char text[TEXT_MAX];
        memcpy(text, recipe, sizeof recipe - 1);
        size_t n = mutate(text, sizeof recipe - 1);
        n_good += try_recipe(text, n);
    }
    print_message("%zu of %d mutated recipes were read\n", n_good, N_MUTATIONS);
    assert_true(n_good > N_MUTATIONS / 20); // both sides are reached
    assert_true(n_good < N_MUTATIONS * 19 / 20);
}

// Every prefix of the recipe.
static void test_truncated(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof recipe; n++)
        try_recipe(recipe, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_truncated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
