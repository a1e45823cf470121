// SPDX-License-Identifier: MIT
// The folder of checkpoints: its names, what a killed run left in it, and how many files are kept.
// Local functions for rank 0, but for checkpoint_folder_open.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/checkpoint_private.h"

// "step-0000000123.h5": ten digits or more.
static bool name_is_step(const char *name, uint64_t *step)
{
    if (strncmp(name, "step-", 5) != 0)
        return false;
    size_t digits = strspn(name + 5, "0123456789");
    *step = 0;
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(*step, 10, step) ||
            __builtin_add_overflow(*step, (uint64_t)(name[5 + i] - '0'), step))
            return false;
    return digits >= 10 && strcmp(name + 5 + digits, ".h5") == 0;
}

// What is not yet, and now never will be, a checkpoint: "step-0000000123.h5.tmp.4711".
static bool name_is_temporary(const char *name)
{
    const char *end = strstr(name, ".h5.tmp.");
    return end &&
           (strncmp(name, "step-", 5) == 0 || (strncmp(name, "best", 4) == 0 && end == name + 4));
}

void folder_step_name(const char *folder, uint64_t step, char *path, size_t room)
{
    int n = snprintf(path, room, "%s/step-%010" PRIu64 ".h5", folder, step);
    ASSERT(n > 0 && (size_t)n < room);
}

char *folder_step_path(const char *folder, uint64_t step)
{
    size_t room = strlen(folder) + 40;
    char *path = malloc(room);
    if (path)
        folder_step_name(folder, step, path, room);
    return path;
}

static int step_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum status steps_read(DIR *dir, const char *folder, uint64_t **steps, size_t *n)
{
    size_t capacity = 0;
    for (struct dirent *entry; (errno = 0, entry = readdir(dir)) != NULL;) {
        uint64_t step;
        if (!name_is_step(entry->d_name, &step))
            continue;
        if (*n == capacity) {
            capacity = 2 * capacity + 16;
            uint64_t *more = realloc(*steps, capacity * sizeof **steps);
            CHECK(more, STATUS_ERROR, "out of memory: names of %s", folder);
            *steps = more;
        }
        (*steps)[(*n)++] = step;
    }
    CHECK(errno == 0, STATUS_ERROR, "cannot read folder %s: %s", folder, strerror(errno));
    if (*n > 1)
        qsort(*steps, *n, sizeof **steps, step_compare);
    return STATUS_OK;
}

enum status folder_steps(const char *folder, uint64_t **steps, size_t *n)
{
    *steps = NULL;
    *n = 0;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT)
        return STATUS_OK;
    CHECK(dir, STATUS_ERROR, "cannot read folder %s: %s", folder, strerror(errno));
    enum status status = steps_read(dir, folder, steps, n);
    closedir(dir);
    if (status != STATUS_OK) {
        free(*steps);
        *steps = NULL;
        *n = 0;
    }
    return status;
}

enum status folder_prune(const char *folder, uint64_t step, size_t keep)
{
    uint64_t *steps;
    size_t n;
    TRY(folder_steps(folder, &steps, &n));
    while (n > 0 && steps[n - 1] > step)
        n--;
    enum status status = STATUS_OK;
    for (size_t i = 0; keep > 0 && i + keep < n && status == STATUS_OK; i++) {
        char *path = folder_step_path(folder, steps[i]);
        if (!path || (unlink(path) != 0 && errno != ENOENT))
            status =
                error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot remove old checkpoint %s: %s",
                          path ? path : folder, strerror(errno));
        free(path);
    }
    free(steps);
    return status;
}

enum status folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0, STATUS_ERROR, "cannot open folder %s: %s", folder, strerror(errno));
    int result = fsync(fd);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS))
        result = 0; // file systems that cannot, need not
    int why = errno;
    close(fd);
    CHECK(result == 0, STATUS_ERROR, "cannot write folder %s: %s", folder, strerror(why));
    return STATUS_OK;
}

static enum status folder_make(const char *folder)
{
    char *path = strdup(folder);
    CHECK(path, STATUS_ERROR, "out of memory: name of folder %s", folder);
    int result = 0;
    for (char *slash = path; result == 0 && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            result = errno;
        if (slash)
            *slash = '/';
    }
    free(path);
    struct stat stat_of;
    if (result == 0 && stat(folder, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode))
        result = ENOTDIR;
    if (result == 0 && access(folder, W_OK | X_OK) != 0)
        result = errno;
    CHECK(result == 0, STATUS_ERROR, "cannot write to folder %s: %s", folder, strerror(result));
    return STATUS_OK;
}

// Only regular files with names this program gives.
static enum status folder_clean(const char *folder)
{
    DIR *dir = opendir(folder);
    CHECK(dir, STATUS_ERROR, "cannot read folder %s: %s", folder, strerror(errno));
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (name_is_temporary(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
            n++;
    closedir(dir);
    if (n > 0)
        log_line("removed %zu unfinished checkpoint%s that a killed run left in %s", n,
                 n == 1 ? "" : "s", folder);
    return STATUS_OK;
}

enum status checkpoint_folder_open(struct group *group, const char *folder)
{
    enum status status = STATUS_OK;
    if (group->rank == 0) {
        status = folder_make(folder);
        if (status == STATUS_OK)
            status = folder_clean(folder);
    }
    return group_agree(group, status);
}
