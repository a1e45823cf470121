// SPDX-License-Identifier: MIT
// Made-up pictures with labels, for benchmarks and tests at the size of real sets: a pure function
// of (seed, row). Each class has its own coarse pattern of 4 x 4 x C levels; a row is three
// quarters its class's pattern, one quarter noise, so that a network can learn it. Classes come in
// turn. Used by sw2-data generate.
#ifndef SW2_DATA_GENERATE_H
#define SW2_DATA_GENERATE_H

#include "data/import.h"

// A source of n_rows rows, uint8, numbered from `first` (so that /train and /test differ). Close
// with import_source_close. STATUS_USAGE: sizes of 0 or too large.
enum status generate_open(struct import_source *source, struct sample_shape shape, size_t n_classes,
                          uint64_t first, uint64_t n_rows, uint64_t seed);

#endif
