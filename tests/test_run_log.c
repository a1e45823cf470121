// SPDX-License-Identifier: MIT
// The metrics files: what a record looks like, that a resumed run reads like an unbroken one, and
// what is said when they cannot be written.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/run_log.h"

static const struct loss_metric metrics[] = {{"loss", false, false}, {"accuracy", true, true}};

static const char header[] = "epoch,step,seconds,lr,train_loss,train_accuracy,test_loss,"
                             "test_accuracy,images_per_s,waited_s,digest\n";

static struct run_log *open_log(const char *folder, uint64_t steps_done)
{
    struct run_log *log;
    expect_ok(run_log_open(&log, folder, metrics, 2, steps_done, false), "open");
    return log;
}

// Step `step` of a run of ten steps an epoch; numbers follow from the step alone. started: the
// step that this process began with; a step takes half a second.
static struct run_record record_of(uint64_t step, uint64_t started)
{
    static double train[2], test[2];
    bool is_epoch = step % 10 == 0;
    train[0] = 1.0 / (double)step;
    train[1] = (double)step / 128;
    test[0] = train[0] * 2;
    test[1] = train[1] / 2;
    return (struct run_record){.is_epoch = is_epoch,
                               .epoch = (step + 9) / 10,
                               .step = step,
                               .seconds = (double)(step - started) / 2,
                               .lr = 0.1,
                               .train = train,
                               .test = is_epoch ? test : NULL,
                               .images_per_s = 1000.00049,
                               .waited_s = 0.25,
                               .digest = is_epoch ? "00ff" : NULL};
}

static void run_steps(const char *folder, uint64_t first, uint64_t last, uint64_t every)
{
    struct run_log *log = open_log(folder, first);
    for (uint64_t step = first + 1; step <= last; step++) {
        struct run_record record = record_of(step, first);
        if (step % every == 0 || record.is_epoch)
            expect_ok(run_log_write(log, &record), "write");
    }
    expect_ok(run_log_close(log), "close");
}

static char *read_one(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return file_text(path);
}

static void expect_file(const char *folder, const char *name, const char *wanted)
{
    char *text = read_one(folder, name);
    assert_string_equal(text, wanted);
    free(text);
}

static void append_text(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_records(void **state)
{
    (void)state;
    char *folder = folder_make();
    run_steps(folder, 0, 10, 8);
    expect_file(folder, "metrics.jsonl",
                "{\"type\":\"step\",\"epoch\":1,\"step\":8,\"seconds\":4,\"lr\":0.1,\"train_loss\":"
                "0.125,\"train_accuracy\":0.0625,\"images_per_s\":1000,\"waited_s\":0.25}\n"
                "{\"type\":\"epoch\",\"epoch\":1,\"step\":10,\"seconds\":5,\"lr\":0.1,"
                "\"train_loss\":0.1,\"train_accuracy\":0.078125,\"test_loss\":0.2,"
                "\"test_accuracy\":0.0390625,\"images_per_s\":1000,\"waited_s\":0.25,"
                "\"digest\":\"00ff\"}\n");
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%s1,10,5,0.1,0.1,0.078125,0.2,0.0390625,1000,0.25,00ff\n",
             header);
    expect_file(folder, "metrics.csv", wanted);
    folder_remove(folder);
}

static void test_not_finite(void **state)
{
    (void)state;
    char *folder = folder_make();
    struct run_log *log = open_log(folder, 0);
    const double train[2] = {(double)NAN, 1e-300}, test[2] = {(double)INFINITY, -0.5};
    struct run_record record = {.is_epoch = true,
                                .epoch = 1,
                                .step = 3,
                                .lr = 1.0 / 3,
                                .train = train,
                                .test = test,
                                .images_per_s = (double)NAN};
    expect_ok(run_log_write(log, &record), "write");
    record.train = record.test = NULL;
    expect_ok(run_log_write(log, &record), "write");
    expect_ok(run_log_close(log), "close");
    char *text = read_one(folder, "metrics.jsonl");
    assert_non_null(strstr(text, "\"train_loss\":null,\"train_accuracy\":1e-300,\"test_loss\":null,"
                                 "\"test_accuracy\":-0.5,\"images_per_s\":null"));
    assert_non_null(strstr(text, "\"lr\":0.3333333333333333,\"images_per_s\":null"));
    free(text);
    char wanted[512];
    snprintf(wanted, sizeof wanted,
             "%s1,3,0,0.3333333333333333,,1e-300,,-0.5,,0,\n"
             "1,3,0,0.3333333333333333,,,,,,0,\n",
             header);
    expect_file(folder, "metrics.csv", wanted);
    folder_remove(folder);
}

// Resumed at every step, after running on for a while: both files are those of the unbroken run.
static void test_resume(void **state)
{
    (void)state;
    char *whole = folder_make();
    run_steps(whole, 0, 40, 3);
    char *jsonl = read_one(whole, "metrics.jsonl"), *csv = read_one(whole, "metrics.csv");
    for (uint64_t at = 3; at <= 40; at += at % 2 ? 3 : 4) { // odd and even, ends of epochs too
        // Seconds go on from the last record: kept equal by resuming where one was written.
        if (at % 3 != 0 && at % 10 != 0)
            continue;
        char *folder = folder_make();
        uint64_t killed = at + 13 < 40 ? at + 13 : 40;
        run_steps(folder, 0, killed, 3);
        append_text(folder, "metrics.jsonl", "{\"type\":\"epoch\",\"epoch\":1,\"step\":1,\"sec");
        append_text(folder, "metrics.csv", "1,1,5,0.1");
        run_steps(folder, at, 40, 3);
        expect_file(folder, "metrics.jsonl", jsonl);
        expect_file(folder, "metrics.csv", csv);
        folder_remove(folder);
    }
    run_steps(whole, 40, 40, 3); // nothing left to do: nothing changes
    expect_file(whole, "metrics.jsonl", jsonl);
    run_steps(whole, 0, 0, 3); // anew
    expect_file(whole, "metrics.jsonl", "");
    expect_file(whole, "metrics.csv", header);
    free(jsonl);
    free(csv);
    folder_remove(whole);
}

// Resumed before the end of an epoch whose steps are all done: its record is written once.
static void test_resume_open(void **state)
{
    (void)state;
    char *whole = folder_make(), *folder = folder_make();
    run_steps(whole, 0, 20, 3);
    run_steps(folder, 0, 20, 3);
    char *jsonl = read_one(whole, "metrics.jsonl"), *csv = read_one(whole, "metrics.csv");
    for (int again = 0; again < 2; again++) {
        struct run_log *log;
        expect_ok(run_log_open(&log, folder, metrics, 2, 20, true), "open");
        struct run_record record = record_of(20, 18); // the last one kept
        expect_ok(run_log_write(log, &record), "write");
        expect_ok(run_log_close(log), "close");
        expect_file(folder, "metrics.jsonl", jsonl);
        expect_file(folder, "metrics.csv", csv);
    }
    free(jsonl);
    free(csv);
    folder_remove(whole);
    folder_remove(folder);
}

// What is no record of ours goes when a run is resumed: the files stay readable.
static void test_damaged(void **state)
{
    (void)state;
    char *folder = folder_make();
    run_steps(folder, 0, 10, 10);
    char *jsonl = read_one(folder, "metrics.jsonl"), *csv = read_one(folder, "metrics.csv");
    append_text(folder, "metrics.jsonl", "\n{}\n{\"step\":}\nstep\n{\"step\":4,\"seconds\":\n");
    append_text(folder, "metrics.csv", "\n,\n1,x,5\n1,2,3\n");
    run_steps(folder, 10, 10, 10);
    expect_file(folder, "metrics.jsonl", jsonl);
    expect_file(folder, "metrics.csv", csv);
    free(jsonl);
    free(csv);
    folder_remove(folder);
}

static void test_other_columns(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    snprintf(path, sizeof path, "%s/metrics.csv", folder);
    file_write(path, "epoch,step,loss\n1,5,0.5\n");
    run_steps(folder, 5, 10, 10);
    expect_file(folder, "metrics.csv.old", "epoch,step,loss\n1,5,0.5\n");
    char *text = read_one(folder, "metrics.csv");
    assert_memory_equal(text, header, strlen(header));
    free(text);
    folder_remove(folder);
}

static void test_unwritable(void **state)
{
    (void)state;
    struct run_log *log = (struct run_log *)1;
    expect_error(run_log_open(&log, "/nowhere/at/all", metrics, 2, 0, false), STATUS_ERROR,
                 "cannot write /nowhere/at/all/metrics.jsonl: No such file", "missing folder");
    assert_null(log);
    char *folder = folder_make(), path[512];
    snprintf(path, sizeof path, "%s/metrics.csv", folder);
    assert_int_equal(mkdir(path, 0777), 0); // a folder where the file should be
    expect_error(run_log_open(&log, folder, metrics, 2, 0, false), STATUS_ERROR, path, "a folder");
    folder_remove(folder);
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    expect_error(run_log_open(&log, longer, metrics, 2, 0, false), STATUS_USAGE, "too long",
                 "long name");
}

static void limit_set(size_t limit)
{
    struct rlimit rlimit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &rlimit), 0);
    rlimit.rlim_cur = limit ? limit : rlimit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

// A disk that fills up in the middle of a record: an error, and no half line; it is written with
// the next record, where there is room again.
static void test_full(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    for (int has_room_again = 0; has_room_again < 2; has_room_again++) {
        char *folder = folder_make(), message[512];
        struct run_log *log = open_log(folder, 0);
        struct run_record record = record_of(8, 0);
        expect_ok(run_log_write(log, &record), "write");
        char *before = read_one(folder, "metrics.jsonl");
        size_t n = strlen(before);
        limit_set(n + 30);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(run_log_write(log, &record), STATUS_ERROR);
            snprintf(message, sizeof message, "%s", error_text());
            assert_non_null(strstr(message, "cannot write "));
            assert_non_null(strstr(message, "/metrics.jsonl: "));
            expect_file(folder, "metrics.jsonl", before);
        }
        if (has_room_again) {
            limit_set(0);
            expect_ok(run_log_write(log, &record), "room again");
            expect_ok(run_log_close(log), "close");
            char *after = read_one(folder, "metrics.jsonl");
            assert_int_equal(strlen(after), 4 * n);
            for (size_t i = 0; i < 4; i++)
                assert_memory_equal(after + i * n, before, n);
            free(after);
        } else {
            assert_int_equal(run_log_close(log), STATUS_ERROR); // two records are lost
            limit_set(0);
            expect_file(folder, "metrics.jsonl", before);
        }
        free(before);
        folder_remove(folder);
    }
}

static void test_other_ranks(void **state)
{
    (void)state;
    struct run_record record = record_of(10, 0);
    expect_ok(run_log_write(NULL, &record), "write");
    expect_ok(run_log_close(NULL), "close");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),     cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_resume_open),
        cmocka_unit_test(test_damaged),     cmocka_unit_test(test_other_columns),
        cmocka_unit_test(test_unwritable),  cmocka_unit_test(test_full),
        cmocka_unit_test(test_other_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
