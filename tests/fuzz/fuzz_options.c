// SPDX-License-Identifier: MIT
// Texts of the command line: each line is an assignment (-o train.lr=0.1) to the recipe of the
// digits, and a value of options of every type.
#include <stdlib.h>
#include <string.h>

#include "comm/options.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/recipe.h"

#define LINES_MAX 64

struct values {
    bool flag;
    int64_t whole;
    double real;
    int choice;
    const char *text;
    struct option_ints wholes;
    struct option_floats reals;
    struct option_strings texts;
};

#define AT(field) offsetof(struct values, field)

static const struct option table[] = {
    {"flag", OPTION_BOOL, AT(flag), "no", 0, 0, NULL, "flag"},
    {"whole", OPTION_INT, AT(whole), "1", -1e15, 1e15, NULL, "number"},
    {"real", OPTION_FLOAT, AT(real), "1", 0, 0, NULL, "number"},
    {"choice", OPTION_CHOICE, AT(choice), "a", 0, 0, "a|b|c", "choice"},
    {"text", OPTION_STRING, AT(text), "", 0, 0, NULL, "text"},
    {"wholes", OPTION_INTS, AT(wholes), "[]", 0, 1e6, NULL, "numbers"},
    {"reals", OPTION_FLOATS, AT(reals), "[]", 0, 0, NULL, "numbers"},
    {"texts", OPTION_STRINGS, AT(texts), "[]", 0, 0, NULL, "texts"},
};

static const char recipe_text[] =
    "name: digits\n"
    "data: {train: data/digits.h5, test: data/digits.h5, transforms: [normalize]}\n"
    "features:\n"
    "  - conv: {out: 32, kernel: 3}\n"
    "  - relu\n"
    "head: [dense: {out: 10}]\n"
    "loss: softmax\n"
    "train: {batch: 128, epochs: 2, milestones: [1, 2.5]}\n";

static void read_values(char *const *lines, size_t n)
{
    struct values values = {0};
    struct yaml *yaml = NULL;
    if (yaml_parse(&yaml, "values", "{}", 2) != STATUS_OK)
        abort();
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof table / sizeof *table; k++)
            fuzz_expect(options_parse(yaml, &table[k], lines[i], "--value", &values));
    yaml_free(yaml);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *lines[LINES_MAX], *text = malloc(n + 1);
    size_t n_lines = 0;
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = 0;
    for (char *at = text; n_lines < LINES_MAX && *at;) {
        lines[n_lines++] = at;
        at += strcspn(at, "\n");
        if (*at)
            *at++ = 0;
    }
    struct recipe recipe = {0};
    struct option_strings overrides = {n_lines, (const char *const *)lines};
    fuzz_expect(recipe_parse(&recipe, "fuzz.yaml", recipe_text, &overrides));
    recipe_free(&recipe);
    read_values(lines, n_lines);
    free(text);
    return 0;
}
