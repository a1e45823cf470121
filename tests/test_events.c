// SPDX-License-Identifier: MIT
// Rings of events: what is in hand, what is kept, what a reader sees while the writer writes.
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/events.h"

// The lane of a role's thread with that number; fails where there is none.
static int lane_find(enum events_role role, int number, struct events_view *view)
{
    for (int lane = 0; lane < EVENTS_LANES; lane++)
        if (events_look(lane, view) && view->role == role && view->number == number)
            return lane;
    fail_msg("no lane of %s %d", events_role_name(role), number);
    return -1;
}

static int lanes_count(void)
{
    struct events_view view;
    int n = 0;
    for (int lane = 0; lane < EVENTS_LANES; lane++)
        n += events_look(lane, &view);
    return n;
}

static void check_now(const char *text, const char *around, enum events_kind kind, uint64_t number)
{
    struct events_view view;
    lane_find(EVENTS_MAIN, 0, &view);
    assert_string_equal(view.now.text, text);
    assert_string_equal(view.around ? view.around : "", around);
    assert_int_equal(view.now.kind, kind);
    assert_int_equal(view.now.number, number);
}

static void test_not_attached(void **state)
{
    (void)state;
    events_begin(EVENTS_WORK, "nothing", 1);
    events_tick("nothing", 1);
    events_turn(EVENTS_WORK, "nothing", 1);
    events_end();
    events_detach();
    assert_int_equal(lanes_count(), 0);
}

static void test_nesting(void **state)
{
    (void)state;
    struct events_view view;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    check_now("starts", "", EVENTS_SLOW, 0);
    events_begin(EVENTS_WORK, "grain", 3);
    check_now("grain", "starts", EVENTS_WORK, 3);
    events_begin(EVENTS_SHARE, "sum", 4);
    check_now("sum", "grain", EVENTS_SHARE, 4);
    int lane = lane_find(EVENTS_MAIN, 0, &view);
    assert_int_equal(view.now.share, 1);
    assert_false(view.now.is_end);
    events_end();
    check_now("grain", "starts", EVENTS_WORK, 3);
    events_turn(EVENTS_READ, "rows", 5);
    check_now("rows", "starts", EVENTS_READ, 5);
    events_end();
    events_end(); // one too many does no harm
    check_now("starts", "", EVENTS_SLOW, 0);
    assert_true(events_look(lane, &view));
    assert_true(view.now.is_end);
    for (int i = 0; i < 40; i++) // deeper than is remembered
        events_begin(EVENTS_WORK, "deep", (uint64_t)i);
    for (int i = 0; i < 40; i++)
        events_end();
    check_now("starts", "", EVENTS_SLOW, 0);
    events_detach();
    assert_int_equal(lanes_count(), 0);
}

static void test_ticks(void **state)
{
    (void)state;
    struct events_view a, b;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    events_tick("old", 1);
    events_begin(EVENTS_WORK, "grain", 0);
    int lane = lane_find(EVENTS_MAIN, 0, &a);
    assert_null(a.tick); // that was of another activity
    events_tick("layer", 7);
    assert_true(events_look(lane, &b));
    assert_string_equal(b.tick, "layer");
    assert_int_equal(b.tick_number, 7);
    assert_true(b.progress > a.progress);
    events_end();
    assert_true(events_look(lane, &a));
    assert_true(a.progress > b.progress);
    events_detach();
}

static void test_ring(void **state)
{
    (void)state;
    static struct events_record records[EVENTS_RING];
    struct events_view view;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    int lane = lane_find(EVENTS_MAIN, 0, &view);
    for (uint64_t i = 0; i < 3 * EVENTS_RING; i++)
        events_turn(EVENTS_WORK, "work", i);
    size_t n = events_copy(lane, records);
    assert_int_equal(n, EVENTS_RING - 1);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(records[i].number, 3 * EVENTS_RING - n + i);
        assert_true(i == 0 || records[i].at >= records[i - 1].at);
    }
    events_detach();
}

static atomic_bool must_stop;

// Records whose fields belong together: text, number and kind say the same.
static const char *const words[] = {"a", "b", "c", "d", "e"};

static void *writer_run(void *context)
{
    (void)context;
    events_attach(EVENTS_LOADER, 9, EVENTS_WORK, words[0]);
    for (uint64_t i = 0; !atomic_load(&must_stop); i++)
        events_turn((enum events_kind)(i % 5), words[i % 5], i);
    events_detach();
    return NULL;
}

static void test_reader(void **state)
{
    (void)state;
    static struct events_record records[EVENTS_RING];
    pthread_t writer;
    size_t n_seen = 0, n_copied = 0;
    atomic_store(&must_stop, false);
    assert_int_equal(pthread_create(&writer, NULL, writer_run, NULL), 0);
    struct events_view view;
    int lane = -1;
    while (lane < 0)
        for (int i = 0; i < EVENTS_LANES && lane < 0; i++)
            lane = events_look(i, &view) && view.role == EVENTS_LOADER ? i : -1;
    while (!events_look(lane, &view) || view.now.number < EVENTS_RING)
        ; // until nothing is left in the ring of whoever had the lane before
    for (int round = 0; round < 20000; round++) {
        if (events_look(lane, &view)) {
            n_seen++;
            assert_string_equal(view.now.text, words[view.now.number % 5]);
            assert_int_equal(view.now.kind, view.now.number % 5);
        }
        if (round % 16 > 0)
            continue;
        size_t n = events_copy(lane, records);
        n_copied += n;
        for (size_t i = 0; i < n; i++) {
            assert_ptr_equal(records[i].text, words[records[i].number % 5]);
            assert_int_equal(records[i].kind, records[i].number % 5);
            assert_true(i == 0 || records[i].number > records[i - 1].number);
        }
    }
    atomic_store(&must_stop, true);
    pthread_join(writer, NULL);
    assert_true(n_seen > 1000 && n_copied > 1000);
    assert_int_equal(lanes_count(), 0);
}

static void test_steps(void **state)
{
    (void)state;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    assert_true(events_median_step() == 0);
    for (uint64_t step = 1; step <= 100; step++) {
        events_step(step);
        uint64_t begin = events_now(), long_one = step % 10 == 0 ? 20000000 : 2000000;
        while (events_now() - begin < long_one)
            ;
        events_end();
        if (step == 3)
            assert_true(events_median_step() == 0); // two are through, a third is not
    }
    double median = events_median_step();
    assert_true(median >= 0.002);
    struct events_view view;
    lane_find(EVENTS_MAIN, 0, &view);
    assert_int_equal(view.now.step, 100);
    assert_string_equal(view.now.text, "starts");
    events_detach();
}

// Threads come and go; lanes are used again, and more threads than lanes do no harm.
static void test_lanes(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * EVENTS_LANES; i++) {
        events_attach(EVENTS_OTHER, i, EVENTS_IDLE, "rests");
        assert_int_equal(lanes_count(), 1);
        events_begin(EVENTS_WORK, "is left open", 0);
        if (i % 2)
            events_detach();
    }
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    check_now("starts", "", EVENTS_SLOW, 0);
    events_end();
    check_now("starts", "", EVENTS_SLOW, 0);
    events_detach();
    assert_int_equal(lanes_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_attached), cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_ticks),        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_reader),       cmocka_unit_test(test_steps),
        cmocka_unit_test(test_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
