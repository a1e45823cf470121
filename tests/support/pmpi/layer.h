// SPDX-License-Identifier: MIT
// A layer of tests between the programs and MPI, preloaded (LD_PRELOAD): it checks that all ranks
// issue the same collectives in the same order, and injects delays, other orders of completion and
// failures. calls.c are the MPI functions, order.c the check, inject.c the faults.
// Environment, all optional:
//   PMPI_DIR    a folder of the job: order check through a file there; calls.RANK is written at the
//               end: "CALLS COLLECTIVES MESSAGES", calls counted from MPI_Init_thread on
//   PMPI_DELAY  SEED:US a tenth of all calls waits up to US microseconds first
//   PMPI_HOLD   SEED    tests find nothing half of the time; of what is done, only some is told,
//               in another order
//   PMPI_FAIL   RANK:N  the N-th call of that rank is not made and returns MPI_ERR_OTHER
// A violation: one line "pmpi: ..." of what two ranks called, and exit code 86.
#ifndef SW2_TESTS_SUPPORT_PMPI_LAYER_H
#define SW2_TESTS_SUPPORT_PMPI_LAYER_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>

#define PMPI_EXIT_ORDER 86

// inject.c
void inject_start(void);            // before MPI_Init_thread
bool inject_call(void);             // counts a call, perhaps waits; true: it is to fail
bool inject_is_holding(void);       // PMPI_HOLD is set
uint32_t inject_random(uint32_t n); // 0 .. n - 1
long inject_calls(void);            // so far

// order.c; all do nothing without PMPI_DIR
void order_start(void);         // after MPI_Init_thread
void order_add(MPI_Comm comm);  // a communicator was made
void order_drop(MPI_Comm comm); // and is freed
void order_check(MPI_Comm comm, bool is_blocking, const char *name, long bytes, int root);
void order_finish(long messages); // before MPI_Finalize

#endif
