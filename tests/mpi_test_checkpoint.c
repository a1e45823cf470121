// SPDX-License-Identifier: MIT
// Checkpoints do not know how many ranks wrote them: saved by all ranks and loaded by one, saved by
// one and loaded by all, other bucket sizes; the run goes on with the same bits. And errors that
// only rank 0 can see are everyone's.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/log.h"
#include "tests/support/fake_run.h"

#define STEPS 3

static char folder[64]; // made by rank 0

static const char *saved_at(uint64_t step)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/step-%010" PRIu64 ".h5", folder, step);
    return path;
}

static enum status same(const char *what, size_t config, struct fake_run *a, struct fake_run *b)
{
    struct update_digest x = update_digest(a->update, a->params);
    struct update_digest y = update_digest(b->update, b->params);
    CHECK(x.params == y.params && x.state == y.state, STATUS_VERIFY,
          "%s, config %zu: digests %016" PRIx64 " %016" PRIx64 ", expected %016" PRIx64
          " %016" PRIx64,
          what, config, x.params, x.state, y.params, y.state);
    return STATUS_OK;
}

static enum status steps(struct fake_run *run, uint64_t from, uint64_t to)
{
    for (uint64_t step = from; step < to; step++)
        TRY(fake_run_step(run, step));
    return STATUS_OK;
}

// From `from` (already STEPS steps old) through a file into a fresh run, then on with both.
static enum status pass_on(const char *what, size_t config, struct fake_run *from,
                           struct fake_run *to)
{
    TRY(group_agree(from->group, fake_save(from, folder, 0, false, STEPS)));
    TRY(group_agree(to->group, fake_load(to, saved_at(STEPS))));
    TRY(same(what, config, to, from));
    TRY(steps(from, STEPS, STEPS + 2));
    TRY(steps(to, STEPS, STEPS + 2));
    TRY(same(what, config, to, from));
    return STATUS_OK;
}

struct runs {
    struct fake_run all, other, alone, fresh;
};

static enum status runs_check(struct runs *r, struct group *group, size_t config)
{
    struct group one = fake_alone();
    const struct update_config *c = &fake_configs[config];
    TRY(fake_run_init(&r->all, group, c, 1));
    TRY(fake_run_init(&r->other, group, c, 5000));
    TRY(fake_run_init(&r->alone, &one, c, 1 << 20));
    TRY(fake_run_init(&r->fresh, &one, c, 1 << 20));
    TRY(steps(&r->all, 0, STEPS));
    TRY(steps(&r->alone, 0, STEPS));
    TRY(pass_on("all ranks to other slices", config, &r->all, &r->other));
    // Both stand at STEPS + 2 now: back to the file, on one rank.
    enum status status = group->rank == 0 ? fake_load(&r->fresh, saved_at(STEPS)) : STATUS_OK;
    if (group->rank == 0 && status == STATUS_OK)
        status = same("all ranks to one", config, &r->fresh, &r->alone);
    TRY(group_agree(group, status));
    // One rank writes after five steps; all load it.
    status = steps(&r->alone, STEPS, STEPS + 2);
    if (group->rank == 0 && status == STATUS_OK)
        status = fake_save(&r->alone, folder, 0, false, STEPS + 2);
    TRY(group_agree(group, status));
    TRY(steps(&r->all, STEPS + 2, STEPS + 3)); // other values than those in the file
    TRY(group_agree(group, fake_load(&r->all, saved_at(STEPS + 2))));
    return group_agree(group, same("one rank to all", config, &r->all, &r->alone));
}

static enum status config_check(struct group *group, size_t config)
{
    struct runs runs = {0};
    enum status status = runs_check(&runs, group, config);
    fake_run_free(&runs.all);
    fake_run_free(&runs.other);
    fake_run_free(&runs.alone);
    fake_run_free(&runs.fresh);
    return status;
}

// The same status and words on every rank.
static enum status agreed(struct group *group, enum status got, enum status want, const char *says)
{
    enum status status = STATUS_OK;
    if (got != want || !strstr(error_text(), says))
        status = error_set(STATUS_VERIFY, __FILE__, __LINE__,
                           "rank %d: status %d, expected %d and '%s': %s", group->rank, (int)got,
                           (int)want, says, error_text());
    return group_agree(group, status);
}

static enum status errors_check(struct group *group, struct fake_run *run)
{
    TRY(fake_save(run, folder, 0, false, 50));
    TRY(fake_save(run, folder, 0, false, 51));
    const char *path = saved_at(51);
    if (group->rank == 0 && truncate(path, 4000) != 0)
        FAIL(STATUS_ERROR, "cannot truncate %s", path);
    TRY(agreed(group, fake_load(run, path), STATUS_DATA, "step-0000000051.h5"));
    struct checkpoint *checkpoint;
    TRY(checkpoint_open(&checkpoint, group, folder)); // falls back, with a warning of rank 0
    const struct checkpoint_meta *meta = checkpoint_meta(checkpoint), want = fake_meta(50);
    bool is_same = meta->global_step == 50 && meta->n_metrics == want.n_metrics &&
                   strcmp(meta->recipe, want.recipe) == 0 && strcmp(meta->isa, want.isa) == 0 &&
                   strcmp(meta->train, want.train) == 0 && strcmp(meta->test, want.test) == 0 &&
                   checkpoint_has_state(checkpoint, "momentum");
    struct checkpoint_expect expect = {.isa = "base"};
    enum status status = checkpoint_check(checkpoint, &expect);
    checkpoint_close(checkpoint);
    TRY(agreed(group, status, STATUS_USAGE, "instruction set avx2, this run has base"));
    TRY(agreed(group, is_same ? status : STATUS_OK, STATUS_USAGE, "instruction set"));
    checkpoint = (struct checkpoint *)run;
    TRY(checkpoint_open(&checkpoint, group, "/nowhere/at/all"));
    CHECK(!checkpoint, STATUS_VERIFY, "rank %d found a checkpoint nowhere", group->rank);
    TRY(agreed(group, fake_save(run, "/dev/null/x", 0, false, 1), STATUS_ERROR, "/dev/null/x"));
    return agreed(group, checkpoint_folder_open(group, "/dev/null/x"), STATUS_ERROR, "/dev/null/x");
}

static enum status check_all(struct group *group)
{
    for (size_t config = 0; config < fake_configs_n; config++)
        TRY(config_check(group, config));
    struct fake_run run;
    TRY(fake_run_init(&run, group, &fake_configs[0], 4096));
    enum status status = errors_check(group, &run);
    fake_run_free(&run);
    TRY(group_agree(group, status));
    log_line("checkpoints of %d ranks and of one are the same", group->size);
    return STATUS_OK;
}

static enum status folder_begin(struct group *group)
{
    snprintf(folder, sizeof folder, "/tmp/sw2-test-XXXXXX");
    enum status status = STATUS_OK;
    if (group->rank == 0 && !mkdtemp(folder))
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot make %s", folder);
    TRY(group_agree(group, status));
    group_broadcast(group, folder, sizeof folder, 0);
    return STATUS_OK;
}

static void folder_end(struct group *group)
{
    static const uint64_t saved[] = {STEPS, STEPS + 2, 50, 51};
    for (size_t i = 0; group->rank == 0 && i < sizeof saved / sizeof saved[0]; i++)
        unlink(saved_at(saved[i]));
    if (group->rank == 0)
        rmdir(folder);
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_checkpoint", &argc, &argv);
    if (status == STATUS_OK)
        status = folder_begin(group);
    if (status == STATUS_OK) {
        status = check_all(group);
        folder_end(group);
    }
    return group_finish(group, status);
}
