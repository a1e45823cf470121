// SPDX-License-Identifier: MIT
// The order of collectives. In a file that all ranks of the host map, each sequence is an array of
// slots: the first rank that comes writes into the slot what it calls, the others compare. There is
// a sequence for each communicator, and one for the blocking calls on all communicators of all
// ranks, since these wait for each other.
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/pmpi/layer.h"

enum { MAX_COMMS = 64, MAX_CALLS = 16384 };

struct slot {
    _Atomic uint32_t state; // 0 empty, 1 being written, 2 written
    _Atomic uint32_t arrivals;
    int rank;
    char text[84];
};

struct sequence {
    struct slot slots[MAX_CALLS];
};

static struct {
    const char *folder;
    int rank, size;
    struct sequence *sequences; // [0]: blocking calls of all; [1 + number]: a communicator's
    long counts[MAX_COMMS];     // slots that this rank has used
    MPI_Comm comms[MAX_COMMS];  // by number: in order of their making
    bool is_checked[MAX_COMMS]; // it has all ranks
    int n_comms;
} self;

static _Noreturn void violate(const char *text)
{
    char line[512];
    int n = snprintf(line, sizeof line, "pmpi: rank %d: %s\n", self.rank, text);
    if (write(STDERR_FILENO, line, (size_t)n) != n)
        abort();
    PMPI_Abort(MPI_COMM_WORLD, PMPI_EXIT_ORDER);
    _exit(PMPI_EXIT_ORDER);
}

void order_start(void)
{
    // A call that fails is one that the other ranks made: there is no order to check.
    self.folder = getenv("PMPI_FAIL") ? NULL : getenv("PMPI_DIR");
    if (!self.folder)
        return;
    PMPI_Comm_rank(MPI_COMM_WORLD, &self.rank);
    PMPI_Comm_size(MPI_COMM_WORLD, &self.size);
    char path[4096];
    snprintf(path, sizeof path, "%s/order", self.folder);
    size_t bytes = sizeof *self.sequences * MAX_COMMS;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        violate("no file for the order in PMPI_DIR");
    self.sequences = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (self.sequences == MAP_FAILED)
        violate("the file for the order can't be mapped");
    order_add(MPI_COMM_WORLD);
}

void order_add(MPI_Comm comm)
{
    if (!self.folder)
        return;
    if (self.n_comms == MAX_COMMS - 1)
        violate("more communicators than the order check has room for");
    int size = 0;
    PMPI_Comm_size(comm, &size);
    self.comms[self.n_comms] = comm;
    self.is_checked[self.n_comms++] = size == self.size;
}

static int find(MPI_Comm comm)
{
    for (int i = 0; i < self.n_comms; i++)
        if (self.comms[i] == comm)
            return i;
    violate("a collective on a communicator that was never made, or was freed");
}

void order_drop(MPI_Comm comm)
{
    if (self.folder)
        self.comms[find(comm)] = MPI_COMM_NULL; // its number is not used again
}

static void compare(int sequence, const char *what, const char *text)
{
    long i = self.counts[sequence]++;
    if (i >= MAX_CALLS)
        violate("more collectives than the order check has room for");
    struct slot *slot = &self.sequences[sequence].slots[i];
    uint32_t empty = 0;
    if (atomic_compare_exchange_strong(&slot->state, &empty, 1)) {
        slot->rank = self.rank;
        snprintf(slot->text, sizeof slot->text, "%s", text);
        atomic_store(&slot->state, 2);
    }
    while (atomic_load(&slot->state) != 2)
        usleep(10);
    atomic_fetch_add(&slot->arrivals, 1);
    char line[400];
    if (strcmp(slot->text, text) != 0) {
        snprintf(line, sizeof line, "collective %ld %s is %s, of rank %d %s", i + 1, what, text,
                 slot->rank, slot->text);
        violate(line);
    }
}

void order_check(MPI_Comm comm, bool is_blocking, const char *name, long bytes, int root)
{
    if (!self.folder)
        return;
    int number = find(comm);
    if (!self.is_checked[number])
        return;
    char text[84], what[40];
    snprintf(text, sizeof text, "%s(%ld bytes, root %d, communicator %d)", name, bytes, root,
             number);
    snprintf(what, sizeof what, "on communicator %d", number);
    compare(1 + number, what, text);
    if (is_blocking)
        compare(0, "of all that block", text);
}

// Ranks come here together, so that what only some have called is known.
void order_finish(long messages)
{
    if (!self.folder)
        return;
    PMPI_Barrier(MPI_COMM_WORLD);
    long collectives = 0;
    for (int s = 0; s <= self.n_comms; s++) {
        for (long i = 0; i < self.counts[s]; i++) {
            struct slot *slot = &self.sequences[s].slots[i];
            uint32_t arrivals = atomic_load(&slot->arrivals);
            collectives += s > 0;
            char line[400];
            snprintf(line, sizeof line, "%s was called by %u of %d ranks", slot->text, arrivals,
                     self.size);
            if (arrivals != (uint32_t)self.size)
                violate(line);
        }
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/calls.%d", self.folder, self.rank);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%ld %ld %ld\n", inject_calls(), collectives, messages) < 0 ||
        fclose(file) != 0)
        violate("calls.RANK can't be written");
}
