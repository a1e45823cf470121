// SPDX-License-Identifier: MIT
// Every optimiser at this number of ranks against the same run on one, bit for bit: weights, state
// and EMA, norms and digests, at several bucket sizes. And an error that only one rank can see.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "comm/tree.h"
#include "tests/support/fake_run.h"

#define STEPS 6

static enum status compare(const char *what, size_t config, uint64_t step, const float *got,
                           const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        CHECK(memcmp(&got[i], &want[i], sizeof *got) == 0, STATUS_VERIFY,
              "config %zu, step %" PRIu64 ": %s[%zu of %zu] is %a, alone %a", config, step, what, i,
              n, (double)got[i], (double)want[i]);
    return STATUS_OK;
}

static enum status compare_runs(struct fake_run *run, struct fake_run *alone, size_t config,
                                uint64_t step)
{
    double norm = update_norm(run->update), norm_alone = update_norm(alone->update);
    CHECK(norm == norm_alone && norm > 0, STATUS_VERIFY,
          "config %zu, step %" PRIu64 ": norm %a, alone %a", config, step, norm, norm_alone);
    TRY(compare("params", config, step, run->params, alone->params, run->model.n));
    struct update_digest got = update_digest(run->update, run->params);
    struct update_digest want = update_digest(alone->update, alone->params);
    CHECK(got.params == want.params && got.state == want.state, STATUS_VERIFY,
          "config %zu, step %" PRIu64 ": digests %016" PRIx64 " %016" PRIx64 ", alone %016" PRIx64
          " %016" PRIx64,
          config, step, got.params, got.state, want.params, want.state);
    return STATUS_OK;
}

static enum status compare_states(struct fake_run *run, struct fake_run *alone, size_t config)
{
    for (int i = 0; i < update_n_states(run->update); i++) {
        const float *got = update_state_gather(run->update, i);
        const float *want = update_state_gather(alone->update, i);
        double sum = 0;
        for (size_t j = 0; j < run->model.n; j++)
            sum += fabs((double)want[j]);
        CHECK(sum > 1e-6, STATUS_VERIFY, "%s holds nothing", update_state_name(run->update, i));
        TRY(compare(update_state_name(run->update, i), config, STEPS, got, want, run->model.n));
    }
    if (!update_has_ema(run->update))
        return STATUS_OK;
    float *ema = NULL;
    TRY(memory_alloc(&ema, run->model.n, sizeof *ema, "ema"));
    update_ema(run->update, ema);
    int last = update_n_states(run->update) - 1;
    enum status status = compare("update_ema", config, STEPS, ema,
                                 update_state_gather(alone->update, last), run->model.n);
    free(ema);
    return status;
}

static enum status check_runs(struct fake_run *run, struct fake_run *alone, size_t config)
{
    for (uint64_t step = 0; step < STEPS; step++) {
        TRY(fake_run_step(run, step));
        TRY(fake_run_step(alone, step));
        TRY(group_agree(run->group, compare_runs(run, alone, config, step)));
    }
    return group_agree(run->group, compare_states(run, alone, config));
}

static enum status check_config(struct group *group, size_t config, size_t bucket_bytes)
{
    struct fake_run run, alone;
    struct group one = fake_alone();
    TRY(fake_run_init(&run, group, &fake_configs[config], bucket_bytes));
    TRY(fake_run_init(&alone, &one, &fake_configs[config], 1 << 20));
    enum status status = check_runs(&run, &alone, config);
    size_t planned =
        update_bytes(&fake_configs[config], run.model.n, run.model.n_list, group->size);
    if (status == STATUS_OK && planned > 16 * run.model.n * sizeof(float))
        status = error_set(STATUS_VERIFY, __FILE__, __LINE__, "planned %zu bytes", planned);
    fake_run_free(&run);
    fake_run_free(&alone);
    return status;
}

// One grain of one rank is not finite: all ranks refuse, with the same words, and change nothing.
static enum status check_not_finite(struct group *group)
{
    struct fake_run run;
    TRY(fake_run_init(&run, group, &fake_configs[0], 4096));
    struct update_digest before = update_digest(run.update, run.params);
    struct tree_run grains = tree_run_of(FAKE_GRAINS, group->size, group->rank);
    for (int g = 0; g < grains.count; g++) {
        float *grad = reduce_grain(run.reduce, 0);
        memset(grad, 0, run.model.n * sizeof *grad);
        if (grains.first + g == FAKE_GRAINS - 1)
            grad[run.model.list[5].param->offset + 509] = INFINITY;
        reduce_push(run.reduce, 0, 0);
    }
    reduce_wait(run.reduce);
    enum status status = update_step(run.update, run.params, 0.1, 3);
    struct update_digest after = update_digest(run.update, run.params);
    bool is_named = status != STATUS_OK && strstr(error_text(), "'dense/weight'");
    fake_run_free(&run);
    CHECK(status == STATUS_NOT_FINITE && is_named, STATUS_VERIFY,
          "rank %d: status %d, expected %d naming 'dense/weight': %s", group->rank, (int)status,
          STATUS_NOT_FINITE, error_text());
    CHECK(memcmp(&before, &after, sizeof before) == 0, STATUS_VERIFY,
          "weights or state changed though the gradient was not finite");
    return STATUS_OK;
}

static enum status check_all(struct group *group)
{
    static const size_t buckets[] = {1, 3 * 1024, 1 << 20};
    for (size_t config = 0; config < fake_configs_n; config++)
        for (size_t b = 0; b < sizeof buckets / sizeof buckets[0]; b++)
            TRY(check_config(group, config, buckets[b]));
    TRY(group_agree(group, check_not_finite(group)));
    log_line("%zu optimisers on %d ranks give the bits of one", fake_configs_n, group->size);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_update", &argc, &argv);
    if (status == STATUS_OK)
        status = check_all(group);
    return group_finish(group, status);
}
