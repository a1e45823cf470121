// SPDX-License-Identifier: MIT
// What the checkpoint_*.c files share. Nobody else includes it.
#ifndef SW2_TRAINER_CHECKPOINT_PRIVATE_H
#define SW2_TRAINER_CHECKPOINT_PRIVATE_H

#include "comm/digest.h"
#include "data/h5.h"
#include "trainer/checkpoint.h"

#define CHECKPOINT_VERSION 1
#define CHECKPOINT_PATH_MAX 192 // inside the file: "/optimizer/momentum/conv1/weight"

// ---- checkpoint_seal.c: the 48 bytes after the HDF5 image

// Appends the seal and brings the file to disk. STATUS_ERROR.
enum status seal_write(const char *path);
// STATUS_DATA unless the file is exactly what was sealed; STATUS_ERROR: cannot be read.
enum status seal_check(const char *path);

// ---- checkpoint_meta.c: attributes, and the digest over all

// One tensor of the file and the digest of its path, shape and data.
struct contents_entry {
    char path[CHECKPOINT_PATH_MAX];
    char hex[33];
};
struct contents {
    struct contents_entry *entry; // (n) owned
    size_t n, capacity;
};
enum status contents_reserve(struct contents *contents, size_t n); // entries in all
enum status contents_add(struct contents *contents, const char *path, int rank, const uint64_t *dim,
                         const float *data);
void contents_free(struct contents *contents);
// Digest over all tensors (sorted here by path) and meta.
enum status contents_digest(struct contents *contents, const struct checkpoint_meta *meta,
                            char hex[33]);

enum status meta_write(struct h5 *file, const struct checkpoint_meta *meta);
enum status meta_read(struct h5 *file, struct checkpoint_meta *meta); // texts malloc'ed: meta_free
void meta_free(struct checkpoint_meta *meta);
// Collective: rank 0's meta to all; texts of the others malloc'ed.
enum status meta_broadcast(struct group *group, struct checkpoint_meta *meta);

// ---- checkpoint_folder.c

// Step files of a folder, oldest first; *steps malloc'ed. A missing folder has none.
enum status folder_steps(const char *folder, uint64_t **steps, size_t *n);
void folder_step_name(const char *folder, uint64_t step, char *path, size_t room);
char *folder_step_path(const char *folder, uint64_t step); // malloc'ed; NULL: out of memory
// Removes the oldest step files but `keep` (0: all are kept) of those not newer than `step`.
enum status folder_prune(const char *folder, uint64_t step, size_t keep);
enum status folder_sync(const char *folder); // directory entries to disk

// ---- checkpoint_save.c: one file

// All that a file holds, at one step boundary; rank 0.
struct snapshot {
    const struct model_param *list; // (n_list) borrowed
    size_t n_list;
    int n_vectors;
    const char *state[1 + UPDATE_STATES_MAX]; // NULL: the weights
    float *vector[1 + UPDATE_STATES_MAX];
    struct checkpoint_meta meta; // texts borrowed
};
// Writes open_path, then names it path. Local. contents: work space. STATUS_ERROR: nothing
// half-written is left (but by fsync of the folder: then the file is there, whole, and may be lost
// with the power).
enum status snapshot_write(const struct snapshot *snapshot, struct contents *contents,
                           const char *folder, const char *path, const char *open_path);

// ---- what is in a file

// Path of a tensor: state NULL: /model/...; else /optimizer/<state>/...
void tensor_path(char path[CHECKPOINT_PATH_MAX], const char *state, const struct model_param *p);
// Is this tensor's part of a state saved? EMA has all, the optimiser's own only what is trained.
bool tensor_is_saved(const char *state, const struct param *param);

#endif
