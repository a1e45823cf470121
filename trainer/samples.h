// SPDX-License-Identifier: MIT
// First weights that come from training rows (layer whiten): which rows, and handing them over.
#ifndef SW2_TRAINER_SAMPLES_H
#define SW2_TRAINER_SAMPLES_H

#include "data/transform.h"
#include "models/model.h"

#define SAMPLES_FLOATS_MAX ((size_t)4 << 20) // 16 MiB
#define SAMPLES_ROWS_MAX 5000
#define SAMPLES_RUN 50 // rows read together

// Local (rank 0 does it and broadcasts). Up to SAMPLES_ROWS_MAX rows and SAMPLES_FLOATS_MAX floats
// of the training set, in runs spread evenly over it, transformed as for evaluation: a pure
// function of the data set and the recipe. Nothing is done where no layer wants them.
enum status samples_init_params(const struct model *model, struct dataset *train,
                                const struct transforms *transforms, float *params);

#endif
