// SPDX-License-Identifier: MIT
// Shared windows by memfd_create; a rank opens another's through /proc. Whatever does not work is
// found out here and agreed on; then there is no shared memory, and messages do as well.
#include "comm/shared.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "comm/memory.h"
#include "comm/rehearsal.h"

#define PAGE ((size_t)4096)

// The first page of a window: that another rank opened the right file.
struct shared_seat {
    uint64_t token, bytes;
    int32_t pid, fd; // fd < 0: no window
};

struct shared {
    int size, rank;
    struct shared_seat *seats; // (size)
    void **windows;            // (size) NULL: not mapped
};

enum status shared_environment_check(void)
{
    const char *text = getenv("SW2_SHARED");
    CHECK(!text || !text[0] || strcmp(text, "on") == 0 || strcmp(text, "off") == 0, STATUS_USAGE,
          "environment variable SW2_SHARED is '%s', expected on or off", text);
    return STATUS_OK;
}

bool shared_is_wanted(const struct group *group)
{
    const char *text = getenv("SW2_SHARED");
    return !rehearsal_is_built() && group->size > 1 && group->local_size == group->size &&
           !(text && strcmp(text, "off") == 0);
}

// Own window, with the seat written into it.
static bool window_make(struct shared *shared, size_t bytes)
{
    struct shared_seat *seat = &shared->seats[shared->rank];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seat->token = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec << 12 ^ (uint64_t)getpid();
    seat->bytes = (bytes + 2 * PAGE - 1) / PAGE * PAGE;
    seat->pid = (int32_t)getpid();
    seat->fd = memfd_create("sw2-train", MFD_CLOEXEC);
    if (seat->fd < 0 || ftruncate(seat->fd, (off_t)seat->bytes) != 0)
        return false;
    void *at = mmap(NULL, seat->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, seat->fd, 0);
    if (at == MAP_FAILED)
        return false;
    madvise(at, seat->bytes, MADV_HUGEPAGE); // where the kernel has them for such memory
    memset(at, 0, seat->bytes);              // all of it is there before the first step
    memcpy(at, seat, sizeof *seat);
    shared->windows[shared->rank] = at;
    return true;
}

static bool window_open(struct shared *shared, int rank)
{
    const struct shared_seat *seat = &shared->seats[rank];
    const struct shared_seat *own = &shared->seats[shared->rank];
    if (seat->fd < 0 || seat->pid == own->pid) // ranks in one process are simulated ones
        return false;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)seat->pid, (int)seat->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    struct stat info;
    void *at = MAP_FAILED;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == seat->bytes)
        at = mmap(NULL, seat->bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return false;
    shared->windows[rank] = at;
    return memcmp(at, seat, sizeof *seat) == 0;
}

// The answer is yes only where it is yes on all ranks.
static bool all_agree(struct shared *shared, struct group *group, bool mine, char *answers)
{
    char one = mine;
    group_allgather(group, &one, 1, answers);
    bool all = true;
    for (int rank = 0; rank < shared->size; rank++)
        all = all && answers[rank];
    return all;
}

static bool windows_open(struct shared *shared, struct group *group, size_t bytes, char *answers)
{
    struct shared_seat *own = &shared->seats[shared->rank];
    own->fd = -1;
    bool is_well = window_make(shared, bytes);
    struct shared_seat mine = *own;
    group_allgather(group, &mine, sizeof mine, shared->seats);
    for (int rank = 0; rank < shared->size && is_well; rank++)
        is_well = rank == shared->rank || window_open(shared, rank);
    is_well = all_agree(shared, group, is_well, answers); // now nobody opens any more
    if (mine.fd >= 0)
        close(mine.fd);
    return is_well;
}

enum status shared_init(struct shared **out, struct group *group, size_t bytes)
{
    struct shared *shared = NULL;
    char *answers = NULL;
    *out = NULL;
    if (group->size == 1)
        return STATUS_OK;
    size_t size = (size_t)group->size;
    enum status status = memory_alloc(&shared, 1, sizeof *shared, "shared memory");
    if (status == STATUS_OK)
        status = memory_alloc(&shared->seats, size, sizeof *shared->seats, "shared memory");
    if (status == STATUS_OK)
        status = memory_alloc(&shared->windows, size, sizeof *shared->windows, "shared memory");
    if (status == STATUS_OK)
        status = memory_alloc(&answers, size, 1, "shared memory");
    status = group_agree(group, status);
    if (status == STATUS_OK) {
        shared->size = group->size;
        shared->rank = group->rank;
        if (all_agree(shared, group, shared_is_wanted(group), answers) &&
            windows_open(shared, group, bytes, answers))
            *out = shared;
    }
    free(answers);
    if (!*out)
        shared_free(shared);
    return status;
}

void shared_free(struct shared *shared)
{
    if (!shared)
        return;
    for (int rank = 0; shared->windows && rank < shared->size; rank++)
        if (shared->windows[rank])
            munmap(shared->windows[rank], shared->seats[rank].bytes);
    free(shared->seats);
    free(shared->windows);
    free(shared);
}

void *shared_own(const struct shared *shared)
{
    return (char *)shared->windows[shared->rank] + PAGE;
}

const void *shared_of(const struct shared *shared, int rank)
{
    return (const char *)shared->windows[rank] + PAGE;
}
