// SPDX-License-Identifier: MIT
// "Did you mean": the nearest of the known names, for errors about unknown keys, layers, options.
#ifndef SW2_COMM_NAMES_H
#define SW2_COMM_NAMES_H

#include <stddef.h>

// The known name with the smallest edit distance (optimal string alignment: insert, delete,
// replace, swap of neighbours; case ignored) to `name`, or NULL when none is nearer than half its
// length, rounded up. A known name that starts with `name` counts as near. `known`: n borrowed
// texts.
const char *names_nearest(const char *name, const char *const *known, size_t n);

#endif
