// SPDX-License-Identifier: MIT
// The recipe's list of input transforms, a table of one row each: to floats scaled to 0..1,
// normalised, flipped, cropped ... Random ones are pure functions of (seed, epoch, row).
// `train_only` ones are skipped in evaluation.
//   data: {transforms: [{normalize: {}}, {flip: {}}, {crop: {pad: 4}}, {cutout: {size: 8}},
//   {colour: {...}}]}
#ifndef SW2_DATA_TRANSFORM_H
#define SW2_DATA_TRANSFORM_H

#include "data/dataset.h"

struct transforms; // a planned list

// Reads and checks the list (NULL: scale to 0..1 and normalise with the data set's statistics).
// STATUS_USAGE with line and nearest name.
enum status transforms_plan(struct transforms **transforms, struct yaml *yaml,
                            const struct yaml_node *list, const struct dataset *train);
void transforms_free(struct transforms *transforms);
// The same for samples that do not come from a data set: of this shape, with these statistics of
// scaled inputs (c doubles each; NULL: normalize must name its own, as a resolved recipe does).
struct transform_source {
    struct sample_shape shape;
    const double *mean, *std;
};
enum status transforms_plan_for(struct transforms **transforms, struct yaml *yaml,
                                const struct yaml_node *list,
                                const struct transform_source *source);
// One sample: raw (uint8 or float32, NHWC) to floats in out (h * w * c). scratch:
// transforms_scratch floats.
void transforms_apply(const struct transforms *transforms, const void *raw, bool is_u8,
                      bool is_training, uint64_t seed, uint32_t epoch, uint64_t row, float *out,
                      float *scratch);
// Of the training rows; loader_init refuses rows of another shape.
struct sample_shape transforms_shape(const struct transforms *transforms);
size_t transforms_scratch(const struct transforms *transforms);
char *transforms_describe(const struct transforms *transforms); // one line, malloc'ed

#endif
