// SPDX-License-Identifier: MIT
// Saving in the background: a file holds the moment of its snapshot whatever training does
// meanwhile; a disk that hangs does not stop the run; one that fails is one warning, and another
// when it works again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "tests/support/fake_run.h"
#include "trainer/checkpoint_private.h"

void h5_lock(void); // of data/h5_private.h, which needs HDF5's header
void h5_unlock(void);

static struct group alone;
static char *folder;
static struct fake_run run;
static struct checkpoint_writer *writer;

static int setup(void **state)
{
    (void)state;
    alone = fake_alone();
    folder = folder_make();
    expect_ok(fake_run_init(&run, &alone, &fake_configs[1], 4096), "run");
    expect_ok(fake_run_step(&run, 0), "step");
    expect_ok(checkpoint_writer_init(&writer, &alone, folder, 2, run.update, run.model.list,
                                     run.model.n_list),
              "writer");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    checkpoint_writer_free(writer);
    fake_run_free(&run);
    folder_remove(folder);
    return 0;
}

static enum status save(uint64_t step, unsigned files, bool is_final, enum checkpoint_taken *taken)
{
    struct checkpoint_meta meta = fake_meta(step);
    return checkpoint_writer_save(writer, files, is_final, &meta, run.update, run.params, taken);
}

static void must_take(uint64_t step, unsigned files)
{
    enum checkpoint_taken taken = CHECKPOINT_PUT_OFF;
    expect_ok(save(step, files, false, &taken), "save");
    assert_int_equal(taken, CHECKPOINT_TAKEN);
}

static void settle(void)
{
    while (checkpoint_writer_is_busy(writer))
        usleep(1000);
}

// What the next lines say on stderr.
static int stderr_before;

static void listen_begin(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s.said", folder);
    stderr_before = dup(STDERR_FILENO);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

static char *listen_end(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s.said", folder);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    char *said = file_text(path);
    unlink(path);
    return said;
}

// All that was said in between, by poll at this time, is one line with these words; "": nothing.
static bool poll_says(double now, const char *words)
{
    listen_begin();
    bool is_again = checkpoint_writer_poll(writer, now);
    char *said = listen_end();
    size_t lines = 0;
    for (const char *at = said; (at = strchr(at, '\n')); at++)
        lines++;
    if (lines != (words[0] ? 1 : 0) || !strstr(said, words))
        fail_msg("at %g: said '%s', expected '%s'", now, said, words);
    free(said);
    return is_again;
}

static void step_path(uint64_t step, char path[512])
{
    folder_step_name(folder, step, path, 512);
}

// The writer is held in the middle: it needs HDF5's lock. Meanwhile training changes everything.
static void test_snapshot(void **state)
{
    (void)state;
    char path[512];
    struct update_digest then = update_digest(run.update, run.params);
    h5_lock();
    must_take(1, CHECKPOINT_STEP | CHECKPOINT_BEST);
    assert_true(checkpoint_writer_is_busy(writer));
    for (uint64_t step = 1; step < 4; step++)
        expect_ok(fake_run_step(&run, step), "step");
    struct update_digest later = update_digest(run.update, run.params);
    assert_true(checkpoint_writer_is_busy(writer));
    h5_unlock();
    settle();
    assert_false(poll_says(1, ""));
    assert_true(then.params != later.params && then.state != later.state);
    step_path(1, path);
    expect_ok(fake_load(&run, path), "load"); // compares with the digests of the snapshot
    struct update_digest now = update_digest(run.update, run.params);
    assert_memory_equal(&now, &then, sizeof now);
    snprintf(path, sizeof path, "%s/best.h5", folder);
    expect_ok(fake_load(&run, path), "load the best");
}

static void test_put_off(void **state)
{
    (void)state;
    enum checkpoint_taken taken = CHECKPOINT_TAKEN;
    h5_lock();
    must_take(1, CHECKPOINT_STEP);
    listen_begin();
    expect_ok(save(2, CHECKPOINT_STEP, false, &taken), "put off");
    assert_int_equal(taken, CHECKPOINT_PUT_OFF);
    char *said = listen_end();
    assert_non_null(strstr(said, "put off: the one before is still being written after 3 s"));
    free(said);
    h5_unlock();
    must_take(3, CHECKPOINT_STEP); // waits for the first
    expect_ok(save(4, CHECKPOINT_STEP, true, &taken), "final");
    uint64_t *steps;
    size_t n;
    expect_ok(folder_steps(folder, &steps, &n), "steps");
    assert_int_equal(n, 2);
    assert_int_equal(steps[0], 3);
    assert_int_equal(steps[1], 4);
    free(steps);
}

// A disk that fails, fails for long, and works again.
static void test_trouble(void **state)
{
    (void)state;
    char aside[512];
    must_take(1, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(100, ""));
    snprintf(aside, sizeof aside, "%s.aside", folder);
    assert_int_equal(rename(folder, aside), 0);
    must_take(2, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(200, "no checkpoint at step 2: cannot create "));
    assert_false(poll_says(259, "")); // said once, and tried again a minute later
    assert_true(poll_says(260, ""));
    for (uint64_t step = 3; step < 6; step++) {
        must_take(step, CHECKPOINT_STEP);
        settle();
        assert_false(poll_says(260 + (double)step, ""));
    }
    must_take(6, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(3801, "that of step 1 stands")); // a reminder after an hour
    assert_int_equal(rename(aside, folder), 0);
    must_take(7, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(3900, "can be written again: that of step 7 stands (before it 5 could"));
    assert_false(poll_says(9999, ""));
    must_take(8, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(10000, ""));
    expect_ok(fake_load(&run, folder), "load");
}

// A best.h5 does not stand for a step's file that could not be written.
static void test_trouble_of_step(void **state)
{
    (void)state;
    char path[512], inside[600];
    step_path(2, path);
    snprintf(inside, sizeof inside, "%s/in", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0); // so that nothing can be renamed to it
    must_take(2, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(200, "no checkpoint at step 2: "));
    must_take(3, CHECKPOINT_BEST);
    settle();
    assert_false(poll_says(201, ""));
    assert_true(poll_says(260, ""));
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(path), 0);
    must_take(4, CHECKPOINT_STEP);
    settle();
    assert_false(poll_says(261, "checkpoints can be written again: that of step 4 stands"));
}

static void *lock_for_long(void *is_locked)
{
    h5_lock();
    atomic_store((atomic_bool *)is_locked, true);
    sleep(4);
    h5_unlock();
    return NULL;
}

// The best weights are saved however slow the disk is: they are there only now.
static void test_best_waits(void **state)
{
    (void)state;
    atomic_bool is_locked = false;
    pthread_t disk;
    assert_int_equal(pthread_create(&disk, NULL, lock_for_long, &is_locked), 0);
    while (!atomic_load(&is_locked))
        usleep(1000);
    must_take(1, CHECKPOINT_STEP);
    must_take(2, CHECKPOINT_BEST);
    assert_int_equal(pthread_join(disk, NULL), 0);
    settle();
    char path[512];
    snprintf(path, sizeof path, "%s/best.h5", folder);
    expect_ok(fake_load(&run, path), "load the best");
}

// A best.h5 that could not be written is not the best: the caller learns it with the next save.
static void test_best_lost(void **state)
{
    (void)state;
    char aside[512];
    enum checkpoint_taken taken;
    snprintf(aside, sizeof aside, "%s.aside", folder);
    assert_int_equal(rename(folder, aside), 0);
    must_take(1, CHECKPOINT_BEST);
    settle();
    assert_false(poll_says(1, "no best.h5 at step 1"));
    assert_false(poll_says(1000, ""));
    assert_int_equal(rename(aside, folder), 0);
    expect_ok(save(2, CHECKPOINT_STEP, false, &taken), "lost");
    assert_int_equal(taken, CHECKPOINT_BEST_LOST);
    must_take(2, CHECKPOINT_STEP);
}

// A final save is awaited, its error the caller's.
static void test_final(void **state)
{
    (void)state;
    char aside[512], path[512];
    enum checkpoint_taken taken;
    must_take(1, CHECKPOINT_STEP);
    expect_ok(save(2, CHECKPOINT_STEP, true, &taken), "final");
    assert_false(checkpoint_writer_is_busy(writer));
    step_path(2, path);
    expect_ok(fake_load(&run, path), "load");
    snprintf(aside, sizeof aside, "%s.aside", folder);
    assert_int_equal(rename(folder, aside), 0);
    expect_error(save(3, CHECKPOINT_STEP, true, &taken), STATUS_ERROR, "cannot create|step-",
                 "final");
    assert_false(poll_says(1, ""));
    assert_int_equal(rename(aside, folder), 0);
}

// The end waits for what is being written.
static void test_end(void **state)
{
    (void)state;
    must_take(1, CHECKPOINT_STEP);
    checkpoint_writer_free(writer);
    writer = NULL;
    expect_ok(fake_load(&run, folder), "load");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot),   TEST(test_put_off),   TEST(test_trouble), TEST(test_trouble_of_step),
        TEST(test_best_waits), TEST(test_best_lost), TEST(test_final),   TEST(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
