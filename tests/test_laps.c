// SPDX-License-Identifier: MIT
// A clock of laps: every moment belongs to one slot, events stop where their memory ends, a NULL
// clock is off.
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "comm/laps.h"

static void spin(double seconds)
{
    for (double end = laps_now() + seconds; laps_now() < end;)
        ;
}

static void test_times_add_up(void **state)
{
    (void)state;
    struct laps laps;
    assert_int_equal(laps_init(&laps, 3, 16, 7), STATUS_OK);
    laps_start(&laps);
    double begin = laps.last;
    static const size_t slots[] = {0, 2, 2, 1, 0, 2};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        spin(slots[i] == 2 ? 2e-3 : 1e-4);
        laps_mark(&laps, slots[i]);
    }
    double sum = 0;
    for (size_t i = 0; i < 3; i++)
        sum += laps.slots[i].seconds;
    assert_true(fabs(sum - (laps.last - begin)) < 1e-9);
    assert_true(laps.slots[2].seconds >= 6e-3 && laps.slots[0].seconds >= 2e-4);
    assert_int_equal(laps.slots[0].calls, 2);
    assert_int_equal(laps.slots[1].calls, 1);
    assert_int_equal(laps.slots[2].calls, 3);
    assert_int_equal(laps.n_events, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(laps.events[i].slot, slots[i]);
        assert_int_equal(laps.events[i].lane, 7);
        assert_true(laps.events[i].end > laps.events[i].begin);
        if (i > 0) // no gaps
            assert_true(laps.events[i].begin == laps.events[i - 1].end);
    }
    assert_true(laps.events[0].begin == 0);
    laps_free(&laps);
}

static void test_sums_and_clearing(void **state)
{
    (void)state;
    struct laps laps;
    struct lap_slot total[2] = {{1, 10}, {2, 20}};
    assert_int_equal(laps_init(&laps, 2, 0, 0), STATUS_OK);
    laps_start(&laps);
    laps_mark(&laps, 1);
    double seconds = laps.slots[1].seconds;
    laps_add(&laps, total);
    assert_true(total[0].seconds == 1 && total[0].calls == 10);
    assert_true(total[1].seconds == 2 + seconds && total[1].calls == 21);
    laps_clear(&laps);
    assert_true(laps.slots[1].seconds == 0 && laps.slots[1].calls == 0);
    laps_free(&laps);
}

static void test_events_end_with_their_memory(void **state)
{
    (void)state;
    struct laps laps;
    assert_int_equal(laps_init(&laps, 2, 3, 0), STATUS_OK);
    laps_start(&laps);
    laps_mark(&laps, 1);
    laps_span(&laps, 0, laps.origin, laps.last);
    assert_int_equal(laps.n_events, 2);
    assert_int_equal(laps.slots[0].calls, 0); // a span is no lap
    assert_true(laps.events[1].begin == 0 && laps.events[1].end == laps.events[0].end);
    for (int i = 0; i < 5; i++)
        laps_mark(&laps, 1);
    assert_int_equal(laps.n_events, 3);
    assert_int_equal(laps.slots[1].calls, 6);
    laps_free(&laps);
}

static void test_off(void **state)
{
    (void)state;
    laps_mark(NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_add_up),
        cmocka_unit_test(test_sums_and_clearing),
        cmocka_unit_test(test_events_end_with_their_memory),
        cmocka_unit_test(test_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
