// SPDX-License-Identifier: MIT
#include "trainer/report/exam.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/evaluate.h"
#include "trainer/explain.h"
#include "trainer/profile.h"

#define UNIT 4294967296.0 // confidences are summed as whole parts of it: the same in any order
#define MEASURE_SECONDS 0.2

// What one rank counts.
struct tally {
    size_t n_classes;
    uint64_t *confusion;
    uint64_t n[EXAM_BINS], right[EXAM_BINS], confidence[EXAM_BINS];
    struct exam_mistake mistake[EXAM_MISTAKES];
    uint64_t n_mistakes;
    double *p; // (n_classes)
};

static bool is_worse(const struct exam_mistake *a, const struct exam_mistake *b)
{
    return a->loss != b->loss ? a->loss > b->loss : a->row < b->row;
}

// Keeps the worst, in order.
static void mistake_add(struct exam_mistake *list, uint64_t *n, const struct exam_mistake *one)
{
    size_t at = (size_t)*n;
    if (at == EXAM_MISTAKES && !is_worse(one, &list[at - 1]))
        return;
    if (at < EXAM_MISTAKES)
        (*n)++;
    else
        at--;
    for (; at > 0 && is_worse(one, &list[at - 1]); at--)
        list[at] = list[at - 1];
    list[at] = *one;
}

static void sample_count(struct tally *t, const float *y, int32_t truth, uint64_t row)
{
    size_t best = 0;
    double sum = 0;
    for (size_t k = 1; k < t->n_classes; k++)
        best = y[k] > y[best] ? k : best;
    for (size_t k = 0; k < t->n_classes; k++)
        sum += t->p[k] = exp((double)y[k] - (double)y[best]);
    double p = 1 / sum, truth_p = t->p[truth] / sum;
    int bin = (int)(p * EXAM_BINS);
    bin = bin < 0 ? 0 : bin >= EXAM_BINS ? EXAM_BINS - 1 : bin; // NaN falls into the first
    t->confusion[(size_t)truth * t->n_classes + best]++;
    t->n[bin]++;
    t->right[bin] += best == (size_t)truth;
    t->confidence[bin] += isfinite(p) ? (uint64_t)llround(p * UNIT) : 0;
    if (best == (size_t)truth)
        return;
    double loss = log(sum) - ((double)y[truth] - (double)y[best]);
    struct exam_mistake one = {
        isfinite(loss) ? loss : 1e300, row, truth, (int32_t)best, truth_p, p};
    mistake_add(t->mistake, &t->n_mistakes, &one);
}

static void batch_count(void *context, const struct batch *batch, const struct tensor *logits)
{
    struct tally *t = context;
    const int32_t *truth = batch->target;
    for (size_t i = 0; i < batch->n && t->n_classes > 0; i++)
        sample_count(t, tensor_row(logits, i, 0), truth[i], batch->row[i]);
}

// ---- all ranks' counts on every rank

static void counts_sum(struct group *group, uint64_t *counts, size_t n, uint64_t *all)
{
    group_allgather(group, counts, n * sizeof *counts, all);
    memset(counts, 0, n * sizeof *counts);
    for (size_t r = 0; r < (size_t)group->size; r++)
        for (size_t i = 0; i < n; i++)
            counts[i] += all[r * n + i];
}

static enum status tally_sum(struct tally *t, struct group *group)
{
    size_t n = t->n_classes, size = (size_t)group->size;
    size_t most = n > EXAM_BINS ? n : EXAM_BINS;
    uint64_t *all;
    struct exam_mistake *lists = NULL;
    enum status status = memory_alloc(&all, most * size, sizeof *all, "counts of ranks");
    if (status == STATUS_OK)
        status = memory_alloc(&lists, EXAM_MISTAKES * size, sizeof *lists, "mistakes of ranks");
    status = group_agree(group, status);
    if (status == STATUS_OK) {
        uint64_t *bins[] = {t->n, t->right, t->confidence};
        for (size_t row = 0; row < n; row++)
            counts_sum(group, t->confusion + row * n, n, all);
        for (size_t i = 0; i < sizeof bins / sizeof *bins; i++)
            counts_sum(group, bins[i], EXAM_BINS, all);
        group_allgather(group, t->mistake, sizeof t->mistake, lists);
        group_allgather(group, &t->n_mistakes, sizeof t->n_mistakes, all);
        t->n_mistakes = 0;
        for (size_t r = 0; r < size; r++)
            for (size_t i = 0; i < all[r]; i++)
                mistake_add(t->mistake, &t->n_mistakes, &lists[r * EXAM_MISTAKES + i]);
    }
    free(all);
    free(lists);
    return status;
}

static void calibration_fill(struct exam *e, const struct tally *t)
{
    for (int i = 0; i < EXAM_BINS; i++) {
        double n = (double)t->n[i], confidence = (double)t->confidence[i] / UNIT;
        e->bins[i] = (struct plot_bin){t->n[i], t->right[i], n > 0 ? confidence / n : 0};
        double gap = n > 0 ? fabs((double)t->right[i] - confidence) / n : 0;
        e->ece += gap * n / (double)e->n;
        e->mce = fmax(e->mce, gap);
    }
}

// ---- the network and its data

static enum status data_open(struct exam *e, const char *data)
{
    struct data_config config = e->trained.recipe.data;
    const char *path = data ? data : config.test[0] ? config.test : config.train;
    if (!data && !config.test[0])
        e->fallback = strdup("The recipe names no test data: these are the training samples.");
    if (e->trained.is_classifier)
        config.n_classes = (int64_t)e->trained.n_classes;
    TRY(dataset_open(&e->dataset, path, DATASET_TEST, &config));
    struct sample_shape s = dataset_shape(e->dataset), in = e->trained.input;
    CHECK(s.h == in.h && s.w == in.w && s.c == in.c, STATUS_DATA,
          "samples of '%s' are %zu x %zu x %zu, those of the checkpoint %zu x %zu x %zu",
          dataset_path(e->dataset), s.h, s.w, s.c, in.h, in.w, in.c);
    e->n = dataset_rows(e->dataset);
    CHECK(e->n > 0, STATUS_DATA, "'%s' has no rows", dataset_path(e->dataset));
    return STATUS_OK;
}

// Rows of the test data, transformed, for the measurement: (chunk, h, w, c).
static enum status rows_read(struct exam *e, size_t chunk, float *x)
{
    struct sample_shape in = e->trained.input;
    void *raw = NULL;
    float *scratch = NULL;
    enum status status = memory_alloc(&raw, 1, dataset_row_bytes(e->dataset), "a sample");
    if (status == STATUS_OK)
        status = memory_alloc(&scratch, transforms_scratch(e->trained.transforms), sizeof *scratch,
                              "a sample");
    for (size_t i = 0; status == STATUS_OK && i < chunk; i++) {
        status = dataset_read(e->dataset, i % e->n, 1, raw);
        if (status == STATUS_OK)
            transforms_apply(e->trained.transforms, raw, dataset_is_u8(e->dataset), false, 0, 0, i,
                             x + i * in.h * in.w * in.c, scratch);
    }
    free(raw);
    free(scratch);
    return status;
}

static enum status layers_measure(struct exam *e, size_t chunk)
{
    struct model *model = e->trained.model;
    struct sample_shape in = e->trained.input;
    size_t n = model_n_layers(model), rounds = 0;
    struct laps laps = {0};
    uint64_t *row = NULL;
    float *x = NULL;
    TRY(memory_alloc(&e->layers, n, sizeof *e->layers, "times of layers"));
    enum status status = laps_init(&laps, model_n_slots(model), 0, 0);
    if (status == STATUS_OK)
        status = memory_alloc(&x, chunk, in.h * in.w * in.c * sizeof *x, "samples");
    if (status == STATUS_OK)
        status = memory_alloc(&row, chunk, sizeof *row, "samples");
    if (status == STATUS_OK)
        status = rows_read(e, chunk, x);
    if (status == STATUS_OK) {
        struct pass pass = {.n = chunk, .params = e->trained.params, .row = row, .laps = &laps};
        model_forward(model, &pass, x); // a warm-up
        laps_start(&laps);
        laps_clear(&laps);
        for (double begin = laps_now(); rounds < 3 || laps_now() - begin < MEASURE_SECONDS;
             rounds++)
            model_forward(model, &pass, x);
        for (size_t i = 0; i < n; i++) {
            const struct lap_slot *slot = laps.slots + i * LAYER_PARTS;
            double seconds = slot[PART_FORWARD].seconds + slot[PART_FUSED].seconds;
            e->layers[i] =
                (struct exam_layer){seconds / (double)rounds / (double)chunk,
                                    model_part_flops(model_layer(model, i), PART_FORWARD)};
        }
        e->peak = profile_peak();
    }
    laps_free(&laps);
    free(x);
    free(row);
    return status;
}

static enum status samples_ask(struct exam *e, struct group *group, size_t chunk)
{
    struct tally t = {.n_classes = e->is_classes ? e->trained.n_classes : 0};
    struct evaluator *evaluator = NULL;
    size_t n = t.n_classes;
    enum status status = memory_alloc(&t.confusion, n * n, sizeof *t.confusion, "confusion matrix");
    e->confusion = t.confusion;
    if (status == STATUS_OK)
        status = memory_alloc(&t.p, n, sizeof *t.p, "probabilities");
    if (status == STATUS_OK)
        status = evaluator_init(&evaluator, group, e->dataset, e->trained.transforms,
                                &e->trained.model, NULL, chunk);
    status = group_agree(group, status);
    if (status == STATUS_OK)
        status = evaluator_run(evaluator, e->trained.params, false, e->mean, batch_count, &t);
    if (status == STATUS_OK)
        status = tally_sum(&t, group);
    if (status == STATUS_OK) {
        for (int m = 0; m < model_loss(e->trained.model)->ops->n_metrics; m++)
            e->mean[m] /= (double)e->n;
        calibration_fill(e, &t);
        memcpy(e->mistake, t.mistake, sizeof t.mistake);
        e->n_mistakes = (size_t)t.n_mistakes;
    }
    evaluator_free(evaluator);
    free(t.p);
    return status;
}

// ---- why it erred

static enum status maps_fill(struct exam *e, struct explain *explain)
{
    struct sample_shape in = e->trained.input;
    struct shape raw_shape = explain_raw_shape(explain, EXPLAIN_GRADCAM);
    size_t pixels = in.h * in.w, raw_n = raw_shape.h * raw_shape.w * raw_shape.c;
    void *row = NULL;
    float *x = NULL, *raw = NULL;
    enum status status = memory_alloc(&row, 1, dataset_row_bytes(e->dataset), "a sample");
    if (status == STATUS_OK)
        status = memory_alloc(&x, pixels * in.c + transforms_scratch(e->trained.transforms),
                              sizeof *x, "a sample");
    if (status == STATUS_OK)
        status = memory_alloc(&raw, raw_n, sizeof *raw, "an explanation");
    if (status == STATUS_OK)
        status = memory_alloc(&e->maps, e->n_mistakes * pixels, sizeof *e->maps, "explanations");
    for (size_t i = 0; status == STATUS_OK && i < e->n_mistakes; i++) {
        const struct exam_mistake *one = &e->mistake[i];
        status = exam_read(e, one->row, row);
        if (status != STATUS_OK)
            break;
        transforms_apply(e->trained.transforms, row, dataset_is_u8(e->dataset), false, 0, 0,
                         one->row, x, x + pixels * in.c);
        explain_run(explain, EXPLAIN_GRADCAM, x, (size_t)one->predicted, raw);
        explain_map(explain, EXPLAIN_GRADCAM, raw, e->maps + i * pixels);
    }
    free(row);
    free(x);
    free(raw);
    return status;
}

// With a model of its own, of one sample, that keeps what explanations need.
static enum status mistakes_explain(struct exam *e, struct group *group, const char *checkpoint)
{
    struct trained trained;
    struct explain *explain = NULL;
    struct explain_config defaults = explain_defaults();
    struct trained_config config = {.path = checkpoint,
                                    .weights = "auto",
                                    .chunk = 1,
                                    .input_gradient = true,
                                    .keep = MODEL_KEEP_AUTO};
    if (!e->is_classes || e->n_mistakes == 0)
        return STATUS_OK;
    enum status status = trained_open(&trained, group, &config);
    if (status == STATUS_OK)
        status = explain_init(&explain, group, trained.model, trained.params, &defaults);
    if (status == STATUS_OK && explain_can(explain, EXPLAIN_GRADCAM))
        status = group_agree(group, maps_fill(e, explain));
    explain_free(explain);
    trained_close(&trained);
    return status;
}

enum status exam_run(struct exam *e, struct group *group, const char *checkpoint, const char *data,
                     size_t chunk)
{
    struct trained_config config = {.path = checkpoint, .weights = "auto", .chunk = chunk};
    *e = (struct exam){0};
    TRY(trained_open(&e->trained, group, &config));
    TRY(group_agree(group, data_open(e, data)));
    e->is_classes = e->trained.is_classifier && dataset_target(e->dataset).type == TARGET_CLASS &&
                    strcmp(model_loss(e->trained.model)->ops->name, "softmax") == 0;
    TRY(samples_ask(e, group, chunk));
    TRY(mistakes_explain(e, group, checkpoint));
    return group_agree(group, group->rank == 0 ? layers_measure(e, chunk) : STATUS_OK);
}

void exam_free(struct exam *e)
{
    dataset_close(e->dataset);
    trained_close(&e->trained);
    free(e->fallback);
    free(e->confusion);
    free(e->layers);
    free(e->maps);
    *e = (struct exam){0};
}

enum status exam_read(struct exam *e, uint64_t row, void *raw)
{
    return dataset_read(e->dataset, row, 1, raw);
}
