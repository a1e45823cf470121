// SPDX-License-Identifier: MIT
#include "trainer/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "comm/log.h"
#include "trainer/signals.h"

// Makes the folder and those it lies in.
static enum status folder_make(const char *path)
{
    char part[RUN_PATH_MAX + 32];
    CHECK(strlen(path) < sizeof part, STATUS_USAGE, "path of %zu bytes is too long", strlen(path));
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        CHECK(mkdir(part, 0777) == 0 || errno == EEXIST, STATUS_ERROR,
              "cannot make folder '%s': %s; name another with --out", part, strerror(errno));
    }
    struct stat info;
    CHECK(stat(path, &info) == 0 && S_ISDIR(info.st_mode), STATUS_ERROR, "'%s' is not a folder",
          path);
    CHECK(access(path, W_OK | X_OK) == 0, STATUS_ERROR,
          "folder '%s' is not writable: %s; name another with --out", path, strerror(errno));
    return STATUS_OK;
}

// The first runs/<name>-<n> that is not there.
static enum status name_make(char out[RUN_PATH_MAX], const char *name)
{
    char path[RUN_PATH_MAX]; // not out at once: gcc with sanitizers takes that for NULL
    for (int n = 1; n < 100000; n++) {
        int length = snprintf(path, RUN_PATH_MAX, "runs/%s-%d", name, n);
        CHECK(length > 0 && length < RUN_PATH_MAX, STATUS_USAGE, "name '%s' is too long", name);
        struct stat info;
        if (stat(path, &info) != 0) {
            memcpy(out, path, sizeof path);
            return STATUS_OK;
        }
    }
    FAIL(STATUS_ERROR, "runs/%s-1 to -99999 are all there; name a folder with --out", name);
}

static bool has_checkpoints(const char *path)
{
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        found = found || strstr(entry->d_name, ".h5") != NULL;
    if (folder)
        closedir(folder);
    return found;
}

static enum status put_aside(const struct run_folder *folder)
{
    if (!has_checkpoints(folder->checkpoints))
        return STATUS_OK;
    char to[RUN_PATH_MAX + 64];
    struct stat info;
    int n = 1;
    do
        snprintf(to, sizeof to, "%s.old-%d", folder->checkpoints, n++);
    while (stat(to, &info) == 0);
    CHECK(rename(folder->checkpoints, to) == 0, STATUS_ERROR, "cannot rename '%s' to '%s': %s",
          folder->checkpoints, to, strerror(errno));
    log_line("checkpoints of an earlier run were put aside: %s", to);
    return STATUS_OK;
}

// The system lets go of the lock when the process ends, however it ends. File systems without locks
// go without.
static enum status lock_take(struct run_folder *folder)
{
    char path[RUN_PATH_MAX + 32];
    const struct timespec pause = {.tv_nsec = 100000000};
    snprintf(path, sizeof path, "%s/.lock", folder->path);
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    for (int i = 0; folder->lock >= 0; i++) {
        if (flock(folder->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            break;
        CHECK(i < RUN_LOCK_SECONDS * 10, STATUS_ERROR,
              "another run is writing to '%s': wait for its end, or name another folder with --out",
              folder->path);
        CHECK(!signals_pending(), STATUS_STOPPED,
              "stopped by %s while another run was writing to '%s'",
              signals_describe(signals_pending()), folder->path);
        if (i == 5)
            log_warn("waiting for another run in %s to end", folder->path);
        nanosleep(&pause, NULL);
    }
    return STATUS_OK;
}

// What a killed run was writing here; never another file.
static void unfinished_remove(const struct run_folder *folder)
{
    static const char *const names[] = {"recipe.yaml.tmp", "metrics.jsonl.tmp", "metrics.csv.tmp"};
    char path[RUN_PATH_MAX + 64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder->path, names[i]);
        unlink(path);
    }
}

static enum status folder_open(struct run_folder *folder, const char *out, const char *name,
                               bool anew)
{
    if (out) {
        CHECK(out[0] && strlen(out) < sizeof folder->path, STATUS_USAGE,
              "--out: '%s' cannot be a folder's name", out);
        memcpy(folder->path, out, strlen(out) + 1);
    } else {
        TRY(name_make(folder->path, name));
    }
    folder->is_new = access(folder->path, F_OK) != 0;
    TRY(folder_make(folder->path));
    snprintf(folder->checkpoints, sizeof folder->checkpoints, "%s/checkpoints", folder->path);
    TRY(lock_take(folder));
    unfinished_remove(folder);
    return anew ? put_aside(folder) : STATUS_OK;
}

enum status run_folder_open(struct run_folder *folder, struct group *group, const char *out,
                            const char *name, bool anew)
{
    *folder = (struct run_folder){.lock = -1};
    enum status status = STATUS_OK;
    if (group->rank == 0)
        status = folder_open(folder, out, name, anew);
    TRY(group_agree(group, status));
    int lock = folder->lock;
    group_broadcast(group, folder, sizeof *folder, 0);
    folder->lock = lock;
    return STATUS_OK;
}

void run_folder_drop(const struct run_folder *folder, const struct group *group)
{
    char lock[RUN_PATH_MAX + 32];
    if (group->rank != 0 || !folder->is_new)
        return;
    snprintf(lock, sizeof lock, "%s/.lock", folder->path);
    DIR *entries = opendir(folder->path);
    bool has_begun = entries == NULL; // then recipe.yaml lies in it, and the folder stays whole
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        has_begun = has_begun || // not ., .., .lock
                    (entry->d_name[0] != '.' && strcmp(entry->d_name, "checkpoints") != 0);
    if (entries)
        closedir(entries);
    if (!has_begun && (rmdir(folder->checkpoints) == 0 || errno == ENOENT) && unlink(lock) == 0)
        rmdir(folder->path);
}

// errno of what failed, 0: written and on disk.
static int bytes_write(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), why = 0;
    if (fd < 0)
        return errno;
    for (size_t done = 0; done < n && !why;) {
        ssize_t put = write(fd, text + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            why = put < 0 ? errno : ENOSPC;
        else
            done += (size_t)put;
    }
    if (!why && fsync(fd) != 0 && errno != EINVAL)
        why = errno;
    if (close(fd) != 0 && !why)
        why = errno;
    return why;
}

static enum status text_write(const char *path, const char *text)
{
    char fresh[RUN_PATH_MAX + 64];
    snprintf(fresh, sizeof fresh, "%s.tmp", path);
    int why = bytes_write(fresh, text, strlen(text));
    if (!why && rename(fresh, path) != 0)
        why = errno;
    if (why)
        unlink(fresh);
    CHECK(!why, STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    return STATUS_OK;
}

enum status run_folder_recipe(const struct run_folder *folder, struct group *group,
                              const char *text)
{
    char path[RUN_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/recipe.yaml", folder->path);
    return group_agree(group, group->rank == 0 ? text_write(path, text) : STATUS_OK);
}
