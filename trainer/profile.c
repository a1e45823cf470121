// SPDX-License-Identifier: MIT
#include "trainer/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "models/kernels/rows.h"
#include "trainer/profile_private.h"

// Best of a few short rounds: the peak is what the core can do when nobody disturbs it.
double profile_peak(void)
{
    double best = 0;
    for (int round = 0; round < 8; round++) {
        double begin = laps_now();
        double flops = rows_fma(1u << 16);
        double rate = flops / (laps_now() - begin);
        best = rate > best ? rate : best;
    }
    return best;
}

static enum status profile_fill(struct profile *p)
{
    p->n_slots = model_n_slots(p->model) + PROFILE_SLOTS;
    TRY(memory_alloc(&p->lanes, (size_t)p->n_lanes, sizeof *p->lanes, "profile"));
    size_t grain = model_n_layers(p->model) * LAYER_PARTS + MODEL_LAPS + 2;
    size_t step = grain * ((size_t)p->n_grains + 1) + PROFILE_SLOTS;
    for (int i = 0; i < p->n_lanes; i++)
        TRY(laps_init(&p->lanes[i], p->n_slots, step * PROFILE_TRACE_STEPS, (uint32_t)i));
    p->peak = profile_peak();
    return STATUS_OK;
}

enum status profile_init(struct profile **out, struct group *group, const struct model *model,
                         size_t grain, int grains, int lanes)
{
    struct profile *p = NULL;
    *out = NULL;
    TRY(memory_alloc(&p, 1, sizeof *p, "profile"));
    p->group = group;
    p->model = model;
    p->grain = grain;
    p->n_grains = grains;
    p->n_lanes = lanes;
    enum status status = profile_fill(p);
    if (status != STATUS_OK)
        profile_free(p);
    else
        *out = p;
    return status;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    for (int i = 0; p->lanes && i < p->n_lanes; i++)
        laps_free(&p->lanes[i]);
    free(p->lanes);
    free(p);
}

void profile_start(struct profile *p)
{
    if (!p)
        return;
    group_barrier(p->group);
    for (int i = 0; i < p->n_lanes; i++)
        laps_start(&p->lanes[i]);
}

struct laps *profile_lane(struct profile *p, int lane)
{
    return p ? &p->lanes[lane] : NULL;
}

size_t profile_slot_at(const struct profile *p, enum profile_slot slot)
{
    return p ? profile_model_slots(p) + slot : 0;
}

void profile_mark(struct profile *p, enum profile_slot slot)
{
    if (p)
        laps_lap(&p->lanes[0], profile_slot_at(p, slot));
}

void profile_step_begin(struct profile *p)
{
    if (!p)
        return;
    profile_mark(p, PROFILE_BETWEEN);
    if (p->steps == 1) {
        for (int i = 0; i < p->n_lanes; i++)
            laps_clear(&p->lanes[i]);
        p->flight = 0;
    }
    p->step_begin = p->lanes[0].last;
}

void profile_sum_end(struct profile *p, double began)
{
    if (!p)
        return;
    profile_mark(p, PROFILE_WAIT);
    double end = p->lanes[0].last;
    if (began <= 0)
        return;
    p->flight += end - began;
    laps_span(&p->lanes[0], profile_slot_at(p, PROFILE_FLIGHT), began, end);
}

void profile_step_end(struct profile *p)
{
    if (!p)
        return;
    profile_mark(p, PROFILE_REST);
    laps_span(&p->lanes[0], profile_slot_at(p, PROFILE_STEP), p->step_begin, p->lanes[0].last);
    if (++p->steps != PROFILE_TRACE_STEPS)
        return;
    for (int i = 0; i < p->n_lanes; i++)
        p->lanes[i].max_events = p->lanes[i].n_events;
}

static enum status sums_make(const struct profile *p, struct profile_sums *sums)
{
    TRY(memory_alloc(&sums->slots, p->n_slots, sizeof *sums->slots, "profile"));
    TRY(memory_alloc(&sums->low, p->n_slots, sizeof(double), "profile"));
    TRY(memory_alloc(&sums->high, p->n_slots, sizeof(double), "profile"));
    for (int i = 0; i < p->n_lanes; i++)
        laps_add(&p->lanes[i], sums->slots);
    uint64_t steps = p->steps > 1 ? p->steps - 1 : p->steps;
    sums->images = (double)steps * (double)p->n_grains * (double)p->grain;
    sums->flight = p->flight;
    return STATUS_OK;
}

// Least and most of each slot over ranks.
static enum status sums_compare(const struct profile *p, struct profile_sums *sums)
{
    size_t n = p->n_slots, size = (size_t)p->group->size;
    double *mine = NULL, *all = NULL;
    enum status status = memory_alloc(&mine, n, sizeof *mine, "profile");
    if (status == STATUS_OK)
        status = memory_alloc(&all, n * size, sizeof *all, "profile");
    status = group_agree(p->group, status);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < n; i++)
            mine[i] = sums->slots[i].seconds;
        group_allgather(p->group, mine, n * sizeof *mine, all);
        for (size_t i = 0; i < n; i++) {
            sums->low[i] = sums->high[i] = all[i];
            for (size_t r = 1; r < size; r++) {
                double seconds = all[r * n + i];
                sums->low[i] = seconds < sums->low[i] ? seconds : sums->low[i];
                sums->high[i] = seconds > sums->high[i] ? seconds : sums->high[i];
            }
        }
    }
    free(mine);
    free(all);
    return status;
}

static enum status text_save(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    bool is_written = file && fputs(text, file) >= 0;
    is_written = file && fclose(file) == 0 && is_written;
    CHECK(is_written, STATUS_ERROR, "cannot write '%s': %s", path, strerror(errno));
    return STATUS_OK;
}

// The table, line by line to the log, and whole to a file.
static enum status table_show(const struct profile *p, const struct profile_sums *sums,
                              const char *path)
{
    char *text = NULL;
    size_t n = 0;
    FILE *file = open_memstream(&text, &n);
    CHECK(file, STATUS_ERROR, "out of memory: profile");
    profile_table_write(p, sums, file);
    fclose(file);
    enum status status = text_save(path, text);
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        log_line("%s", line);
    }
    free(text);
    return status;
}

enum status profile_finish(struct profile *p, const struct run_folder *folder)
{
    if (!p || p->steps == 0)
        return STATUS_OK;
    struct profile_sums sums = {0};
    char path[RUN_PATH_MAX + 32];
    enum status status = group_agree(p->group, sums_make(p, &sums));
    if (status == STATUS_OK)
        status = sums_compare(p, &sums);
    if (status == STATUS_OK) {
        snprintf(path, sizeof path, "%s/trace.json", folder->path);
        status = profile_trace_write(p, path);
    }
    if (status == STATUS_OK) {
        snprintf(path, sizeof path, "%s/profile.txt", folder->path);
        enum status mine = p->group->rank == 0 ? table_show(p, &sums, path) : STATUS_OK;
        status = group_agree(p->group, mine);
    }
    free(sums.slots);
    free(sums.low);
    free(sums.high);
    return status;
}
