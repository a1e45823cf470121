// SPDX-License-Identifier: MIT
// data/order: each epoch deals every row at most once, every block to one stream; the steps'
// formula; any position is found without replaying.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/order.h"

struct order_case {
    uint64_t n_rows, chunk_rows, block, window;
    size_t batch;
    int grains;
    uint64_t expected_block;
};

// Sizes that divide by nothing, short blocks everywhere, one grain, one block a stream.
static const struct order_case cases[] = {
    {1, 1, 0, 0, 1, 1, 1},         {7, 1, 0, 0, 4, 4, 1},          {64, 1, 16, 0, 64, 4, 16},
    {997, 1, 0, 0, 32, 8, 1},      {997, 1, 10, 3, 32, 8, 10},     {997, 1, 31, 2, 48, 16, 31},
    {1009, 1, 64, 16, 16, 4, 64},  {1009, 1, 63, 1, 16, 16, 63},   {4096, 1, 8, 4, 128, 8, 8},
    {4099, 32, 0, 0, 128, 8, 32},  {4099, 128, 0, 0, 128, 8, 8},   {10007, 1, 7, 5, 24, 2, 7},
    {10007, 50, 0, 0, 64, 1, 100}, {60000, 1, 0, 0, 128, 8, 64},   {60000, 100, 0, 0, 128, 8, 100},
    {65, 1, 9, 2, 8, 8, 9},        {71, 1, 9, 2, 8, 8, 9},         {72, 1, 9, 2, 8, 8, 9},
    {73, 1, 9, 2, 8, 8, 9},        {100000, 1, 0, 0, 256, 32, 48}, {5, 1, 4, 9, 1, 1, 4},
};
#define N_CASES (sizeof cases / sizeof *cases)

static void assert_ok(enum status status)
{
    if (status != STATUS_OK)
        fail_msg("status %d: %s", (int)status, error_text());
}

static struct order order_of(const struct order_case *c, uint64_t seed)
{
    struct order order;
    assert_ok(order_init(&order, seed, c->n_rows, c->chunk_rows, c->block, c->window, c->batch,
                         c->grains));
    return order;
}

// Row at position p of the stream, found afresh: the definition in the header, step by step.
static uint64_t row_at(const struct order_stream *stream, const struct order *order, uint64_t p)
{
    struct order_window window = order_window_at(stream, order, p);
    assert_true(window.begin <= p && p < window.begin + window.n_rows);
    uint32_t *permutation = malloc(window.n_rows * sizeof *permutation);
    order_window_shuffle(stream, order, &window, permutation);
    uint64_t k = permutation[p - window.begin];
    free(permutation);
    for (size_t i = 0; i < window.n_blocks; i++) {
        uint64_t block = stream->blocks[window.first_block + i];
        uint64_t rows = order_block_rows(order, block);
        if (k < rows)
            return block * order->block + k;
        k -= rows;
    }
    fail_msg("row %llu is outside its window", (unsigned long long)k);
    return 0;
}

static void check_window_run(const struct order_stream *stream, const struct order *order)
{
    uint64_t end = 0;
    for (size_t index = 0; end < stream->n_rows; index++) {
        struct order_window window = order_window_at(stream, order, end);
        assert_int_equal(window.index, index);
        assert_int_equal(window.begin, end);
        assert_int_equal(window.first_block, index * order->window);
        uint64_t rows = 0;
        for (size_t i = 0; i < window.n_blocks; i++)
            rows += order_block_rows(order, stream->blocks[window.first_block + i]);
        assert_int_equal(window.n_rows, rows);
        assert_true(rows <= order->window * order->block);
        end += window.n_rows;
        struct order_window same = order_window_at(stream, order, end - 1);
        assert_int_equal(same.index, index);
    }
    assert_int_equal(end, stream->n_rows);
}

// One epoch over all streams: seen[row] = 1 + stream, in order of stream position.
static uint64_t epoch_walk(const struct order *order, uint32_t epoch, unsigned char *seen)
{
    struct order_stream stream;
    uint64_t shortest = UINT64_MAX, total = 0;
    assert_ok(order_stream_init(&stream, order));
    for (int g = 0; g < order->grains; g++) {
        order_stream_set(&stream, order, epoch, g);
        check_window_run(&stream, order);
        for (size_t i = 0; i < stream.n_blocks; i++) {
            uint64_t first = stream.blocks[i] * order->block;
            for (uint64_t k = 0; k < order_block_rows(order, stream.blocks[i]); k++) {
                assert_int_equal(seen[first + k], 0); // a block belongs to one stream
                seen[first + k] = (unsigned char)(1 + g);
            }
        }
        shortest = stream.n_rows < shortest ? stream.n_rows : shortest;
        total += stream.n_rows;
    }
    order_stream_free(&stream);
    assert_int_equal(total, order->n_rows);
    return shortest;
}

static void test_every_row_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct order order = order_of(&cases[i], 5);
        assert_int_equal(order.block, cases[i].expected_block);
        for (uint32_t epoch = 0; epoch < 4; epoch++) {
            unsigned char *seen = calloc(order.n_rows, 1);
            uint64_t shortest = epoch_walk(&order, epoch, seen);
            free(seen);
            assert_int_equal(order.steps, shortest / order.grain);
            uint64_t left = order.n_rows - order.steps * order.batch;
            assert_true(left < (uint64_t)order.grains * order.block + order.batch);
        }
    }
}

// Through positions: each row at most once, and of the stream that owns its block.
static void test_positions(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        struct order order = order_of(&cases[i], 6);
        if (order.n_rows > 5000)
            continue;
        unsigned char *owner = calloc(order.n_rows, 1), *taken = calloc(order.n_rows, 1);
        epoch_walk(&order, 3, owner);
        struct order_stream stream;
        assert_ok(order_stream_init(&stream, &order));
        for (int g = 0; g < order.grains; g++) {
            order_stream_set(&stream, &order, 3, g);
            for (uint64_t p = 0; p < stream.n_rows; p++) {
                uint64_t row = row_at(&stream, &order, p);
                assert_true(row < order.n_rows);
                assert_int_equal(owner[row], 1 + g);
                assert_int_equal(taken[row]++, 0);
            }
        }
        order_stream_free(&stream);
        free(owner);
        free(taken);
    }
}

static void sequence(const struct order *order, uint32_t epoch, int grain, uint64_t n,
                     uint64_t *out)
{
    struct order_stream stream;
    assert_ok(order_stream_init(&stream, order));
    order_stream_set(&stream, order, epoch, grain);
    for (uint64_t p = 0; p < n; p++)
        out[p] = row_at(&stream, order, p);
    order_stream_free(&stream);
}

// Another seed, epoch or stream gives another order; the same gives the same.
static void test_depends_on(void **state)
{
    (void)state;
    struct order_case c = {4099, 1, 8, 4, 128, 8, 8};
    struct order order = order_of(&c, 1), other = order_of(&c, 2);
    uint64_t a[200], b[200];
    sequence(&order, 0, 2, 200, a);
    sequence(&order, 0, 2, 200, b);
    assert_memory_equal(a, b, sizeof a);
    sequence(&order, 1, 2, 200, b);
    assert_memory_not_equal(a, b, sizeof a);
    sequence(&other, 0, 2, 200, b);
    assert_memory_not_equal(a, b, sizeof a);
    // Windows of one stream, and the same window of two streams, are shuffled differently.
    struct order_stream stream;
    uint32_t shuffle[3][32];
    assert_ok(order_stream_init(&stream, &order));
    for (int k = 0; k < 3; k++) {
        order_stream_set(&stream, &order, 0, k == 2 ? 1 : 2);
        struct order_window window = order_window_at(&stream, &order, k == 1 ? 32 : 0);
        assert_int_equal(window.n_rows, 32);
        order_window_shuffle(&stream, &order, &window, shuffle[k]);
    }
    order_stream_free(&stream);
    assert_memory_not_equal(shuffle[0], shuffle[1], sizeof shuffle[0]);
    assert_memory_not_equal(shuffle[0], shuffle[2], sizeof shuffle[0]);
}

// What is left over changes: in enough epochs every row is trained on, the short block's too.
static void test_leftovers_change(void **state)
{
    (void)state;
    static const struct order_case some[] = {
        {997, 1, 10, 3, 32, 8, 10}, {65, 1, 9, 2, 8, 8, 9}, {5, 1, 4, 1, 4, 1, 4}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct order order = order_of(&some[i], 9);
        unsigned char *used = calloc(order.n_rows, 1);
        for (uint32_t epoch = 0; epoch < 64; epoch++)
            for (int g = 0; g < order.grains; g++) {
                uint64_t n = order.steps * order.grain, rows[1000];
                sequence(&order, epoch, g, n, rows);
                for (uint64_t p = 0; p < n; p++)
                    used[rows[p]] = 1;
            }
        for (uint64_t row = 0; row < order.n_rows; row++)
            if (!used[row])
                fail_msg("case %zu: row %llu is never used", i, (unsigned long long)row);
        free(used);
    }
}

static void assert_usage(enum status status, const char *part)
{
    if (status != STATUS_USAGE || !strstr(error_text(), part))
        fail_msg("status %d, text '%s', expected '%s' in it", (int)status, error_text(), part);
}

static void test_refused(void **state)
{
    (void)state;
    struct order order;
    assert_usage(order_init(&order, 1, 1000, 1, 0, 0, 100, 8),
                 "batch 100 is not divisible by 8 grains; the nearest that is: 104");
    assert_usage(order_init(&order, 1, 1000, 1, 0, 0, 0, 8), "batch 0");
    assert_usage(order_init(&order, 1, 100, 1, 0, 0, 128, 8),
                 "100 rows in blocks of 1, dealt to 8");
    assert_usage(order_init(&order, 1, 100, 1, 64, 0, 8, 8), "too few for one step");
    assert_usage(order_init(&order, 1, (uint64_t)1 << 40, 1, 1, 0, 8, 8), "data.block");
    assert_usage(order_init(&order, 1, (uint64_t)1 << 40, 1, (uint64_t)1 << 30, 64, 8, 8),
                 "data.window");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_once),   cmocka_unit_test(test_positions),
        cmocka_unit_test(test_depends_on),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_leftovers_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
