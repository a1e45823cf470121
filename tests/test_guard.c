// SPDX-License-Identifier: MIT
// Work in a child process: what it returns arrives; what it dies of is one error naming the file.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/guard.h"
#include "tests/support/expect.h"

static volatile sig_atomic_t stop;

static enum status do_nothing(void *context)
{
    *(int *)context = 7;
    return STATUS_OK;
}

static enum status do_fail(void *context)
{
    (void)context;
    FAIL(STATUS_USAGE, "that is how\nit is");
}

static enum status do_crash(void *context)
{
    (void)context;
    guard_name("cat/3.png");
    raise(SIGSEGV);
    return STATUS_OK;
}

static enum status do_abort(void *context)
{
    (void)context;
    abort();
}

static enum status do_exit(void *context)
{
    (void)context;
    _exit(0);
}

static enum status do_spin(void *context)
{
    (void)context;
    guard_name("loop.h5");
    for (volatile int i = 0; i >= 0; i = 1)
        ;
    return STATUS_OK;
}

// Longer than is allowed, but ahead all the time.
static enum status do_work(void *context)
{
    (void)context;
    struct rusage used;
    double seconds = 0;
    do {
        guard_alive();
        getrusage(RUSAGE_SELF, &used);
        seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                  1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    } while (seconds < 2.2);
    return STATUS_OK;
}

static enum status do_limits(void *context)
{
    (void)context;
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    CHECK(core.rlim_max == 0, STATUS_VERIFY, "a core file could be written");
    void *much = mmap(NULL, (size_t)1 << 36, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(much == MAP_FAILED, STATUS_VERIFY, "64 GiB could be had");
    return STATUS_OK;
}

static void on_term(int number)
{
    stop = number;
}

static enum status do_wait(void *context)
{
    (void)context;
    while (!stop)
        usleep(1000);
    FAIL(STATUS_ERROR, "interrupted: nothing written");
}

static void test_outcomes(void **state)
{
    (void)state;
    static const struct {
        enum status (*work)(void *context);
        enum status status;
        const char *message;
    } cases[] = {
        {do_nothing, STATUS_OK, NULL},
        {do_fail, STATUS_USAGE, "that is how?it is"},
        {do_crash, STATUS_DATA, "cat/3.png|crashed (Segmentation fault)|hostile"},
        {do_abort, STATUS_DATA, "source.csv|crashed (Aborted)"},
        {do_exit, STATUS_DATA, "source.csv|ended too early"},
        {do_spin, STATUS_DATA, "loop.h5|more than 1 s of processor time"},
        {do_work, STATUS_OK, NULL},
    };
    int *shared = guard_share(sizeof *shared);
    assert_non_null(shared);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = -1;
        struct guard guard = {.name = "source.csv",
                              .work = cases[i].work,
                              .context = shared,
                              .seconds = cases[i].work == do_spin ? 1 : 2};
        enum status status = guard_run(&guard, &child);
        if (cases[i].message)
            expect_error(status, cases[i].status, cases[i].message, cases[i].message);
        else
            expect_ok(status, "work that is done");
        assert_true(child > 0);
        assert_int_equal(kill(child, 0), -1); // it is no more
    }
    assert_int_equal(*shared, 7);
    guard_unshare(shared, sizeof *shared);
}

static void test_limits(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) // which needs all of the address space
    expect_ok(guard_run(&(struct guard){.name = "x", .work = do_limits}, NULL), "limits");
#else
    (void)do_limits;
    skip();
#endif
}

// A signal of the parent reaches the child, which ends in its own way.
static void test_stop(void **state)
{
    (void)state;
    static volatile sig_atomic_t asked = 1;
    signal(SIGTERM, on_term); // before the child is there, as programs do
    expect_error(guard_run(&(struct guard){.name = "x", .work = do_wait, .stop = &asked}, NULL),
                 STATUS_ERROR, "interrupted: nothing written", "stop");
    assert_int_equal(stop, 0);
    signal(SIGTERM, SIG_DFL);
}

// ---- in a new process of this program

static enum status spawned(void *arguments)
{
    const char *what = *(char *const *)arguments;
    if (strcmp(what, "crash") == 0)
        raise(SIGBUS);
    if (strcmp(what, "group") == 0) // what launchers send to the parent's group does not reach it
        return getpgrp() == getpid() ? STATUS_OK : STATUS_ERROR;
    CHECK(strcmp(what, "fine") == 0, STATUS_USAGE, "asked for '%s'", what);
    return STATUS_OK;
}

static void test_spawn(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        enum status status;
        const char *message;
    } cases[] = {
        {"fine", STATUS_OK, NULL},
        {"group", STATUS_OK, NULL},
        {"nothing", STATUS_USAGE, "asked for 'nothing'"},
        {"crash", STATUS_DATA, "train.h5|crashed (Bus error)|hostile"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct guard guard = {.name = "train.h5"};
        const char *const arguments[] = {GUARD_PROGRAM, cases[i].what, NULL};
        enum status status = guard_spawn(&guard, arguments);
        if (cases[i].message)
            expect_error(status, cases[i].status, cases[i].message, cases[i].what);
        else
            expect_ok(status, cases[i].what);
    }
}

int main(int argc, char **argv)
{
    guard_main(argc, argv, spawned);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_spawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
