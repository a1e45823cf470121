// SPDX-License-Identifier: MIT
#include "trainer/data_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "comm/log.h"

volatile sig_atomic_t data_interrupted;

static void on_signal(int number)
{
    data_interrupted = number;
}

void data_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        sigaction(numbers[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) // nohup keeps its promise
            sigaction(numbers[i], &action, NULL);
    }
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

double data_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void show_bar(const char *what, uint64_t done, uint64_t total, double seconds)
{
    char text[160];
    if (total == 0) {
        snprintf(text, sizeof text, "%s: %" PRIu64, what, done);
    } else {
        static const char full[] = "##############################";
        int width = 30, filled = (int)(done * 30 / total);
        double left = done ? seconds * (double)(total - done) / (double)done : 0;
        snprintf(text, sizeof text, "%-16s [%.*s%*s] %3d %%  %.0f s left", what, filled, full,
                 width - filled, "", (int)(done * 100 / total), left);
    }
    log_transient(text);
}

enum status data_tick(void *context, const char *what, uint64_t done, uint64_t total)
{
    struct data_watch *watch = context;
    CHECK(!data_interrupted, STATUS_ERROR, "interrupted: nothing written");
    double now = data_seconds();
    if (watch->start == 0 || watch->what != what)
        *watch = (struct data_watch){.start = now, .shown = now, .what = what};
    bool is_bar = log_is_terminal();
    if (now - watch->shown < (is_bar ? 0.1 : now - watch->start < 60 ? 10 : 60))
        return STATUS_OK;
    watch->shown = now;
    if (is_bar)
        show_bar(what, done, total, now - watch->start);
    else if (total > 0)
        log_line("%s: %" PRIu64 " of %" PRIu64 " (%d %%), %.0f s", what, done, total,
                 (int)(done * 100 / total), now - watch->start);
    else
        log_line("%s: %" PRIu64 ", %.0f s", what, done, now - watch->start);
    return STATUS_OK;
}
