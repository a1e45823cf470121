// SPDX-License-Identifier: MIT
// What group.c shares with reduce.c and with its own tests only.
#ifndef SW2_COMM_GROUP_PRIVATE_H
#define SW2_COMM_GROUP_PRIVATE_H

#include "comm/group.h"

// Largest byte count of one MPI call (MPI's counts are int). Tests lower it.
extern size_t group_chunk_bytes;

// Takes the job down with rank, host and call named unless `code`, the result of an MPI call, is
// MPI_SUCCESS.
void group_check(struct group *group, int code, const char *call);

// Ends the processes of all ranks with that exit code, without a word. Any thread, even while the
// main thread is inside MPI: nothing else can be done then.
_Noreturn void group_kill(int code);

#endif
