// SPDX-License-Identifier: MIT
// The end of a job that hangs. The main thread may hold any lock, stdio's and the log's among them,
// and any file may block: so this writes with write() only, rings from a thread of their own, and
// waits for neither.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/group_private.h"
#include "comm/log.h"
#include "comm/watchdog_private.h"

#define PAGE_BYTES ((size_t)4 << 20)
#define LAST_SECONDS 5 // after the rings are written: then the process ends, come what may

static struct {
    bool is_open;
    int rank;
    pthread_t thread;
    sem_t wake;
    atomic_bool must_write, is_written;
    char verdict[WATCH_MESSAGE];
    struct watch_name name;
    char folder[4096];
    const char *_Atomic folder_at; // NULL: none yet
} self;

static char page[PAGE_BYTES];

void watchdog_folder(const char *path)
{
    snprintf(self.folder, sizeof self.folder, "%s", path);
    atomic_store(&self.folder_at, self.folder);
}

const char *watch_end_folder(void)
{
    const char *folder = atomic_load(&self.folder_at);
    return folder ? folder : ".";
}

static void rings_write(void)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/hang-rank-%d.txt", watch_end_folder(), self.rank);
    size_t n = watch_rings(page, sizeof page, self.verdict, self.rank, &self.name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    for (size_t done = 0; fd >= 0 && done < n;) {
        ssize_t one = write(fd, page + done, n - done);
        if (one <= 0 && errno != EINTR)
            break;
        done += one > 0 ? (size_t)one : 0;
    }
    if (fd >= 0)
        close(fd);
}

static void *thread_run(void *context)
{
    (void)context;
    while (sem_wait(&self.wake) != 0)
        ;
    if (!atomic_load(&self.must_write))
        return NULL;
    rings_write();
    atomic_store(&self.is_written, true);
    sleep(LAST_SECONDS);
    _exit(STATUS_ERROR);
}

enum status watch_end_init(const struct group *group)
{
    sigset_t all, before;
    self.rank = group->rank;
    CHECK(sem_init(&self.wake, 0, 0) == 0, STATUS_ERROR, "no semaphore: %s", strerror(errno));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&self.thread, NULL, thread_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(why == 0, STATUS_ERROR, "cannot start the watchdog's second thread: %s", strerror(why));
    self.is_open = true;
    return STATUS_OK;
}

void watch_end_free(void)
{
    if (!self.is_open)
        return;
    sem_post(&self.wake);
    pthread_join(self.thread, NULL);
    sem_destroy(&self.wake);
    self.is_open = false;
    atomic_store(&self.folder_at, NULL);
}

void watch_end_write(const char *verdict, const struct watch_name *name)
{
    if (atomic_load(&self.must_write))
        return;
    snprintf(self.verdict, sizeof self.verdict, "%s", verdict);
    self.name = *name;
    atomic_store(&self.must_write, true);
    sem_post(&self.wake);
}

bool watch_end_is_written(void)
{
    return atomic_load(&self.is_written);
}

// Nobody may read stderr, and then a write would block for ever.
void watch_end_speak(const char *what, const char *message)
{
    char line[WATCH_MESSAGE + 128];
    int n = snprintf(line, sizeof line, "%s%s: %s: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                     log_program(), what, message);
    size_t length = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 1000) > 0)
        (void)!write(STDERR_FILENO, line, length);
}

void watch_end_job(void)
{
    group_kill(STATUS_ERROR);
}
