// SPDX-License-Identifier: MIT
// Which grains and steps are checked, and the digests of gradients: of this rank's own grains as
// they become final, and of those computed again for another rank.
#include "trainer/audit.h"

#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/events.h"
#include "comm/fault.h"
#include "comm/memory.h"
#include "comm/random.h"
#include "comm/rehearsal.h"
#include "trainer/audit_private.h"

// Numbers of what is chosen beside grains.
enum { CHOICE_STEP = 1 << 20 };

static bool choose(const struct audit *a, uint64_t global, uint32_t what)
{
    uint32_t words[4];
    struct random_key key = {(uint64_t)a->s->recipe->train.seed, RANDOM_AUDIT, 0};
    if (a->config.rate <= 0)
        return false;
    random_words(key, global, what, words);
    return (double)words[0] < a->config.rate * 0x1p32;
}

bool audit_is_audited(const struct audit *a, uint64_t global)
{
    return choose(a, global, CHOICE_STEP);
}

static bool is_nth(uint64_t global, uint64_t every)
{
    return every > 0 && (global + 1) % every == 0;
}

static bool is_recorded(const struct audit *a, uint64_t global)
{
    return is_nth(global, a->config.record_every) || global + 1 == a->config.record_at;
}

bool audit_is_checked(const struct audit *a, uint64_t global)
{
    return is_nth(global, a->config.verify_every) || is_recorded(a, global) ||
           audit_is_audited(a, global);
}

static int rank_of(const struct audit *a, int rank, int shift)
{
    int size = a->s->group->size;
    return (rank + shift % size + size) % size;
}

// Whose grains a rank checks: on another host for all ranks, if some shift does that.
static int shift_of(const struct audit *a)
{
    int size = a->s->group->size;
    for (int shift = 1; shift < size; shift++) {
        bool is_apart = true;
        for (int r = 0; r < size; r++)
            is_apart = is_apart && strcmp(a->hosts[r], a->hosts[rank_of(a, r, shift)]) != 0;
        if (is_apart)
            return shift;
    }
    return size > 1 ? 1 : 0;
}

// A worker's part of the grains that are computed again: what another worker had, if there is one.
static struct tree_run part_of(const struct audit *a, int worker)
{
    int n = workers_count(a->s->workers);
    return tree_run_part(a->run, n, (worker + 1) % n);
}

static enum status loaders_init(struct audit *a)
{
    struct session *s = a->s;
    struct data_config config = s->recipe->data;
    int workers = workers_count(s->workers);
    TRY(memory_alloc(&a->loaders, (size_t)workers, sizeof *a->loaders, "loaders of the audit"));
    TRY(memory_alloc(&a->grads, (size_t)workers, sizeof *a->grads, "gradients of the audit"));
    TRY(dataset_open(&a->data, config.train, DATASET_TRAIN, &config));
    for (int w = 0; w < workers; w++) {
        struct loader_config loader = {
            .dataset = a->data,
            .transforms = s->transforms,
            .order = &s->order,
            .first_grain = part_of(a, w).first,
            .n_grains = part_of(a, w).count,
            .slots = 1,
            .seed = (uint64_t)s->recipe->train.seed,
        };
        TRY(loader_init(&a->loaders[w], &loader));
        TRY(memory_alloc(&a->grads[w], s->n, sizeof(float), "gradients of the audit"));
    }
    return STATUS_OK;
}

static enum status digests_init(struct audit *a)
{
    const struct session *s = a->s;
    TRY(memory_alloc(&a->own, (size_t)s->grains.count * a->width, sizeof *a->own, "digests"));
    TRY(memory_alloc(&a->others, (size_t)a->run.count * a->width, sizeof *a->others, "digests"));
    TRY(memory_alloc(&a->is_chosen, (size_t)s->order.grains, sizeof *a->is_chosen, "digests"));
    TRY(audit_records_init(a));
    return audit_memory_init(a);
}

static enum status audit_make(struct audit *a)
{
    struct session *s = a->s;
    const struct train_config *train = &s->recipe->train;
    struct group *group = s->group;
    enum status status =
        memory_alloc(&a->hosts, (size_t)group->size, sizeof *a->hosts, "names of hosts");
    TRY(group_agree(group, status));
    group_allgather(group, group->host, sizeof group->host, a->hosts);
    a->width = s->n_list + 1;
    a->shift = shift_of(a);
    a->run = tree_run_of(s->order.grains, group->size, rank_of(a, group->rank, -a->shift));
    TRY(group_agree(group, digests_init(a)));
    if (a->config.record_every > 0 || a->config.record_at > 0)
        TRY(ledger_init(&a->ledger, s));
    if (a->config.rate <= 0)
        return STATUS_OK;
    TRY(group_agree(group, loaders_init(a)));
    TRY(reduce_init(&a->twin, group, s->n, (int)train->grains, (int)train->threads,
                    (size_t)train->bucket_kib << 10));
    reduce_trace(s->reduce, true); // only what is audited is looked at
    reduce_trace(a->twin, true);
    return STATUS_OK;
}

enum status audit_init(struct audit **out, struct session *s, const struct audit_config *config)
{
    struct audit *a = NULL;
    *out = NULL;
    bool is_wanted = config->rate > 0 || config->verify_every > 0 || config->record_every > 0 ||
                     config->record_at > 0;
    if (!is_wanted || rehearsal_is_built())
        return STATUS_OK;
    enum status status = memory_alloc(&a, 1, sizeof *a, "audit");
    TRY(group_agree(s->group, status));
    a->s = s;
    a->config = *config;
    a->finding = (struct audit_finding){AUDIT_NONE, -1, -1};
    pthread_mutex_init(&a->mutex, NULL);
    status = audit_make(a);
    if (status == STATUS_OK)
        *out = a;
    else
        audit_free(a);
    return status;
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    for (int w = 0; w < workers_count(a->s->workers); w++) {
        if (a->loaders)
            loader_free(a->loaders[w]);
        if (a->grads)
            free(a->grads[w]);
    }
    dataset_close(a->data);
    reduce_free(a->twin);
    ledger_free(a->ledger);
    audit_memory_free(a);
    pthread_mutex_destroy(&a->mutex);
    void *owned[] = {a->loaders,   a->grads,  a->hosts,   a->own,   a->others,
                     a->is_chosen, a->counts, a->records, a->after, a->totals};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    free(a);
}

void audit_step(struct audit *a, uint64_t epoch, uint64_t at, uint64_t global)
{
    if (!a)
        return;
    a->epoch = epoch;
    a->at = at;
    a->global = global;
    a->is_audited = audit_is_audited(a, global);
    a->is_recorded = is_recorded(a, global);
    a->is_checked = audit_is_checked(a, global);
    if (a->is_recorded)
        ledger_begin(a->ledger);
    a->any_chosen = false;
    for (int g = 0; a->config.rate > 0 && g < a->s->order.grains; g++) {
        a->is_chosen[g] = choose(a, global, (uint32_t)g);
        a->any_chosen = a->any_chosen || a->is_chosen[g];
    }
}

// ---- a grain

void audit_watch_begin(struct audit_watch *watch, const struct session *s, struct audit *a,
                       int worker, int grain, float *grads)
{
    *watch = (struct audit_watch){.s = s, .audit = a, .worker = worker, .grain = grain};
    watch->grads = grads;
    watch->next = s->n_list;
    if (a && a->is_audited)
        watch->twin = reduce_grain(a->twin, worker);
    watch->ledger = a && a->is_recorded ? a->ledger : NULL;
    if (a && (a->is_chosen[grain] || watch->ledger))
        watch->digests = a->own + (size_t)(grain - s->grains.first) * a->width;
}

static void seen(void *context, const struct layer *layer)
{
    const struct audit_watch *watch = context;
    ledger_layer(watch->ledger, watch->worker, watch->grain, layer);
}

void audit_watch_input(struct audit_watch *watch, const struct batch *batch, struct pass *pass)
{
    const struct session *s = watch->s;
    struct shape shape = session_input(s->train_set);
    size_t bytes = batch->n * shape.h * shape.w * shape.c * sizeof *batch->x;
    fault_point(FAULT_WEIGHTS, s->params, s->n * sizeof *s->params);
    fault_point(FAULT_INPUT, (float *)(uintptr_t)batch->x, bytes);
    if (!watch->ledger)
        return;
    ledger_input(watch->ledger, watch->worker, batch);
    pass->seen = seen;
    pass->seen_context = watch;
}

bool audit_watch_reads(const struct audit_watch *watch)
{
    return watch->digests || watch->twin || fault_hook;
}

void audit_watch_push(struct audit_watch *watch, size_t offset)
{
    const struct model_param *list = watch->s->list;
    if (!audit_watch_reads(watch))
        return;
    while (watch->next > 0 && list[watch->next - 1].param->offset >= offset) {
        const struct param *param = list[--watch->next].param;
        size_t at = param->offset, n = span_round(param->count); // padding too: it is zero
        fault_point(FAULT_GRADIENT, watch->grads + at, param->count * sizeof(float));
        if (watch->digests)
            watch->digests[watch->next] =
                param->kind == PARAM_FROZEN ? 0 : digest_span(watch->grads + at, at, n, 0);
        if (watch->twin)
            memcpy(watch->twin + at, watch->grads + at, n * sizeof(float));
    }
}

void audit_watch_pushed(struct audit_watch *watch, size_t offset)
{
    if (!watch->twin)
        return;
    fault_is_check++;
    reduce_push(watch->audit->twin, watch->worker, offset);
    fault_is_check--;
}

void audit_watch_end(struct audit_watch *watch, const double *metrics)
{
    size_t bytes = (size_t)model_loss(watch->s->model)->ops->n_metrics * sizeof *metrics;
    if (watch->digests)
        watch->digests[watch->s->n_list] = digest_bytes(metrics, bytes, 0);
    if (watch->ledger)
        ledger_grain(watch->ledger, watch->worker, watch->grain, watch->digests);
}

uint64_t audit_total(const struct audit *a, const uint64_t *digests)
{
    return digest_bytes(digests, a->width * sizeof *digests, 0);
}

static void push(void *context, size_t offset)
{
    audit_watch_push(context, offset);
}

enum status audit_compute(struct audit *a, int worker, struct loader *loader, int grain,
                          uint64_t *digests)
{
    struct session *s = a->s;
    struct model *model = s->models[worker];
    struct batch batch;
    double metrics[LOSS_METRICS_MAX] = {0};
    pthread_mutex_lock(&a->mutex);
    enum status status = loader_at(loader, (uint32_t)a->epoch, a->at, grain, &batch);
    pthread_mutex_unlock(&a->mutex);
    TRY(status);
    struct audit_watch watch = {.s = s, .grads = a->grads[worker], .next = s->n_list};
    watch.digests = digests;
    struct pass pass = {
        .n = batch.n,
        .is_training = true,
        .params = s->params,
        .grads = watch.grads,
        .seed = (uint64_t)s->recipe->train.seed,
        .epoch = batch.epoch,
        .row = batch.row,
    };
    model_forward(model, &pass, batch.x);
    model_loss_eval(model, &pass, batch.target, true, 1.0f / (float)s->order.batch, metrics);
    model_backward(model, &pass, push, &watch);
    audit_watch_end(&watch, metrics);
    return STATUS_OK;
}

enum status audit_work(struct audit *a, int worker)
{
    enum status status = STATUS_OK;
    if (!a || (!a->is_audited && !a->any_chosen))
        return STATUS_OK;
    fault_is_check++;
    if (a->is_audited && worker == 0)
        reduce_wait(a->twin);
    else if (a->is_audited)
        reduce_help(a->twin, worker);
    struct tree_run part = part_of(a, worker);
    for (int g = part.first; g < part.first + part.count && status == STATUS_OK; g++)
        if (a->is_chosen[g]) {
            events_begin(EVENTS_WORK, "grain of another rank", (uint64_t)g + 1);
            status = audit_compute(a, worker, a->loaders[worker], g,
                                   a->others + (size_t)(g - a->run.first) * a->width);
            events_end();
        }
    fault_is_check--;
    return status;
}

void audit_reset(struct audit *a)
{
    if (!a)
        return;
    a->has_kept = false;
    if (a->twin)
        reduce_clear(a->twin);
    a->finding = (struct audit_finding){AUDIT_NONE, -1, -1};
}

struct ledger *audit_ledger(const struct audit *a)
{
    return a ? a->ledger : NULL;
}

struct audit_finding audit_finding(const struct audit *a)
{
    return a ? a->finding : (struct audit_finding){AUDIT_NONE, -1, -1};
}
