// SPDX-License-Identifier: MIT
// Where tests make memory err: points in the code at which a test program may flip a bit of what is
// there. Programs never set the hook; it costs them one comparison a point. Used by comm, models
// and trainer.
#ifndef SW2_COMM_FAULT_H
#define SW2_COMM_FAULT_H

#include <stddef.h>

enum fault_kind {
    FAULT_WEIGHTS,    // a rank's own copy, between the uses of a step
    FAULT_STATE,      // the optimiser's, between two steps
    FAULT_INPUT,      // of a grain
    FAULT_ACTIVATION, // or a gradient of one
    FAULT_GRADIENT,   // of a grain, before it is summed
    FAULT_PARTIAL,    // sum of some grains, in this rank's memory
    FAULT_RECEIVED,   // partial sum of another rank
    FAULT_SUM,        // before the update
    FAULT_UPDATED,    // new weights before the all-gather
    FAULT_GATHERED,   // weights, just received
    FAULT_KINDS
};

typedef void fault_function(enum fault_kind kind, void *at, size_t bytes);
extern fault_function *fault_hook; // NULL: none
// Above 0: this thread checks what was done before (audit): another fault than in the work itself.
extern _Thread_local int fault_is_check;

static inline void fault_point(enum fault_kind kind, void *at, size_t bytes)
{
    if (__builtin_expect(fault_hook != NULL, 0))
        fault_hook(kind, at, bytes);
}

#endif
