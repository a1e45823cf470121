// SPDX-License-Identifier: MIT
// One picture of one format: its header looked at, decoded, made grey and coloured. `format` is
// what the bytes are, whatever they say.
#ifndef SW2_TESTS_FUZZ_PICTURES_H
#define SW2_TESTS_FUZZ_PICTURES_H

#include <stdlib.h>

#include "data/image.h"
#include "tests/fuzz/fuzz.h"

typedef enum status fuzz_picture(const char *name, const uint8_t *bytes, size_t n, bool is_probe,
                                 struct image *out);

static inline int fuzz_one_picture(const uint8_t *data, size_t n, fuzz_picture *decode)
{
    static struct image probe, image; // memory is used again, as importers do
    uint8_t *bytes = fuzz_copy(data, n);
    enum status probed = decode("probe", bytes, n, true, &probe);
    fuzz_expect(probed);
    enum status status = STATUS_DATA;
    if (probed == STATUS_OK && probe.h * probe.w <= (size_t)1 << 22) {
        status = decode("picture", bytes, n, false, &image);
        fuzz_expect(status);
    }
    if (status == STATUS_OK) {
        if (image.h != probe.h || image.w != probe.w || image.c != probe.c)
            __builtin_trap(); // what a folder's scan says is what is decoded
        fuzz_expect(image_set_channels(&image, "picture", 4 - image.c));
        fuzz_expect(image_set_channels(&image, "picture", 4 - image.c));
    }
    free(bytes);
    return 0;
}

#endif
