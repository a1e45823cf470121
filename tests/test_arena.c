// SPDX-License-Identifier: MIT
#include "models/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "comm/random.h"

static size_t end_of(const struct arena_item *item)
{
    return item->offset + (item->floats + 15) / 16 * 16;
}

static bool is_alive(const struct arena_item *item, size_t time)
{
    for (int i = 0; i < item->n_spans; i++)
        if (time >= item->span[i].first && time <= item->span[i].last)
            return true;
    return false;
}

static bool overlap(const struct arena_item *a, const struct arena_item *b)
{
    return a->offset < end_of(b) && b->offset < end_of(a);
}

// Known plans: sizes, lives, the floats they need.
static void test_known(void **state)
{
    (void)state;
    static const struct {
        size_t n, floats;
        struct arena_item item[4];
        bool is_shared[4];
    } cases[] = {
        {1, 32, {{17, {{0, 1}}, 1, 0, 0}}, {false}},
        {2, 32, {{16, {{0, 1}}, 1, 0, 0}, {16, {{1, 2}}, 1, 0, 0}}, {false, false}},
        {2, 16, {{16, {{0, 1}}, 1, 0, 0}, {16, {{2, 2}}, 1, 0, 0}}, {true, true}},
        {2, 0, {{0, {{0, 1}}, 1, 0, 0}, {16, {{0, 0}}, 0, 0, 0}}, {false, false}},
        // The second lies in the gap of the first's two lives, beside the third.
        {3,
         64,
         {{48, {{0, 1}, {8, 9}}, 2, 0, 0}, {32, {{2, 7}}, 1, 0, 0}, {16, {{0, 9}}, 1, 0, 0}},
         {true, true, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena_item items[4];
        size_t floats = 99;
        for (size_t k = 0; k < 4; k++)
            items[k] = cases[i].item[k];
        assert_int_equal(arena_place(items, cases[i].n, &floats), STATUS_OK);
        assert_int_equal(floats, cases[i].floats);
        for (size_t k = 0; k < cases[i].n; k++)
            assert_int_equal(items[k].is_shared, cases[i].is_shared[k]);
    }
}

// Random plans: nobody alive together overlaps, is_shared says who overlaps at all, and the whole
// is not far above what is alive at the worst time.
static void test_random(void **state)
{
    (void)state;
    enum { ITEMS = 60, TIMES = 80 };
    for (uint32_t round = 0; round < 200; round++) {
        struct arena_item items[ITEMS];
        size_t floats, most = 0;
        for (size_t i = 0; i < ITEMS; i++) {
            uint32_t word[4];
            random_words((struct random_key){7, RANDOM_GENERATE, round}, i, 0, word);
            size_t first = word[0] % TIMES, length = word[1] % 20;
            items[i] = (struct arena_item){.floats = word[2] % 1000};
            arena_begin(&items[i], first);
            arena_use(&items[i], first + length);
            if (word[3] % 2) {
                arena_begin(&items[i], first + length + 1 + word[3] % 7);
                arena_use(&items[i], first + length + 1 + word[3] % 11 + 7);
            }
        }
        assert_int_equal(arena_place(items, ITEMS, &floats), STATUS_OK);
        for (size_t time = 0; time < 2 * TIMES; time++) {
            size_t alive = 0;
            for (size_t i = 0; i < ITEMS; i++)
                alive += is_alive(&items[i], time) ? end_of(&items[i]) - items[i].offset : 0;
            most = alive > most ? alive : most;
        }
        assert_in_range(floats, most, most * 3 / 2);
        for (size_t i = 0; i < ITEMS; i++) {
            bool is_shared = false;
            assert_true(items[i].offset % 16 == 0 && end_of(&items[i]) <= floats);
            for (size_t k = 0; k < ITEMS; k++) {
                bool both = k != i && overlap(&items[i], &items[k]) && items[i].floats > 0 &&
                            items[k].floats > 0;
                is_shared = is_shared || both;
                for (size_t time = 0; both && time < 2 * TIMES; time++)
                    if (is_alive(&items[i], time) && is_alive(&items[k], time))
                        fail_msg("round %u: items %zu and %zu overlap at time %zu", round, i, k,
                                 time);
            }
            assert_int_equal(items[i].is_shared, is_shared);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
