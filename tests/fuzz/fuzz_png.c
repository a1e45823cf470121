// SPDX-License-Identifier: MIT
// As it is, and with the checksums of its chunks made right: no mutation would find these.
#include "tests/fuzz/fuzz_pictures.h"

static uint32_t number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// CRC-32 as PNG has it (ISO 3309), bit by bit.
static uint32_t checksum(const uint8_t *bytes, size_t n)
{
    uint32_t sum = 0xffffffff;
    for (size_t i = 0; i < 8 * n; i++) {
        uint32_t bit = (sum ^ (uint32_t)(bytes[i / 8] >> i % 8)) & 1;
        sum = sum >> 1 ^ (bit ? 0xedb88320 : 0);
    }
    return ~sum;
}

// Chunks: length, type (4 bytes each), data, CRC-32 over type and data.
static void checksums_make(uint8_t *png, size_t n)
{
    for (size_t at = 8; at + 12 <= n;) {
        size_t length = number(png + at);
        if (length > n - at - 12)
            return;
        uint32_t sum = checksum(png + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (uint8_t)(sum >> 8 * (3 - i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = fuzz_copy(data, n);
    fuzz_one_picture(data, n, IMAGE_PNG);
    checksums_make(copy, n);
    fuzz_one_picture(copy, n, IMAGE_PNG);
    free(copy);
    return 0;
}
