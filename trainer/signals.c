// SPDX-License-Identifier: MIT
#include "trainer/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/log.h"

// Kept free before the job's end, whatever steps and saves take: a requeue, a slow folder.
#define MARGIN_SECONDS 10.0

static volatile sig_atomic_t pending, interrupts;
static volatile sig_atomic_t is_silent; // another process answers

static struct {
    double end; // seconds since 1970; 0: none
    double step, save, margin;
} limit;

static void handle(int number)
{
    static const char answer[] = "\nsw2-train: stopping at the end of the step, with a checkpoint; "
                                 "Ctrl-C again stops at once\n";
    int error = errno;
    if (number == SIGINT && ++interrupts > 1)
        _exit(128 + SIGINT);
    if (number == SIGINT && !is_silent && write(STDERR_FILENO, answer, sizeof answer - 1) < 0)
        is_silent = 1;
    if (!pending)
        pending = number;
    errno = error;
}

// Of several ranks the first one answers; the launcher tells before MPI could.
static void rank_look(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text && strcmp(text, "0") != 0)
            is_silent = 1;
    }
}

void signals_catch(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    rank_look();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGXFSZ, SIG_IGN); // a file-size limit shows as a write error
    signal(SIGPIPE, SIG_IGN); // `sw2-train | head` must not kill a run
}

// Of the day, as the batch system counts.
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void signals_limit_read(void)
{
    const char *text = getenv("SLURM_JOB_END_TIME");
    char *rest = NULL;
    limit.end = 0;
    if (!text || !text[0])
        return;
    long long end = strtoll(text, &rest, 10);
    if (*rest != '\0' || end <= 0) {
        log_warn("SLURM_JOB_END_TIME '%s' is not a number of seconds since 1970: ignored", text);
    } else if ((double)end <= now()) {
        log_warn("SLURM_JOB_END_TIME %lld was %.0f s ago: ignored", end, now() - (double)end);
    } else {
        limit.end = (double)end;
        signals_limit_margin(0, 0);
    }
}

void signals_limit_margin(double step_seconds, double save_seconds)
{
    limit.step = step_seconds;
    limit.save = save_seconds;
    limit.margin = MARGIN_SECONDS + 2 * (step_seconds + save_seconds);
}

int signals_pending(void)
{
    if (pending)
        return pending;
    return limit.end > 0 && now() >= limit.end - limit.margin ? SIGNALS_TIME_LIMIT : 0;
}

const char *signals_describe(int number)
{
    static char text[160];
    if (number != SIGNALS_TIME_LIMIT)
        return number == SIGTERM   ? "SIGTERM"
               : number == SIGINT  ? "Ctrl-C"
               : number == SIGUSR1 ? "SIGUSR1"
               : number == SIGUSR2 ? "SIGUSR2"
               : number == SIGXCPU ? "SIGXCPU"
                                   : "a signal";
    snprintf(text, sizeof text,
             "SLURM_JOB_END_TIME (in %.0f s; kept free: %.1f s, for steps of %.2g s and saves of "
             "%.2g s)",
             limit.end - now(), limit.margin, limit.step, limit.save);
    return text;
}
