// SPDX-License-Identifier: MIT
// data/loader: items are what order and transforms define, whatever the split of grains over ranks,
// after any seek, epoch after epoch; evaluation covers every row once; errors are handed up.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/tree.h"
#include "data/loader.h"
#include "tests/support/expect.h"
#include "tests/support/folder.h"
#include "tests/support/rows_file.h"

#define H 5
#define W 4
#define C 3
#define VALUES (H * W * C)
#define SEED 17

struct bench {
    char path[256];
    struct yaml *yaml;
    struct dataset *dataset;
    struct transforms *transforms;
};

static void bench_open(struct bench *bench, uint64_t n, enum h5_type type, const char *transforms)
{
    char text[512];
    static int count;
    snprintf(bench->path, sizeof bench->path, "%s/rows%d.h5", folder, count++);
    rows_file_images(bench->path, n, H, W, C, type);
    struct data_config config = dataset_defaults();
    expect_ok(dataset_open(&bench->dataset, bench->path, DATASET_TRAIN, &config), "open");
    snprintf(text, sizeof text, "transforms: %s\n", transforms);
    expect_ok(yaml_parse(&bench->yaml, "test", text, strlen(text)), "yaml");
    expect_ok(transforms_plan(&bench->transforms, bench->yaml,
                              yaml_find(bench->yaml->root, "transforms"), bench->dataset),
              "transforms");
}

static void bench_close(struct bench *bench)
{
    transforms_free(bench->transforms);
    yaml_free(bench->yaml);
    dataset_close(bench->dataset);
}

static struct loader_config config_of(const struct bench *bench, const struct order *order)
{
    return (struct loader_config){.dataset = bench->dataset,
                                  .transforms = bench->transforms,
                                  .order = order,
                                  .n_grains = order ? order->grains : 0,
                                  .seed = SEED};
}

// ---- what an item must be, from the definitions

static uint64_t row_at(const struct order *order, uint32_t epoch, int grain, uint64_t p)
{
    struct order_stream stream;
    expect_ok(order_stream_init(&stream, order), "stream");
    order_stream_set(&stream, order, epoch, grain);
    struct order_window window = order_window_at(&stream, order, p);
    uint32_t *permutation = malloc(window.n_rows * sizeof *permutation);
    order_window_shuffle(&stream, order, &window, permutation);
    uint64_t k = permutation[p - window.begin], row = 0;
    for (size_t i = 0; i < window.n_blocks; i++) {
        uint64_t block = stream.blocks[window.first_block + i];
        uint64_t rows = order_block_rows(order, block);
        row = block * order->block + k;
        if (k < rows)
            break;
        k -= rows;
    }
    free(permutation);
    order_stream_free(&stream);
    return row;
}

// Row r of the file from the pattern it was written with, not through the data set.
static void check_row(const struct bench *bench, const struct batch *batch, size_t i, uint64_t row,
                      bool is_training)
{
    bool is_u8 = dataset_is_u8(bench->dataset);
    uint8_t bytes[VALUES];
    float floats[VALUES], expected[VALUES], scratch[VALUES];
    for (size_t k = 0; k < VALUES; k++) {
        floats[k] = (float)rows_file_pixel(row * VALUES + k);
        bytes[k] = (uint8_t)floats[k];
    }
    transforms_apply(bench->transforms, is_u8 ? (void *)bytes : (void *)floats, is_u8, is_training,
                     SEED, batch->epoch, row, expected, scratch);
    if (batch->row[i] != row)
        fail_msg("epoch %u step %llu grain %d sample %zu: row %llu, expected %llu", batch->epoch,
                 (unsigned long long)batch->step, batch->grain, i,
                 (unsigned long long)batch->row[i], (unsigned long long)row);
    assert_int_equal(((const int32_t *)batch->target)[i], row % 10);
    for (size_t k = 0; k < VALUES; k++)
        if (batch->x[i * VALUES + k] != expected[k])
            fail_msg("row %llu value %zu: %g, expected %g", (unsigned long long)row, k,
                     (double)batch->x[i * VALUES + k], (double)expected[k]);
}

static void check_grain(const struct bench *bench, const struct order *order,
                        const struct batch *batch, uint32_t epoch, uint64_t step, int grain)
{
    assert_int_equal(batch->n, order->grain);
    assert_int_equal(batch->epoch, epoch);
    assert_int_equal(batch->step, step);
    assert_int_equal(batch->grain, grain);
    for (size_t i = 0; i < batch->n; i++)
        check_row(bench, batch, i, row_at(order, epoch, grain, step * order->grain + i), true);
}

// n steps from (epoch, step) by a loader that owns the grains [first, first + n_grains).
static void check_run(const struct bench *bench, struct loader *loader, const struct order *order,
                      int first, int n_grains, uint32_t epoch, uint64_t step, uint64_t n)
{
    for (uint64_t s = 0; s < n; s++) {
        for (int g = first; g < first + n_grains; g++) {
            struct batch batch;
            expect_ok(loader_next(loader, 0, &batch), "next");
            check_grain(bench, order, &batch, epoch, step, g);
        }
        if (++step == order->steps) {
            step = 0;
            epoch++;
        }
    }
}

// The same by a loader that several workers take from, each its part of the grains, one worker now
// and then far ahead.
static void check_run_of_workers(const struct bench *bench, struct loader *loader,
                                 const struct order *order, struct tree_run all, int workers,
                                 uint64_t n)
{
    uint64_t done[4] = {0}; // items of each worker
    for (uint64_t turn = 0, left = n * (uint64_t)all.count; left > 0; turn++) {
        int w = (int)(turn * 7 / 5 % (uint64_t)workers);
        struct tree_run run = tree_run_part(all, workers, w);
        for (uint64_t k = 0; k <= turn % 3 && done[w] < n * (uint64_t)run.count; k++, left--) {
            struct batch batch;
            uint64_t step = done[w] / (uint64_t)run.count;
            int grain = run.first + (int)(done[w]++ % (uint64_t)run.count);
            expect_ok(loader_next(loader, w, &batch), "next");
            check_grain(bench, order, &batch, (uint32_t)(step / order->steps), step % order->steps,
                        grain);
        }
    }
}

// ---- training

struct training_case {
    uint64_t n, block, window;
    size_t batch;
    int grains;
    size_t slots;
    enum h5_type type;
};

static const struct training_case training[] = {
    {211, 5, 2, 16, 8, 0, H5_U8}, {211, 0, 0, 24, 4, 1, H5_F32}, {128, 4, 4, 32, 8, 2, H5_U8},
    {97, 10, 3, 6, 2, 7, H5_I16}, {64, 64, 1, 5, 1, 3, H5_U8},
};
#define TRANSFORMS "[{crop: {pad: 2}}, flip, normalize, {cutout: {size: 2}}]"

static void test_training(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof training / sizeof *training; i++) {
        const struct training_case *c = &training[i];
        struct bench bench;
        struct order order;
        bench_open(&bench, c->n, c->type, TRANSFORMS);
        expect_ok(order_init(&order, SEED, c->n, 1, c->block, c->window, c->batch, c->grains),
                  "order");
        // All splits of the grains into runs [first, first + n).
        for (int n = 1; n <= c->grains; n++)
            for (int first = 0; first + n <= c->grains; first++) {
                struct loader_config config = config_of(&bench, &order);
                struct loader *loader = NULL;
                config.first_grain = first;
                config.n_grains = n;
                config.slots = c->slots;
                expect_ok(loader_init(&loader, &config), "loader");
                expect_ok(loader_seek(loader, 0, 0), "seek");
                check_run(&bench, loader, &order, first, n, 0, 0, 2 * order.steps + 1);
                loader_free(loader);
            }
        bench_close(&bench);
    }
}

static void test_workers(void **state)
{
    (void)state;
    struct bench bench;
    struct order order;
    bench_open(&bench, 211, H5_U8, TRANSFORMS);
    expect_ok(order_init(&order, SEED, 211, 1, 5, 2, 16, 8), "order");
    static const struct {
        struct tree_run run;
        int workers;
        size_t slots;
    } cases[] = {{{0, 8}, 2, 0}, {{0, 8}, 4, 2}, {{3, 5}, 2, 1}, {{3, 5}, 3, 4}, {{1, 2}, 2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct loader_config config = config_of(&bench, &order);
        struct loader *loader = NULL;
        config.first_grain = cases[i].run.first;
        config.n_grains = cases[i].run.count;
        config.workers = cases[i].workers;
        config.slots = cases[i].slots;
        expect_ok(loader_init(&loader, &config), "loader");
        for (int again = 0; again < 2; again++) {
            expect_ok(loader_seek(loader, 0, 0), "seek");
            check_run_of_workers(&bench, loader, &order, cases[i].run, cases[i].workers,
                                 order.steps + 2);
        }
        loader_free(loader);
    }
    bench_close(&bench);
}

// From the middle, back, forth, to an epoch's end, far away; in mid-run without reading all.
static void test_seek(void **state)
{
    (void)state;
    struct bench bench;
    struct order order;
    struct loader *loader = NULL;
    bench_open(&bench, 211, H5_U8, TRANSFORMS);
    expect_ok(order_init(&order, SEED, 211, 1, 5, 2, 16, 8), "order");
    struct loader_config config = config_of(&bench, &order);
    config.first_grain = 3;
    config.n_grains = 2;
    expect_ok(loader_init(&loader, &config), "loader");
    static const struct {
        uint32_t epoch;
        uint64_t step;
    } places[] = {{0, 0}, {0, 7}, {0, 7}, {2, 3}, {1, 1}, {1000000, 5}, {0, 1}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        expect_ok(loader_seek(loader, places[i].epoch, places[i].step), "seek");
        check_run(&bench, loader, &order, 3, 2, places[i].epoch, places[i].step, i % 3 + 1);
    }
    expect_ok(loader_seek(loader, 4, order.steps), "seek");
    check_run(&bench, loader, &order, 3, 2, 5, 0, 2);
    loader_free(loader);
    bench_close(&bench);
}

// ---- evaluation

static void check_chunks(struct bench *bench, struct loader *loader, uint64_t n_rows, size_t chunk,
                         uint64_t first, uint64_t n_chunks)
{
    for (uint64_t k = first; k < first + n_chunks; k++) {
        struct batch batch;
        uint64_t begin = k * chunk;
        expect_ok(loader_next(loader, 0, &batch), "next");
        assert_int_equal(batch.step, k);
        assert_int_equal(batch.n, n_rows - begin < chunk ? n_rows - begin : chunk);
        for (size_t i = 0; i < batch.n; i++)
            check_row(bench, &batch, i, begin + i, false);
    }
    for (int again = 0; again < 3; again++) {
        struct batch batch;
        expect_ok(loader_next(loader, 0, &batch), "end");
        assert_int_equal(batch.n, 0);
    }
}

// Chunks by two workers: each has every other one, and its own end.
static void test_evaluation_of_workers(void **state)
{
    (void)state;
    struct bench bench;
    struct loader *loader = NULL;
    struct batch batch;
    bench_open(&bench, 101, H5_U8, TRANSFORMS);
    struct loader_config config = config_of(&bench, NULL);
    config.chunk = 10;
    config.first_chunk = 2;
    config.n_chunks = 9;
    config.workers = 2;
    expect_ok(loader_init(&loader, &config), "loader");
    for (int again = 0; again < 2; again++) {
        expect_ok(loader_seek(loader, 0, 0), "seek");
        for (int w = 1; w >= 0; w--) { // the one that reads far ahead does not hold up the other
            for (uint64_t k = 2 + (uint64_t)w; k < 11; k += 2) {
                expect_ok(loader_next(loader, w, &batch), "next");
                assert_int_equal(batch.step, k);
                assert_int_equal(batch.n, k == 10 ? 1 : 10);
                for (size_t i = 0; i < batch.n; i++)
                    check_row(&bench, &batch, i, k * 10 + i, false);
            }
            expect_ok(loader_next(loader, w, &batch), "end");
            assert_int_equal(batch.n, 0);
        }
    }
    loader_free(loader);
    bench_close(&bench);
}

static void test_evaluation(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, 101, H5_U8, TRANSFORMS);
    static const size_t chunks[] = {1, 7, 50, 101, 1000};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        size_t chunk = chunks[i];
        uint64_t n = (101 + chunk - 1) / chunk;
        // All of them; the second half; none, at the end; with a thread and without.
        const uint64_t first[3] = {0, n / 2, n}, count[3] = {n, n - n / 2, 0};
        for (int k = 0; k < 6; k++) {
            struct loader_config config = config_of(&bench, NULL);
            struct loader *loader = NULL;
            config.chunk = chunk;
            config.first_chunk = first[k % 3];
            config.n_chunks = count[k % 3];
            config.slots = k < 3 ? 0 : 1;
            expect_ok(loader_init(&loader, &config), "loader");
            for (int again = 0; again < 2; again++) {
                expect_ok(loader_seek(loader, 3, 0), "seek");
                check_chunks(&bench, loader, 101, chunk, first[k % 3], count[k % 3]);
            }
            loader_free(loader);
        }
    }
    bench_close(&bench);
}

// ---- trouble

// The rest of the file goes away while a loader runs: what was read comes, then the error, again
// and again; a seek to what is still there works.
static void check_error(size_t slots)
{
    struct bench bench;
    struct loader *loader = NULL;
    struct batch batch;
    enum status status = STATUS_OK;
    bench_open(&bench, 400, H5_U8, "[]");
    struct loader_config config = config_of(&bench, NULL);
    config.chunk = 10;
    config.n_chunks = 40;
    config.slots = slots;
    expect_ok(loader_init(&loader, &config), "loader");
    expect_ok(loader_seek(loader, 0, 0), "seek");
    expect_ok(loader_next(loader, 0, &batch), "next");
    assert_int_equal(truncate(bench.path, 200 * VALUES), 0);
    uint64_t n = 1;
    while ((status = loader_next(loader, 0, &batch)) == STATUS_OK && batch.n > 0)
        n++;
    assert_true(n >= 2 && n < 20);
    for (int again = 0; again < 2; again++) {
        expect_error(status, STATUS_DATA, "rows|train/images|the file ends at byte", "truncated");
        status = loader_next(loader, 0, &batch);
    }
    expect_ok(loader_seek(loader, 0, 0), "seek");
    expect_ok(loader_next(loader, 0, &batch), "next");
    check_row(&bench, &batch, 9, 9, false);
    loader_free(loader);
    bench_close(&bench);
}

static void test_error(void **state)
{
    (void)state;
    check_error(2);
    check_error(1); // no thread
}

static void test_other_shape(void **state)
{
    (void)state;
    struct bench bench;
    bench_open(&bench, 20, H5_U8, "[]");
    char path[300];
    snprintf(path, sizeof path, "%s/other.h5", folder);
    rows_file_images(path, 20, W, H, C, H5_U8);
    struct data_config data = dataset_defaults();
    struct dataset *other = NULL;
    expect_ok(dataset_open(&other, path, DATASET_TRAIN, &data), "open");
    struct loader_config config = config_of(&bench, NULL);
    struct loader *loader = NULL;
    config.dataset = other;
    config.chunk = 1;
    expect_error(loader_init(&loader, &config), STATUS_DATA, "4x5x3|trained on 5x4x3", "shape");
    assert_null(loader);
    dataset_close(other);
    bench_close(&bench);
}

// Freed while the thread waits for room, before it was started, and never made.
static void test_freed_at_any_time(void **state)
{
    (void)state;
    struct bench bench;
    struct order order;
    bench_open(&bench, 211, H5_U8, "[]");
    expect_ok(order_init(&order, SEED, 211, 1, 0, 0, 16, 8), "order");
    struct loader_config config = config_of(&bench, &order);
    assert_true(loader_bytes(&config) > 4 * 2 * VALUES * sizeof(float));
    for (int k = 0; k < 3; k++) {
        struct loader *loader = NULL;
        expect_ok(loader_init(&loader, &config), "loader");
        if (k > 0)
            expect_ok(loader_seek(loader, 0, 0), "seek");
        if (k > 1)
            usleep(20000);
        loader_free(loader);
    }
    loader_free(NULL);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training),    cmocka_unit_test(test_seek),
        cmocka_unit_test(test_workers),     cmocka_unit_test(test_evaluation_of_workers),
        cmocka_unit_test(test_evaluation),  cmocka_unit_test(test_error),
        cmocka_unit_test(test_other_shape), cmocka_unit_test(test_freed_at_any_time),
    };
    return cmocka_run_group_tests(tests, folder_begin, folder_end);
}
