// SPDX-License-Identifier: MIT
#include "trainer/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

// One input's answer as ranks exchange it; `top` scores follow the fixed part.
struct score {
    int32_t number; // of the class, or of the output
    float value;    // probability, or the output itself
};
struct record {
    int32_t is_there, is_bad;
    char why[248]; // is_bad
    struct score score[];
};

struct predictor {
    const struct trained *trained;
    struct inputs *inputs;
    const struct predict_config *config;
    size_t chunk, top, record_bytes;
    bool is_probability;
    float *x;         // (chunk, h, w, c)
    char *mine, *all; // (chunk) and (size, chunk) records
    double *value;    // (n_classes)
    struct text_file out;
    uint64_t written;
    size_t n_bad;
};

static struct record *record_at(const struct predictor *p, char *records, size_t i)
{
    return (struct record *)(void *)(records + i * p->record_bytes);
}

// Softmax in double; values of a regression as they are.
static void values_of(const struct predictor *p, const float *y)
{
    size_t n = p->trained->n_classes;
    double most = y[0], sum = 0;
    for (size_t k = 0; k < n; k++) {
        p->value[k] = y[k];
        most = (double)y[k] > most ? (double)y[k] : most;
    }
    if (!p->is_probability)
        return;
    for (size_t k = 0; k < n; k++)
        sum += p->value[k] = exp(p->value[k] - most);
    for (size_t k = 0; k < n; k++)
        p->value[k] /= sum;
}

// The `top` largest, the lower number first where two are the same; a regression's in their order.
static void record_fill(const struct predictor *p, struct record *record, const float *y)
{
    values_of(p, y);
    for (size_t i = 0; i < p->top; i++) {
        size_t best = i;
        if (p->trained->is_classifier) {
            best = SIZE_MAX;
            for (size_t k = 0; k < p->trained->n_classes; k++)
                if (!isnan(p->value[k]) && (best == SIZE_MAX || p->value[k] > p->value[best]))
                    best = k;
            best = best == SIZE_MAX ? 0 : best;
        }
        record->score[i] = (struct score){(int32_t)best, (float)p->value[best]};
        p->value[best] = NAN;
    }
}

// Reads and predicts inputs [first, first + n) of this rank. Unreadable ones leave zeros in x.
static enum status chunk_run(struct predictor *p, size_t first, size_t n)
{
    struct sample_shape in = p->trained->input;
    size_t floats = in.h * in.w * in.c;
    memset(p->mine, 0, p->chunk * p->record_bytes);
    for (size_t i = 0; i < n; i++) {
        struct record *record = record_at(p, p->mine, i);
        record->is_there = 1;
        enum status status = inputs_read(p->inputs, first + i, p->x + i * floats);
        if (status == STATUS_OK)
            continue;
        if (status != STATUS_DATA || !p->config->keeps_going)
            return status;
        record->is_bad = 1;
        snprintf(record->why, sizeof record->why, "%s", error_text());
        memset(p->x + i * floats, 0, floats * sizeof *p->x);
    }
    if (n == 0)
        return STATUS_OK;
    uint64_t row[1] = {0};
    struct pass pass = {.n = n, .params = p->trained->params, .row = row};
    model_forward(p->trained->model, &pass, p->x);
    const struct tensor *y = model_output(p->trained->model);
    for (size_t i = 0; i < n; i++)
        if (!record_at(p, p->mine, i)->is_bad)
            record_fill(p, record_at(p, p->mine, i), tensor_row(y, i, 0));
    return STATUS_OK;
}

// ---- writing, rank 0

static const char *name_of(const struct predictor *p, const struct score *score)
{
    return p->trained->is_classifier ? p->trained->classes[score->number] : "";
}

static void text_write(const struct predictor *p, const char *name, const struct record *record)
{
    FILE *file = p->out.file;
    fprintf(file, "%s\n", name);
    if (record->is_bad)
        fprintf(file, "  not read: %s\n", record->why);
    for (size_t i = 0; i < p->top && !record->is_bad; i++) {
        const struct score *score = &record->score[i];
        if (p->is_probability)
            fprintf(file, "  %6.2f %%  %s\n", 100 * (double)score->value, name_of(p, score));
        else
            fprintf(file, "  %d: %g %s\n", score->number, (double)score->value, name_of(p, score));
    }
}

static void json_line(const struct predictor *p, const char *name, const struct record *record)
{
    FILE *file = p->out.file;
    fputs("{\"input\": ", file);
    json_text(file, name);
    if (record->is_bad) {
        fputs(", \"error\": ", file);
        json_text(file, record->why);
        fputs("}\n", file);
        return;
    }
    fprintf(file, ", \"%s\": [", p->trained->is_classifier ? "top" : "outputs");
    for (size_t i = 0; i < p->top; i++) {
        const struct score *score = &record->score[i];
        fputs(i ? ", " : "", file);
        if (p->trained->is_classifier) {
            fprintf(file, "{\"class\": %d, \"name\": ", score->number);
            json_text(file, name_of(p, score));
            fprintf(file, ", \"%s\": ", p->is_probability ? "probability" : "score");
        }
        if (isfinite(score->value))
            fprintf(file, "%.9g", (double)score->value);
        else
            fputs("null", file);
        fputs(p->trained->is_classifier ? "}" : "", file);
    }
    fputs("]}\n", file);
}

static void csv_write(const struct predictor *p, const char *name, const struct record *record)
{
    FILE *file = p->out.file;
    if (p->written == 0)
        fprintf(file, "input,place,class,name,%s\n", p->is_probability ? "probability" : "value");
    if (record->is_bad) {
        csv_text(file, name);
        fputs(",,,,\n", file);
    }
    for (size_t i = 0; i < p->top && !record->is_bad; i++) {
        const struct score *score = &record->score[i];
        csv_text(file, name);
        fprintf(file, ",%zu,%d,", i + 1, score->number);
        csv_text(file, name_of(p, score));
        fprintf(file, ",%.9g\n", (double)score->value);
    }
}

static enum status records_write(struct predictor *p, size_t n)
{
    char name[INPUT_NAME_MAX];
    for (size_t i = 0; i < n; i++) {
        const struct record *record = record_at(p, p->all, i);
        if (!record->is_there)
            continue;
        inputs_name(p->inputs, (size_t)p->written, name);
        if (p->config->format == PREDICT_TEXT)
            text_write(p, name, record);
        else if (p->config->format == PREDICT_JSON)
            json_line(p, name, record);
        else
            csv_write(p, name, record);
        p->written++;
    }
    CHECK(fflush(p->out.file) == 0 && !ferror(p->out.file), STATUS_ERROR, "cannot write '%s'",
          p->config->out);
    return STATUS_OK;
}

// ---- rounds

static enum status predictor_open(struct predictor *p)
{
    struct sample_shape in = p->trained->input;
    struct group *group = p->trained->group;
    size_t bytes = sizeof(struct record) + p->top * sizeof(struct score);
    p->record_bytes = (bytes + 7) / 8 * 8;
    TRY(memory_alloc(&p->x, p->chunk, in.h * in.w * in.c * sizeof *p->x, "samples"));
    TRY(memory_alloc(&p->mine, p->chunk, p->record_bytes, "predictions"));
    TRY(memory_alloc(&p->all, p->chunk * (size_t)group->size, p->record_bytes, "predictions"));
    TRY(memory_alloc(&p->value, p->trained->n_classes, sizeof *p->value, "predictions"));
    return group->rank == 0 ? text_file_open(&p->out, p->config->out) : STATUS_OK;
}

static enum status rounds_run(struct predictor *p)
{
    struct group *group = p->trained->group;
    size_t size = (size_t)group->size, count = inputs_count(p->inputs), round = size * p->chunk;
    for (size_t start = 0; start < count; start += round) {
        size_t first = start + (size_t)group->rank * p->chunk;
        size_t n = first >= count ? 0 : count - first < p->chunk ? count - first : p->chunk;
        TRY(group_agree(group, chunk_run(p, first, n)));
        group_allgather(group, p->mine, p->chunk * p->record_bytes, p->all);
        for (size_t i = 0; i < round; i++)
            p->n_bad += record_at(p, p->all, i)->is_bad != 0;
        TRY(group_agree(group, group->rank == 0 ? records_write(p, round) : STATUS_OK));
    }
    return group_agree(group, group->rank == 0 ? text_file_commit(&p->out) : STATUS_OK);
}

enum status predict_run(const struct trained *trained, struct inputs *inputs, size_t chunk,
                        const struct predict_config *config, size_t *n_bad)
{
    struct predictor p = {.trained = trained, .inputs = inputs, .config = config, .chunk = chunk};
    size_t most = trained->n_classes;
    p.top = trained->is_classifier && config->top < most ? config->top : most;
    p.is_probability =
        trained->is_classifier && strcmp(model_loss(trained->model)->ops->name, "softmax") == 0;
    enum status status = group_agree(trained->group, predictor_open(&p));
    if (status == STATUS_OK)
        status = rounds_run(&p);
    if (status != STATUS_OK && trained->group->rank == 0)
        text_file_discard(&p.out);
    *n_bad = p.n_bad;
    free(p.x);
    free(p.mine);
    free(p.all);
    free(p.value);
    return status;
}
