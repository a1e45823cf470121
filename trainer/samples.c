// SPDX-License-Identifier: MIT
#include "trainer/samples.h"

#include <stdlib.h>

#include "comm/memory.h"

struct samples {
    uint64_t rows, n, runs; // of the data set; taken; runs they come in
    size_t floats;          // of one sample
    void *raw;              // one run as read
    float *x, *scratch;
};

static struct samples samples_size(const struct dataset *train)
{
    struct sample_shape s = dataset_shape(train);
    struct samples z = {.rows = dataset_rows(train), .floats = s.h * s.w * s.c};
    uint64_t most = SAMPLES_FLOATS_MAX / z.floats;
    z.n = z.rows < SAMPLES_ROWS_MAX ? z.rows : SAMPLES_ROWS_MAX;
    z.n = z.n < most ? z.n : most;
    z.runs = z.n / SAMPLES_RUN;
    if (z.runs == 0) { // few rows, or large ones
        z.n = z.n > 0 ? z.n : 1;
        z.runs = 1;
    } else {
        z.n = z.runs * SAMPLES_RUN;
    }
    return z;
}

static enum status samples_read(struct samples *z, struct dataset *train,
                                const struct transforms *transforms)
{
    uint64_t run = z->n / z->runs;
    size_t row_bytes = dataset_row_bytes(train);
    bool is_u8 = dataset_is_u8(train);
    TRY(memory_alloc(&z->raw, run, row_bytes, "samples"));
    TRY(memory_alloc(&z->x, z->n * z->floats, sizeof(float), "samples"));
    TRY(memory_alloc(&z->scratch, transforms_scratch(transforms), sizeof(float), "samples"));
    for (uint64_t i = 0; i < z->runs; i++) {
        uint64_t first = z->rows / z->runs * i;
        TRY(dataset_read(train, first, run, z->raw));
        for (uint64_t k = 0; k < run; k++)
            transforms_apply(transforms, (const char *)z->raw + k * row_bytes, is_u8, false, 0, 0,
                             first + k, z->x + (i * run + k) * z->floats, z->scratch);
    }
    return STATUS_OK;
}

enum status samples_init_params(const struct model *model, struct dataset *train,
                                const struct transforms *transforms, float *params)
{
    if (!model_wants_samples(model))
        return STATUS_OK;
    struct samples z = samples_size(train);
    enum status status = samples_read(&z, train, transforms);
    if (status == STATUS_OK)
        status = model_init_samples(model, z.x, z.n, params);
    free(z.raw);
    free(z.x);
    free(z.scratch);
    return status;
}
