// SPDX-License-Identifier: MIT
// LD_PRELOAD library: counts this process's system calls on files whose name holds a text, and at
// the n-th of them kills the process or lets the call fail. For e2e_torture.sh and
// scripts/torture.sh. Environment:
//   SW2_FAULT_MATCH   text in the path, "/checkpoints" (calls on descriptors opened there count)
//   SW2_FAULT_EXCEPT  text that must not be in the path
//   SW2_FAULT_AT      the call, from 1; 0: only count
//   SW2_FAULT_DO      kill, tear (half of a write is done, then killed), or an error: EIO, ENOSPC,
//                     EROFS, EDQUOT, EACCES
//   SW2_FAULT_FOR     how many calls fail, 0: all from then on (1)
//   SW2_FAULT_COUNT   file that gets the number of calls when the process ends
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 4096

static atomic_bool is_ours[FILES];
static atomic_ulong calls;
static const char *match, *except;
static unsigned long at, many;
static int fails_with; // errno; 0: kill
static bool is_tear;

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
    static const struct {
        const char *name;
        int number;
    } errors[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES},
    };
    const char *what = getenv("SW2_FAULT_DO");
    match = getenv("SW2_FAULT_MATCH");
    except = getenv("SW2_FAULT_EXCEPT");
    at = number_of("SW2_FAULT_AT", 0);
    many = number_of("SW2_FAULT_FOR", 1);
    is_tear = what && strcmp(what, "tear") == 0;
    for (size_t i = 0; what && i < sizeof errors / sizeof errors[0]; i++)
        if (strcmp(what, errors[i].name) == 0)
            fails_with = errors[i].number;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("SW2_FAULT_COUNT");
    if (!path || !match || atomic_load(&calls) == 0)
        return;
    match = NULL;
    FILE *file = fopen(path, "w");
    if (file) {
        fprintf(file, "%lu\n", atomic_load(&calls));
        fclose(file);
    }
}

static bool path_is_ours(const char *path)
{
    return match && path && strstr(path, match) && !(except && strstr(path, except));
}

static bool fd_is_ours(int fd)
{
    return match && fd >= 0 && fd < FILES && atomic_load(&is_ours[fd]);
}

static void fd_mark(int fd, bool value)
{
    if (fd >= 0 && fd < FILES)
        atomic_store(&is_ours[fd], value);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

// The next call of ours. True: it must fail, errno is set. tears: a write that can be torn.
static bool fault_is_now(bool tears)
{
    unsigned long n = atomic_fetch_add(&calls, 1) + 1;
    if (at == 0 || n < at || (fails_with && many > 0 && n >= at + many))
        return false;
    if (fails_with) {
        errno = fails_with;
        return true;
    }
    if (is_tear && tears)
        return true;
    die();
    return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define PATH_CALL(type, name, parameters, arguments, path, failed)                                 \
    type name parameters                                                                           \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        return path_is_ours(path) && fault_is_now(false) ? failed : real arguments;                \
    }
PATH_CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), path, -1)
PATH_CALL(int, unlink, (const char *path), (path), path, -1)
PATH_CALL(int, rename, (const char *path, const char *to), (path, to), path, -1)
PATH_CALL(int, link, (const char *path, const char *to), (path, to), path, -1)
PATH_CALL(int, access, (const char *path, int mode), (path, mode), path, -1)
PATH_CALL(int, stat, (const char *path, struct stat *info), (path, info), path, -1)

#define FD_CALL(type, name, parameters, arguments)                                                 \
    type name parameters                                                                           \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        return fd_is_ours(fd) && fault_is_now(false) ? -1 : real arguments;                        \
    }
FD_CALL(int, fsync, (int fd), (fd))
FD_CALL(int, fdatasync, (int fd), (fd))
FD_CALL(int, ftruncate, (int fd, off_t n), (fd, n))
FD_CALL(int, fstat, (int fd, struct stat *info), (fd, info))
FD_CALL(off_t, lseek, (int fd, off_t to, int how), (fd, to, how))
FD_CALL(ssize_t, read, (int fd, void *bytes, size_t n), (fd, bytes, n))
FD_CALL(ssize_t, pread, (int fd, void *bytes, size_t n, off_t from), (fd, bytes, n, from))
FD_CALL(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))

// Half of a write, then death.
#define WRITE_CALL(name, parameters, arguments, half)                                              \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        if (!fd_is_ours(fd) || !fault_is_now(true))                                                \
            return real arguments;                                                                 \
        if (fails_with)                                                                            \
            return -1;                                                                             \
        (void)!real half;                                                                          \
        die();                                                                                     \
        return -1;                                                                                 \
    }
WRITE_CALL(write, (int fd, const void *bytes, size_t n), (fd, bytes, n), (fd, bytes, n / 2))
WRITE_CALL(pwrite, (int fd, const void *bytes, size_t n, off_t to), (fd, bytes, n, to),
           (fd, bytes, n / 2, to))

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (!real)
        real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    bool ours = path_is_ours(path);
    if (ours && fault_is_now(false))
        return -1;
    int fd = real(path, flags, mode);
    fd_mark(fd, ours && fd >= 0);
    return fd;
}

DIR *opendir(const char *path)
{
    static DIR *(*real)(const char *);
    if (!real)
        real = REAL(opendir);
    if (path_is_ours(path) && fault_is_now(false))
        return NULL;
    DIR *dir = real(path);
    if (dir)
        fd_mark(dirfd(dir), path_is_ours(path));
    return dir;
}

int closedir(DIR *dir)
{
    static int (*real)(DIR *);
    if (!real)
        real = REAL(closedir);
    fd_mark(dirfd(dir), false);
    return real(dir);
}

// A failed close closes all the same, as Linux does.
int close(int fd)
{
    static int (*real)(int);
    if (!real)
        real = REAL(close);
    bool fails = fd_is_ours(fd) && fault_is_now(false);
    int why = errno;
    fd_mark(fd, false);
    int result = real(fd);
    if (!fails)
        return result;
    errno = why;
    return -1;
}

#if defined(__GLIBC__) && __WORDSIZE == 64 // the same calls under their second names
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t pread64(int fd, void *bytes, size_t n, off_t from) __attribute__((alias("pread")));
ssize_t pwrite64(int fd, const void *b, size_t n, off_t to) __attribute__((alias("pwrite")));
int ftruncate64(int fd, off_t n) __attribute__((alias("ftruncate")));
off_t lseek64(int fd, off_t to, int how) __attribute__((alias("lseek")));
#endif
