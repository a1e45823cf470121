// SPDX-License-Identifier: MIT
#include "trainer/signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t pending;

static void handle(int number)
{
    if (number == SIGINT && pending == SIGINT)
        _exit(128 + SIGINT);
    if (!pending)
        pending = number;
}

void signals_catch(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGXFSZ, SIG_IGN); // a file-size limit shows as a write error
    signal(SIGPIPE, SIG_IGN); // `sw2-train | head` must not kill a run
}

int signals_pending(void)
{
    return pending;
}

const char *signals_name(int number)
{
    return number == SIGTERM   ? "SIGTERM"
           : number == SIGINT  ? "Ctrl-C"
           : number == SIGUSR1 ? "SIGUSR1"
           : number == SIGUSR2 ? "SIGUSR2"
           : number == SIGXCPU ? "SIGXCPU"
                               : "a signal";
}
