// SPDX-License-Identifier: MIT
#include "trainer/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/log.h"

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
static enum status name_make(char path[RUN_PATH_MAX], const char *name)
{
    for (int n = 1; n < 100000; n++) {
        int length = snprintf(path, RUN_PATH_MAX, "runs/%s-%d", name, n);
        CHECK(length > 0 && length < RUN_PATH_MAX, STATUS_USAGE, "name '%s' is too long", name);
        struct stat info;
        if (stat(path, &info) != 0)
            return STATUS_OK;
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
    TRY(folder_make(folder->path));
    snprintf(folder->checkpoints, sizeof folder->checkpoints, "%s/checkpoints", folder->path);
    return anew ? put_aside(folder) : STATUS_OK;
}

enum status run_folder_open(struct run_folder *folder, struct group *group, const char *out,
                            const char *name, bool anew)
{
    *folder = (struct run_folder){0};
    enum status status = STATUS_OK;
    if (group->rank == 0)
        status = folder_open(folder, out, name, anew);
    TRY(group_agree(group, status));
    group_broadcast(group, folder, sizeof *folder, 0);
    return STATUS_OK;
}

static enum status text_write(const char *path, const char *text)
{
    char fresh[RUN_PATH_MAX + 64];
    snprintf(fresh, sizeof fresh, "%s.tmp.%ld", path, (long)getpid());
    FILE *file = fopen(fresh, "w");
    CHECK(file, STATUS_ERROR, "cannot write '%s': %s", fresh, strerror(errno));
    bool is_good = fputs(text, file) >= 0;
    is_good = fflush(file) == 0 && is_good;
    is_good = fsync(fileno(file)) == 0 && is_good;
    is_good = fclose(file) == 0 && is_good;
    is_good = is_good && rename(fresh, path) == 0;
    if (!is_good) {
        int why = errno;
        unlink(fresh);
        FAIL(STATUS_ERROR, "cannot write '%s': %s", path, strerror(why));
    }
    return STATUS_OK;
}

enum status run_folder_recipe(const struct run_folder *folder, struct group *group,
                              const char *text)
{
    char path[RUN_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/recipe.yaml", folder->path);
    return group_agree(group, group->rank == 0 ? text_write(path, text) : STATUS_OK);
}
