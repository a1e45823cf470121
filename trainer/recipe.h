// SPDX-License-Identifier: MIT
// One YAML recipe: found, read by rank 0 and given to all, overridden, checked, resolved. Owns the
// document; its sections are read by their owners (data/, models/, train_config).
#ifndef SW2_TRAINER_RECIPE_H
#define SW2_TRAINER_RECIPE_H

#include "comm/group.h"
#include "data/dataset.h"
#include "trainer/train_config.h"

struct recipe {
    struct yaml *yaml;
    const char *name;
    struct data_config data;
    const struct yaml_node *features, *head, *loss;
    struct train_config train;
    char *resolved; // YAML with every default written out; owned
};

// Collective. which: a path, or the name of an installed recipe ("fashion"), or NULL: the embedded
// one (digits). overrides: "key=value" texts, applied in order. STATUS_USAGE with file and line.
enum status recipe_load(struct recipe *recipe, struct group *group, const char *which,
                        const struct option_strings *overrides);
// Local: from the text that a checkpoint holds.
enum status recipe_parse(struct recipe *recipe, const char *name, const char *text,
                         const struct option_strings *overrides);
// Local. Writes what was inferred from the training data into the recipe (statistics of normalize,
// number of classes, block and window), so that the resolved text says all of it: a checkpoint is
// evaluated with the numbers it was trained with, whatever data is at hand then.
enum status recipe_fix_data(struct recipe *recipe, const struct dataset *train, uint64_t block,
                            uint64_t window);
enum status recipe_resolve(struct recipe *recipe); // makes `resolved` anew
void recipe_free(struct recipe *recipe);

#endif
