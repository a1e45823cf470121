// SPDX-License-Identifier: MIT
#include "comm/outputs.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum status outputs_find(const char *asked, pid_t pid, char **path, char **fresh)
{
    struct stat there, name;
    bool is_there = stat(asked, &there) == 0 && lstat(asked, &name) == 0;
    bool is_special = is_there && !S_ISREG(there.st_mode);
    bool is_link = is_there && !is_special && S_ISLNK(name.st_mode);
    *fresh = NULL;
    *path = is_link ? realpath(asked, NULL) : strdup(asked);
    bool is_made = *path && (is_special || asprintf(fresh, "%s.tmp.%ld", *path, (long)pid) >= 0);
    if (!is_made) {
        free(*path);
        *path = *fresh = NULL;
    }
    CHECK(is_made, STATUS_ERROR, "out of memory: name of '%s'", asked);
    return STATUS_OK;
}

// The file of "FILE" or "FILE:/OBJECT".
static bool input_stat(const char *input, struct stat *out)
{
    if (stat(input, out) == 0)
        return true;
    const char *object = strrchr(input, ':');
    char *file = object ? strndup(input, (size_t)(object - input)) : NULL;
    bool is_there = file && stat(file, out) == 0;
    free(file);
    return is_there;
}

enum status outputs_check(const char *output, const char *const *inputs, size_t n)
{
    struct stat out, in;
    if (!output || strcmp(output, "-") == 0 || stat(output, &out) != 0 || !S_ISREG(out.st_mode))
        return STATUS_OK;
    for (size_t i = 0; i < n; i++)
        CHECK(!inputs[i] || !input_stat(inputs[i], &in) || in.st_dev != out.st_dev ||
                  in.st_ino != out.st_ino,
              STATUS_USAGE,
              "'%s' is read from ('%s') and would be lost: name another file to write", output,
              inputs[i]);
    return STATUS_OK;
}
