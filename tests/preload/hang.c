// SPDX-License-Identifier: MIT
// Loaded before a program (LD_PRELOAD), makes one rank hang as soon as a file appears:
//   SW2_HANG=RANK:KIND:FILE   KIND loop:   the main thread computes for ever, inside a grain
//                                  worker: another thread does
//                                  stderr: as loop, then the output is full, and nobody reads it
//                                  read:   pread blocks, as from a file server that is gone
//                                  slow:   each pread takes half a second
// For e2e_hang.sh.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static char kind[16];
static const char *file;
static atomic_bool is_on, is_in_loop;

static void output_fill(void)
{
    int ends[2];
    if (pipe(ends) != 0)
        return;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], "full", 4) > 0)
        ;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
    dup2(ends[1], STDOUT_FILENO);
}

static void *wait_run(void *context)
{
    (void)context;
    while (access(file, F_OK) != 0)
        usleep(10000);
    atomic_store(&is_on, true);
    if (strcmp(kind, "stderr") == 0) { // not before: the main thread would wait for a reader
        while (!atomic_load(&is_in_loop))
            usleep(1000);
        output_fill();
    }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    static char text[4096];
    const char *what = getenv("SW2_HANG"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    rank = rank ? rank : getenv("PMI_RANK");
    int wanted = -1, used = 0;
    snprintf(text, sizeof text, "%s", what ? what : "");
    if (sscanf(text, "%d:%15[a-z]:%n", &wanted, kind, &used) < 2 || used == 0 ||
        wanted != (rank ? atoi(rank) : 0))
        return;
    file = text + used;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_run, NULL);
}

static bool is_worker(void)
{
    char name[32] = "";
    return prctl(PR_GET_NAME, name) == 0 && strncmp(name, "worker", 6) == 0;
}

static bool must_loop(void *caller)
{
    Dl_info info;
    if (strcmp(kind, "worker") == 0
            ? !is_worker()
            : syscall(SYS_gettid) != getpid() ||
                  (strcmp(kind, "loop") != 0 && strcmp(kind, "stderr") != 0))
        return false;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "sw2-");
}

// A convolution's backward calls it, and so do many others.
void *memset(void *to, int value, size_t n)
{
    volatile unsigned char *at = to;
    if (atomic_load_explicit(&is_on, memory_order_relaxed))
        for (volatile unsigned long i = 0; must_loop(__builtin_return_address(0)); i++)
            atomic_store_explicit(&is_in_loop, true, memory_order_relaxed);
    for (size_t i = 0; i < n; i++)
        at[i] = (unsigned char)value;
    return to;
}

static void delay(void)
{
    int ends[2];
    char byte;
    if (!atomic_load(&is_on))
        return;
    if (strcmp(kind, "slow") == 0)
        usleep(500000);
    else if (strcmp(kind, "read") == 0 && pipe(ends) == 0)
        (void)!read(ends[0], &byte, 1);
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    delay();
    return syscall(SYS_pread64, fd, to, n, at);
}

ssize_t pread64(int fd, void *to, size_t n, off_t at)
{
    delay();
    return syscall(SYS_pread64, fd, to, n, at);
}
