// SPDX-License-Identifier: MIT
// Source files for tests of the importers, made on the spot, and what the tests ask of sources.
#ifndef SW2_TESTS_IMPORT_FILES_H
#define SW2_TESTS_IMPORT_FILES_H

#include "data/image.h"
#include "data/import.h"

// A growing run of bytes.
struct bytes {
    uint8_t *at;
    size_t n, room;
};
void bytes_add(struct bytes *bytes, const void *from, size_t n);
void bytes_add_be(struct bytes *bytes, uint64_t value, size_t width); // big-endian
void file_bytes_free(struct bytes *bytes);

// "folder/name", valid until eight further calls.
const char *path_in(const char *folder, const char *name);
void put_file(const char *path, const void *bytes, size_t n);
void put_gz(const char *path, const void *bytes, size_t n);
void put_folder(const char *path);

// IDX header: 00 00 type rank, sizes.
struct bytes idx_header(uint8_t type, int rank, const uint32_t *dim);
// A pixel that differs by place, the same in all makers: for (row, i-th byte of the row).
uint8_t pixel_of(uint64_t row, size_t i);

// Colour types of the PNG format.
enum { PNG_GREY = 0, PNG_RGB = 2, PNG_PALETTE = 3, PNG_GREY_ALPHA = 4, PNG_RGB_ALPHA = 6 };
// Pictures: PNG and PNM of pixel_of(seed, byte), JPEG (quality 95) of ramps.
struct bytes png_bytes(size_t h, size_t w, int colour_type, int depth, uint64_t seed);
struct bytes jpeg_bytes(size_t h, size_t w, int components, bool is_progressive, uint64_t seed);
struct bytes pnm_bytes(size_t h, size_t w, char kind, uint64_t seed); // '2' '3' '5' '6'

const struct importer *importer_named(const char *name);
// Opens with the named importer; the test fails with the message if that fails.
void source_open(struct import_source *source, const char *importer, const char *path,
                 enum import_side side, const struct import_options *options);
// Opening or reading all rows: the first status that is not OK.
enum status source_try(const char *importer, const char *const *paths, size_t n_paths,
                       const struct import_options *options);

// Calls `one` with n_cases damaged copies of the bytes (exactly as long as allocated): cut short,
// with flipped bits, with bytes replaced, with a piece left out; the same copies every time.
void damage(const struct bytes *bytes, size_t n_cases,
            void (*one)(const uint8_t *bytes, size_t n, void *context), void *context);

#endif
