// SPDX-License-Identifier: MIT
// Memory that all ranks of a group can read, where they all run on one host: each rank owns one
// window, which it alone writes. Made of memfd_create(2), so that nothing is left behind however a
// run ends. Used by reduce.c.
#ifndef SW2_COMM_SHARED_H
#define SW2_COMM_SHARED_H

#include <stdbool.h>

#include "comm/group.h"

struct shared;

// Collective. bytes: of this rank's window, zeroed, on a page of its own. *shared is NULL, and the
// same on all ranks, where there is no such memory: one rank, several hosts, ranks in containers
// that do not see each other, a simulator, or SW2_SHARED=off. STATUS_ERROR: out of memory.
enum status shared_init(struct shared **shared, struct group *group, size_t bytes);
enum status shared_environment_check(void); // local: STATUS_USAGE: SW2_SHARED is not on or off
bool shared_is_wanted(const struct group *group); // as far as can be said before trying
void shared_free(struct shared *shared);          // NULL is allowed
void *shared_own(const struct shared *shared);
const void *shared_of(const struct shared *shared, int rank); // read only, but one's own

#endif
