// SPDX-License-Identifier: MIT
// The MPI functions that the programs call (tests/e2e_pmpi.sh finds those that are missing here):
// each counts, may wait or fail, is checked where it is a collective, and goes on to MPI.
#include <string.h>

#include "tests/support/pmpi/layer.h"

static long n_messages;

#define COUNTED                                                                                    \
    do {                                                                                           \
        if (inject_call())                                                                         \
            return MPI_ERR_OTHER;                                                                  \
    } while (0)

static long bytes_of(int count, MPI_Datatype type)
{
    int size = 0;
    if (type != MPI_DATATYPE_NULL)
        PMPI_Type_size(type, &size);
    return (long)count * size;
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    inject_start();
    COUNTED;
    int code = PMPI_Init_thread(argc, argv, required, provided);
    order_start();
    return code;
}

int MPI_Finalize(void)
{
    COUNTED;
    order_finish(n_messages);
    return PMPI_Finalize();
}

// Local.

int MPI_Comm_rank(MPI_Comm comm, int *rank)
{
    COUNTED;
    return PMPI_Comm_rank(comm, rank);
}

int MPI_Comm_size(MPI_Comm comm, int *size)
{
    COUNTED;
    return PMPI_Comm_size(comm, size);
}

int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    COUNTED;
    return PMPI_Comm_set_errhandler(comm, handler);
}

int MPI_Comm_get_attr(MPI_Comm comm, int key, void *value, int *flag)
{
    COUNTED;
    return PMPI_Comm_get_attr(comm, key, value, flag);
}

int MPI_Type_size(MPI_Datatype type, int *size)
{
    COUNTED;
    return PMPI_Type_size(type, size);
}

int MPI_Type_contiguous(int count, MPI_Datatype old, MPI_Datatype *type)
{
    COUNTED;
    return PMPI_Type_contiguous(count, old, type);
}

int MPI_Type_commit(MPI_Datatype *type)
{
    COUNTED;
    return PMPI_Type_commit(type);
}

int MPI_Type_free(MPI_Datatype *type)
{
    COUNTED;
    return PMPI_Type_free(type);
}

// Collectives.

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *made)
{
    COUNTED;
    order_check(comm, true, "MPI_Comm_dup", 0, 0);
    int code = PMPI_Comm_dup(comm, made);
    order_add(*made);
    return code;
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *made)
{
    COUNTED;
    order_check(comm, true, "MPI_Comm_split_type", 0, type);
    int code = PMPI_Comm_split_type(comm, type, key, info, made);
    order_add(*made);
    return code;
}

int MPI_Comm_free(MPI_Comm *comm)
{
    COUNTED;
    order_check(*comm, true, "MPI_Comm_free", 0, 0);
    order_drop(*comm);
    return PMPI_Comm_free(comm);
}

int MPI_Barrier(MPI_Comm comm)
{
    COUNTED;
    order_check(comm, true, "MPI_Barrier", 0, 0);
    return PMPI_Barrier(comm);
}

int MPI_Bcast(void *buffer, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    COUNTED;
    order_check(comm, true, "MPI_Bcast", bytes_of(count, type), root);
    return PMPI_Bcast(buffer, count, type, root, comm);
}

int MPI_Allgather(const void *mine, int n, MPI_Datatype type, void *all, int n_each,
                  MPI_Datatype type_each, MPI_Comm comm)
{
    COUNTED;
    order_check(comm, true, "MPI_Allgather", bytes_of(n_each, type_each), 0);
    return PMPI_Allgather(mine, n, type, all, n_each, type_each, comm);
}

int MPI_Iallgather(const void *mine, int n, MPI_Datatype type, void *all, int n_each,
                   MPI_Datatype type_each, MPI_Comm comm, MPI_Request *request)
{
    COUNTED;
    order_check(comm, false, "MPI_Iallgather", bytes_of(n_each, type_each), 0);
    return PMPI_Iallgather(mine, n, type, all, n_each, type_each, comm, request);
}

// Counts are the same on all ranks: their sum weighted by rank stands for them.
int MPI_Allgatherv(const void *mine, int n, MPI_Datatype type, void *all, const int counts[],
                   const int offsets[], MPI_Datatype type_each, MPI_Comm comm)
{
    COUNTED;
    int size = 0;
    PMPI_Comm_size(comm, &size);
    long sum = 0;
    for (int r = 0; r < size; r++)
        sum += (r + 1) * bytes_of(counts[r], type_each);
    order_check(comm, true, "MPI_Allgatherv", sum, 0);
    return PMPI_Allgatherv(mine, n, type, all, counts, offsets, type_each, comm);
}

int MPI_Allreduce(const void *mine, void *all, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    COUNTED;
    order_check(comm, true, "MPI_Allreduce", bytes_of(n, type), 0);
    return PMPI_Allreduce(mine, all, n, type, op, comm);
}

// Messages.

int MPI_Sendrecv(const void *out, int n_out, MPI_Datatype type_out, int to, int tag_out, void *in,
                 int n_in, MPI_Datatype type_in, int from, int tag_in, MPI_Comm comm,
                 MPI_Status *status)
{
    COUNTED;
    n_messages++;
    return PMPI_Sendrecv(out, n_out, type_out, to, tag_out, in, n_in, type_in, from, tag_in, comm,
                         status);
}

int MPI_Isend(const void *out, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    COUNTED;
    n_messages++;
    return PMPI_Isend(out, n, type, to, tag, comm, request);
}

int MPI_Irecv(void *in, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    COUNTED;
    return PMPI_Irecv(in, n, type, from, tag, comm, request);
}

int MPI_Test(MPI_Request *request, int *is_done, MPI_Status *status)
{
    COUNTED;
    *is_done = 0;
    if (inject_is_holding() && inject_random(2) == 0)
        return MPI_SUCCESS;
    return PMPI_Test(request, is_done, status);
}

int MPI_Waitall(int n, MPI_Request requests[], MPI_Status statuses[])
{
    COUNTED;
    return PMPI_Waitall(n, requests, statuses);
}

// One random window of the requests is looked at, and what is done there told from its end.
// *n_done may be 0. Statuses are ignored: the programs have no use for them.
static int some_of(int n, MPI_Request requests[], int *n_done, int indices[])
{
    int first = (int)inject_random((uint32_t)n), width = 1 + (int)inject_random((uint32_t)n);
    width = width < n - first ? width : n - first;
    int found = 0,
        code = PMPI_Testsome(width, requests + first, &found, indices, MPI_STATUSES_IGNORE);
    *n_done = found == MPI_UNDEFINED ? 0 : found;
    for (int i = 0; i < *n_done; i++)
        indices[i] += first;
    for (int i = 0; i < *n_done / 2; i++) {
        int other = indices[*n_done - 1 - i];
        indices[*n_done - 1 - i] = indices[i];
        indices[i] = other;
    }
    return code;
}

static bool are_all_null(int n, const MPI_Request requests[])
{
    for (int i = 0; i < n; i++)
        if (requests[i] != MPI_REQUEST_NULL)
            return false;
    return true;
}

int MPI_Testsome(int n, MPI_Request requests[], int *n_done, int indices[], MPI_Status statuses[])
{
    COUNTED;
    if (!inject_is_holding() || are_all_null(n, requests))
        return PMPI_Testsome(n, requests, n_done, indices, statuses);
    *n_done = 0;
    if (inject_random(2) == 0)
        return MPI_SUCCESS;
    return some_of(n, requests, n_done, indices);
}

int MPI_Waitsome(int n, MPI_Request requests[], int *n_done, int indices[], MPI_Status statuses[])
{
    COUNTED;
    if (!inject_is_holding() || are_all_null(n, requests))
        return PMPI_Waitsome(n, requests, n_done, indices, statuses);
    int code = MPI_SUCCESS;
    for (*n_done = 0; code == MPI_SUCCESS && *n_done == 0;)
        code = some_of(n, requests, n_done, indices);
    return code;
}
