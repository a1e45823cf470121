// SPDX-License-Identifier: MIT
// Ranks that do not agree, for the test of the order check itself.
// usage: disorder kind|bytes|root|missing|comms|none
#include <mpi.h>
#include <string.h>

int main(int argc, char **argv)
{
    int provided = 0, rank = 0, code = 0;
    const char *how = argc > 1 ? argv[1] : "none";
    char bytes[512] = "";
    MPI_Comm comm;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Barrier(comm);
    if (strcmp(how, "kind") == 0)
        code = rank == 1 ? MPI_Barrier(comm)
                         : MPI_Allgather(bytes, 4, MPI_BYTE, bytes + 64, 4, MPI_BYTE, comm);
    else if (strcmp(how, "bytes") == 0)
        code = MPI_Bcast(bytes, rank == 1 ? 12 : 4, MPI_BYTE, 0, comm);
    else if (strcmp(how, "root") == 0)
        code = MPI_Bcast(bytes, 4, MPI_BYTE, rank == 1, comm);
    else if (strcmp(how, "missing") == 0 && rank == 0) // small enough not to wait for anyone
        code = MPI_Bcast(bytes, 4, MPI_BYTE, 0, comm);
    else if (strcmp(how, "comms") == 0)
        code = MPI_Barrier(rank == 1 ? MPI_COMM_WORLD : comm);
    MPI_Comm_free(&comm);
    MPI_Finalize();
    return code;
}
