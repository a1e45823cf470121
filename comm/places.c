// SPDX-License-Identifier: MIT
#include "comm/places.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *places_share(void)
{
    static char share[4200];
    if (share[0])
        return share;
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    snprintf(share, sizeof share, "%s/%s", program, SW2_SHARE_FROM_BIN);
    struct stat info;
    if (!slash || stat(share, &info) != 0 || !S_ISDIR(info.st_mode))
        snprintf(share, sizeof share, "%s", SW2_DATADIR);
    return share;
}
