// SPDX-License-Identifier: MIT
// Explanations of many inputs, spread over the ranks, written by rank 0 in the order of the inputs.
// The main of sw2-explain reads the command line; this is the work. Memory does not grow with the
// inputs or the ranks.
#ifndef SW2_TRAINER_EXPLAIN_JOB_H
#define SW2_TRAINER_EXPLAIN_JOB_H

#include "trainer/explain_output.h"

struct explain_job {
    const struct trained *trained; // with input_gradient and keep
    struct inputs *inputs;
    struct explain *explain;
    const char *target; // "predicted", a number or the name of a class
    bool wanted[EXPLAIN_METHODS];
    bool measures_quality;
    size_t n_sanity;  // inputs of the sanity check, the first ones
    bool keeps_going; // an unreadable input is reported in its place, and counted
    struct explain_output_config output;
};

// Collective. *n_bad: inputs that could not be read (keeps_going). STATUS_USAGE: unknown class,
// folder exists; STATUS_DATA: an unreadable input. Messages: a broadcast of one answer an input.
enum status explain_job_run(const struct explain_job *job, size_t *n_bad);

#endif
