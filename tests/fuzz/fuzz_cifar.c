// SPDX-License-Identifier: MIT
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct import_options options = {0};
    const char *path = fuzz_file(0, data, n);
    fuzz_import("cifar", &path, 1, &options);
    return 0;
}
