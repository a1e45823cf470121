// SPDX-License-Identifier: MIT
// Reading of files that may come from anywhere, in a child process with limits: no core file, no
// new privileges, bounded memory, descriptors and processor time. A crash, a hang or a limit there
// is one error here, naming the file that was being read. Called by import_guard.c and preflight.c.
#ifndef SW2_DATA_GUARD_H
#define SW2_DATA_GUARD_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "comm/error.h"

#define GUARD_MEMORY ((uint64_t)4 << 30) // address space beyond what the process has
#define GUARD_SECONDS 60                 // of processor time between two steps ahead

struct guard {
    const char *name; // of what is read, for messages: as long as guard_name was not called
    enum status (*work)(void *context);
    void *context;
    uint64_t memory;                   // bytes; 0: GUARD_MEMORY
    unsigned seconds;                  // 0: GUARD_SECONDS
    const volatile sig_atomic_t *stop; // not 0: the child gets SIGTERM; may be NULL
};

// Runs work in a forked child and waits for it. Returns its status, with its error text; a child
// that ends otherwise is STATUS_DATA. What work changes in memory is lost, but for memory of
// guard_share. *child (may be NULL) is the number of the process, which then is no more.
enum status guard_run(const struct guard *guard, pid_t *child);
// The same in a new process of this very program (for processes that must not fork: with MPI, pages
// known to a network card must not be copied), which hands its arguments to guard_main. arguments:
// NULL-ended; [0] is GUARD_PROGRAM.
#define GUARD_PROGRAM "sw2-guarded"
enum status guard_spawn(const struct guard *guard, const char *const *arguments);
// Before or first in main: does the work of guard_spawn, and does not return, if this is its
// process.
void guard_main(int argc, char **argv, enum status (*work)(void *arguments));

void *guard_share(size_t bytes); // zeroed memory that parent and child see; NULL: none left
void guard_unshare(void *memory, size_t bytes); // memory may be NULL

// In the child: a step ahead was made / this file is being read. Elsewhere they do nothing.
void guard_alive(void);
void guard_name(const char *file);

#endif
