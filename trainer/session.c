// SPDX-License-Identifier: MIT
#include "trainer/session.h"

#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "data/preflight.h"
#include "models/kernels/gemm.h"
#include "comm/rehearsal.h"
#include "trainer/checkpoint.h"
#include "trainer/samples.h"

struct loss_target session_target(const struct dataset *dataset)
{
    struct target_shape t = dataset_target(dataset);
    return (struct loss_target){t.type == TARGET_CLASS, t.count, t.n_classes};
}

struct shape session_input(const struct dataset *dataset)
{
    struct sample_shape s = dataset_shape(dataset);
    return (struct shape){s.h, s.w, s.c};
}

static enum status sides_compare(const struct session *s)
{
    struct sample_shape a = dataset_shape(s->train_set), b = dataset_shape(s->test_set);
    CHECK(a.h == b.h && a.w == b.w && a.c == b.c, STATUS_DATA,
          "samples of '%s' are %zu x %zu x %zu, those of '%s' %zu x %zu x %zu",
          dataset_path(s->train_set), a.h, a.w, a.c, dataset_path(s->test_set), b.h, b.w, b.c);
    struct target_shape t = dataset_target(s->train_set), u = dataset_target(s->test_set);
    CHECK(t.type == u.type && t.count == u.count && u.n_classes <= t.n_classes, STATUS_DATA,
          "targets of '%s' (%zu, %zu classes) and '%s' (%zu, %zu classes) differ",
          dataset_path(s->train_set), t.count, t.n_classes, dataset_path(s->test_set), u.count,
          u.n_classes);
    return STATUS_OK;
}

// Names of the classes, one a line; none where the file has none or their text is too long for an
// attribute of HDF5.
static enum status classes_join(struct session *s)
{
    const size_t most = 60000;
    size_t n = 0, bytes = 1, used = 0;
    char *const *names = dataset_classes(s->train_set, &n);
    for (size_t i = 0; i < n; i++)
        bytes += strlen(names[i]) + 1;
    TRY(memory_alloc(&s->classes, bytes, 1, "names of the classes"));
    for (size_t i = 0; i < n && bytes <= most; i++)
        for (const char *at = names[i]; at <= names[i] + strlen(names[i]); at++)
            s->classes[used++] = (char)(*at == 0 ? '\n' : *at == '\n' ? ' ' : *at);
    if (used > 0)
        s->classes[used - 1] = 0;
    return STATUS_OK;
}

static enum status data_open(struct session *s)
{
    struct data_config config = s->recipe->data;
    const struct train_config *train = &s->recipe->train;
    CHECK(config.train[0], STATUS_USAGE,
          "%s: the recipe names no training data: data: {train: FILE.h5:/train}",
          s->recipe->yaml->name);
    TRY(dataset_open(&s->train_set, config.train, DATASET_TRAIN, &config));
    TRY(classes_join(s));
    if (config.test[0]) {
        config.n_classes = (int64_t)dataset_target(s->train_set).n_classes;
        TRY(dataset_open(&s->test_set, config.test, DATASET_TEST, &config));
        TRY(sides_compare(s));
    }
    TRY(transforms_plan(&s->transforms, s->recipe->yaml, config.transforms, s->train_set));
    TRY(order_init(&s->order, (uint64_t)train->seed, dataset_rows(s->train_set),
                   dataset_chunk_rows(s->train_set), (uint64_t)config.block,
                   (uint64_t)config.window, (size_t)train->batch, (int)train->grains));
    return recipe_fix_data(s->recipe, s->train_set, s->order.block, s->order.window);
}

// Does HDF5 survive the files? One rank finds out, before any opens them.
static enum status data_preflight(const struct session *s)
{
    const struct data_config *config = &s->recipe->data;
    return s->group->rank == 0
               ? preflight(config->train, config->test, config, !s->group->is_parallel)
               : STATUS_OK;
}

enum status session_data(struct session *s, struct group *group, struct recipe *recipe)
{
    *s = (struct session){.group = group, .recipe = recipe};
    const struct train_config *train = &recipe->train;
    TRY(group_agree(group,
                    tree_check_workers((int)train->grains, group->size, (int)train->threads)));
    s->grains = tree_run_of((int)train->grains, group->size, group->rank);
    TRY(group_agree(group, data_preflight(s)));
    TRY(group_agree(group, data_open(s)));
    if (s->test_set &&
        strcmp(dataset_fingerprint(s->test_set), dataset_fingerprint(s->train_set)) == 0)
        log_warn("data.test is the training data: its results say nothing of new samples");
    s->steps = train_config_steps(train, s->order.steps);
    return group_agree(group, schedule_init(&s->schedule, train, s->order.steps));
}

static enum status model_open(struct session *s, int worker, bool is_plan)
{
    const struct recipe *recipe = s->recipe;
    struct model_config config = {
        .yaml = recipe->yaml,
        .features = recipe->features,
        .head = recipe->head,
        .loss = recipe->loss,
        .input = session_input(s->train_set),
        .target = session_target(s->train_set),
        .mode = train_config_mode(&recipe->train),
        .tuning = &recipe->train.tuning,
        .grain = s->order.grain,
        .is_plan = is_plan,
    };
    model_free(s->models[worker]);
    s->models[worker] = NULL;
    TRY(model_init(&s->models[worker], &config));
    if (worker > 0)
        return STATUS_OK;
    s->model = s->models[0];
    s->n = model_floats(s->model);
    s->n_list = model_params(s->model, &s->list);
    return STATUS_OK;
}

enum status session_sizes(struct session *s)
{
    enum status status = memory_alloc(&s->models, (size_t)s->recipe->train.threads,
                                      sizeof(struct model *), "models of threads");
    TRY(group_agree(s->group, status == STATUS_OK ? model_open(s, 0, true) : status));
    gemm_start();
    snprintf(s->kernels, sizeof s->kernels, "%s%s, %s", isa_name(isa_current()),
             s->recipe->train.precision == TRAIN_PRECISION_BF16 ? "_bf16" : "",
             gemm_backend_name());
    malloc_trim(0); // what was freed until here will be used again
    s->base_bytes = memory_resident();
    s->base_peak = memory_peak();
    return STATUS_OK;
}

// On the worker itself, so that its memory is near its core.
static enum status worker_open(void *context, int worker)
{
    return model_open(context, worker, false);
}

static enum status params_init(struct session *s)
{
    s->params = reduce_weights(s->reduce);
    if (s->recipe->train.ema > 0)
        TRY(memory_alloc(&s->ema, s->n, sizeof *s->ema, "EMA weights"));
    if (s->group->rank == 0) { // normal numbers need libm, which may differ between machines
        TRY(model_init_params(s->model, (uint64_t)s->recipe->train.seed, s->params));
        TRY(samples_init_params(s->model, s->train_set, s->transforms, s->params));
    }
    return STATUS_OK;
}

// Which gradients go right into the sum.
static enum status sums_open(struct session *s)
{
    size_t n = 0;
    TRY(memory_alloc(&s->added, s->n_list, sizeof *s->added, "ranges of gradients"));
    for (size_t i = 0; i < s->n_list; i++) {
        const struct param *param = s->list[i].param;
        if (param->is_added && param->kind != PARAM_FROZEN)
            s->added[n++] = (struct span){param->offset, param->count};
    }
    reduce_set_added(s->reduce, s->added, n);
    return STATUS_OK;
}

static enum status loaders_open(struct session *s)
{
    struct loader_config config = {
        .dataset = s->train_set,
        .transforms = s->transforms,
        .order = &s->order,
        .first_grain = s->grains.first,
        .n_grains = s->grains.count,
        .workers = (int)s->recipe->train.threads,
        .slots = (size_t)s->recipe->train.slots,
        .seed = (uint64_t)s->recipe->train.seed,
    };
    TRY(loader_init(&s->loader, &config));
    if (!s->test_set)
        return STATUS_OK;
    TRY(evaluator_init(&s->evaluator, s->group, s->test_set, s->transforms, s->models, s->workers,
                       s->order.grain));
    return evaluator_tta_init(s->evaluator, (enum tta_kind)s->recipe->train.tta);
}

enum status session_training(struct session *s)
{
    const struct train_config *train = &s->recipe->train;
    char what[96];
    snprintf(what, sizeof what, "%zu floats, grains of %zu samples", s->n, s->order.grain);
    TRY(group_agree(s->group, rehearsal_open(what)));
    TRY(workers_init(&s->workers, s->group, (int)train->threads));
    TRY(group_agree(s->group, workers_each(s->workers, worker_open, s)));
    TRY(group_agree(s->group, reduce_init(&s->reduce, s->group, s->n, (int)train->grains,
                                          (int)train->threads, (size_t)train->bucket_kib << 10)));
    TRY(group_agree(s->group, sums_open(s)));
    TRY(group_agree(s->group, params_init(s)));
    group_broadcast(s->group, s->params, s->n * sizeof *s->params, 0);
    struct update_config config = train_config_update(train);
    config.steps = s->steps;
    config.steps_per_epoch = s->order.steps;
    TRY(group_agree(s->group, update_init(&s->update, &config, s->group, s->reduce, s->n,
                                          (int)train->grains, s->list, s->n_list, s->params)));
    update_use_workers(s->update, s->workers);
    return group_agree(s->group, loaders_open(s));
}

enum status session_profile(struct session *s)
{
    TRY(group_agree(s->group, profile_init(&s->profile, s->group, s->model, s->order.grain,
                                           s->grains.count, workers_count(s->workers))));
    update_set_profile(s->update, s->profile);
    return STATUS_OK;
}

const char *session_kernels(const struct session *s)
{
    return s->kernels;
}

void session_describe(const struct session *s, struct checkpoint_meta *meta)
{
    struct sample_shape input = dataset_shape(s->train_set);
    struct loss_target target = session_target(s->train_set);
    meta->recipe = s->recipe->resolved;
    meta->isa = session_kernels(s);
    meta->train = dataset_fingerprint(s->train_set);
    meta->test = s->test_set ? dataset_fingerprint(s->test_set) : "";
    meta->input_h = input.h;
    meta->input_w = input.w;
    meta->input_c = input.c;
    meta->input_is_u8 = dataset_is_u8(s->train_set);
    meta->target_is_class = target.is_class;
    meta->target_count = target.count;
    meta->target_classes = target.n_classes;
    meta->classes = s->classes;
}

void session_free(struct session *s)
{
    profile_free(s->profile);
    evaluator_free(s->evaluator);
    loader_free(s->loader);
    update_free(s->update);
    reduce_free(s->reduce);
    for (int w = 0; s->models && w < s->recipe->train.threads; w++)
        model_free(s->models[w]);
    free(s->models);
    workers_free(s->workers);
    transforms_free(s->transforms);
    dataset_close(s->test_set);
    dataset_close(s->train_set);
    free(s->added);
    free(s->classes);
    free(s->ema);
    *s = (struct session){0};
}

enum status session_evaluate(struct session *s, bool is_averaged, double *metrics)
{
    const float *weights = s->params;
    if (s->ema) {
        update_ema(s->update, s->ema);
        weights = s->ema;
    }
    TRY(evaluator_run(s->evaluator, weights, is_averaged, metrics, NULL, NULL));
    for (int i = 0; i < model_loss(s->model)->ops->n_metrics; i++)
        metrics[i] /= (double)dataset_rows(s->test_set);
    return STATUS_OK;
}

enum status session_show_averaged(struct session *s)
{
    const struct loss_ops *ops = model_loss(s->model)->ops;
    enum tta_kind kind = (enum tta_kind)s->recipe->train.tta;
    double test[LOSS_METRICS_MAX];
    if (!s->evaluator || kind == TTA_OFF)
        return STATUS_OK;
    TRY(session_evaluate(s, true, test));
    const struct loss_metric *metric = &ops->metrics[ops->n_metrics > 1];
    double shown = test[ops->n_metrics > 1] * (metric->is_percent ? 100 : 1);
    log_line(metric->is_percent ? "test %s with logits averaged over views (%s): %.2f %%"
                                : "test %s with logits averaged over views (%s): %.6f",
             metric->name, tta_name(kind), shown);
    return STATUS_OK;
}
