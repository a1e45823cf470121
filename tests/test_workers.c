// SPDX-License-Identifier: MIT
// The pool of workers: every task runs once on each, whether they spin or sleep between tasks;
// errors come from the lowest worker that has one; parts cover the whole; cores are shared out.
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/affinity.h"
#include "comm/workers.h"

#define WORKERS_MAX 5

static struct group *group;

static int setup(void **state)
{
    (void)state;
    static char name[] = "test_workers", *arguments[] = {name, NULL}, **argv = arguments;
    int argc = 1;
    return group_init(&group, name, &argc, &argv) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    group_free(group);
    return 0;
}

struct tally {
    int runs[WORKERS_MAX]; // each worker's own: no atomics, as users have it
    atomic_int inside, most, next;
    int order[WORKERS_MAX];
    int fails_from; // workers from this one on fail; -1: none
};

static enum status count(void *context, int worker)
{
    struct tally *tally = context;
    int inside = atomic_fetch_add(&tally->inside, 1) + 1, most = atomic_load(&tally->most);
    while (inside > most && !atomic_compare_exchange_weak(&tally->most, &most, inside))
        ;
    tally->runs[worker]++;
    tally->order[worker] = atomic_fetch_add(&tally->next, 1);
    atomic_fetch_sub(&tally->inside, 1);
    CHECK(tally->fails_from < 0 || worker < tally->fails_from, STATUS_DATA,
          "worker %d found the file torn", worker);
    return STATUS_OK;
}

static void every_task_runs_once_on_each(void **state)
{
    (void)state;
    for (int n = 1; n <= WORKERS_MAX; n++) {
        struct workers *workers;
        struct tally tally = {.fails_from = -1};
        assert_int_equal(workers_init(&workers, group, n), STATUS_OK);
        assert_int_equal(workers_count(workers), n);
        int rounds = n <= 2 ? 2000 : 200;
        for (int round = 1; round <= rounds; round++) {
            assert_int_equal(workers_run(workers, count, &tally), STATUS_OK);
            for (int w = 0; w < WORKERS_MAX; w++) // all of them have come back, nobody is late
                assert_int_equal(tally.runs[w], w < n ? round : 0);
            if (round % 100 == 0)
                usleep(3000); // they fall asleep
        }
        workers_free(workers);
    }
}

static void errors_are_those_of_the_lowest(void **state)
{
    (void)state;
    for (int from = 0; from < 4; from++) {
        struct workers *workers;
        struct tally tally = {.fails_from = from};
        char text[64];
        assert_int_equal(workers_init(&workers, group, 4), STATUS_OK);
        for (int again = 0; again < 20; again++) {
            error_set(STATUS_ERROR, "other.c", 1, "an older error");
            assert_int_equal(workers_run(workers, count, &tally), STATUS_DATA);
            snprintf(text, sizeof text, "worker %d found the file torn", from);
            assert_string_equal(error_text(), text);
            assert_memory_equal(error_place(), "test_workers.c:", 15);
        }
        tally.fails_from = -1; // and the next task is well
        assert_int_equal(workers_run(workers, count, &tally), STATUS_OK);
        workers_free(workers);
    }
}

static void each_is_one_after_the_other(void **state)
{
    (void)state;
    struct workers *workers;
    struct tally tally = {.fails_from = -1};
    assert_int_equal(workers_init(&workers, group, 4), STATUS_OK);
    assert_int_equal(workers_each(workers, count, &tally), STATUS_OK);
    assert_int_equal(tally.most, 1);
    for (int w = 0; w < 4; w++)
        assert_true(tally.order[w] == w && tally.runs[w] == 1);
    tally.fails_from = 1; // nobody comes after the first that fails
    assert_int_equal(workers_each(workers, count, &tally), STATUS_DATA);
    assert_true(tally.runs[1] == 2 && tally.runs[2] == 1);
    workers_free(workers);
}

static void without_a_pool_the_caller_works_alone(void **state)
{
    (void)state;
    struct tally tally = {.fails_from = -1};
    size_t begin, end;
    assert_int_equal(workers_count(NULL), 1);
    assert_int_equal(workers_run(NULL, count, &tally), STATUS_OK);
    assert_int_equal(workers_each(NULL, count, &tally), STATUS_OK);
    assert_true(tally.runs[0] == 2 && tally.runs[1] == 0);
    workers_part(NULL, 0, 77, 10, &begin, &end);
    assert_true(begin == 0 && end == 77);
    workers_free(NULL);
}

static void parts_cover_the_whole(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 255, 256, 257, 1024, 1500, 77777};
    for (int n = 1; n <= WORKERS_MAX; n++) {
        struct workers *workers;
        assert_int_equal(workers_init(&workers, group, n), STATUS_OK);
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            size_t last = 0, begin, end;
            for (int w = 0; w < n; w++, last = end) {
                workers_part(workers, w, lengths[l], 256, &begin, &end);
                assert_true(begin == last && end >= begin);
                assert_true(end % 256 == 0 || end == lengths[l]);
                assert_true(end - begin <= lengths[l] / (size_t)n + 256);
            }
            assert_int_equal(last, lengths[l]);
        }
        workers_free(workers);
    }
}

// A seat on a host whose cores are those of the text, as "0110": cores 1 and 2.
static struct affinity_seat seat(const char *host, const char *cores)
{
    struct affinity_seat out = {0};
    snprintf(out.host, sizeof out.host, "%s", host);
    for (size_t i = 0; cores[i]; i++)
        if (cores[i] == '1')
            CPU_SET(i, &out.cores);
    return out;
}

static void cores_are_shared_out(void **state)
{
    (void)state;
    const struct {
        const char *host[3], *cores[3]; // of three ranks
        int n, rank;
        int n_cores, n_workers, is_pinned, first_core;
    } cases[] = {
        // All ranks may use all cores: they take turns.
        {{"a", "a", "a"}, {"111111", "111111", "111111"}, 2, 0, 6, 6, 1, 0},
        {{"a", "a", "a"}, {"111111", "111111", "111111"}, 2, 2, 6, 6, 1, 4},
        {{"a", "a", "a"}, {"0111111", "0111111", "0111111"}, 2, 1, 6, 6, 1, 3},
        {{"a", "a", "a"}, {"11111", "11111", "11111"}, 2, 1, 5, 6, 0, 0},
        // Each has its own.
        {{"a", "a", "a"}, {"11", "0011", "000011"}, 2, 1, 2, 2, 1, 2},
        {{"a", "a", "a"}, {"1", "01", "001"}, 2, 2, 1, 2, 0, 0},
        // Other hosts do not count.
        {{"a", "b", "a"}, {"1111", "1111", "1111"}, 2, 1, 4, 2, 1, 0},
        {{"a", "b", "a"}, {"1111", "1111", "1111"}, 2, 2, 4, 4, 1, 2},
        // Sets that overlap are left to the scheduler.
        {{"a", "a", "b"}, {"1111", "001111", "1"}, 2, 0, 6, 4, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct affinity_seat seats[3];
        for (int r = 0; r < 3; r++)
            seats[r] = seat(cases[i].host[r], cases[i].cores[r]);
        struct affinity_place place = affinity_place_of(seats, 3, cases[i].rank, cases[i].n);
        assert_int_equal(place.n_cores, cases[i].n_cores);
        assert_int_equal(place.n_workers, cases[i].n_workers);
        assert_int_equal(place.is_pinned, cases[i].is_pinned);
        const cpu_set_t *own = &seats[cases[i].rank].cores;
        if (place.is_pinned)
            assert_int_equal(affinity_core(own, place.first), cases[i].first_core);
        assert_int_equal(affinity_core(own, CPU_COUNT(own)), -1);
    }
}

static void pinned_threads_can_be_let_go(void **state)
{
    (void)state;
    cpu_set_t before, within, after;
    struct workers *workers;
    sched_getaffinity(0, sizeof before, &before);
    if (CPU_COUNT(&before) < 2)
        skip();
    assert_int_equal(workers_init(&workers, group, 2), STATUS_OK);
    sched_getaffinity(0, sizeof within, &within);
    assert_int_equal(CPU_COUNT(&within), 1);
    workers_unpin_self();
    sched_getaffinity(0, sizeof after, &after);
    assert_true(CPU_EQUAL(&after, &before));
    workers_free(workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pinned_threads_can_be_let_go),
        cmocka_unit_test(every_task_runs_once_on_each),
        cmocka_unit_test(errors_are_those_of_the_lowest),
        cmocka_unit_test(each_is_one_after_the_other),
        cmocka_unit_test(without_a_pool_the_caller_works_alone),
        cmocka_unit_test(parts_cover_the_whole),
        cmocka_unit_test(cores_are_shared_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
