// SPDX-License-Identifier: MIT
// A training run without a network; see fake_run.h.
#include "tests/support/fake_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/tree.h"
#include "trainer/optimizer.h"

const struct update_config fake_configs[] = {
    {.optimizer = OPTIMIZER_sgd,
     .momentum = 0.9,
     .nesterov = true,
     .weight_decay = 1e-2,
     .clip_norm = 3},
    {.optimizer = OPTIMIZER_adamw,
     .beta1 = 0.9,
     .beta2 = 0.99,
     .epsilon = 1e-8,
     .weight_decay = 1e-2,
     .decay_all = true,
     .ema = 0.9},
    {.optimizer = OPTIMIZER_lars,
     .momentum = 0.9,
     .weight_decay = 1e-3,
     .trust = 0.02,
     .clip_norm = 5,
     .ema = 0.99},
    {.optimizer = OPTIMIZER_sgd,
     .momentum = 0.9,
     .nesterov = true,
     .weight_decay = 1e-2,
     .ema = 0.9,
     .lookahead = 2,
     .lookahead_decay = 0.8,
     .steps = 7,
     .steps_per_epoch = 2},
};
const size_t fake_configs_n = sizeof fake_configs / sizeof fake_configs[0];

struct group fake_alone(void)
{
    return (struct group){.rank = 0, .size = 1, .host = "alone", .local_size = 1};
}

enum status fake_run_init(struct fake_run *run, struct group *group,
                          const struct update_config *config, size_t bucket_bytes)
{
    return fake_run_init_with(run, group, config, bucket_bytes, fake_network, fake_network_n);
}

enum status fake_run_init_with(struct fake_run *run, struct group *group,
                               const struct update_config *config, size_t bucket_bytes,
                               const struct fake_tensor *tensors, size_t n_tensors)
{
    memset(run, 0, sizeof *run);
    run->group = group;
    fake_model_init(&run->model, tensors, n_tensors);
    TRY(memory_alloc(&run->params, run->model.n, sizeof(float), "params"));
    fake_params(&run->model, 1, run->params);
    TRY(reduce_init(&run->reduce, group, run->model.n, FAKE_GRAINS, 1, bucket_bytes));
    return update_init(&run->update, config, group, run->reduce, run->model.n, FAKE_GRAINS,
                       run->model.list, run->model.n_list, run->params);
}

// Padding and frozen tensors get NaN: nobody may look at them.
enum status fake_run_step(struct fake_run *run, uint64_t step)
{
    struct tree_run grains = tree_run_of(FAKE_GRAINS, run->group->size, run->group->rank);
    for (int g = grains.first; g < grains.first + grains.count; g++) {
        float *grad = reduce_grain(run->reduce, 0);
        for (size_t i = 0; i < run->model.n; i++)
            grad[i] = NAN;
        for (size_t t = run->model.n_list; t-- > 0;) {
            const struct param *param = run->model.list[t].param;
            for (size_t i = 0; param->kind != PARAM_FROZEN && i < param->count; i++)
                grad[param->offset + i] =
                    fake_value(step * FAKE_GRAINS + (uint64_t)g + 100, param->offset + i) *
                    (0.01f + 0.03f * (float)step);
            reduce_push(run->reduce, 0, param->offset);
        }
    }
    reduce_wait(run->reduce);
    return update_step(run->update, run->params, 0.1 / (1 + (double)step), step);
}

void fake_run_free(struct fake_run *run)
{
    update_free(run->update);
    reduce_free(run->reduce);
    free(run->params);
}

struct checkpoint_meta fake_meta(uint64_t step)
{
    return (struct checkpoint_meta){
        .next_epoch = step / 10,
        .next_step = step % 10,
        .global_step = step,
        .recipe = "name: fake\ntrain:\n  lr: 0.1\n  epochs: 3\nhead:\n- dense:\n    out: 10\n",
        .train = "0123456789abcdef0123456789abcdef",
        .test = "fedcba9876543210fedcba9876543210",
        .input_h = 8,
        .input_w = 8,
        .input_c = 1,
        .input_is_u8 = true,
        .target_is_class = true,
        .target_count = 1,
        .target_classes = 10,
        .classes = "zero\none",
        .isa = "avx2",
        .versions = "sw2 test",
        .n_metrics = 3,
        .metrics = {1.5, (double)step, -0.1},
        .has_best = true,
        .best = 0.875,
        .best_epoch = 2,
    };
}

enum status fake_save(struct fake_run *run, const char *folder, size_t keep, bool is_best,
                      uint64_t step)
{
    struct checkpoint_meta meta = fake_meta(step);
    return checkpoint_save(run->group, folder, keep, is_best, &meta, run->update, run->model.list,
                           run->model.n_list, run->params);
}

enum status fake_load(struct fake_run *run, const char *path)
{
    struct checkpoint *checkpoint;
    TRY(checkpoint_open(&checkpoint, run->group, path));
    CHECK(checkpoint, STATUS_DATA, "no checkpoint in %s", path);
    enum status status = checkpoint_load(checkpoint, run->update, run->model.list,
                                         run->model.n_list, run->params, run->model.n);
    checkpoint_close(checkpoint);
    return status;
}
