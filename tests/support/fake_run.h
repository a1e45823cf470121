// SPDX-License-Identifier: MIT
// A training run without a network: fake gradients, the real sum, the real update.
#ifndef SW2_TESTS_FAKE_RUN_H
#define SW2_TESTS_FAKE_RUN_H

#include "tests/support/fake_model.h"
#include "trainer/checkpoint.h"

#define FAKE_GRAINS 8

struct fake_run {
    struct group *group;
    struct reduce *reduce;
    struct update *update;
    struct fake_model model;
    float *params; // (model.n)
};

// Optimisers with everything switched on, to be run through.
extern const struct update_config fake_configs[];
extern const size_t fake_configs_n;

// Collective over group, which may be fake_alone(). tensors NULL: fake_network.
enum status fake_run_init_with(struct fake_run *run, struct group *group,
                               const struct update_config *config, size_t bucket_bytes,
                               const struct fake_tensor *tensors, size_t n_tensors);
enum status fake_run_init(struct fake_run *run, struct group *group,
                          const struct update_config *config, size_t bucket_bytes);
enum status fake_run_step(struct fake_run *run, uint64_t step);
void fake_run_free(struct fake_run *run);

// What the loop would tell a checkpoint after `step` steps: every field differs from its zero.
struct checkpoint_meta fake_meta(uint64_t step);
// Collective: checkpoint_save of the run with fake_meta.
enum status fake_save(struct fake_run *run, const char *folder, size_t keep, bool is_best,
                      uint64_t step);
// Collective: opens path, loads it into the run, closes. STATUS_DATA where there is none.
enum status fake_load(struct fake_run *run, const char *path);

// A group of this process alone, whatever MPI says: for the serial run to compare with.
struct group fake_alone(void);

#endif
