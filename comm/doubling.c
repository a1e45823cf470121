// SPDX-License-Identifier: MIT
#include <mpi.h>
#include <stddef.h>

#include "comm/doubling.h"
#include "comm/error.h"

int doubling_allgather(void *all, const int *displacement, MPI_Datatype type, MPI_Comm comm)
{
    int rank = 0, size = 0, bytes = 0, code = MPI_Comm_rank(comm, &rank);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_size(comm, &size);
    if (code == MPI_SUCCESS)
        code = MPI_Type_size(type, &bytes);
    ASSERT(code != MPI_SUCCESS || (size & (size - 1)) == 0);
    for (int near = 1; code == MPI_SUCCESS && near < size; near *= 2) {
        // Runs of `near` ranks, this rank's and its partner's, have the same parts all over.
        int partner = rank ^ near, own = rank & ~(near - 1), other = partner & ~(near - 1);
        int n_own = displacement[own + near] - displacement[own];
        int n_other = displacement[other + near] - displacement[other];
        code = MPI_Sendrecv((char *)all + (size_t)displacement[own] * (size_t)bytes, n_own, type,
                            partner, 0, (char *)all + (size_t)displacement[other] * (size_t)bytes,
                            n_other, type, partner, 0, comm, MPI_STATUS_IGNORE);
    }
    return code;
}
