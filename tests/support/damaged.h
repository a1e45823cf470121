// SPDX-License-Identifier: MIT
// A file cut short or with one bit flipped, over and over: nothing may crash, hang or be silently
// wrong. The cases run in children, so that a fault is one case's.
#ifndef SW2_TESTS_DAMAGED_H
#define SW2_TESTS_DAMAGED_H

#include <stddef.h>

#include "comm/error.h"

// What to do to the file: first all cuts, then all flips.
struct damage_plan {
    const char *name;
    size_t cut_step;                      // bytes; 0: no cuts
    size_t flip_from, flip_to, flip_step; // bits; flip_to 0: to the end
};

// The file that is damaged from now on; fails the test when it cannot be read.
void damaged_image(const char *path);
void damaged_free(void);
// Has every damaged copy be read as folder/damaged.h5. `read` gives STATUS_OK (fine), STATUS_DATA
// with a message of one line (refused), or anything else (wrong: the test fails).
void damaged_run(const struct damage_plan *plan, const char *folder,
                 enum status (*read)(const char *path));

#endif
