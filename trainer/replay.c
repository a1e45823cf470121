// SPDX-License-Identifier: MIT
#include "trainer/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/checkpoint.h"
#include "trainer/checkpoint_private.h"
#include "trainer/ledger.h"
#include "trainer/step.h"

#define PATH_BYTES (RUN_PATH_MAX + 64)

// The last line of the step; *nearest: the recorded step nearest to it.
static enum status line_read(const char *path, uint64_t step, char **out, uint64_t *nearest)
{
    FILE *file = fopen(path, "re");
    CHECK(file, STATUS_USAGE, "--replay: %s: %s; runs record digests of every --record-th step",
          path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        uint64_t at = 0;
        if (!strchr(line, '\n') || sscanf(line, "{\"step\":%" SCNu64 ",", &at) != 1)
            continue;
        uint64_t far = at > step ? at - step : step - at;
        uint64_t best = *nearest > step ? *nearest - step : step - *nearest;
        if (*nearest == 0 || far < best)
            *nearest = at;
        if (at != step)
            continue;
        free(*out);
        *out = strdup(line);
    }
    free(line);
    fclose(file);
    CHECK(*nearest > 0, STATUS_USAGE, "--replay: %s holds no step", path);
    CHECK(*out, STATUS_USAGE,
          "--replay: step %" PRIu64 " is not recorded in %s, the nearest that is: %" PRIu64, step,
          path, *nearest);
    return STATUS_OK;
}

// Rank 0's line reaches all ranks. *out malloc'ed.
static enum status line_share(struct group *group, const char *path, uint64_t step, char **out)
{
    uint64_t nearest = 0, n = 0;
    enum status status = STATUS_OK;
    *out = NULL;
    if (group->rank == 0)
        status = line_read(path, step, out, &nearest);
    TRY(group_agree(group, status));
    n = *out ? strlen(*out) + 1 : 0;
    group_broadcast(group, &n, sizeof n, 0);
    if (!*out)
        status = memory_alloc(out, n, 1, "recorded digests");
    TRY(group_agree(group, status));
    group_broadcast(group, *out, n, 0);
    return STATUS_OK;
}

// ---- where to start

// The newest checkpoint of at most `most` steps; 0: none.
static enum status checkpoint_before(struct group *group, const char *folder, uint64_t most,
                                     uint64_t *step)
{
    uint64_t *steps = NULL, best = 0;
    size_t n = 0;
    enum status status = group->rank == 0 ? folder_steps(folder, &steps, &n) : STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < n; i++)
        best = steps[i] <= most && steps[i] > best ? steps[i] : best;
    free(steps);
    TRY(group_agree(group, status));
    group_broadcast(group, &best, sizeof best, 0);
    *step = best;
    return STATUS_OK;
}

struct start {
    uint64_t epoch, at, global;
};

static enum status start_load(struct session *s, const char *folder, uint64_t step,
                              struct start *start)
{
    struct checkpoint *file = NULL;
    char *path = folder_step_path(folder, step);
    CHECK(path, STATUS_ERROR, "out of memory: a path");
    enum status status = checkpoint_open(&file, s->group, path);
    free(path);
    TRY(status);
    struct checkpoint_expect expect = {.recipe = s->recipe->resolved,
                                       .train = dataset_fingerprint(s->train_set)};
    status = checkpoint_check(file, &expect);
    if (status == STATUS_OK)
        status = checkpoint_load(file, s->update, s->list, s->n_list, s->params, s->n);
    const struct checkpoint_meta *meta = checkpoint_meta(file);
    *start = (struct start){meta->next_epoch, meta->next_step, meta->global_step};
    if (status == STATUS_OK)
        log_line("replay from %s", checkpoint_path(file));
    checkpoint_close(file);
    return status;
}

// Damaged checkpoints are passed over.
static enum status start_find(struct session *s, const char *folder, uint64_t step,
                              struct start *start)
{
    for (uint64_t most = step - 1;;) {
        uint64_t found = 0;
        TRY(checkpoint_before(s->group, folder, most, &found));
        if (found == 0)
            break;
        enum status status = start_load(s, folder, found, start);
        if (status != STATUS_DATA)
            return status;
        log_warn("%s", error_text());
        most = found - 1;
    }
    log_line("replay from the initial weights");
    *start = (struct start){0, 0, 0};
    return STATUS_OK;
}

// ---- the step

static enum status compare(struct ledger *ledger, const char *line, uint64_t step)
{
    const uint64_t *digests;
    size_t n = ledger_items(ledger, &digests), n_there = 0, n_other = 0;
    char first[128] = "", name[128];
    uint64_t recorded = 0, then = 0, now = 0;
    for (size_t i = 0; i < n; i++) {
        if (!ledger_find(ledger, i, line, &recorded))
            continue;
        n_there++;
        if (recorded == digests[i])
            continue;
        if (n_other++ == 0) {
            ledger_name(ledger, i, first);
            then = recorded;
            now = digests[i];
        }
    }
    CHECK(n_there > 0, STATUS_DATA, "--replay: the record of step %" PRIu64 " holds no digests",
          step);
    if (n_other == 0) {
        log_line("step %" PRIu64 ": all %zu digests are those recorded", step, n_there);
        return STATUS_OK;
    }
    ledger_name(ledger, 0, name);
    bool is_before = strncmp(first, "weights before", 14) == 0;
    FAIL(STATUS_VERIFY,
         "step %" PRIu64 ": %zu of %zu digests differ from those recorded, first '%s': recorded "
         "%016" PRIx64 ", now %016" PRIx64 "%s",
         step, n_other, n_there, first, then, now,
         is_before ? "; what differs was computed in an earlier step: replay one of those" : "");
}

static enum status isa_check(const char *line)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "\"isa\":\"%s\"", isa_name(isa_current()));
    CHECK(strstr(line, wanted), STATUS_USAGE,
          "--replay: the step was recorded with another instruction set than %s, whose bits "
          "differ (see SW2_ISA)",
          isa_name(isa_current()));
    return STATUS_OK;
}

static enum status steps_run(struct session *s, struct step *one, struct start start, uint64_t step)
{
    audit_start(one->audit, start.global);
    TRY(group_agree(s->group, loader_seek(s->loader, (uint32_t)start.epoch, start.at)));
    while (start.global < step) {
        struct step_news news = {0};
        if (start.at == s->order.steps) {
            start.epoch++;
            start.at = 0;
        }
        TRY(step_run(one, start.epoch, start.at, start.global, &news));
        CHECK(!news.signal, STATUS_STOPPED, "the replay was stopped after step %" PRIu64,
              start.global + 1);
        start.at++;
        start.global++;
    }
    return STATUS_OK;
}

enum status replay_run(struct session *s, const struct run_folder *folder, uint64_t step)
{
    char path[PATH_BYTES], *line = NULL;
    struct start start = {0, 0, 0};
    struct step one = {0};
    struct audit_config config = {.record_at = step};
    snprintf(path, sizeof path, "%s/digests.jsonl", folder->path);
    enum status status = line_share(s->group, path, step, &line);
    if (status == STATUS_OK)
        status = isa_check(line);
    if (status == STATUS_OK)
        status = start_find(s, folder->checkpoints, step, &start);
    if (status == STATUS_OK)
        status = group_agree(s->group, step_init(&one, s));
    if (status == STATUS_OK)
        status = audit_init(&one.audit, s, &config);
    if (status == STATUS_OK)
        status = steps_run(s, &one, start, step);
    if (status == STATUS_OK)
        status = compare(audit_ledger(one.audit), line, step);
    audit_free(one.audit);
    step_free(&one);
    free(line);
    return status;
}
