// SPDX-License-Identifier: MIT
// What a run's folder says: the records of metrics.jsonl, the recipe, how it was started
// (starts.jsonl), its profile, where its checkpoints lie. Reads; owns what it read. Local.
#ifndef SW2_TRAINER_REPORT_RUN_H
#define SW2_TRAINER_REPORT_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "comm/yaml.h"

#define RUN_KEYS_MAX 32

// Numbers of all records, a column a key ("step", "train_loss", "test_accuracy" ...), NAN where a
// record lacks it.
struct run {
    const char *folder; // borrowed
    char *label;        // unique among the runs of a report
    size_t n;           // records
    char *key[RUN_KEYS_MAX];
    double *column[RUN_KEYS_MAX]; // (n)
    size_t n_keys;
    bool *is_epoch;      // (n) an epoch's record; else a step within one
    char digest[64];     // of the weights after the last epoch; "" unknown
    char *recipe;        // text of recipe.yaml; NULL: none
    struct yaml *starts; // {starts: [{...}]}: one a process that trained; NULL: none
    char *profile;       // text of profile.txt; NULL: none
    char *checkpoint;    // best.h5, or the folder of checkpoints; NULL: none
};

// STATUS_USAGE: no folder, or no run's folder (neither metrics nor checkpoints); STATUS_DATA: a
// record that is none. A last line without its end (the run goes on) is left out.
enum status run_open(struct run *run, const char *folder);
void run_close(struct run *run);

const double *run_column(const struct run *run, const char *key); // (n), NULL: there is none
// The last number of a column, of epochs' records; NAN: none.
double run_last(const struct run *run, const char *key);
// Its largest or smallest, of epochs' records, and the epoch.
double run_extreme(const struct run *run, const char *key, bool is_largest, double *epoch);

#endif
