// SPDX-License-Identifier: MIT
#include "trainer/shrink/shrink.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/finetune.h"
#include "trainer/loop.h"
#include "trainer/report/exam.h"
#include "trainer/shrink/importance.h"
#include "trainer/shrink/search.h"
#include "trainer/shrink/table.h"

struct shrink {
    struct group *group;
    const struct shrink_config *config;
    struct trained base;  // the network that speed is compared with
    struct recipe recipe; // of the base, with overrides
    struct shrink_table table;
    char current[RUN_PATH_MAX + 64]; // checkpoint that the next round starts from
};

// ---- one round's network

static double speedup_of(const struct shrink_config *config, int round)
{
    return pow(config->speedup, (double)round / config->rounds);
}

// The last round trains long, at the rates of a whole run: what pruning costs is won back there
// (Renda, Frankle, Carbin 2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning").
static int64_t epochs_of(const struct shrink *s, int round)
{
    const struct shrink_config *config = s->config;
    int64_t whole = s->recipe.train.epochs;
    if (round == config->rounds)
        return config->last_epochs > 0 ? config->last_epochs : 2 * whole;
    return config->epochs > 0 ? config->epochs : (whole + 4) / 5;
}

// Rank 0: importance, search, weights. What all need comes by broadcast.
static enum status round_search(struct shrink *s, const struct trained *from, int round,
                                struct search_result *result, float **params)
{
    const struct shrink_config *config = s->config;
    struct channels channels = {0};
    struct bodies bodies = {0};
    struct dataset *train = NULL;
    struct data_config data = s->recipe.data;
    char name[256];
    snprintf(name, sizeof name, "%.200s-x%.3g", s->recipe.name, config->speedup);
    struct search_config search = {
        .reference = s->base.model,
        .reference_params = s->base.params,
        .speedup = speedup_of(config, round),
        .chunk = config->chunk,
        .train = {name, epochs_of(s, round), s->recipe.train.lr * config->lr},
    };
    *params = NULL;
    *result = (struct search_result){0};
    enum status status = channels_trace(&channels, from->model);
    if (status == STATUS_OK)
        status = dataset_open(&train, data.train, DATASET_TRAIN, &data);
    if (status == STATUS_OK)
        status = importance_measure(&channels, from, train, config->chunk, config->batches);
    if (status == STATUS_OK)
        status = bodies_find(&bodies, &channels);
    if (status == STATUS_OK)
        status = importance_bodies(&bodies, &channels, from, train, config->chunk, config->batches);
    if (status == STATUS_OK)
        status = search_run(&channels, &bodies, from, &search, result);
    if (status == STATUS_OK)
        status = memory_alloc(params, model_floats(result->model), sizeof **params, "weights");
    if (status == STATUS_OK)
        status = slice_weights(&channels, from->params, result->model, *params);
    dataset_close(train);
    bodies_free(&bodies);
    channels_free(&channels);
    return status;
}

// The text of the smaller network's recipe on all ranks, malloc'ed.
static enum status text_share(struct group *group, char **text)
{
    size_t n = *text ? strlen(*text) + 1 : 0;
    enum status status = STATUS_OK;
    group_broadcast(group, &n, sizeof n, 0);
    if (group->rank != 0)
        status = memory_alloc(text, n, 1, "recipe text");
    TRY(group_agree(group, status));
    group_broadcast(group, *text, n, 0);
    return STATUS_OK;
}

// ---- training on

// The session's weights, and the averages that follow them, become `params`.
static void weights_set(struct session *session, const float *params)
{
    size_t bytes = session->n * sizeof *params;
    if (session->group->rank == 0)
        memcpy(session->params, params, bytes);
    group_broadcast(session->group, session->params, bytes, 0);
    finetune_averages(session);
}

static enum status first_save(struct session *session, const struct run_folder *folder)
{
    struct checkpoint_meta meta = {.versions = "sw2 " SW2_VERSION};
    session_describe(session, &meta);
    TRY(checkpoint_folder_open(session->group, folder->checkpoints));
    return checkpoint_save(session->group, folder->checkpoints, 1, false, &meta, session->update,
                           session->list, session->n_list, session->params);
}

// params: rank 0's weights to start from; NULL: the folder's checkpoint is gone on from.
static enum status round_train(struct shrink *s, const char *text, bool is_fresh,
                               const float *params, const char *out)
{
    struct recipe recipe = {0};
    struct session session = {0};
    struct run_folder folder;
    enum status status = group_agree(
        s->group, recipe_parse(&recipe, "the smaller network", text, &s->config->overrides));
    if (status == STATUS_OK)
        status = session_data(&session, s->group, &recipe);
    if (status == STATUS_OK)
        status = session_sizes(&session);
    if (status == STATUS_OK)
        status = session_training(&session);
    if (status == STATUS_OK)
        status = run_folder_open(&folder, s->group, out, recipe.name, false);
    if (status == STATUS_OK && is_fresh) {
        weights_set(&session, params);
        status = first_save(&session, &folder);
        if (status == STATUS_OK)
            status = run_folder_recipe(&folder, s->group, recipe.resolved);
    }
    struct loop_config config = {.folder = &folder, .resume = RESUME_AUTO};
    if (status == STATUS_OK)
        status = group_agree(s->group, loop_run(&session, &config));
    session_free(&session);
    recipe_free(&recipe);
    return status;
}

// ---- rounds

static bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

// best.h5 where the run tested, else the folder of checkpoints.
static void current_set(struct shrink *s, const char *out)
{
    int there = 0;
    snprintf(s->current, sizeof s->current, "%s/checkpoints/best.h5", out);
    if (s->group->rank == 0)
        there = file_exists(s->current);
    group_broadcast(s->group, &there, sizeof there, 0);
    if (!there)
        snprintf(s->current, sizeof s->current, "%s/checkpoints", out);
}

// Reads the recipe of a round that was begun before; *text NULL: it was not.
static enum status round_begun(const char *out, char **text)
{
    char path[RUN_PATH_MAX + 64];
    size_t n = 0;
    *text = NULL;
    snprintf(path, sizeof path, "%s/recipe.yaml", out);
    FILE *file = fopen(path, "r");
    if (!file)
        return STATUS_OK;
    char *bytes;
    FILE *memory = open_memstream(&bytes, &n);
    for (int c; memory && (c = fgetc(file)) != EOF;)
        fputc(c, memory);
    fclose(file);
    CHECK(memory, STATUS_ERROR, "out of memory: '%s'", path);
    fclose(memory);
    *text = bytes;
    return STATUS_OK;
}

// Speed and accuracy of the network as it is now.
static enum status point_add(struct shrink *s)
{
    struct exam exam;
    const struct data_config *data = &s->recipe.data;
    struct shrink_point *point = &s->table.points[s->table.n];
    enum status status = exam_run(&exam, s->group, s->current,
                                  data->test[0] ? data->test : data->train, s->config->chunk);
    point->speed = 1;
    if (status == STATUS_OK && s->group->rank == 0 && s->table.n > 0)
        status = search_compare(s->base.model, s->base.params, exam.trained.model,
                                exam.trained.params, s->config->chunk, &point->speed);
    status = group_agree(s->group, status);
    if (status == STATUS_OK) {
        const struct loss_ops *ops = model_loss(exam.trained.model)->ops;
        int which = ops->n_metrics > 1;
        s->table.metric = ops->metrics[which];
        group_broadcast(s->group, &point->speed, sizeof point->speed, 0);
        point->value = exam.mean[which];
        point->parameters = (double)model_n_trained(exam.trained.model);
        point->flops = model_flops(exam.trained.model);
        s->table.n++;
        shrink_table_line(&s->table, s->table.n - 1);
    }
    exam_free(&exam);
    return status;
}

static enum status round_run(struct shrink *s, int round)
{
    struct trained from = {0};
    struct search_result result = {0};
    struct trained_config config = {s->current, "auto", s->config->chunk, false, NULL};
    char out[RUN_PATH_MAX];
    char *text = NULL;
    float *params = NULL;
    snprintf(out, sizeof out, "%s/round-%d", s->config->out, round);
    log_line("== round %d of %d: %.2f times as fast", round, s->config->rounds,
             speedup_of(s->config, round));
    enum status status = s->group->rank == 0 ? round_begun(out, &text) : STATUS_OK;
    TRY(group_agree(s->group, status));
    int is_fresh = text == NULL;
    group_broadcast(s->group, &is_fresh, sizeof is_fresh, 0);
    if (is_fresh) {
        status = trained_open(&from, s->group, &config);
        if (status == STATUS_OK && s->group->rank == 0) {
            status = round_search(s, &from, round, &result, &params);
            text = result.text;
            result.text = NULL;
        }
        status = group_agree(s->group, status);
    }
    if (status == STATUS_OK)
        status = text_share(s->group, &text);
    trained_close(&from);
    if (status == STATUS_OK)
        status = round_train(s, text, is_fresh, params, out);
    search_free(&result);
    free(params);
    free(text);
    TRY(status);
    current_set(s, out);
    return point_add(s);
}

static enum status rounds_run(struct shrink *s)
{
    struct trained_config config = {s->config->checkpoint, "auto", s->config->chunk, false, NULL};
    TRY(trained_open(&s->base, s->group, &config));
    TRY(group_agree(s->group, recipe_parse(&s->recipe, s->config->checkpoint,
                                           checkpoint_meta(s->base.checkpoint)->recipe,
                                           &s->config->overrides)));
    CHECK(strlen(s->config->checkpoint) < sizeof s->current &&
              strlen(s->config->out) < sizeof s->current / 2,
          STATUS_USAGE, "the names '%.100s' and '%.100s' are too long", s->config->checkpoint,
          s->config->out);
    strcpy(s->current, s->config->checkpoint);
    struct run_folder folder;
    TRY(run_folder_open(&folder, s->group, s->config->out, s->recipe.name, false));
    log_line("== the network as it is");
    TRY(point_add(s));
    for (int round = 1; round <= s->config->rounds; round++)
        TRY(round_run(s, round));
    TRY(group_agree(s->group, s->group->rank == 0 ? shrink_table_write(&s->table, s->config->out)
                                                  : STATUS_OK));
    shrink_table_show(&s->table);
    log_line("the network: %s", s->current);
    return STATUS_OK;
}

enum status shrink_run(struct group *group, const struct shrink_config *config)
{
    struct shrink s = {.group = group, .config = config};
    enum status status = rounds_run(&s);
    recipe_free(&s.recipe);
    trained_close(&s.base);
    return status;
}
