// SPDX-License-Identifier: MIT
// A data set: rows of (input, target) in an HDF5 file, opened, inferred, validated, fingerprinted.
// Knows files and rows; knows neither order (order.h) nor threads (loader.h).
//
// sw2-data's own layout: group /train (and /test ...) with
//   images  (N, H, W, C) uint8 or float32       labels (N) int64, (N, ...) float32 targets also
//   allowed attributes of the group: mean, std (C float64 each, of inputs scaled to 0..1 if uint8),
//   classes (texts), layout ("nhwc"), source, licence, digest (row_digest.h);
//   row_digests and seal: what is read must be what was imported (dataset_seal.h)
// Files of others: keys from the recipe or from common names (images/labels, x/y, X/Y,
// x_train/y_train, x_test/y_test, data/label, data/labels, train_set_x/train_set_y,
// features/targets, inputs/targets ...); NHWC, NCHW, NHW or flat rows; uint8 or float; integer or
// one-hot labels. What was inferred is said (dataset_describe).
#ifndef SW2_DATA_DATASET_H
#define SW2_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/options.h"
#include "data/h5.h"

// Shape of one sample, channels last. A 1-D signal or a sequence of w steps has h = 1; a vector h =
// w = 1.
struct sample_shape {
    size_t h, w, c;
};

enum target_type { TARGET_CLASS, TARGET_FLOAT };

// Shape of one target: TARGET_CLASS: count int32 class indices (usually 1) below n_classes;
// TARGET_FLOAT: count floats.
struct target_shape {
    enum target_type type;
    size_t count;
    size_t n_classes; // 0 for TARGET_FLOAT
};

// The recipe's section data: (rows of dataset_options). Borrowed texts of the yaml document.
struct data_config {
    const char *train, *test; // FILE[:/group]; a relative FILE is looked for in the working folder,
                              // then in the installed data folder, then in the source folder
    const char *input, *target; // keys inside the group, "{side}" in them stands for train or
                                // test; "" = infer
    int layout;                 // auto|nhwc|nchw
    struct option_ints shape;   // h, w, c of one sample for flat rows; empty = infer
    int target_type;            // auto|class|float
    int64_t n_classes; // 0 = infer (classes of the file, one-hot width, or 1 + the largest label).
                       // For the test side set it to the training side's, before dataset_open.
    int64_t block;     // rows a block; 0 = auto
    int64_t window;    // blocks a shuffle window
    const struct yaml_node *transforms; // list; see transform.h
    bool is_unlabelled; // not a key: targets are not wanted and need not be there; no statistics,
                        // no fingerprint
    bool is_probe;      // not a key: headers, labels and the index of chunks only (preflight.h); no
                        // statistics, no fingerprint
    bool is_lenient;    // not a key: changed rows of a sealed file are counted, not refused
};
extern const struct option data_options[];
extern const size_t data_options_n;

struct dataset;

// Which keys to take where one group holds both sides (x_train, x_test, train_set_x ...), and which
// group where the path names none.
enum dataset_side { DATASET_TRAIN, DATASET_TEST };

// The config of a recipe without a section data (all defaults but train and test, which are "").
struct data_config dataset_defaults(void);

// Opens one side. `path` is config->train or config->test (or from a command line). Reads the
// labels to validate them (range, integers, NaN), the shapes, and some rows for statistics and
// fingerprint; not all images. STATUS_DATA names file, key, expected, got.
enum status dataset_open(struct dataset **dataset, const char *path, enum dataset_side side,
                         const struct data_config *config);
void dataset_close(struct dataset *dataset); // NULL is allowed

uint64_t dataset_rows(const struct dataset *dataset);
struct sample_shape dataset_shape(const struct dataset *dataset);
struct target_shape dataset_target(const struct dataset *dataset);
bool dataset_is_u8(const struct dataset *dataset);
size_t dataset_row_bytes(const struct dataset *dataset); // as read: uint8 or float32
uint64_t
dataset_chunk_rows(const struct dataset *dataset); // rows a chunk of the file, 1 when contiguous
size_t dataset_cache_bytes(const struct dataset *dataset); // memory dataset_read may still take
const char *dataset_path(const struct dataset *dataset);   // FILE:/group
// Class names (borrowed) or NULL; *n as n_classes.
char *const *dataset_classes(const struct dataset *dataset, size_t *n);
// Per-channel mean and standard deviation of the scaled input (c doubles each). From the file if it
// has them, else computed at dataset_open over up to 10,000 rows in runs of 100, spread evenly (up
// to 64 Mi values). A channel that is constant has std 1.
const double *dataset_mean(const struct dataset *dataset);
const double *dataset_std(const struct dataset *dataset);
// 32 hex digits over shapes, types, labels and the raw bytes of up to 1,024 rows spread evenly (up
// to 64 MiB): names the content for checkpoints. Computed at open.
const char *dataset_fingerprint(const struct dataset *dataset);
// Human lines: what was found and inferred. malloc'ed.
char *dataset_describe(const struct dataset *dataset);

// Reads rows [first, first + count): inputs raw (uint8 or float32) in NHWC order (transposed here
// if the file is NCHW), count * dataset_row_bytes. One thread at a time per data set. STATUS_DATA
// on I/O errors, and for rows of a sealed file that are not what was imported.
enum status dataset_read(struct dataset *dataset, uint64_t first, uint64_t count, void *inputs);
// Targets of one row (row < dataset_rows), kept in memory: int32 class indices or floats.
const void *dataset_target_of(const struct dataset *dataset, uint64_t row);
// Rows read so far, one after the other, that differ from what was imported (is_lenient), the
// lowest of them; false: the file is not sealed. Rows that are read again are counted again.
bool dataset_changed(const struct dataset *dataset, uint64_t *n, uint64_t *lowest);
void dataset_changed_reset(struct dataset *dataset);

#endif
