// SPDX-License-Identifier: MIT
// What a person sees while a run goes on: on a terminal a bar of one line, redrawn at most ten
// times a second; in a batch log a line at intervals (every log_every steps, or after 10 s, then
// every 30 s, after ten minutes every 5 min.); after each epoch one line either way. Rank 0 speaks
// (log.h): all ranks may call it. Time comes from the caller, so that tests can set it.
#ifndef SW2_TRAINER_PROGRESS_H
#define SW2_TRAINER_PROGRESS_H

#include "trainer/run_log.h"

struct progress_config {
    uint64_t epochs, steps_per_epoch;
    uint64_t steps;                    // of the whole run (may end within an epoch)
    uint64_t steps_done;               // before this process: the resumed step
    uint64_t log_every;                // steps; 0: by time
    const struct loss_metric *metrics; // (n_metrics) borrowed
    size_t n_metrics;
};

struct progress {
    struct progress_config config;
    bool is_terminal, has_colour;
    double start;     // seconds, as are the next two
    double last_bar;  // drawn
    double last_line; // due, whether shown or not
};

// now: seconds of any clock that only rises (group_time).
void progress_init(struct progress *progress, const struct progress_config *config, double now);

// After each step. Cheap when nothing is due. Returns true when a batch line was written (on a
// terminal: would have been): the moment for a step's record in run_log.
bool progress_step(struct progress *progress, const struct run_record *record, double now);
// Would progress_step show something? Lets the caller skip gathering what the record needs.
bool progress_is_due(const struct progress *progress, uint64_t step, double now);
// One line: "epoch 3/10  loss 0.0312  accuracy 99.02 %  test loss ...  41200 images/s  digest ...".
void progress_epoch(struct progress *progress, const struct run_record *record, double now);
// A transient text ("evaluating", "saving"), terminal only; "" clears.
void progress_note(const struct progress *progress, const char *text);

// The last line of a run that took so many seconds. metric: that decides which epoch is best;
// best_epoch 0: none was tested. skipped: steps that were not finite.
void progress_summary(const struct loss_metric *metric, double seconds, uint64_t best_epoch,
                      double best, const char *folder, uint64_t skipped);

// The texts, for tests and for other long work (sw2-data). width: columns of the terminal.
void progress_bar_text(const struct progress *progress, const struct run_record *record, double now,
                       size_t width, char *out, size_t bytes);
void progress_line_text(const struct progress *progress, const struct run_record *record,
                        double now, char *out, size_t bytes);
void progress_epoch_text(const struct progress *progress, const struct run_record *record,
                         char *out, size_t bytes);
// "4.2 s", "43 s", "2 min 05 s", "3 h 20 min", "2 d 4 h".
void progress_time_text(double seconds, char *out, size_t bytes);
size_t progress_width(void); // columns of the terminal; COLUMNS, else 80

#endif
