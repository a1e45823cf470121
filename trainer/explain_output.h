// SPDX-License-Identifier: MIT
// The folder of sw2-explain: pictures, contact sheets, raw values (HDF5), a line of JSON for each
// input and a summary. Each file appears whole or not at all. Rank 0 alone uses it.
#ifndef SW2_TRAINER_EXPLAIN_OUTPUT_H
#define SW2_TRAINER_EXPLAIN_OUTPUT_H

#include <stdio.h>

#include "trainer/explain_quality.h"
#include "trainer/explain_render.h"
#include "trainer/explain_sanity.h"
#include "trainer/inputs.h"

struct explain_output_config {
    const char *folder;
    bool is_forced;    // the folder may be there
    bool has_overlays; // a picture for each input and method
    size_t rows;       // inputs on a page of the contact sheet
    struct render_style style;
    const char *json; // the summary too, there ("-": standard output instead of the table); or NULL
};

// What is known of one input. Ranks exchange it: raw values of the wanted methods in order, and the
// row as it was read, follow it.
struct explain_answer {
    int32_t is_bad, target, predicted, has_sanity;
    float score, probability; // of target; probability: 0 without softmax
    double completeness;      // integrated gradients
    struct quality quality[EXPLAIN_METHODS];
    double sanity[EXPLAIN_METHODS][SANITY_STAGES];
    char why[256]; // is_bad
};

struct explain_output;
struct explain_job;

// Makes the folder and begins its files. STATUS_USAGE: it exists; STATUS_ERROR: names the path.
enum status explain_output_open(struct explain_output **output, const struct explain_job *job);
// The next input. raw[method]: NULL where it is not wanted. row: as inputs_raw.
enum status explain_output_add(struct explain_output *output, const char *name,
                               const struct explain_answer *answer,
                               float *const raw[EXPLAIN_METHODS], const void *row);
// Writes what is left and gives the files their names; says what was found.
enum status explain_output_commit(struct explain_output *output);
void explain_output_free(struct explain_output *output); // discards what was not committed

// The summary's sums and how it is told; explain_summary.c.
struct explain_summary {
    size_t n, n_bad, n_sanity;
    double completeness; // largest
    struct quality quality[EXPLAIN_METHODS];
    double sanity[EXPLAIN_METHODS][SANITY_STAGES];
};
void summary_add(struct explain_summary *summary, const struct explain_job *job,
                 const struct explain_answer *answer);
void summary_show(const struct explain_summary *summary, const struct explain_job *job);
enum status summary_json(const struct explain_summary *summary, const struct explain_job *job,
                         const char *path);
void answer_json(FILE *file, const struct explain_job *job, const char *name, size_t number,
                 const struct explain_answer *answer);

#endif
