// SPDX-License-Identifier: MIT
// metrics.jsonl (a record per epoch and per logged step) and metrics.csv (a row per epoch) in the
// run folder. Owns both files; knows neither how the numbers come about nor the terminal
// (progress.h). Rank 0 alone opens it; all functions take NULL and do nothing: the other ranks.
#ifndef SW2_TRAINER_RUN_LOG_H
#define SW2_TRAINER_RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/loss.h"

// One moment of a run; also what progress.h shows. Pointers are borrowed for the call.
struct run_record {
    bool is_epoch;       // an epoch ended; else a step in the middle
    uint64_t epoch;      // from 1 (of a step: the running one)
    uint64_t step;       // steps done in the whole run
    double seconds;      // of this process, from the run's start or resume
    double lr;           // of the last step
    const double *train; // (n_metrics) means over the epoch so far; NULL: unknown
    const double *test;  // (n_metrics) NULL: not evaluated
    double images_per_s; // of the training steps since the epoch's start
    double waited_s;     // for data, in this epoch
    uint64_t skipped;    // steps of the whole run that were not finite; shown where above 0
    const char *digest;  // of the weights, hex; NULL: not taken
};

struct run_log;

// metrics: n rows of the loss (names of the columns; borrowed). steps_done: 0 starts both files
// anew; after a resume, records with step > steps_done (of an epoch's end: from steps_done on,
// where is_open: the end of that epoch is still to come) are dropped first, so that they are
// written once: write an epoch's record before the checkpoint of that step. Lines cut short by a
// kill are dropped too. Seconds go on from the last record kept. A CSV file with other columns is
// put aside as metrics.csv.old, with a log_warn. STATUS_ERROR names the path.
enum status run_log_open(struct run_log **log, const char *folder,
                         const struct loss_metric *metrics, size_t n_metrics, uint64_t steps_done,
                         bool is_open);

// Appends, one write() a record and file; not finite numbers become null (JSON) or empty (CSV).
// STATUS_ERROR names the path and why; the record is kept (256 KiB of them) and goes with the next.
enum status run_log_write(struct run_log *log, const struct run_record *record);

enum status run_log_close(struct run_log *log); // fsync, close, free

// The same for a run that goes on: an error is one warning, and another when the records are whole
// again. run_log_end: status is that of the run, whose error text stays. True: they cannot be
// written now, which was said.
bool run_log_record(struct run_log *log, const struct run_record *record);
void run_log_end(struct run_log *log, enum status status);

#endif
