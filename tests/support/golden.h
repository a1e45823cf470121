// SPDX-License-Identifier: MIT
// Golden files: values made by scripts/make_golden.py with PyTorch in double. Reads them through
// data/h5.h, builds the model of a recipe text, compares tensors. Used by test_golden_*.c.
#ifndef SW2_TESTS_GOLDEN_H
#define SW2_TESTS_GOLDEN_H

#include "comm/yaml.h"
#include "data/h5.h"
#include "models/model.h"

#define GOLDEN_CASES_MAX 128

// Fails the running test with the recorded error unless status is OK.
void golden_try(enum status status);

// Groups of the file, sorted. Texts are malloc'ed and kept for the process' life.
size_t golden_groups(struct h5 *file, const char *names[GOLDEN_CASES_MAX]);

// Attributes of a group.
char *golden_text(struct h5 *file, const char *group, const char *name); // malloc'ed
int64_t golden_int(struct h5 *file, const char *group, const char *name);
double golden_double(struct h5 *file, const char *group, const char *name);
struct shape golden_shape(struct h5 *file, const char *group, const char *name); // h, w, c

// A whole data set, converted; malloc'ed. *n: elements, may be NULL.
void *golden_read(struct h5 *file, const char *group, const char *name, enum h5_type as, size_t *n);

// A model on its recipe.
struct golden_model {
    struct yaml *yaml;
    struct model *model;
    struct shape input;
    size_t n;      // samples of the model's grain
    float *params; // model_floats
    float *grads;  // model_floats
};
// recipe: YAML of features, head, loss. config gives target, grain, input, input_gradient.
void golden_model_init(struct golden_model *model, const char *recipe, struct model_config config);
void golden_model_free(struct golden_model *model);

// True if |got - want| <= tolerance * largest |want| everywhere; else prints the first bad index,
// both values, the tolerance and the shape, as "name[index] of shape". NaN is bad.
bool golden_equal(const char *name, const char *shape, const float *got, const float *want,
                  size_t n, double tolerance);

#endif
