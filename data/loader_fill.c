// SPDX-License-Identifier: MIT
// What an item is made of: in training the next m positions of a grain's stream, out of a window of
// raw rows read block by block; in evaluation a run of consecutive rows. Runs in the loader's
// thread; a pure function of configuration and position.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/loader_private.h"

size_t loader_values(const struct loader_config *config)
{
    struct sample_shape shape = dataset_shape(config->dataset);
    return shape.h * shape.w * shape.c;
}

int loader_workers(const struct loader_config *config)
{
    return config->workers > 0 ? config->workers : 1;
}

size_t loader_target_bytes(const struct loader_config *config)
{
    return dataset_target(config->dataset).count * sizeof(float); // int32 is as long
}

size_t loader_item_rows(const struct loader_config *config)
{
    uint64_t rows = dataset_rows(config->dataset);
    if (config->order)
        return config->order->grain;
    return config->chunk < rows ? config->chunk : (size_t)rows;
}

static size_t window_rows(const struct order *order)
{
    return (size_t)(order->window * order->block);
}

size_t loader_fill_bytes(const struct loader_config *config)
{
    size_t row_bytes = dataset_row_bytes(config->dataset);
    size_t bytes = loader_values(config) * sizeof(float);
    if (!config->order)
        return bytes + loader_item_rows(config) * row_bytes;
    size_t a_row = row_bytes + sizeof(uint64_t) + sizeof(uint32_t);
    size_t a_stream = window_rows(config->order) * a_row + config->order->n_blocks * 4;
    return bytes + (size_t)config->n_grains * a_stream;
}

static enum status stream_init(struct loader_stream *stream, const struct order *order,
                               size_t row_bytes)
{
    size_t rows = window_rows(order);
    TRY(order_stream_init(&stream->order, order));
    TRY(memory_alloc(&stream->raw, rows, row_bytes, "window of rows"));
    TRY(memory_alloc(&stream->row, rows, sizeof *stream->row, "row numbers"));
    return memory_alloc(&stream->permutation, rows, sizeof *stream->permutation, "permutation");
}

enum status loader_fill_init(struct loader_fill *fill, const struct loader_config *config)
{
    fill->config = *config;
    fill->workers = loader_workers(config);
    TRY(memory_alloc(&fill->next, (size_t)fill->workers, sizeof *fill->next, "places"));
    fill->values = loader_values(config);
    fill->target_bytes = loader_target_bytes(config);
    fill->row_bytes = dataset_row_bytes(config->dataset);
    fill->is_u8 = dataset_is_u8(config->dataset);
    TRY(memory_alloc(&fill->scratch, transforms_scratch(config->transforms), sizeof(float),
                     "scratch of transforms"));
    if (!config->order)
        return memory_alloc(&fill->raw, loader_item_rows(config), fill->row_bytes, "rows");
    TRY(memory_alloc(&fill->stream, (size_t)config->n_grains, sizeof *fill->stream, "streams"));
    for (int g = 0; g < config->n_grains; g++)
        TRY(stream_init(&fill->stream[g], config->order, fill->row_bytes));
    return STATUS_OK;
}

void loader_fill_free(struct loader_fill *fill)
{
    for (int g = 0; fill->stream && g < fill->config.n_grains; g++) {
        order_stream_free(&fill->stream[g].order);
        free(fill->stream[g].raw);
        free(fill->stream[g].row);
        free(fill->stream[g].permutation);
    }
    free(fill->stream);
    free(fill->raw);
    free(fill->scratch);
    free(fill->next);
}

void loader_fill_seek(struct loader_fill *fill, uint32_t epoch, uint64_t step)
{
    const struct loader_config *config = &fill->config;
    if (config->order && step >= config->order->steps) { // the end of an epoch is the next one's
        ASSERT(step == config->order->steps);
        epoch++;
        step = 0;
    }
    struct tree_run all = {.first = 0, .count = config->n_grains};
    for (int w = 0; w < fill->workers; w++) {
        struct tree_run run = tree_run_part(all, fill->workers, w);
        fill->next[w] = (struct loader_place){epoch, step, run.first, run};
        if (!config->order)
            fill->next[w].step = config->first_chunk + (uint64_t)w;
    }
    for (int g = 0; config->order && g < config->n_grains; g++)
        fill->stream[g].is_set = false;
}

// ---- rows

static void row_put(struct loader_fill *fill, struct loader_slot *slot, size_t i, uint64_t row,
                    const void *raw)
{
    const struct loader_config *config = &fill->config;
    slot->row[i] = row;
    memcpy((char *)slot->target + i * fill->target_bytes, dataset_target_of(config->dataset, row),
           fill->target_bytes);
    transforms_apply(config->transforms, raw, fill->is_u8, config->order != NULL, config->seed,
                     slot->epoch, row, slot->x + i * fill->values, fill->scratch);
}

// ---- training

static enum status window_load(struct loader_fill *fill, struct loader_stream *stream, uint64_t p)
{
    const struct order *order = fill->config.order;
    stream->is_loaded = false;
    stream->window = order_window_at(&stream->order, order, p);
    size_t n = 0;
    for (size_t i = 0; i < stream->window.n_blocks; i++) {
        uint64_t block = stream->order.blocks[stream->window.first_block + i];
        uint64_t first = block * order->block, rows = order_block_rows(order, block);
        TRY(dataset_read(fill->config.dataset, first, rows,
                         (char *)stream->raw + n * fill->row_bytes));
        for (uint64_t k = 0; k < rows; k++)
            stream->row[n++] = first + k;
    }
    ASSERT(n == stream->window.n_rows);
    order_window_shuffle(&stream->order, order, &stream->window, stream->permutation);
    stream->is_loaded = true;
    return STATUS_OK;
}

static enum status grain_fill(struct loader_fill *fill, const struct loader_place *place,
                              struct loader_slot *slot)
{
    const struct order *order = fill->config.order;
    struct loader_stream *stream = &fill->stream[place->grain];
    if (!stream->is_set || stream->order.epoch != place->epoch) {
        order_stream_set(&stream->order, order, place->epoch,
                         fill->config.first_grain + place->grain);
        stream->is_set = true;
        stream->is_loaded = false;
    }
    for (size_t i = 0; i < order->grain; i++) {
        uint64_t p = place->step * order->grain + i;
        const struct order_window *window = &stream->window;
        if (!stream->is_loaded || p < window->begin || p >= window->begin + window->n_rows)
            TRY(window_load(fill, stream, p));
        size_t k = stream->permutation[p - window->begin];
        row_put(fill, slot, i, stream->row[k], (char *)stream->raw + k * fill->row_bytes);
    }
    slot->n = order->grain;
    slot->grain = stream->order.grain;
    return STATUS_OK;
}

static void grain_advance(const struct loader_fill *fill, struct loader_place *place)
{
    if (++place->grain < place->run.first + place->run.count)
        return;
    place->grain = place->run.first;
    if (++place->step < fill->config.order->steps)
        return;
    place->step = 0;
    place->epoch++;
}

// ---- evaluation

static enum status chunk_fill(struct loader_fill *fill, uint64_t chunk, struct loader_slot *slot)
{
    const struct loader_config *config = &fill->config;
    uint64_t rows = dataset_rows(config->dataset);
    slot->n = 0;
    slot->grain = 0;
    if (chunk - config->first_chunk >= config->n_chunks)
        return STATUS_OK;
    ASSERT(chunk <= rows / config->chunk);
    uint64_t first = chunk * config->chunk;
    ASSERT(first < rows);
    uint64_t n = rows - first < config->chunk ? rows - first : config->chunk;
    TRY(dataset_read(config->dataset, first, n, fill->raw));
    for (size_t i = 0; i < n; i++)
        row_put(fill, slot, i, first + i, (char *)fill->raw + i * fill->row_bytes);
    slot->n = (size_t)n;
    return STATUS_OK;
}

enum status loader_fill_next(struct loader_fill *fill, int worker, struct loader_slot *slot)
{
    struct loader_place *place = &fill->next[worker];
    slot->epoch = place->epoch;
    slot->step = place->step;
    if (!fill->config.order) {
        TRY(chunk_fill(fill, place->step, slot));
        if (slot->n > 0)
            place->step += (uint64_t)fill->workers;
        return STATUS_OK;
    }
    TRY(grain_fill(fill, place, slot));
    grain_advance(fill, place);
    return STATUS_OK;
}

enum status loader_fill_at(struct loader_fill *fill, uint32_t epoch, uint64_t step, int grain,
                           struct loader_slot *slot)
{
    struct loader_place place = {
        .epoch = epoch, .step = step, .grain = grain - fill->config.first_grain};
    ASSERT(place.grain >= 0 && place.grain < fill->config.n_grains);
    slot->epoch = epoch;
    slot->step = step;
    return grain_fill(fill, &place, slot);
}
