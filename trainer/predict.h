// SPDX-License-Identifier: MIT
// Predictions of a trained network, spread over the ranks, written by rank 0 in the order of the
// inputs as they come. The main of sw2-predict reads the command line; this is the work.
#ifndef SW2_TRAINER_PREDICT_H
#define SW2_TRAINER_PREDICT_H

#include "trainer/inputs.h"
#include "trainer/text_file.h"

enum predict_format { PREDICT_TEXT, PREDICT_JSON, PREDICT_CSV };
#define PREDICT_FORMATS "text|jsonl|csv"

struct predict_config {
    size_t top; // classes a sample
    enum predict_format format;
    bool keeps_going; // an unreadable input is reported in its place, and counted
    const char *out;  // path, or "-"
};

// Collective. *n_bad: inputs that could not be read (keeps_going). STATUS_DATA: one that could not
// (else). One all-gather of chunk records a rank and round.
enum status predict_run(const struct trained *trained, struct inputs *inputs, size_t chunk,
                        const struct predict_config *config, size_t *n_bad);

#endif
