// SPDX-License-Identifier: MIT
// A checkpoint that someone made and sealed: opened, its recipe read.
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/checkpoint_private.h"
#include "trainer/recipe.h"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:detect_leaks=0"; // HDF5 leaks what it refuses
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct group alone = {.rank = 0, .size = 1, .host = "here", .local_size = 1};
    struct checkpoint *checkpoint = NULL;
    struct recipe recipe = {0};
    const char *path = fuzz_file(0, data, n);
    if (seal_write(path) != STATUS_OK)
        return 0;
    enum status status = checkpoint_open(&checkpoint, &alone, path);
    fuzz_expect(status);
    if (status == STATUS_OK && checkpoint) {
        const struct checkpoint_meta *meta = checkpoint_meta(checkpoint);
        fuzz_expect(recipe_parse(&recipe, path, meta->recipe, NULL));
        recipe_free(&recipe);
        checkpoint_has_state(checkpoint, "ema");
    }
    checkpoint_close(checkpoint);
    return 0;
}
