// SPDX-License-Identifier: MIT
// The texts a person sees, at every width, and how often; with a clock that the test sets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect.h"
#include "trainer/progress.h"

static const struct loss_metric metrics[] = {
    {"loss", false, false}, {"accuracy", true, true}, {"top5", true, true}};

static const struct progress_config config = {
    .epochs = 10, .steps_per_epoch = 390, .steps = 3900, .metrics = metrics, .n_metrics = 3};

static const double train[] = {0.03125, 0.98765, 1};
static const double test[] = {12345.678, 0.5, 0.25};

static const struct run_record middle = {.epoch = 3,
                                         .step = 900,
                                         .seconds = 90,
                                         .lr = 0.0812345,
                                         .train = train,
                                         .images_per_s = 41234.5};

static struct progress make(bool is_terminal, uint64_t log_every, uint64_t steps_done)
{
    struct progress progress;
    struct progress_config own = config;
    own.log_every = log_every;
    own.steps_done = steps_done;
    progress_init(&progress, &own, 1000);
    progress.is_terminal = is_terminal;
    progress.has_colour = false;
    return progress;
}

static void test_time(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0.0 s"},
                 {9.94, "9.9 s"},
                 {9.96, "10 s"},
                 {59.4, "59 s"},
                 {59.6, "1 min 00 s"},
                 {125, "2 min 05 s"},
                 {3599.7, "1 h 00 min"},
                 {12000, "3 h 20 min"},
                 {86400 * 2.5, "2 d 12 h"},
                 {-1, "?"},
                 {(double)NAN, "?"},
                 {1e300, "?"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        progress_time_text(cases[i].seconds, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_line(void **state)
{
    (void)state;
    struct progress progress = make(false, 0, 0);
    char text[512];
    progress_line_text(&progress, &middle, 1090, text, sizeof text);
    // 3000 steps are left at 10 a second.
    assert_string_equal(text, "epoch 3/10  step 120/390  loss 0.0312  accuracy 98.77 %  "
                              "41234 images/s  ETA 5 min 00 s  lr 0.08123");
    progress = make(false, 0, 450); // resumed: the pace is that of this process
    progress_line_text(&progress, &middle, 1090, text, sizeof text);
    assert_non_null(strstr(text, "ETA 10 min 00 s"));
    struct run_record early = middle;
    early.train = NULL;
    early.step = 450;
    early.epoch = 2;
    progress_line_text(&progress, &early, 1001, text, sizeof text);
    assert_string_equal(text, "epoch 2/10  step 60/390  41234 images/s  lr 0.08123");
}

static void test_epoch(void **state)
{
    (void)state;
    struct progress progress = make(false, 0, 0);
    char text[512];
    struct run_record record = middle;
    record.is_epoch = true;
    progress_epoch_text(&progress, &record, text, sizeof text);
    assert_string_equal(text, "epoch 3/10  loss 0.0312  accuracy 98.77 %  top5 100.00 %  "
                              "lr 0.08123  41234 images/s  1 min 30 s");
    record.test = test;
    record.waited_s = 1.25;
    record.digest = "0123abcd";
    progress_epoch_text(&progress, &record, text, sizeof text);
    assert_string_equal(text,
                        "epoch 3/10  loss 0.0312  accuracy 98.77 %  top5 100.00 %  test loss "
                        "1.235e+04  accuracy 50.00 %  top5 25.00 %  lr 0.08123  41234 images/s  "
                        "waited 1.2 s  1 min 30 s  digest 0123abcd");
    progress_epoch_text(&progress, &record, text, 20); // cut, not overrun
    assert_string_equal(text, "epoch 3/10  loss 0.");
}

static void test_bar(void **state)
{
    (void)state;
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {
        {200, "epoch 3/10  120/390 [===========>                            ]  loss 0.0312  "
              "41234 images/s  ETA 5 min 00 s  accuracy 98.77 %  lr 0.08123"},
        {95, "epoch 3/10  120/390 [==>      ]  loss 0.0312  41234 images/s  ETA 5 min 00 s  "
             "accuracy 98.77 %"},
        {80, "epoch 3/10  120/390 [===>        ]  loss 0.0312  41234 images/s  ETA 5 min 00 s"},
        {40, "epoch 3/10  120/390 [====>            ]"},
        {30, "epoch 3/10  120/390"},
        {11, "epoch 3/10"},
        {1, "e"},
        {0, "e"},
    };
    struct progress progress = make(true, 0, 0);
    char text[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        progress_bar_text(&progress, &middle, 1090, cases[i].width, text, sizeof text);
        if (strcmp(text, cases[i].text) != 0)
            fail_msg("width %zu: got\n'%s', expected\n'%s'", cases[i].width, text, cases[i].text);
    }
    // At no width and at no step is a line too long, and the bar never runs over.
    for (size_t width = 2; width < 220; width++)
        for (uint64_t step = 780; step <= 1170; step += 39) {
            struct run_record record = middle;
            record.step = step;
            progress_bar_text(&progress, &record, 1090, width, text, sizeof text);
            if (strlen(text) >= width)
                fail_msg("width %zu: '%s' has %zu columns", width, text, strlen(text));
        }
    struct run_record last = middle;
    last.step = 1170;
    progress_bar_text(&progress, &last, 1090, 41, text, sizeof text);
    assert_string_equal(text, "epoch 3/10  390/390 [==================]");
}

static void test_colour(void **state)
{
    (void)state;
    struct progress progress = make(true, 0, 0);
    char plain[512], coloured[512], stripped[512] = "";
    progress_bar_text(&progress, &middle, 1090, 100, plain, sizeof plain);
    progress.has_colour = true;
    progress_bar_text(&progress, &middle, 1090, 100, coloured, sizeof coloured);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(coloured, "[\033[32m="));
    assert_non_null(strstr(coloured, "\033[0m"));
    size_t n = 0;
    for (const char *c = coloured; *c; c++) {
        if (*c == '\033')
            c += strcspn(c, "m");
        else
            stripped[n++] = *c;
    }
    assert_string_equal(plain, stripped);
}

// Steps whose lines appear, at so many steps a second, of the first n.
static size_t count_lines(struct progress *progress, size_t n, double steps_per_s, uint64_t lines[],
                          size_t max)
{
    size_t found = 0;
    for (uint64_t step = 1; step <= n; step++) {
        struct run_record record = middle;
        double now = 1000 + (double)step / steps_per_s;
        record.step = step;
        bool was_due = progress_is_due(progress, step, now);
        bool is_line = progress_step(progress, &record, now);
        assert_true(was_due || !is_line);
        if (is_line && found < max)
            lines[found] = step;
        found += is_line;
    }
    return found;
}

static void test_pace(void **state)
{
    (void)state;
    uint64_t lines[32];
    struct progress progress = make(false, 0, 0);
    capture_begin();
    size_t n = count_lines(&progress, 1000, 1, lines, 32); // 1000 s
    char *text = capture_end();
    static const uint64_t wanted[] = {10, 20, 50, 80, 110};
    assert_memory_equal(lines, wanted, sizeof wanted);
    assert_int_equal(lines[n - 2], 590);
    assert_int_equal(lines[n - 1], 890);
    size_t written = 0;
    for (const char *c = text; *c; c++)
        written += *c == '\n';
    assert_int_equal(written, n); // a line each, nothing else
    assert_null(strchr(text, '\r'));
    free(text);

    progress = make(false, 25, 0);
    capture_begin();
    n = count_lines(&progress, 100, 1000, lines, 32);
    text = capture_end();
    assert_int_equal(n, 4);
    assert_int_equal(lines[0], 25);
    assert_int_equal(lines[3], 100);
    free(text);
}

// A terminal of 90 columns in place of stdout; what is written to it goes to `seen`.
static int terminal_open(int *saved)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    struct winsize size = {.ws_row = 24, .ws_col = 90};
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    fflush(stdout);
    *saved = dup(STDOUT_FILENO);
    dup2(slave, STDOUT_FILENO);
    close(slave);
    setenv("TERM", "xterm", 1);
    return master;
}

static size_t terminal_drain(int master, char *seen, size_t n, size_t room)
{
    ssize_t got;
    while (n < room && (got = read(master, seen + n, room - n)) > 0)
        n += (size_t)got;
    return n;
}

static void test_terminal(void **state)
{
    (void)state;
    static char seen[1 << 16];
    int saved, master = terminal_open(&saved);
    size_t n = 0, width = progress_width(), n_lines = 0;
    struct progress progress;
    progress_init(&progress, &config, 1000);
    bool is_terminal = progress.is_terminal;
    for (uint64_t step = 1; step <= 5000; step++) { // 5 s
        struct run_record record = middle;
        record.step = step;
        n_lines += progress_step(&progress, &record, 1000 + (double)step / 1000);
        n = terminal_drain(master, seen, n, sizeof seen - 1);
    }
    progress_note(&progress, "saving");
    progress_note(&progress, "");
    n = terminal_drain(master, seen, n, sizeof seen - 1);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(master);
    size_t drawn = 0;
    for (const char *c = seen; (c = strstr(c, "epoch 3/10")); c++)
        drawn++;
    assert_true(is_terminal && width == 90 && n_lines == 0);
    if (drawn < 49 || drawn > 51) // ten a second
        fail_msg("drawn %zu times in 5 s, expected 50", drawn);
    assert_null(strchr(seen, '\n'));
    assert_non_null(strstr(seen, "saving"));
}

static void test_no_colour(void **state)
{
    (void)state;
    int saved, master = terminal_open(&saved);
    struct progress plain, coloured;
    setenv("NO_COLOR", "1", 1);
    progress_init(&plain, &config, 1000);
    unsetenv("NO_COLOR");
    progress_init(&coloured, &config, 1000);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(master);
    assert_true(plain.is_terminal && !plain.has_colour && coloured.has_colour);
}

static void test_speaks(void **state)
{
    (void)state;
    struct progress progress = make(false, 0, 0);
    struct run_record record = middle;
    capture_begin();
    progress_epoch(&progress, &record, 1100);
    progress_note(&progress, "saving"); // terminal only
    bool is_due = progress_is_due(&progress, 901, 1101);
    char *text = capture_end();
    assert_false(is_due); // the epoch's line counts
    assert_string_equal(text, "epoch 3/10  loss 0.0312  accuracy 98.77 %  top5 100.00 %  "
                              "lr 0.08123  41234 images/s  1 min 30 s\n");
    free(text);
    setenv("COLUMNS", "123", 1);
    capture_begin(); // stdout is a file
    size_t width = progress_width();
    setenv("COLUMNS", "many", 1);
    size_t fallback = progress_width();
    free(capture_end());
    assert_int_equal(width, 123);
    assert_int_equal(fallback, 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal), // first: log.c asks once whether stdout is a terminal
        cmocka_unit_test(test_no_colour), cmocka_unit_test(test_time),
        cmocka_unit_test(test_line),      cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_bar),       cmocka_unit_test(test_colour),
        cmocka_unit_test(test_pace),      cmocka_unit_test(test_speaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
