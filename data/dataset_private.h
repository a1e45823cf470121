// SPDX-License-Identifier: MIT
// Shared by dataset.c (table of contents, reading), dataset_infer.c (keys and layout),
// dataset_target.c (labels) and dataset_stats.c (statistics, fingerprint); by no one else.
#ifndef SW2_DATA_DATASET_PRIVATE_H
#define SW2_DATA_DATASET_PRIVATE_H

#include "data/dataset.h"

struct dataset {
    struct h5 *file;
    struct h5_set *inputs;
    enum dataset_side side;
    char *path;                   // FILE:/group
    char *group;                  // "/" or "/train"
    char *input_key, *target_key; // full names in the file
    struct h5_info input_info;
    uint64_t rows;
    struct sample_shape shape;
    bool is_own; // the file says its layout, as sw2-data's do: floats are not taken as classes
    bool is_u8, is_chw; // is_chw: the file has channels first
    size_t row_bytes;
    void *row; // one raw row, for the transposition
    struct target_shape target;
    void *targets; // rows * count int32 or floats
    char **classes;
    size_t n_classes; // names
    double *mean, *std;
    char fingerprint[33];
    uint64_t *row_digests; // (rows) of a sealed file (dataset_seal.h), else NULL
    bool is_lenient;
    uint64_t n_changed, lowest_changed; // rows
    char notes[1024];                   // what was inferred, a line each
};

enum dataset_layout { DATASET_AUTO, DATASET_NHWC, DATASET_NCHW };
enum dataset_target { DATASET_TARGET_AUTO, DATASET_TARGET_CLASS, DATASET_TARGET_FLOAT };

// Adds a line to what dataset_describe says.
void dataset_note(struct dataset *dataset, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// In this order: group and keys; shape and layout; targets; statistics; fingerprint.
enum status dataset_find_keys(struct dataset *dataset, const char *group,
                              const struct data_config *config);
enum status dataset_find_shape(struct dataset *dataset, const struct data_config *config);
enum status dataset_read_targets(struct dataset *dataset, const struct data_config *config);
enum status dataset_statistics(struct dataset *dataset);
enum status dataset_fingerprint_make(struct dataset *dataset);

#endif
