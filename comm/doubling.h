// SPDX-License-Identifier: MIT
// All-gather in log2(size) messages a rank, where MPI libraries take up to `size` for parts of
// several sizes. For group.c and reduce_gather.c, which include mpi.h before it.
#ifndef SW2_COMM_DOUBLING_H
#define SW2_COMM_DOUBLING_H

// Collective, size a power of two: part r of `all`, `displacement[r + 1] - displacement[r]`
// elements of type that begin at displacement[r], goes from rank r to all ranks. displacement:
// (size + 1). Recursive doubling, nearest partner first (Thakur et al. 2005). Returns MPI's code.
int doubling_allgather(void *all, const int *displacement, MPI_Datatype type, MPI_Comm comm);

#endif
