// SPDX-License-Identifier: MIT
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_SLOTS 4

static char paths[N_SLOTS][64];
static pid_t owner;

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "fuzz: %s: %s\n", what, why);
    abort();
}

static void files_remove(void)
{
    for (int i = 0; i < N_SLOTS && getpid() == owner; i++)
        if (paths[i][0])
            unlink(paths[i]);
}

// In memory where that is possible: thousands are written a second.
static const char *slot_path(int slot)
{
    if (!paths[slot][0]) {
        const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        if (!owner)
            atexit(files_remove);
        owner = getpid();
        snprintf(paths[slot], sizeof paths[slot], "%s/sw2-fuzz-%d-%d.h5", folder, (int)owner, slot);
    }
    return paths[slot];
}

const char *fuzz_file(int slot, const uint8_t *data, size_t n)
{
    const char *path = slot_path(slot);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        give_up(path, strerror(errno));
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, data + done, n - done);
        if (put < 0)
            give_up(path, strerror(errno));
        done += (size_t)put;
    }
    close(fd);
    return path;
}

void fuzz_expect(enum status status)
{
    if (status == STATUS_OK)
        return;
    const char *text = error_text();
    // STATUS_ERROR: memory that is not there.
    bool is_known = status == STATUS_DATA || status == STATUS_USAGE || status == STATUS_ERROR;
    if (!is_known || !text[0] || strchr(text, '\n'))
        give_up("a failure without a proper message", text);
}

uint8_t *fuzz_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        give_up("copy", "out of memory");
    if (n > 0)
        memcpy(copy, data, n);
    return copy;
}
