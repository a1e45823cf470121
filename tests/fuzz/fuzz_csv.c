// SPDX-License-Identifier: MIT
// The first byte chooses options, the rest is the file.
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    static const char *const columns[] = {NULL, "-1", "1", "label", "1,2", "a,-1", "999", ""};
    uint8_t choice = data[0];
    struct import_options options = {
        .target_column = columns[choice & 7],
        .drop = choice & 8 ? "2" : NULL,
        .target = (enum import_target)((choice >> 4) % 3),
        .header = (enum import_header)((choice >> 6) % 3),
        .max = (choice & 0x30) == 0x30 ? 255 : 0,
    };
    const char *path = fuzz_file(0, data + 1, n - 1);
    fuzz_import("csv", &path, 1, &options);
    return 0;
}
