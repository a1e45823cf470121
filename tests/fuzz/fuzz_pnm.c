// SPDX-License-Identifier: MIT
#include "tests/fuzz/fuzz_pictures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return fuzz_one_picture(data, n, IMAGE_PNM);
}
