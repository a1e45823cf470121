// SPDX-License-Identifier: MIT
// What a trained network is asked about: pictures, folders of them, rows of HDF5 files, in the
// order they were named, each as a transformed sample. Used by sw2-predict and its like.
#ifndef SW2_TRAINER_INPUTS_H
#define SW2_TRAINER_INPUTS_H

#include "data/picture.h"
#include "trainer/trained.h"

#define INPUT_NAME_MAX 4352 // "FILE:/group[123]"

struct inputs;

// Lists everything (folders recursively, in the order of their bytes; hidden files left out; what
// is no picture is left out of folders, and refused where it was named). Local, the same on all
// ranks that see the same files. trained: borrowed. STATUS_DATA, STATUS_USAGE.
enum status inputs_open(struct inputs **inputs, const struct trained *trained,
                        const struct option_strings *paths, enum picture_fit fit);
void inputs_close(struct inputs *inputs); // NULL is allowed
size_t inputs_count(const struct inputs *inputs);
void inputs_name(const struct inputs *inputs, size_t i, char name[INPUT_NAME_MAX]);
// The raw row as in training (bytes or floats, row_bytes) and, transformed, into x (h * w * c).
enum status inputs_read(struct inputs *inputs, size_t i, float *x);
const void *inputs_raw(const struct inputs *inputs); // of the last inputs_read

#endif
