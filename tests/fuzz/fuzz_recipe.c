// SPDX-License-Identifier: MIT
// A recipe's text: parsed, its options read, written out with every default, and read again to the
// same text.
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct recipe recipe = {0}, again = {0};
    char *text = malloc(n + 1);
    if (!text)
        return 0;
    memcpy(text, data, n);
    text[n] = 0;
    enum status status = recipe_parse(&recipe, "fuzz.yaml", text, NULL);
    fuzz_expect(status);
    if (status == STATUS_OK) {
        if (recipe_parse(&again, "resolved.yaml", recipe.resolved, NULL) != STATUS_OK ||
            strcmp(recipe.resolved, again.resolved) != 0)
            abort();
        recipe_free(&again);
    }
    recipe_free(&recipe);
    free(text);
    return 0;
}
