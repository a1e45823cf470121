// SPDX-License-Identifier: MIT
#include "trainer/shrink/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/laps.h"
#include "comm/log.h"
#include "comm/memory.h"

#define ROUNDS 25
#define ROUND_SECONDS 0.01 // at least, of one network
#define PASSES 15
#define TRIES 24
#define SURE 1.02 // times the speed wanted: measurements of one network differ by up to 2 %

// ---- time

struct timed {
    struct model *model;
    const float *params;
    struct pass pass;
    float *x;
    size_t passes; // of one round
};

// Processor time of this thread: what others do on a busy machine does not count.
static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void passes_run(const struct timed *t, size_t passes)
{
    for (size_t i = 0; i < passes; i++)
        model_forward(t->model, &t->pass, t->x);
}

static enum status timed_open(struct timed *t, size_t n, const uint64_t *row, struct laps *laps)
{
    struct shape in = model_input_shape(t->model);
    TRY(memory_alloc(&t->x, n, in.h * in.w * in.c * sizeof *t->x, "samples"));
    for (size_t i = 0; i < n * in.h * in.w * in.c; i++)
        t->x[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
    t->pass = (struct pass){.n = n, .params = t->params, .row = row, .laps = laps};
    model_prepare(t->model, t->params, NULL);
    passes_run(t, 2); // a warm-up
    double begin = seconds_now();
    for (t->passes = 0; seconds_now() - begin < ROUND_SECONDS; t->passes++)
        passes_run(t, 1);
    return STATUS_OK;
}

static void layers_least(const struct model *model, const struct laps *laps, bool is_first,
                         double *seconds)
{
    for (size_t i = 0; i < model_n_layers(model); i++) {
        double sum = 0;
        for (int part = 0; part < LAYER_PARTS; part++)
            sum += laps->slots[i * LAYER_PARTS + (size_t)part].seconds;
        seconds[i] = is_first ? sum : fmin(seconds[i], sum);
    }
}

enum status search_compare(struct model *a, const float *a_params, struct model *b,
                           const float *b_params, size_t n, double *ratio)
{
    struct timed both[] = {{.model = a, .params = a_params}, {.model = b, .params = b_params}};
    double least[2] = {INFINITY, INFINITY};
    uint64_t *row = NULL;
    enum status status = memory_alloc(&row, n, sizeof *row, "samples");
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        status = timed_open(&both[i], n, row, NULL);
    for (int round = 0; status == STATUS_OK && round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            double begin = seconds_now();
            passes_run(&both[i], both[i].passes);
            least[i] = fmin(least[i], (seconds_now() - begin) / (double)both[i].passes);
        }
    free(both[0].x);
    free(both[1].x);
    free(row);
    TRY(status);
    *ratio = least[0] / least[1];
    return STATUS_OK;
}

// Seconds of each layer's forward pass, the least of many.
static enum status layers_time(struct model *model, const float *params, size_t n, double *seconds)
{
    struct timed one = {.model = model, .params = params};
    struct laps laps = {0};
    uint64_t *row = NULL;
    enum status status = laps_init(&laps, model_n_slots(model), 0, 0);
    if (status == STATUS_OK)
        status = memory_alloc(&row, n, sizeof *row, "samples");
    if (status == STATUS_OK)
        status = timed_open(&one, n, row, &laps);
    if (status == STATUS_OK) {
        laps_start(&laps);
        for (size_t pass = 0; pass < PASSES; pass++) {
            laps_clear(&laps);
            passes_run(&one, 1);
            layers_least(model, &laps, pass == 0, seconds);
        }
    }
    laps_free(&laps);
    free(one.x);
    free(row);
    return status;
}

// ---- choice

struct search {
    struct channels *c;
    const struct bodies *bodies;
    size_t *instead; // (tensors) of the channels, while a body is tried
    bool is_fine;    // parts of vectors may go
    double *seconds; // (layers) with all channels
    int *sorted;     // roots of all units, least important first
    size_t n_sorted;
};

// Channels as convolutions see them: whole vectors of 16, but for those that had fewer.
static double vectors(size_t kept, size_t of)
{
    size_t whole = (kept + 15) / 16 * 16;
    return (double)(of < 16 ? kept : whole < of ? whole : of);
}

// Time of the network with the channels kept now: a product of two sides where a layer multiplies
// them, else in proportion to what it makes.
static double time_predict(const struct search *s)
{
    const struct channels *c = s->c;
    double total = 0;
    for (size_t i = 0; i < model_n_layers(c->model); i++) {
        const struct layer *layer = model_layer(c->model, i);
        if (channels_is_gone(c, i))
            continue;
        size_t x = channels_input(c, i), y = i + 1;
        size_t x_n = channels_count(c, x), y_n = channels_count(c, y);
        double in = vectors(channels_kept(c, x), x_n) / (double)x_n;
        double out = (double)channels_kept(c, y) / (double)y_n;
        bool is_product =
            layer->ops->marks_laps && layer->param[0].dim[layer->param[0].rank - 2] == x_n;
        if (layer->ops->marks_laps)
            out = vectors(channels_kept(c, y), y_n) / (double)y_n;
        total += s->seconds[i] * out * (is_product ? in : 1);
    }
    return total;
}

// Channels of a unit that go together: whole vectors of the machine, for less saves little; less
// only when nothing else is left.
static size_t unit_step(const struct search *s, size_t unit)
{
    size_t n = channels_unit_size(s->c, unit);
    size_t step = n >= 16 ? 16 : n >= 8 ? 4 : 1;
    return s->is_fine && n >= 16 && n < 32 ? 8 : step;
}

// Takes the least important `n` kept channels of a unit away, or gives those back.
static double unit_thin(const struct search *s, size_t unit, size_t n, int *gone)
{
    double loss = 0;
    size_t taken = 0;
    for (size_t i = 0; i < s->n_sorted && taken < n; i++) {
        int v = s->sorted[i];
        if (s->c->unit[v] != (int)unit || !s->c->keep[v])
            continue;
        s->c->keep[v] = false;
        gone[taken++] = v;
        loss += s->c->importance[v];
    }
    return loss;
}

static void unit_restore(const struct search *s, const int *gone, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->c->keep[gone[i]] = true;
}

// Loss for the time saved, of which no more than what is needed counts.
static double price_of(double loss, double saved, double needed)
{
    return saved > 0 ? (loss + 1e-300) / fmin(saved, needed) : INFINITY;
}

// The body that loses least for the time it saves; NULL: none does below `price`.
static const struct body *body_choose(const struct search *s, double now, double target,
                                      double price)
{
    const struct body *best = NULL;
    size_t bytes = s->c->n_tensors * sizeof *s->instead;
    for (size_t i = 0; i < s->bodies->n; i++) {
        const struct body *body = &s->bodies->v[i];
        if (body_is_gone(s->c, body))
            continue;
        memcpy(s->instead, s->c->instead, bytes);
        body_take(s->c, body);
        double its = price_of(fmax(body->loss, 0), now - time_predict(s), now - target);
        memcpy(s->c->instead, s->instead, bytes);
        if (its < price) {
            price = its;
            best = body;
        }
    }
    return best;
}

// One step of the unit, or the body, that loses least for the time it saves on the way to `target`;
// false: nothing is left to take.
static bool step_take(const struct search *s, double target)
{
    double now = time_predict(s), best = INFINITY;
    size_t best_unit = 0;
    int gone[16];
    for (size_t unit = 0; unit < s->c->n_units; unit++) {
        size_t step = unit_step(s, unit);
        if (channels_unit_kept(s->c, unit) < 2 * step)
            continue;
        double loss = unit_thin(s, unit, step, gone);
        double saved = now - time_predict(s);
        unit_restore(s, gone, step);
        double price = price_of(loss, saved, now - target);
        if (price < best) {
            best = price;
            best_unit = unit;
        }
    }
    const struct body *body = body_choose(s, now, target, best);
    if (body)
        body_take(s->c, body);
    else if (isfinite(best))
        unit_thin(s, best_unit, unit_step(s, best_unit), gone);
    return body || isfinite(best);
}

// Steps until the prediction is `wanted` times faster than `whole`; false: nothing is left to take.
static bool steps_take(struct search *s, double whole, double wanted)
{
    while (time_predict(s) * wanted > whole)
        if (!step_take(s, whole / wanted)) {
            if (s->is_fine)
                return false;
            s->is_fine = true;
        }
    return true;
}

static void taken_log(const struct search *s)
{
    size_t n = 0, kept = 0;
    for (size_t unit = 0; unit < s->c->n_units; unit++) {
        n += channels_unit_size(s->c, unit);
        kept += channels_unit_kept(s->c, unit);
    }
    log_line("  %zu of %zu channels gone", n - kept, n);
    for (size_t i = 0; i < s->bodies->n; i++)
        if (body_is_gone(s->c, &s->bodies->v[i]))
            log_line("  the residual body of %s gone, the loss without it alone: %+.4f",
                     model_layer(s->c->model, s->bodies->v[i].add)->name, s->bodies->v[i].loss);
}

static int importance_order(const void *a, const void *b, void *importance)
{
    const double *importance_of = importance;
    int x = *(const int *)a, y = *(const int *)b;
    if (importance_of[x] != importance_of[y])
        return importance_of[x] < importance_of[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static enum status search_open(struct search *s, struct model *model, const float *params, size_t n)
{
    struct channels *c = s->c;
    TRY(memory_alloc(&s->seconds, model_n_layers(model), sizeof *s->seconds, "times of layers"));
    TRY(memory_alloc(&s->instead, c->n_tensors, sizeof *s->instead, "channels"));
    TRY(memory_alloc(&s->sorted, c->n_vars, sizeof *s->sorted, "channels"));
    for (size_t v = 0; v < c->n_vars; v++)
        if (c->unit[v] >= 0)
            s->sorted[s->n_sorted++] = (int)v;
    qsort_r(s->sorted, s->n_sorted, sizeof *s->sorted, importance_order, c->importance);
    return layers_time(model, params, n, s->seconds);
}

// ---- the smaller network

void search_free(struct search_result *result)
{
    model_free(result->model);
    recipe_free(&result->recipe);
    free(result->text);
    *result = (struct search_result){0};
}

static enum status model_make(const struct channels *c, const struct trained *trained,
                              const struct search_config *config, struct search_result *result)
{
    search_free(result);
    TRY(slice_recipe(c, trained, &config->train, &result->text));
    TRY(recipe_parse(&result->recipe, config->train.name, result->text, NULL));
    const struct loss *loss = model_loss(trained->model);
    struct model_config model = {
        .yaml = result->recipe.yaml,
        .features = result->recipe.features,
        .head = result->recipe.head,
        .loss = result->recipe.loss,
        .input = model_input_shape(trained->model),
        .target = loss->target,
        .mode = train_config_mode_inference(&result->recipe.train),
        .grain = config->chunk,
    };
    return model_init(&result->model, &model);
}

static enum status model_try(const struct channels *c, const struct trained *trained,
                             const struct search_config *config, struct search_result *result)
{
    float *params = NULL;
    TRY(model_make(c, trained, config, result));
    enum status status =
        memory_alloc(&params, model_floats(result->model), sizeof *params, "weights");
    if (status == STATUS_OK)
        status = slice_weights(c, trained->params, result->model, params);
    if (status == STATUS_OK)
        status = search_compare(config->reference, config->reference_params, result->model, params,
                                config->chunk, &result->measured);
    free(params);
    return status;
}

static enum status search_steps(struct search *s, const struct trained *trained,
                                const struct search_config *config, struct search_result *result)
{
    double now, whole = time_predict(s), aim = config->speedup * SURE;
    TRY(search_compare(config->reference, config->reference_params, trained->model, trained->params,
                       config->chunk, &now));
    double wanted = aim / now; // of the prediction; sharper where it was too hopeful
    result->measured = now;
    for (int attempt = 0; attempt < TRIES; attempt++) {
        bool can = steps_take(s, whole, wanted);
        TRY(model_try(s->c, trained, config, result));
        log_line("  predicted %.2f times as fast, measured %.2f", now * whole / time_predict(s),
                 result->measured);
        if (result->measured >= (can ? aim : config->speedup)) {
            taken_log(s);
            return STATUS_OK;
        }
        CHECK(can, STATUS_USAGE,
              "--speedup %.2f cannot be reached by taking channels and residual bodies: %.2f is "
              "what is left of them",
              config->speedup, result->measured);
        wanted = fmax(wanted * fmin(aim / result->measured, 1.1), whole / time_predict(s) * 1.02);
    }
    FAIL(STATUS_USAGE, "--speedup %.2f was not reached in %d tries: %.2f measured", config->speedup,
         TRIES, result->measured);
}

enum status search_run(struct channels *channels, const struct bodies *bodies,
                       const struct trained *trained, const struct search_config *config,
                       struct search_result *result)
{
    struct search s = {.c = channels, .bodies = bodies};
    *result = (struct search_result){0};
    enum status status = search_open(&s, trained->model, trained->params, config->chunk);
    if (status == STATUS_OK)
        status = search_steps(&s, trained, config, result);
    free(s.seconds);
    free(s.sorted);
    free(s.instead);
    return status;
}
