// SPDX-License-Identifier: MIT
// Checkpoints: one HDF5 file that does not know how many ranks wrote it.
//   /model/<layer>/<param>               float32 in natural shape, running statistics included
//   /optimizer/<state>/<layer>/<param>   states of trained parameters; "ema" and
//                                        "lookahead" of all
//   attributes of "/"                    struct checkpoint_meta, format, digest
// Two guards: the attribute "digest" covers names, shapes, data and attributes; and 48 bytes after
// the HDF5 image (which other tools ignore) hold its length and XXH3 digest, checked before HDF5
// looks at the file, for the library itself may crash on damaged bytes.
// Files: FOLDER/step-0000000123.h5, the newest `keep` of them, and FOLDER/best.h5. A file gets its
// name only when it is complete and on disk. Called by the training loop and sw2-eval. Rank 0 does
// all I/O; every function is collective and returns the same status and error text on all ranks.
#ifndef SW2_TRAINER_CHECKPOINT_H
#define SW2_TRAINER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/update.h"

#define CHECKPOINT_METRICS_MAX 64

struct checkpoint_meta {
    uint64_t next_epoch;                   // where the run goes on (never "last")
    uint64_t next_step;                    // within that epoch
    uint64_t global_step;                  // steps done in the whole run
    const char *recipe;                    // resolved YAML
    const char *train, *test;              // fingerprints of the data sets; test may be ""
    uint64_t input_h, input_w, input_c;    // of one sample
    bool input_is_u8;                      // rows were bytes, scaled to 0..1; else float32
    bool target_is_class;                  // targets: class indices, else floats
    uint64_t target_count, target_classes; // of one sample; classes there are
    const char *classes;                   // names of the classes, one a line; "": none
    const char *isa;                       // isa_name of the ranks that wrote it
    const char *versions;                  // free text
    size_t n_metrics; // accumulators of the epoch so far: counts, sums of losses
    double metrics[CHECKPOINT_METRICS_MAX];
    bool has_best;
    double best; // best metric so far, and after which epoch
    uint64_t best_epoch;
    uint64_t skipped, skipped_in_row; // steps that were not finite; not in files where both are 0
    struct update_digest digest;      // set by save; compared after load
};

// Makes the folder if it is not there and removes temporary files that a killed run left in it
// (log_line names how many). STATUS_ERROR naming the folder: not writable, ...
enum status checkpoint_folder_open(struct group *group, const char *folder);

// ---- saving

enum checkpoint_files {
    CHECKPOINT_STEP = 1,
    CHECKPOINT_BEST = 2
}; // step-<global_step>.h5, best.h5

// Saves in the background: at a step boundary all ranks make a snapshot, a thread of rank 0 writes
// it while training goes on. A save that comes due while the one before is still being written
// waits for it, for at most three seconds, and is then put off.
struct checkpoint_writer;

// Collective; everything a save needs is allocated here (rank 0: checkpoint_writer_bytes). keep:
// newest step files that stay (of those not newer than the one just written), 0: all. folder, list:
// borrowed. STATUS_ERROR: memory.
enum status checkpoint_writer_init(struct checkpoint_writer **writer, struct group *group,
                                   const char *folder, size_t keep, const struct update *update,
                                   const struct model_param *list, size_t n_list);
size_t checkpoint_writer_bytes(const struct model_param *list, size_t n_list, size_t n_states);
// Local: waits for what is being written. NULL is allowed.
void checkpoint_writer_free(struct checkpoint_writer *writer);

enum checkpoint_taken {
    CHECKPOINT_TAKEN,
    CHECKPOINT_PUT_OFF,  // still writing: try again
    CHECKPOINT_BEST_LOST // nothing was done: the best.h5 that was taken last could not be written,
};                       // the one before it stands; try again with a meta that says so

// Collective, between steps; uses reduce_sum()'s memory. files: of enum checkpoint_files; texts of
// meta are borrowed until the file is written; meta->digest is set here. Not final: returns when
// the snapshot is made (STATUS_OK), if it is; an error while writing is one warning
// (checkpoint_writer_poll), older files stay, nothing half-written is left. Final: returns when the
// files are on disk, STATUS_ERROR (disk full, ...) where the step file is not. *taken is the same
// on all ranks. Sends the optimiser's state (n floats each) and 4 bytes.
enum status checkpoint_writer_save(struct checkpoint_writer *writer, unsigned files, bool is_final,
                                   struct checkpoint_meta *meta, struct update *update,
                                   const float *params, enum checkpoint_taken *taken);
// Local, main thread, now and then: says once (then once an hour) that saving fails, and that it
// works again. now: group_time(). True: a save that failed should be tried again. Rank 0 only;
// elsewhere nothing happens.
bool checkpoint_writer_poll(struct checkpoint_writer *writer, double now);
bool checkpoint_writer_is_busy(struct checkpoint_writer *writer); // writing; rank 0
// Of the longest job so far that has been looked at; 0: none. Rank 0.
double checkpoint_writer_seconds(const struct checkpoint_writer *writer);

// Collective: a final save by itself, for programs without a loop.
enum status checkpoint_save(struct group *group, const char *folder, size_t keep, bool is_best,
                            struct checkpoint_meta *meta, struct update *update,
                            const struct model_param *list, size_t n_list, const float *params);

// Bytes of a file, roughly (headers and texts not counted).
uint64_t checkpoint_bytes(const struct update *update, const struct model_param *list,
                          size_t n_list);

// ---- loading

// An opened and verified file.
struct checkpoint;

// path: a file; or a folder: its newest valid step file, with a log_warn for each damaged newer
// one; *checkpoint is NULL where a folder (any name without ".h5" at its end) is missing or has no
// step file at all. STATUS_DATA: the
// file is damaged or no checkpoint, or every file of the folder is; STATUS_ERROR: I/O.
enum status checkpoint_open(struct checkpoint **checkpoint, struct group *group, const char *path);
void checkpoint_close(struct checkpoint *checkpoint); // local; NULL is allowed
const struct checkpoint_meta *checkpoint_meta(const struct checkpoint *checkpoint); // borrowed
const char *checkpoint_path(const struct checkpoint *checkpoint);

// What the run expects; NULL fields are not compared. A difference is STATUS_USAGE and names the
// field and both values (of recipes: the first key that differs); with `force` it is a log_warn.
struct checkpoint_expect {
    const char *recipe, *train, *test, *isa;
    bool force;
};
enum status checkpoint_check(const struct checkpoint *checkpoint,
                             const struct checkpoint_expect *expect);

// Reads weights into params (n floats, all ranks) and the state into update's slices. STATUS_USAGE:
// a tensor is missing, unknown, or has another shape (names it and both shapes), or the states
// are those of another optimiser; STATUS_VERIFY: what arrived is not what was saved. On failure
// params and state are undefined.
enum status checkpoint_load(struct checkpoint *checkpoint, struct update *update,
                            const struct model_param *list, size_t n_list, float *params, size_t n);
// Weights alone, for evaluation: state NULL: /model; "ema": that state (STATUS_USAGE if the file
// has none).
enum status checkpoint_load_weights(struct checkpoint *checkpoint, const char *state,
                                    const struct model_param *list, size_t n_list, float *params,
                                    size_t n);
// Collective: those of the list alone, into params, which keep what else they hold. STATUS_USAGE as
// above, but the file may hold more.
enum status checkpoint_load_some(struct checkpoint *checkpoint, const char *state,
                                 const struct model_param *list, size_t n_list, float *params,
                                 size_t n);
bool checkpoint_has_state(const struct checkpoint *checkpoint, const char *state);

#endif
