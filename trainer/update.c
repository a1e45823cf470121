// SPDX-License-Identifier: MIT
// The update of one step; see update.h. Owns state slices and segments, not parameters.
#include "trainer/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/fault.h"
#include "comm/memory.h"
#include "trainer/optimizer.h"
#include "trainer/profile.h"
#include "trainer/update_private.h"

static enum status config_check(const struct update_config *config)
{
    const struct optimizer *optimizer = optimizer_at(config->optimizer);
    CHECK(optimizer, STATUS_USAGE, "optimizer %d is not a row of optimizers.def",
          config->optimizer);
    bool is_sgd = config->optimizer == OPTIMIZER_sgd;
    CHECK(!config->nesterov || is_sgd, STATUS_USAGE, "nesterov is an option of sgd, not of %s",
          optimizer->name);
    CHECK(!config->nesterov || config->momentum > 0, STATUS_USAGE,
          "nesterov needs momentum above 0, for example momentum: 0.9");
    CHECK(!config->decoupled || config->optimizer != OPTIMIZER_lars, STATUS_USAGE,
          "decoupled is an option of sgd (adamw always is), not of lars");
    CHECK(config->ema >= 0 && config->ema < 1, STATUS_USAGE, "ema: %g is not in [0, 1)",
          config->ema);
    CHECK(config->lookahead == 0 || config->steps > 0, STATUS_USAGE,
          "lookahead: the length of the run is not known");
    return STATUS_OK;
}

// Segments: where slices and tensors, both ascending, overlap: at most n_spans + n_list of them.
static enum status segments_init(struct update *u)
{
    TRY(memory_alloc(&u->segments, u->n_spans + u->n_list, sizeof *u->segments,
                     "table of update segments"));
    size_t t = 0;
    for (size_t s = 0; s < u->n_spans; s++) {
        size_t begin = u->spans[s].offset, end = begin + u->spans[s].count;
        ASSERT(begin % SPAN_BLOCK == 0 && u->spans[s].count % SPAN_BLOCK == 0 && end <= u->n);
        while (t < u->n_list && u->list[t].param->offset < end) {
            const struct param *param = u->list[t].param;
            size_t from = param->offset > begin ? param->offset : begin;
            size_t last = param->offset + param->count;
            size_t to = last < end ? last : end;
            if (from < to)
                u->segments[u->n_segments++] = (struct segment){
                    .offset = from,
                    .count = to - from,
                    .local = u->n_local + from - begin,
                    .tensor = t,
                };
            if (last > end)
                break; // goes on in a later slice
            t++;
        }
        u->n_local += u->spans[s].count;
    }
    return STATUS_OK;
}

static enum status state_add(struct update *u, const char *name)
{
    ASSERT(u->n_states < UPDATE_STATES_MAX);
    TRY(memory_alloc(&u->state[u->n_states], u->n_local, sizeof(float), name));
    u->state_name[u->n_states++] = name;
    return STATUS_OK;
}

// A state that starts as the weights.
static enum status average_add(struct update *u, const char *name, const float *params,
                               float **average)
{
    TRY(state_add(u, name));
    float *to = *average = u->state[u->n_states - 1];
    for (size_t s = 0; s < u->n_spans; to += u->spans[s++].count)
        memcpy(to, params + u->spans[s].offset, u->spans[s].count * sizeof(float));
    return STATUS_OK;
}

static enum status memory_init(struct update *u, const float *params)
{
    for (int i = 0; i < u->optimizer->n_states; i++)
        TRY(state_add(u, u->optimizer->state[i]));
    if (u->config.lookahead > 0)
        TRY(average_add(u, "lookahead", params, &u->slow));
    if (u->config.ema > 0)
        TRY(average_add(u, "ema", params, &u->ema));
    TRY(memory_alloc(&u->blocks, u->n / SPAN_BLOCK, sizeof(double), "norms of blocks"));
    TRY(memory_alloc(&u->g_sum, u->n_list, sizeof(double), "norms of gradients"));
    TRY(memory_alloc(&u->p_sum, u->n_list, sizeof(double), "norms of weights"));
    return memory_alloc(&u->digests, (size_t)u->group->size, sizeof *u->digests, "digests");
}

static enum status update_make(struct update *u, const float *params)
{
    TRY(config_check(&u->config));
    u->optimizer = optimizer_at(u->config.optimizer);
    ASSERT(u->n % SPAN_BLOCK == 0);
    size_t end = 0;
    for (size_t i = 0; i < u->n_list; i++) {
        const struct param *param = u->list[i].param;
        ASSERT(param->offset % SPAN_BLOCK == 0 && param->offset >= end);
        end = param->offset + param->count;
    }
    ASSERT(end <= u->n);
    u->n_spans = reduce_slices(u->reduce, u->group->rank, &u->spans);
    TRY(segments_init(u));
    return memory_init(u, params);
}

enum status update_init(struct update **update, const struct update_config *config,
                        struct group *group, struct reduce *reduce, size_t n, int grains,
                        const struct model_param *list, size_t n_list, const float *params)
{
    *update = NULL;
    struct update *u = NULL;
    enum status status = memory_alloc(&u, 1, sizeof *u, "optimiser");
    if (status == STATUS_OK) {
        u->config = *config;
        u->group = group;
        u->reduce = reduce;
        u->n = n;
        u->grains = grains;
        u->list = list;
        u->n_list = n_list;
        status = update_make(u, params);
    }
    status = group_agree(group, status);
    if (status == STATUS_OK)
        *update = u;
    else
        update_free(u);
    return status;
}

void update_free(struct update *update)
{
    if (!update)
        return;
    for (int i = 0; i < update->n_states; i++)
        free(update->state[i]);
    free(update->segments);
    free(update->blocks);
    free(update->g_sum);
    free(update->p_sum);
    free(update->digests);
    free(update);
}

void update_use_workers(struct update *update, struct workers *workers)
{
    update->workers = workers;
}

void update_set_profile(struct update *update, struct profile *profile)
{
    update->profile = profile;
}

size_t update_bytes(const struct update_config *config, size_t n, size_t n_list, int size)
{
    const struct optimizer *optimizer = optimizer_at(config->optimizer);
    size_t n_states =
        (size_t)(optimizer ? optimizer->n_states : 0) + (config->ema > 0) + (config->lookahead > 0);
    size_t blocks = n / SPAN_BLOCK;
    size_t local = (blocks + (size_t)size - 1) / (size_t)size * SPAN_BLOCK;
    return n_states * local * sizeof(float) + blocks * sizeof(double) +
           n_list * (2 * sizeof(double) + 2 * sizeof(struct segment)) + sizeof(struct update);
}

// Sum of squares of up to SPAN_BLOCK floats in double: eight running sums, folded pairwise.
static double block_squares(const float *x, size_t n)
{
    double sum[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            sum[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; i + j < n; j++)
        sum[j] += (double)x[i + j] * (double)x[i + j];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

// In the step after `step` steps.
static bool is_trained(const struct update *u, const struct model_param *p, uint64_t step)
{
    double epochs = p->param->trained_epochs;
    bool is_over = epochs > 0 && (double)step >= epochs * (double)u->config.steps_per_epoch;
    return (p->param->kind == PARAM_WEIGHT || p->param->kind == PARAM_BIAS) && !is_over;
}

// What the workers of the rank share.
struct job {
    struct update *u;
    float *params;
    const float *vector; // sum, or whatever squares are taken of
    struct optimizer_step step;
    double lr;
};

// The part of segment s that lies in a worker's part of this rank's state; false: none.
static bool segment_cut(const struct update *u, size_t s, int worker, struct segment *out)
{
    size_t begin, end;
    workers_part(u->workers, worker, u->n_local, SPAN_BLOCK, &begin, &end);
    *out = u->segments[s];
    size_t from = out->local > begin ? out->local : begin, last = out->local + out->count;
    size_t to = last < end ? last : end;
    if (from >= to)
        return false;
    out->offset += from - out->local;
    out->local = from;
    out->count = to - from;
    return true;
}

static enum status squares_run(void *context, int worker)
{
    const struct job *job = context;
    const struct update *u = job->u;
    for (size_t s = 0; s < u->n_segments; s++) {
        struct segment segment;
        if (u->list[u->segments[s].tensor].param->kind == PARAM_FROZEN ||
            !segment_cut(u, s, worker, &segment))
            continue; // backward writes nothing to frozen ones
        for (size_t i = 0; i < segment.count; i += SPAN_BLOCK) {
            size_t left = segment.count - i;
            u->blocks[(segment.offset + i) / SPAN_BLOCK] = block_squares(
                job->vector + segment.offset + i, left < SPAN_BLOCK ? left : SPAN_BLOCK);
        }
    }
    return STATUS_OK;
}

// Collective: sums[t] = sum of squares of vector over tensor t (0 for frozen ones), folded in
// block order.
static void tensor_squares(struct update *u, const float *vector, double *sums)
{
    memset(u->blocks, 0, u->n / SPAN_BLOCK * sizeof(double));
    struct job job = {.u = u, .vector = vector};
    workers_run(u->workers, squares_run, &job);
    reduce_allgather_blocks(u->reduce, u->blocks);
    for (size_t t = 0; t < u->n_list; t++) {
        const struct param *param = u->list[t].param;
        sums[t] = 0;
        for (size_t i = 0; i < param->count; i += SPAN_BLOCK)
            sums[t] += u->blocks[(param->offset + i) / SPAN_BLOCK];
    }
}

static void segment_statistic(const struct update *u, const struct param *param, size_t n,
                              float *restrict p, const float *restrict sum)
{
    float share = 1.0f / (float)u->grains; // exact: a power of two
    float momentum = param->state_momentum;
    for (size_t i = 0; i < n; i++)
        p[i] += momentum * (sum[i] * share - p[i]);
}

// As e += (1 - d)(p - e): the weights of e and p then sum to one exactly, which d e + (1 - d) p in
// float does not, and d close to one would show it.
static void segment_ema(float decay_rest, size_t n, float *restrict ema, const float *restrict p)
{
    for (size_t i = 0; i < n; i++)
        ema[i] += decay_rest * (p[i] - ema[i]);
}

// After `done` steps: do fast and slow weights meet?
static void segment_lookahead(const struct update *u, const struct segment *segment, uint64_t done,
                              float *restrict p)
{
    float *restrict slow = u->slow + segment->local;
    double part = (double)done / (double)u->config.steps;
    float rest = (float)(1 - u->config.lookahead_decay * part * part * part);
    if (done % u->config.lookahead != 0 && done != u->config.steps)
        return;
    for (size_t i = 0; i < segment->count; i++)
        p[i] = slow[i] += rest * (p[i] - slow[i]);
}

static void segment_update(struct update *u, const struct segment *segment, float *params,
                           const float *sum, struct optimizer_step *step, double lr)
{
    const struct model_param *tensor = &u->list[segment->tensor];
    enum param_kind kind = tensor->param->kind;
    float *p = params + segment->offset;
    const float *g = sum + segment->offset;
    if (kind == PARAM_STATE) {
        segment_statistic(u, tensor->param, segment->count, p, g);
    } else if (is_trained(u, tensor, step->step)) {
        double factor = tensor->param->lr_factor > 0 ? (double)tensor->param->lr_factor : 1;
        double scale = tensor->param->lr_scale > 0 ? (double)tensor->param->lr_scale : 1;
        step->is_weight = kind == PARAM_WEIGHT;
        step->lr = lr * factor * scale;
        step->decay = step->is_weight || u->config.decay_all ? u->config.weight_decay / factor : 0;
        step->p_norm = sqrt(u->p_sum[segment->tensor]);
        step->g_norm = sqrt(u->g_sum[segment->tensor]) * (double)step->grad_scale;
        float *state[OPTIMIZER_STATES_MAX];
        for (int i = 0; i < u->optimizer->n_states; i++)
            state[i] = u->state[i] + segment->local;
        u->optimizer->apply(step, segment->count, p, g, state);
    }
    if (u->slow)
        segment_lookahead(u, segment, step->step + 1, p);
    if (u->ema && (kind == PARAM_WEIGHT || kind == PARAM_BIAS))
        segment_ema((float)(1 - u->config.ema), segment->count, u->ema + segment->local, p);
    else if (u->ema)
        memcpy(u->ema + segment->local, p, segment->count * sizeof(float));
}

// Global norm into u->norm, and the check that all sums are finite.
static enum status norm_check(struct update *u, uint64_t step)
{
    double total = 0;
    for (size_t t = 0; t < u->n_list; t++) {
        CHECK(isfinite(u->g_sum[t]), STATUS_NOT_FINITE, "the %s of '%s' is not finite in step %llu",
              is_trained(u, &u->list[t], step) ? "gradient" : "statistic", u->list[t].name,
              (unsigned long long)step + 1);
        if (is_trained(u, &u->list[t], step))
            total += u->g_sum[t];
    }
    u->norm = sqrt(total);
    return STATUS_OK;
}

static enum status segments_run(void *context, int worker)
{
    const struct job *job = context;
    struct optimizer_step step = job->step;
    struct laps *laps = worker > 0 ? profile_lane(job->u->profile, worker) : NULL;
    laps_mark(laps, profile_slot_at(job->u->profile, PROFILE_IDLE));
    for (size_t s = 0; s < job->u->n_segments; s++) {
        struct segment segment;
        if (segment_cut(job->u, s, worker, &segment))
            segment_update(job->u, &segment, job->params, job->vector, &step, job->lr);
    }
    laps_mark(laps, profile_slot_at(job->u->profile, PROFILE_UPDATE));
    return STATUS_OK;
}

enum status update_compute(struct update *u, float *params, const float *sum, double lr,
                           uint64_t step)
{
    CHECK(isfinite(lr), STATUS_NOT_FINITE, "step %llu: the learning rate is not finite",
          (unsigned long long)step);
    tensor_squares(u, sum, u->g_sum);
    TRY(norm_check(u, step));
    if (u->optimizer->needs_norms)
        tensor_squares(u, params, u->p_sum);
    struct job job = {.u = u, .params = params, .vector = sum, .lr = lr};
    job.step = (struct optimizer_step){.config = &u->config, .step = step, .grad_scale = 1.0f};
    // As torch.nn.utils.clip_grad_norm_.
    double clip = u->config.clip_norm > 0 ? u->config.clip_norm / (u->norm + 1e-6) : 1;
    if (clip < 1)
        job.step.grad_scale = (float)clip;
    return workers_run(u->workers, segments_run, &job);
}

enum status update_step(struct update *update, float *params, double lr, uint64_t step)
{
    struct update *u = update;
    TRY(update_compute(u, params, reduce_sum(u->reduce), lr, step));
    fault_point(FAULT_UPDATED, params, u->n * sizeof *params);
    profile_mark(u->profile, PROFILE_UPDATE);
    reduce_allgather(u->reduce, params);
    fault_point(FAULT_GATHERED, params, u->n * sizeof *params);
    profile_mark(u->profile, PROFILE_GATHER);
    return STATUS_OK;
}

double update_share(const struct update *update)
{
    return update->n > 0 ? (double)update->n_local / (double)update->n : 0;
}

double update_norm(const struct update *update)
{
    return update->norm;
}

int update_n_states(const struct update *update)
{
    return update->n_states;
}

const char *update_state_name(const struct update *update, int i)
{
    ASSERT(i >= 0 && i < update->n_states);
    return update->state_name[i];
}

static void slices_gather(struct update *u, const float *local, float *vector)
{
    for (size_t s = 0; s < u->n_spans; local += u->spans[s++].count)
        memcpy(vector + u->spans[s].offset, local, u->spans[s].count * sizeof(float));
    reduce_allgather(u->reduce, vector);
}

const float *update_state_gather(struct update *update, int i)
{
    ASSERT(i >= 0 && i < update->n_states);
    float *vector = reduce_sum(update->reduce);
    slices_gather(update, update->state[i], vector);
    return vector;
}

float *update_state_buffer(struct update *update)
{
    return reduce_sum(update->reduce);
}

void update_state_scatter(struct update *update, int i)
{
    ASSERT(i >= 0 && i < update->n_states);
    float *vector = reduce_sum(update->reduce), *local = update->state[i];
    group_broadcast(update->group, vector, update->n * sizeof(float), 0);
    for (size_t s = 0; s < update->n_spans; local += update->spans[s++].count)
        memcpy(local, vector + update->spans[s].offset, update->spans[s].count * sizeof(float));
}

bool update_has_ema(const struct update *update)
{
    return update->ema != NULL;
}

void update_ema(struct update *update, float *vector)
{
    ASSERT(update->ema);
    slices_gather(update, update->ema, vector);
}

struct update_digest update_digest(struct update *update, const float *params)
{
    struct update_digest mine = {0, 0}, total = {0, 0}, *all = update->digests;
    size_t local = 0;
    for (size_t s = 0; s < update->n_spans; local += update->spans[s++].count) {
        struct span span = update->spans[s];
        mine.params += digest_span(params + span.offset, span.offset, span.count, 0);
        for (int i = 0; i < update->n_states; i++)
            mine.state +=
                digest_span(update->state[i] + local, span.offset, span.count, (uint64_t)i + 1);
    }
    size_t size = (size_t)update->group->size;
    group_allgather(update->group, &mine, sizeof mine, all);
    for (size_t r = 0; r < size; r++) {
        total.params += all[r].params;
        total.state += all[r].state;
    }
    return total;
}
