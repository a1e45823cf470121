// SPDX-License-Identifier: MIT
// Facts that all ranks of a job must share: program, libraries, arguments, data. Compared by
// digest at start, so that a rank that is set up otherwise is named instead of spoiling the run.
#ifndef SW2_COMM_ALIKE_H
#define SW2_COMM_ALIKE_H

#include "comm/group.h"

struct alike_fact {
    const char *what; // "program": the same on all ranks, as their number and order are
    const char *text; // of this rank, compared to its last byte
    const char *fix;  // ends the message
};

// Collective: where the ranks' texts of a fact differ, `status` on all ranks, with one message:
// which ranks (of which hosts) have what, of the first such fact. Sends 8 bytes a fact and rank;
// where something differs 256 bytes a rank more.
enum status alike_check(struct group *group, const struct alike_fact *facts, size_t n,
                        enum status status);

#endif
