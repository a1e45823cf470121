// SPDX-License-Identifier: MIT
// The group of ranks: start (or not start) MPI, agree, share, end. The only file beside reduce.c
// that includes mpi.h. One group a process. Without a launcher (no OMPI_COMM_WORLD_SIZE, PMI_SIZE,
// PMIX_RANK, SLURM_STEP_NUM_TASKS in the environment) MPI is not started and the group is this
// process alone.
#ifndef SW2_COMM_GROUP_H
#define SW2_COMM_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct group {
    int rank, size;
    int is_parallel; // MPI was started
    char host[64];
    int local_rank, local_size; // ranks on this host
};

// Collective. Starts MPI where a launcher is seen (MPI_THREAD_FUNNELED: only the main thread calls
// MPI), sets SW2-wide log identity (log_open), lowers the instruction set to the lowest of all
// ranks (and of SW2_ISA). `program` is for messages. A launcher that says several tasks where MPI
// says one: STATUS_USAGE (N lonely single-rank runs). Errors of MPI become STATUS_ERROR.
// *group is valid for group_finish even when it fails.
enum status group_init(struct group **group, const char *program, int *argc, char ***argv);

// Collective: the last call. Frees the group and ends MPI.
void group_free(struct group *group);

// Collective: every rank passes the status of its own last step; all return the status of the
// lowest rank that failed (STATUS_OK if none). The failing rank's error text is copied to all. 1
// allgather of 4 bytes, and one broadcast when something failed. After it, error_text() and
// group_error_rank() are the same everywhere.
// A rank that only wants to stop (STATUS_STOPPED) gives way to any rank with an error.
enum status group_agree(struct group *group, enum status mine);
int group_error_rank(void); // rank whose error was agreed last, -1: none

// What a program's main ends with. Collective unless status is of a kind that only this rank knows:
// prints ONE message for all ranks (rank 0 speaks, naming the rank where it happened if it was not
// rank 0's), ends MPI, returns the exit code, the same on all ranks. An error that was not agreed
// waits 2 s for the other ranks to come here too; if they do not, the job is aborted. group may be
// NULL (before group_init).
int group_finish(struct group *group, enum status status);

// Not collective: prints this rank's error with rank and host and takes the whole job down now.
_Noreturn void group_abort(struct group *group, enum status status);

// Collectives over bytes; n may differ in nothing. Errors abort the job with rank and call named.
void group_broadcast(struct group *group, void *bytes, size_t n, int root);
void group_allgather(struct group *group, const void *mine, size_t n,
                     void *all); // n bytes from each
// counts[r] bytes from rank r, in rank order; `all` holds their sum. counts is the same on all
// ranks.
void group_allgatherv(struct group *group, const void *mine, const size_t *counts, void *all);
void group_barrier(struct group *group);
double group_time(void); // seconds, monotonic; for people, never for arithmetic

// Text such as "Open MPI v4.1.4": for --version.
const char *group_mpi_version(void);

#endif
