// SPDX-License-Identifier: MIT
// Owns: the pixels and labels of generated data, as an import_source.
#include "data/generate.h"

#include <stdlib.h>

#include "comm/memory.h"
#include "comm/random.h"

enum { CELLS = 4, SUB_PATTERN = 1, SUB_NOISE = 2 };

struct generate {
    struct random_key key;
    uint64_t first;
    uint8_t *pattern; // (n_classes, CELLS, CELLS, c)
};

static void close_generate(struct import_source *source)
{
    struct generate *generate = source->self;
    if (!generate)
        return;
    free(generate->pattern);
    free(generate);
}

// 16 bytes of noise from each counter; pixel = 3/4 pattern + 1/4 noise.
static enum status read_row(struct import_source *source, uint64_t row, void *input, float *target)
{
    (void)target;
    const struct generate *generate = source->self;
    struct sample_shape shape = source->shape;
    size_t line = shape.w * shape.c, cell_row = CELLS * shape.c;
    const uint8_t *pattern =
        generate->pattern + (size_t)source->labels[row] * CELLS * CELLS * shape.c;
    uint64_t lines = (line + 15) / 16;
    uint8_t *out = input;
    for (size_t y = 0; y < shape.h; y++) {
        const uint8_t *cells = pattern + y * CELLS / shape.h * cell_row;
        uint32_t words[4] = {0};
        for (size_t x = 0, i = 0; x < shape.w; x++) {
            const uint8_t *cell = cells + x * CELLS / shape.w * shape.c;
            for (size_t k = 0; k < shape.c; k++, i++) {
                if (i % 16 == 0)
                    random_words(generate->key,
                                 ((generate->first + row) * shape.h + y) * lines + i / 16,
                                 SUB_NOISE, words);
                uint32_t noise = words[i % 16 / 4] >> (8 * (i % 4)) & 0xff;
                out[y * line + i] = (uint8_t)((3u * cell[k] + noise) / 4);
            }
        }
    }
    return STATUS_OK;
}

static enum status fill(struct generate *generate, struct import_source *source)
{
    size_t n = source->target.n_classes * CELLS * CELLS * source->shape.c;
    uint32_t words[4];
    TRY(memory_alloc(&generate->pattern, n, 1, "patterns"));
    for (size_t i = 0; i < n; i++) {
        random_words(generate->key, i, SUB_PATTERN, words);
        generate->pattern[i] = (uint8_t)(words[0] >> 24);
    }
    TRY(memory_alloc(&source->labels, source->n_rows, sizeof *source->labels, "labels"));
    for (uint64_t i = 0; i < source->n_rows; i++) // in turn: as even as it can be
        source->labels[i] = (int32_t)((generate->first + i) % source->target.n_classes);
    return STATUS_OK;
}

enum status generate_open(struct import_source *source, struct sample_shape shape, size_t n_classes,
                          uint64_t first, uint64_t n_rows, uint64_t seed)
{
    CHECK(shape.h > 0 && shape.w > 0 && shape.c > 0 && shape.h <= 65536 && shape.w <= 65536 &&
              shape.c <= 65536,
          STATUS_USAGE, "--shape %zux%zux%zu: each must be 1 to 65536", shape.h, shape.w, shape.c);
    CHECK(n_classes >= 1 && n_classes <= IMPORT_CLASSES_MAX, STATUS_USAGE,
          "--classes %zu: expected 1 to %zu", n_classes, IMPORT_CLASSES_MAX);
    CHECK(n_rows >= 1 && n_rows <= IMPORT_ROWS_MAX, STATUS_USAGE, "%zu rows: expected 1 to %zu",
          (size_t)n_rows, (size_t)IMPORT_ROWS_MAX);
    struct generate *generate = NULL;
    TRY(memory_alloc(&generate, 1, sizeof *generate, "generator"));
    *source = (struct import_source){
        .n_rows = n_rows,
        .shape = shape,
        .is_u8 = true,
        .target = {.type = TARGET_CLASS, .count = 1, .n_classes = n_classes},
        .self = generate,
        .read = read_row,
        .close = close_generate,
    };
    *generate = (struct generate){
        .key = {.seed = seed, .purpose = RANDOM_GENERATE},
        .first = first,
    };
    enum status status = fill(generate, source);
    if (status != STATUS_OK)
        import_source_close(source);
    return status;
}
