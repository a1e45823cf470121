// SPDX-License-Identifier: MIT
// What makes changed content of our own files an error instead of wrong data. sw2-data writes, in
// each group of rows,
//   row_digests  uint64 (rows): XXH3(bytes of the input as stored, seed = row)
//   seal         attribute "sw2:<32 hex digits>": XXH3-128 over row_digests, the labels, types and
//                shapes of all three, and the attributes classes, digest, layout, licence, mean,
//                source, std
// A group has both or neither: without them it is read unchecked, as files of others are. To use a
// file that was changed on purpose, remove both. Called by import_write.c and dataset.c.
#ifndef SW2_DATA_DATASET_SEAL_H
#define SW2_DATA_DATASET_SEAL_H

#include "data/h5.h"

#define SEAL_ATTRIBUTE "seal"
#define SEAL_ROWS "row_digests"
#define SEAL_INPUTS "images"
#define SEAL_TARGETS "labels"
#define SEAL_PREFIX "sw2:"
#define SEAL_BYTES 40 // of the text, with its end

// Digest of one row, as in row_digests.
uint64_t seal_row(uint64_t row, const void *input, size_t input_bytes);
// Writes row_digests (n) and the seal of a group whose data sets and attributes are complete.
// STATUS_ERROR.
enum status seal_group(struct h5 *file, const char *group, const uint64_t *row_digests, uint64_t n);
// The row digests of a sealed group (malloc'ed; *n of them), NULL where there is no seal.
// STATUS_DATA naming file and group: the seal does not fit, or half of it is missing.
enum status seal_open(struct h5 *file, const char *group, uint64_t **row_digests, uint64_t *n);

#endif
