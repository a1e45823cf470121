// SPDX-License-Identifier: MIT
// One picture of one format: its header looked at, decoded, made grey and coloured.
#ifndef SW2_TESTS_FUZZ_PICTURES_H
#define SW2_TESTS_FUZZ_PICTURES_H

#include <stdlib.h>

#include "data/image.h"
#include "tests/fuzz/fuzz.h"

static inline int fuzz_one_picture(const uint8_t *data, size_t n, enum image_format format)
{
    static struct image image; // memory is used again, as importers do
    size_t h = 0, w = 0, c = 0;
    if (image_format_of(data, n) != format)
        return 0;
    uint8_t *bytes = fuzz_copy(data, n);
    enum status probed = image_probe("probe", bytes, n, &h, &w, &c);
    fuzz_expect(probed);
    enum status status = STATUS_DATA;
    if (probed == STATUS_OK && h * w <= (size_t)1 << 22) {
        status = image_decode("picture", bytes, n, &image);
        fuzz_expect(status);
    }
    if (status == STATUS_OK) {
        if (image.h != h || image.w != w || image.c != c)
            __builtin_trap(); // what a folder's scan says is what is decoded
        fuzz_expect(image_set_channels(&image, "picture", 4 - image.c));
        fuzz_expect(image_set_channels(&image, "picture", 4 - image.c));
    }
    free(bytes);
    return 0;
}

#endif
