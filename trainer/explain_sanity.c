// SPDX-License-Identifier: MIT
#include "trainer/explain_sanity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "comm/random.h"
#include "trainer/explain_private.h"
#include "trainer/explain_quality.h"

struct sanity {
    struct explain *e;
    struct model *model;
    const float *params;
    float *random, *mixed; // (n) each
    size_t n, positions;
    int cut[SANITY_STAGES]; // layers from here on are random
    float *raw;             // of any method
    float *map, *trained;   // (positions) sizes
    double *work;           // (4 positions)
};

static bool is_weight(const struct param *param)
{
    return param->rank > 1 && param->fan_in > 0;
}

static void cuts_find(struct sanity *s)
{
    const struct model_param *list;
    size_t n_list = model_params(s->model, &list), weights = 0;
    for (size_t i = 0; i < n_list; i++)
        weights += is_weight(list[i].param);
    for (size_t stage = 0; stage < SANITY_STAGES; stage++) {
        size_t keep = weights - (weights * (stage + 1) + SANITY_STAGES - 1) / SANITY_STAGES;
        s->cut[stage] = 0;
        for (size_t i = 0, seen = 0; i < n_list && keep > 0; i++)
            if (is_weight(list[i].param) && seen++ == keep)
                s->cut[stage] = list[i].layer->index;
    }
}

static void draw(struct sanity *s)
{
    const struct model_param *list;
    struct random_key key = {s->e->config.seed, RANDOM_EXPLAIN, EXPLAIN_DRAW_WEIGHT};
    for (size_t i = 0, n_list = model_params(s->model, &list); i < n_list; i++) {
        const struct param *param = list[i].param;
        float *to = s->random + param->offset;
        if (is_weight(param))
            random_normal(key, (uint32_t)i, 0, param->count, to);
        for (size_t k = 0; k < param->count; k++)
            to[k] = is_weight(param) ? to[k] * sqrtf(2 / (float)param->fan_in)
                                     : (param->init == INIT_ONE ? 1 : 0);
    }
}

static enum status fill(struct sanity *s)
{
    size_t most = s->e->floats;
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        if (explain_can(s->e, (enum explain_method)m)) {
            struct shape shape = explain_raw_shape(s->e, (enum explain_method)m);
            size_t floats = shape.h * shape.w * shape.c;
            most = floats > most ? floats : most;
        }
    s->n = model_floats(s->model);
    s->positions = s->e->in.h * s->e->in.w;
    TRY(memory_alloc(&s->random, s->n, sizeof *s->random, "random weights"));
    TRY(memory_alloc(&s->mixed, s->n, sizeof *s->mixed, "random weights"));
    TRY(memory_alloc(&s->raw, most, sizeof *s->raw, "explanation"));
    TRY(memory_alloc(&s->map, s->positions, sizeof *s->map, "map"));
    TRY(memory_alloc(&s->trained, s->positions, sizeof *s->trained, "map"));
    TRY(memory_alloc(&s->work, 4 * s->positions, sizeof *s->work, "ranks of a map"));
    cuts_find(s);
    return STATUS_OK;
}

enum status sanity_init(struct sanity **out, struct group *group, struct explain *explain,
                        struct model *model, const float *params)
{
    struct sanity *s = NULL;
    *out = NULL;
    enum status status = memory_alloc(&s, 1, sizeof *s, "sanity check");
    if (status == STATUS_OK) {
        *s = (struct sanity){.e = explain, .model = model, .params = params};
        status = fill(s);
    }
    status = group_agree(group, status);
    if (status != STATUS_OK) {
        sanity_free(s);
        return status;
    }
    if (group->rank == 0) // libm may differ between machines
        draw(s);
    group_broadcast(group, s->random, s->n * sizeof *s->random, 0);
    *out = s;
    return STATUS_OK;
}

void sanity_free(struct sanity *s)
{
    if (!s)
        return;
    free(s->random);
    free(s->mixed);
    free(s->raw);
    free(s->map);
    free(s->trained);
    free(s->work);
    free(s);
}

static void use(struct sanity *s, const float *params)
{
    explain_set_params(s->e, params);
    model_prepare(s->model, params, NULL);
}

static void stage_use(struct sanity *s, size_t stage)
{
    const struct model_param *list;
    memcpy(s->mixed, s->params, s->n * sizeof *s->mixed);
    for (size_t i = 0, n_list = model_params(s->model, &list); i < n_list; i++)
        if (list[i].layer->index >= s->cut[stage]) {
            size_t at = list[i].param->offset;
            memcpy(s->mixed + at, s->random + at, list[i].param->count * sizeof *s->mixed);
        }
    use(s, s->mixed);
}

static double compare(struct sanity *s, const float *map)
{
    for (size_t i = 0; i < s->positions; i++) {
        s->trained[i] = fabsf(map[i]);
        s->map[i] = fabsf(s->map[i]);
    }
    return rank_correlation(s->trained, s->map, s->positions, s->work);
}

void sanity_sample(struct sanity *s, const float *x, size_t target,
                   float *const maps[EXPLAIN_METHODS],
                   double correlation[EXPLAIN_METHODS][SANITY_STAGES])
{
    for (size_t stage = 0; stage < SANITY_STAGES; stage++) {
        stage_use(s, stage);
        for (int m = 0; m < EXPLAIN_METHODS; m++) {
            if (!maps[m])
                continue;
            explain_run(s->e, (enum explain_method)m, x, target, s->raw);
            explain_map(s->e, (enum explain_method)m, s->raw, s->map);
            correlation[m][stage] = compare(s, maps[m]);
        }
    }
    use(s, s->params);
}
