// SPDX-License-Identifier: MIT
// Who hangs: the judge over tables of ranks, what it says, and what a rank sees of itself.
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/error.h"
#include "comm/watchdog.h"
#include "comm/watchdog_private.h"

#define SIZE 4
#define SECONDS 5.0

// A rank in a few letters: what it does, for how long without progress, silent for how long.
struct rank {
    char does;      // W work, R read, S slow, T thread, C in a collective, c of a step, - unheard,
                    // x gone, I nothing that can be blamed
    double stalled; // or share_for
    double silent;
    uint64_t share;
    const char *name; // of the collective
    double median, late;
    enum watch_seen seen;
};

static uint32_t hash_of(const char *text)
{
    uint32_t h = 7;
    for (; text && *text; text++)
        h = h * 31 + (unsigned char)*text;
    return h;
}

static struct watch_row row_of(const struct rank *rank)
{
    static const char letters[] = "WRST";
    static const uint32_t kinds[] = {EVENTS_WORK, EVENTS_READ, EVENTS_SLOW, EVENTS_THREAD};
    struct watch_row row = {
        .is_heard = rank->does != '-', .silent = rank->silent, .seen = rank->seen};
    struct watch_report *report = &row.report;
    const char *letter = strchr(letters, rank->does);
    row.is_gone = rank->does == 'x';
    report->kind = letter && *letter ? kinds[letter - letters] : EVENTS_IDLE;
    report->median = rank->median;
    report->late = rank->late;
    report->step = 17;
    report->share = rank->share;
    for (int i = 0; i < EVENTS_SHARES; i++)
        report->shares[i] = 1;
    report->shares[rank->share % EVENTS_SHARES] = hash_of(rank->name);
    snprintf(report->share_text, sizeof report->share_text, "%s", rank->name ? rank->name : "");
    if (rank->does == 'C' || rank->does == 'c') {
        report->is_waiting = 1;
        report->is_step = rank->does == 'c';
        report->share_for = rank->stalled;
    } else {
        report->stalled = rank->stalled;
        snprintf(report->thread, sizeof report->thread, "main thread");
        snprintf(report->text, sizeof report->text, "grain");
        report->number = 3;
    }
    return row;
}

#define FAST .median = 0.01
#define SLOW_STEPS .median = 2
#define IN(n, text) .share = n, .name = text, FAST

static const struct {
    const char *about;
    struct rank ranks[SIZE];
    enum watch_what what;
    int n, ranks_named[2], other;
    double late;
} cases[] = {
    {"all work",
     {{'W', 1, FAST}, {'W', 4.9, FAST}, {'R', 4, FAST}, {'I', 99, FAST}},
     .what = WATCH_FINE},
    {"one is silent",
     {{'C', 6, IN(9, "a")}, {'C', 6, IN(9, "a")}, {'W', 0, 5.1, FAST}, {'C', 6, IN(9, "a")}},
     .what = WATCH_SILENT,
     .n = 1,
     .ranks_named = {2}},
    {"not long enough",
     {{'C', 4, IN(9, "a")}, {'C', 4, IN(9, "a")}, {'W', 0, 4.9, FAST}, {'C', 4, IN(9, "a")}},
     .what = WATCH_FINE},
    {"10 steps are longer than 5 s",
     {{'C', 9, SLOW_STEPS}, {'C', 9, SLOW_STEPS}, {'W', 0, 19, SLOW_STEPS}, {'C', 9, SLOW_STEPS}},
     .what = WATCH_FINE},
    {"and those are over",
     {{'C', 9, SLOW_STEPS}, {'C', 9, SLOW_STEPS}, {'W', 0, 21, SLOW_STEPS}, {'C', 9, SLOW_STEPS}},
     .what = WATCH_SILENT,
     .n = 1,
     .ranks_named = {2}},
    {"two are silent, not at quite the same time",
     {{'C', 5, IN(9, "a")}, {'W', 0, 5.1, FAST}, {'C', 5, IN(9, "a")}, {'W', 0, 3, FAST}},
     .what = WATCH_SILENT,
     .n = 2,
     .ranks_named = {1, 3}},
    {"one that was never heard is not judged",
     {{'W', 0, FAST}, {'-', 0, 99, .median = 0}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE},
    {"one that has ended is not, either",
     {{'W', 0, FAST}, {'x', 0, 99, .median = 0}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE},
    {"where the judge wakes late, others may",
     {{'W', 0, FAST}, {'W', 0, 6, FAST}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE,
     .late = 0.5},
    {"where the silent one woke late before, too",
     {{'W', 0, FAST}, {'W', 0, 6, FAST, .late = 0.5}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE},
    {"one that is seen to run gets longer",
     {{'W', 0, FAST}, {'W', 0, 19, FAST, .seen = WATCH_RUNS}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE},
    {"but not for ever",
     {{'W', 0, FAST}, {'W', 0, 21, FAST, .seen = WATCH_RUNS}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_SILENT,
     .n = 1,
     .ranks_named = {1}},
    {"one that is seen to be stopped gets nothing extra",
     {{'W', 0, FAST}, {'W', 0, 5.5, FAST, .seen = WATCH_STOPPED}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_SILENT,
     .n = 1,
     .ranks_named = {1},
     .late = 9},
    {"a loop",
     {{'c', 5, IN(9, "a")}, {'W', 5.1, FAST}, {'c', 5, IN(9, "a")}, {'c', 5, IN(9, "a")}},
     .what = WATCH_STUCK,
     .n = 1,
     .ranks_named = {1}},
    {"a file that blocks",
     {{'c', 5, IN(9, "a")}, {'c', 5, IN(9, "a")}, {'c', 5, IN(9, "a")}, {'R', 5.1, FAST}},
     .what = WATCH_STUCK,
     .n = 1,
     .ranks_named = {3}},
    {"starting up may take longer",
     {{'C', 290, IN(9, "a")}, {'S', 290, FAST}, {'C', 290, IN(9, "a")}, {'C', 290, IN(9, "a")}},
     .what = WATCH_FINE},
    {"but not for ever",
     {{'C', 301, IN(9, "a")}, {'S', 301, FAST}, {'C', 301, IN(9, "a")}, {'C', 301, IN(9, "a")}},
     .what = WATCH_STUCK,
     .n = 1,
     .ranks_named = {1}},
    {"before steps are known, work may, too",
     {{'C', 14, .share = 9}, {'W', 14, .median = 0}, {'C', 14, .share = 9}, {'C', 14, .share = 9}},
     .what = WATCH_FINE},
    {"but not for ever",
     {{'C', 16, .share = 9}, {'W', 16, .median = 0}, {'C', 16, .share = 9}, {'C', 16, .share = 9}},
     .what = WATCH_STUCK,
     .n = 1,
     .ranks_named = {1}},
    {"who is stuck longest is to blame",
     {{'W', 6, FAST}, {'c', 6, IN(9, "a")}, {'R', 20, FAST}, {'T', 19, FAST}},
     .what = WATCH_STUCK,
     .n = 2,
     .ranks_named = {2, 3}},
    {"nobody is blamed while one is on the way to being silent",
     {{'W', 6, FAST}, {'W', 0, 3, FAST}, {'W', 0, FAST}, {'W', 0, FAST}},
     .what = WATCH_FINE},
    {"another collective than most",
     {{'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "b")}, {'c', 6, IN(9, "a")}},
     .what = WATCH_ORDER,
     .n = 1,
     .ranks_named = {2},
     .other = 0},
    {"not while one still works",
     {{'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "b")}, {'W', 1, FAST}},
     .what = WATCH_FINE},
    {"not before its time",
     {{'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "b")}, {'c', 4, IN(9, "a")}},
     .what = WATCH_FINE},
    {"two differ: rank 0 is most of the others' kind",
     {{'c', 6, IN(9, "b")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'x', 0, .median = 0}},
     .what = WATCH_ORDER,
     .n = 1,
     .ranks_named = {0},
     .other = 1},
    {"all wait in one collective of a step: a message is lost",
     {{'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}},
     .what = WATCH_LOST},
    {"outside of steps it may be large",
     {{'C', 6, IN(9, "a")}, {'C', 6, IN(9, "a")}, {'C', 6, IN(9, "a")}, {'c', 6, IN(9, "a")}},
     .what = WATCH_FINE},
    {"but not that large",
     {{'C', 301, IN(9, "a")},
      {'C', 301, IN(9, "a")},
      {'C', 301, IN(9, "a")},
      {'c', 301, IN(9, "a")}},
     .what = WATCH_LOST},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct watch_row rows[SIZE];
        for (int r = 0; r < SIZE; r++)
            rows[r] = row_of(&cases[i].ranks[r]);
        struct watch_verdict got = watch_judge(rows, SIZE, SECONDS, cases[i].late);
        if (got.what != cases[i].what || got.n != cases[i].n)
            fail_msg("%s: verdict %d with %d ranks, expected %d with %d", cases[i].about, got.what,
                     got.n, cases[i].what, cases[i].n);
        for (int k = 0; k < got.n && k < 2; k++)
            if (got.ranks[k] != cases[i].ranks_named[k])
                fail_msg("%s: names rank %d, expected %d", cases[i].about, got.ranks[k],
                         cases[i].ranks_named[k]);
        if (got.what == WATCH_ORDER && got.other != cases[i].other)
            fail_msg("%s: most are like rank %d, expected %d", cases[i].about, got.other,
                     cases[i].other);
    }
}

static void test_single(void **state)
{
    (void)state;
    struct rank loops = {'W', 5.1, FAST}, waits = {'C', 99, FAST};
    struct watch_row row = row_of(&loops);
    assert_int_equal(watch_judge(&row, 1, SECONDS, 0).what, WATCH_STUCK);
    row = row_of(&waits); // there is nobody it could wait for; not seen in practice
    assert_int_equal(watch_judge(&row, 1, SECONDS, 0).what, WATCH_FINE);
}

// All ranks of a large job at once: the message stays one line of bounded length.
static void test_text(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct watch_row rows[MANY];
    static struct watch_name names[MANY];
    char text[WATCH_MESSAGE];
    struct rank silent = {'W', 0, 9, FAST}, waits = {'c', 6, IN(9, "sum of gradients")};
    for (int r = 0; r < MANY; r++) {
        rows[r] = row_of(r == 5 ? &silent : &waits);
        names[r].pid = 1000 + r;
        memset(names[r].host, 'n', sizeof names[r].host - 1);
        snprintf(names[r].host, sizeof names[r].host, "node%d", r);
    }
    struct watch_verdict verdict = watch_judge(rows, MANY, SECONDS, 0);
    watch_text(text, &verdict, rows, names, MANY, "runs/x");
    const char *expected[] = {"rank 5 (host node5, process 1005)",
                              "9.0 s",
                              "step 17",
                              "grain 3",
                              "299 of 300 ranks wait",
                              "runs/x/hang-rank-*.txt"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(text, expected[i]))
            fail_msg("'%s' is not in: %s", expected[i], text);
    for (int r = 0; r < MANY; r++) {
        rows[r] = row_of(&silent);
        memset(names[r].host, 'n', sizeof names[r].host - 1);
    }
    verdict = watch_judge(rows, MANY, SECONDS, 0);
    assert_int_equal(verdict.n, MANY);
    watch_text(text, &verdict, rows, names, MANY, "runs/x");
    assert_true(strlen(text) < WATCH_MESSAGE && !strchr(text, '\n'));
    assert_non_null(strstr(text, "more"));
    assert_non_null(strstr(text, "from the last checkpoint"));
    rows[2] = row_of(&waits);
    verdict = (struct watch_verdict){.what = WATCH_ORDER, .n = 1, .ranks = {2}, .other = 3};
    watch_text(text, &verdict, rows, names, MANY, "runs/x");
    assert_non_null(strstr(text, "left the order of collectives"));
    assert_non_null(strstr(text, "sum of gradients, collective 9"));
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double seconds; // < 0: refused
    } texts[] = {{"off", 0}, {"5", 5},   {"0.5", 0.5}, {"1e3", 1000}, {"0", -1},   {"-3", -1},
                 {"", -1},   {"5s", -1}, {"nan", -1},  {"on", -1},    {"inf", -1}, {"0.01", -1}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double seconds = -1;
        enum status status = watchdog_parse(texts[i].text, &seconds);
        if ((status != STATUS_OK) != (texts[i].seconds < 0) ||
            (status == STATUS_OK && seconds != texts[i].seconds))
            fail_msg("'%s': status %d, %g s", texts[i].text, (int)status, seconds);
    }
}

// ---- what a rank sees of itself, on a clock of the test's

static struct watch_look look;
static double clock_now = 1000;

static struct watch_report look_after(double seconds)
{
    struct watch_report report;
    clock_now += seconds;
    watch_look(&look, clock_now, SECONDS, &report);
    return report;
}

static void test_look(void **state)
{
    (void)state;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    struct watch_report r = look_after(0);
    assert_int_equal(r.kind, EVENTS_SLOW);
    events_begin(EVENTS_WORK, "grain", 3);
    look_after(0.1);
    r = look_after(0.4);
    assert_int_equal(r.kind, EVENTS_WORK);
    assert_string_equal(r.text, "grain");
    assert_string_equal(r.thread, "main thread");
    assert_true(r.stalled > 0.39 && r.stalled < 0.41);
    events_tick("forward of layer", 2);
    r = look_after(3);
    assert_true(r.stalled == 0);
    assert_string_equal(r.tick, "forward of layer");
    watch_look_reset(&look, clock_now + 10);
    r = look_after(10.25);
    assert_true(r.stalled < 0.3);
    events_begin(EVENTS_SHARE, "sum", 1);
    look_after(0.1);
    r = look_after(2);
    assert_true(r.is_waiting && r.share == 1 && r.kind == EVENTS_IDLE);
    assert_true(r.share_for > 1.9 / 4 && r.share_for < 2.1);
    assert_string_equal(r.share_text, "sum");
    events_begin(EVENTS_WAIT, "adds parts", 1);
    look_after(0.1);
    r = look_after(0.2);
    assert_true(r.is_waiting);
    assert_string_equal(r.share_text, "sum");
    events_end();
    events_end();
    events_end();
    events_detach();
    r = look_after(1);
    assert_int_equal(r.kind, EVENTS_IDLE);
    assert_false(r.is_waiting);
}

static pthread_barrier_t meet;

struct other {
    enum events_role role;
    enum events_kind kind;
};

static void *other_run(void *context)
{
    const struct other *other = context;
    events_attach(other->role, 1, EVENTS_IDLE, "rests");
    events_begin(other->kind, "does it", 7);
    pthread_barrier_wait(&meet);
    pthread_barrier_wait(&meet);
    events_detach();
    return NULL;
}

// The main thread and another: who is to blame.
static const struct {
    enum events_kind main;
    uint64_t number;
    struct other other;
    enum events_kind blamed;
    bool is_waiting;
    const char *thread;
} pairs[] = {
    {EVENTS_THREAD, EVENTS_LOADER, {EVENTS_LOADER, EVENTS_READ}, EVENTS_READ, 0, "reading thread"},
    {EVENTS_THREAD, EVENTS_LOADER, {EVENTS_LOADER, EVENTS_SLOW}, EVENTS_SLOW, 0, "reading thread"},
    {EVENTS_THREAD, EVENTS_LOADER, {EVENTS_WRITER, EVENTS_READ}, EVENTS_THREAD, 0, "main thread"},
    {EVENTS_SHARE, 0, {EVENTS_LOADER, EVENTS_READ}, EVENTS_IDLE, 1, ""},
    {EVENTS_SHARE, 0, {EVENTS_WORKER, EVENTS_WORK}, EVENTS_WORK, 0, "worker 1"},
    {EVENTS_SHARE, 0, {EVENTS_WORKER, EVENTS_WAIT}, EVENTS_IDLE, 1, ""},
    {EVENTS_THREAD, EVENTS_WORKER, {EVENTS_WORKER, EVENTS_WORK}, EVENTS_WORK, 0, "worker 1"},
    {EVENTS_THREAD, EVENTS_WORKER, {EVENTS_WORKER, EVENTS_IDLE}, EVENTS_THREAD, 0, "main thread"},
    {EVENTS_WORK, 0, {EVENTS_WRITER, EVENTS_WORK}, EVENTS_WORK, 0, "main thread"},
};

static void test_look_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        pthread_t thread;
        pthread_barrier_init(&meet, NULL, 2);
        pthread_create(&thread, NULL, other_run, (void *)(uintptr_t)&pairs[i].other);
        pthread_barrier_wait(&meet);
        events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
        events_begin(pairs[i].main, "waits", pairs[i].number);
        look_after(0);
        struct watch_report r = look_after(0.4);
        if (r.kind != pairs[i].blamed || strcmp(r.thread, pairs[i].thread) != 0 ||
            !r.is_waiting != !pairs[i].is_waiting)
            fail_msg("pair %zu: blames '%s' for kind %u, waiting %d", i, r.thread, r.kind,
                     r.is_waiting);
        events_end();
        events_detach();
        pthread_barrier_wait(&meet);
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&meet);
        look_after(0.1);
    }
}

static void test_process(void **state)
{
    (void)state;
    struct watch_name own = {.pid = (int32_t)getpid(), .born = watch_born((int)getpid())};
    assert_true(own.born > 0);
    assert_int_equal(watch_process(&own), WATCH_RUNS);
    own.born++;
    assert_int_equal(watch_process(&own), WATCH_UNSEEN); // another process with that number
}

static void test_rings(void **state)
{
    (void)state;
    static char text[1 << 16];
    struct watch_name name = {.host = "node1", .pid = 77};
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    events_step(41);
    events_begin(EVENTS_SHARE, "sum of gradients", 41);
    size_t n = watch_rings(text, sizeof text, "rank 3 hangs", 2, &name);
    assert_int_equal(n, strlen(text));
    const char *expected[] = {
        "rank 2, host node1, process 77",    "rank 3 hangs", "main thread", "starts", "step 41",
        "sum of gradients 41 (collective 1)"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(text, expected[i]))
            fail_msg("'%s' is not in:\n%s", expected[i], text);
    for (size_t small = 1; small < 300; small += 7) { // a full page ends with a whole line
        char page[300];
        n = watch_rings(page, small, "rank 3 hangs", 2, &name);
        assert_true(n < small && (n == 0 || page[n - 1] == '\n'));
    }
    events_end();
    events_end();
    events_detach();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),   cmocka_unit_test(test_single),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_parse),
        cmocka_unit_test(test_look),    cmocka_unit_test(test_look_threads),
        cmocka_unit_test(test_process), cmocka_unit_test(test_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
