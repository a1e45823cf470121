// SPDX-License-Identifier: MIT
// Two bytes (low first) say how long the labels' file is, which follows; the rest are the images.
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct import_options options = {0};
    if (n < 2)
        return 0;
    size_t labels = (size_t)data[0] | (size_t)data[1] << 8;
    labels = labels < n - 2 ? labels : n - 2;
    const char *paths[] = {fuzz_file(0, data + 2, labels),
                           fuzz_file(1, data + 2 + labels, n - 2 - labels)};
    fuzz_import("idx", paths, 2, &options);
    return 0;
}
