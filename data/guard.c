// SPDX-License-Identifier: MIT
#include "data/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RESULT_FD 3 // of a spawned process
#define DESCRIPTORS 1024

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SHADOW 1
#endif
#endif
#ifndef HAS_SHADOW
#define HAS_SHADOW 0 // AddressSanitizer's is 16 TiB of address space
#endif

// What the child leaves for its parent.
struct result {
    int is_done;
    enum status status;
    unsigned seconds; // allowed
    char name[512];   // of the file being read
    char text[2048];  // of the error
};

extern char **environ;

static struct result *mine; // in a child
static time_t next_alive;   // seconds of processor time

// ---- in the child

static void limit_set(__rlimit_resource_t what, uint64_t most)
{
    struct rlimit limit;
    if (getrlimit(what, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > most)
        limit.rlim_cur = most;
    if (what != RLIMIT_CPU) // which moves with the work
        limit.rlim_max = limit.rlim_cur;
    setrlimit(what, &limit);
}

static uint64_t memory_now(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static time_t processor_seconds(void)
{
    struct timespec time = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec;
}

void guard_alive(void)
{
    struct rlimit limit;
    time_t now = mine ? processor_seconds() : 0;
    if (!mine || now < next_alive || getrlimit(RLIMIT_CPU, &limit) != 0)
        return;
    next_alive = now + 1;
    rlim_t most = (rlim_t)now + mine->seconds;
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    setrlimit(RLIMIT_CPU, &limit);
}

void guard_name(const char *file)
{
    if (mine)
        snprintf(mine->name, sizeof mine->name, "%s", file);
}

static _Noreturn void child_run(struct result *result, uint64_t memory,
                                enum status (*work)(void *context), void *context)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
    mine = result;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], SIG_DFL);
    limit_set(RLIMIT_CORE, 0);
    limit_set(RLIMIT_NOFILE, DESCRIPTORS);
    if (!HAS_SHADOW)
        limit_set(RLIMIT_AS, memory_now() + memory);
    next_alive = 0;
    guard_alive();
    result->status = work(context);
    snprintf(result->text, sizeof result->text, "%s", error_text());
    result->is_done = 1;
    fflush(NULL);
    _exit(0);
}

void guard_main(int argc, char **argv, enum status (*work)(void *arguments))
{
    if (argc < 2 || strcmp(argv[0], GUARD_PROGRAM) != 0)
        return;
    struct result *result =
        mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED, RESULT_FD, 0);
    if (result == MAP_FAILED)
        _exit(1);
    close(RESULT_FD);
    child_run(result, GUARD_MEMORY, work, argv + 1);
}

// ---- in the parent

void *guard_share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void guard_unshare(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes);
}

// Waits for the child. A request to stop is handed on once; the child cleans up and ends, or, where
// it sits in a library that does not come back, is killed after a while.
static int child_wait(pid_t child, const volatile sig_atomic_t *stop)
{
    const int patience = 2500; // turns of 2 ms
    int told = 0;
    for (int state = 0;;) {
        pid_t got = waitpid(child, &state, stop ? WNOHANG : 0);
        if (got == child)
            return state;
        if (got < 0 && errno != EINTR)
            return -1;
        if (stop && *stop && told++ == 0)
            kill(child, SIGTERM);
        if (told == patience)
            kill(child, SIGKILL);
        if (stop && got == 0)
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static enum status outcome(struct result *result, int state, bool is_stopped)
{
    result->name[sizeof result->name - 1] = result->text[sizeof result->text - 1] = 0;
    const char *name = result->name;
    int number = state != -1 && WIFSIGNALED(state) ? WTERMSIG(state) : 0;
    CHECK(!is_stopped || number == 0, STATUS_ERROR, "interrupted: nothing written");
    CHECK(number != SIGXCPU, STATUS_DATA,
          "%s: reading it took more than %u s of processor time without a step ahead: the file is"
          " damaged or hostile",
          name, result->seconds);
    CHECK(number != SIGKILL, STATUS_DATA,
          "%s: the process that read it was killed (no memory left?)", name);
    CHECK(number == 0, STATUS_DATA, "%s: reading it crashed (%s): the file is damaged or hostile",
          name, strsignal(number));
    CHECK(result->is_done, STATUS_DATA, "%s: the process that read it ended too early", name);
    if (result->status != STATUS_OK)
        FAIL(result->status, "%s", result->text);
    return STATUS_OK;
}

static bool is_stopped(const struct guard *guard)
{
    return guard->stop && *guard->stop;
}

static void result_init(struct result *result, const struct guard *guard)
{
    result->seconds = guard->seconds ? guard->seconds : GUARD_SECONDS;
    snprintf(result->name, sizeof result->name, "%s", guard->name);
}

enum status guard_run(const struct guard *guard, pid_t *child)
{
    struct result *result = guard_share(sizeof *result);
    CHECK(result, STATUS_ERROR, "out of memory: %s", guard->name);
    result_init(result, guard);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child_run(result, guard->memory ? guard->memory : GUARD_MEMORY, guard->work,
                  guard->context);
    enum status status = STATUS_OK;
    if (pid < 0) {
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "%s: no process to read it: %s",
                           guard->name, strerror(errno));
    } else {
        int state = child_wait(pid, guard->stop);
        status = outcome(result, state, is_stopped(guard));
    }
    if (child)
        *child = pid;
    guard_unshare(result, sizeof *result);
    return status;
}

static enum status spawn(const struct guard *guard, const char *const *arguments, int fd,
                         struct result *result)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *argv[8] = {NULL};
    pid_t pid = -1;
    for (int i = 0; i < 7 && arguments[i]; i++)
        memcpy(&argv[i], &arguments[i], sizeof *argv); // posix_spawn takes them unchanged
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int code = posix_spawn_file_actions_adddup2(&actions, fd, RESULT_FD);
    // A group of its own: launchers and terminals signal groups, which is for the parent to obey.
    if (code == 0)
        code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (code == 0)
        code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    CHECK(code == 0, STATUS_ERROR, "%s: no process to read it: %s", guard->name, strerror(code));
    int state = child_wait(pid, guard->stop);
    return outcome(result, state, is_stopped(guard));
}

enum status guard_spawn(const struct guard *guard, const char *const *arguments)
{
    struct result *result = MAP_FAILED;
    int low = memfd_create(GUARD_PROGRAM, MFD_CLOEXEC);
    int fd = low >= 0 ? fcntl(low, F_DUPFD_CLOEXEC, RESULT_FD + 1) : -1; // dup2 to itself: closed
    if (fd >= 0 && ftruncate(fd, sizeof *result) == 0)
        result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    enum status status = STATUS_OK;
    if (result == MAP_FAILED) {
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "%s: no process to read it: %s",
                           guard->name, strerror(errno));
    } else {
        result_init(result, guard);
        status = spawn(guard, arguments, fd, result);
        guard_unshare(result, sizeof *result);
    }
    if (fd >= 0)
        close(fd);
    if (low >= 0)
        close(low);
    return status;
}
