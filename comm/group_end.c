// SPDX-License-Identifier: MIT
// Ends that are not agreed: an error of one rank takes the job down.
#include <mpi.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "comm/group_private.h"
#include "comm/log.h"

static void speak_abort(const struct group *group)
{
    char line[4608];
    const char *text = error_text();
    snprintf(line, sizeof line, "%s (%s)", text[0] ? text : "unknown error", error_place());
    log_error(group && group->size > 1, line);
    fflush(NULL);
    // MPICH's launcher may end without passing on what it has not read before the abort.
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

void group_abort(struct group *group, enum status status)
{
    int code = status == STATUS_OK ? STATUS_ERROR : (int)status;
    speak_abort(group);
    group_kill(code);
}

void group_kill(int code)
{
    int is_started = 0, is_ended = 0;
    MPI_Initialized(&is_started);
    MPI_Finalized(&is_ended);
    if (is_started && !is_ended)
        MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

void group_check(struct group *group, int code, const char *call)
{
    if (code == MPI_SUCCESS)
        return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    MPI_Error_string(code, text, &n);
    error_set(STATUS_ERROR, __FILE__, __LINE__, "%s failed on rank %d of %d: %s", call, group->rank,
              group->size, text);
    group_abort(group, STATUS_ERROR);
}
