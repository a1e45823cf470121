// SPDX-License-Identifier: MIT
// Whether HDF5 survives a data file: opened first in a child process (guard.h), with all that a
// run does with it through the library: names, headers, attributes, labels, the index of chunks.
// libhdf5 1.10 crashes on some damaged files and loops on others; what it did not do there it does
// not do here. Called by rank 0 of the programs before they open data.
#ifndef SW2_DATA_PREFLIGHT_H
#define SW2_DATA_PREFLIGHT_H

#include "data/dataset.h"

// FILE[:/group] of each side; NULL or "": none. may_fork: this process does not use MPI.
// STATUS_DATA naming the file: it crashed the child or took too long. Other errors are left to
// dataset_open, which says them better. Without fork this very program is started anew; it knows by
// its name that it is to look at files only, before main (preflight.c). Costs about 3 ms; without
// fork 15 ms.
enum status preflight(const char *train, const char *test, const struct data_config *config,
                      bool may_fork);

#endif
