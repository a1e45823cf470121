// SPDX-License-Identifier: MIT
// From runs and exams to plots.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/report/report.h"

const char *report_metric(const struct report *report, bool *is_percent)
{
    static const char *const percents[] = {"accuracy", "top5"};
    const char *name = "";
    *is_percent = false;
    for (size_t r = 0; r < report->n && !name[0]; r++)
        for (size_t k = 0; k < report->runs[r].run.n_keys && !name[0]; k++) {
            const char *key = report->runs[r].run.key[k];
            if (strncmp(key, "train_", 6) == 0 && strcmp(key, "train_loss") != 0)
                name = key + 6;
        }
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        *is_percent = *is_percent || strcmp(name, percents[i]) == 0;
    return name;
}

const char *figure_title(const struct report *report, enum figure figure)
{
    static char metric[96];
    static const char *const titles[FIGURES] = {
        [FIGURE_LOSS] = "Loss",
        [FIGURE_LR] = "Learning rate",
        [FIGURE_SPEED] = "Throughput in training",
        [FIGURE_CONFUSION] = "Confusion matrix",
        [FIGURE_RELIABILITY] = "Reliability diagram",
        [FIGURE_LAYERS] = "Forward pass by layer",
    };
    if (titles[figure])
        return titles[figure];
    bool is_percent;
    const char *name = report_metric(report, &is_percent);
    snprintf(metric, sizeof metric, "%s%s", name, figure == FIGURE_MINUTES ? " against time" : "");
    metric[0] = (char)toupper((unsigned char)metric[0]);
    return metric;
}

void figure_name(const struct report *report, enum figure figure, size_t run, char *name,
                 size_t bytes)
{
    static const char *const names[FIGURES] = {"loss",  "metric",    "metric-time", "learning-rate",
                                               "speed", "confusion", "reliability", "layers"};
    if (figure_is_of_run(figure) && report->n > 1)
        snprintf(name, bytes, "%s-%s", names[figure], report->runs[run].run.label);
    else
        snprintf(name, bytes, "%s", names[figure]);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.' && *c != '_')
            *c = '_';
}

// ---- lines of all runs

struct lines {
    struct plot_series series[2 * REPORT_RUNS_MAX];
    double *memory[2 * REPORT_RUNS_MAX];
    char name[2 * REPORT_RUNS_MAX][160];
    size_t n;
};

// Steps of an epoch, from the first epoch's record; 0: none has ended.
static double epoch_steps(const struct run *run)
{
    const double *step = run_column(run, "step"), *epoch = run_column(run, "epoch");
    for (size_t i = 0; step && epoch && i < run->n; i++)
        if (run->is_epoch[i] && epoch[i] > 0)
            return step[i] / epoch[i];
    return 0;
}

// Seconds of the unit of time: minutes, or seconds where no run took three minutes.
static double time_unit(const struct report *report)
{
    for (size_t r = 0; r < report->n; r++)
        if (run_last(&report->runs[r].run, "seconds") >= 180)
            return 60;
    return 1;
}

static bool all_have_epochs(const struct report *report)
{
    for (size_t r = 0; r < report->n; r++)
        if (report->runs[r].run.n > 0 && epoch_steps(&report->runs[r].run) <= 0)
            return false;
    return true;
}

// One column of one run. is_minutes: against time; else epochs, or steps where a run has none.
static enum status series_add(struct lines *lines, const struct report *report, size_t r,
                              const char *key, const char *side, bool is_minutes, bool epochs_only)
{
    const struct run *run = &report->runs[r].run;
    const double *y = run_column(run, key), *x = run_column(run, is_minutes ? "seconds" : "step");
    if (!y || !x || run->n == 0)
        return STATUS_OK;
    double scale = is_minutes                ? 1 / time_unit(report)
                   : all_have_epochs(report) ? 1 / epoch_steps(run)
                                             : 1;
    struct plot_series *s = &lines->series[lines->n];
    char *name = lines->name[lines->n];
    TRY(memory_alloc(&lines->memory[lines->n], 2 * run->n, sizeof(double), "points of a plot"));
    double *at = lines->memory[lines->n++], *value = at + run->n;
    *s = (struct plot_series){.name = name, .x = at, .y = value};
    for (size_t i = 0; i < run->n; i++) {
        if ((epochs_only && !run->is_epoch[i]) || !isfinite(y[i]) || !isfinite(x[i]))
            continue;
        at[s->n] = x[i] * scale;
        value[s->n++] = y[i];
    }
    if (report->n > 1)
        snprintf(name, sizeof lines->name[0], "%s%s%s", run->label, side[0] ? " " : "", side);
    else
        snprintf(name, sizeof lines->name[0], "%s", side[0] ? side : key);
    s->colour = (int)r;
    if (report->n == 1 && strcmp(side, "train") == 0)
        s->colour = 1;
    s->is_dashed = report->n > 1 && strcmp(side, "train") == 0;
    return STATUS_OK;
}

static enum status lines_fill(struct lines *lines, struct plot *plot, const struct report *report,
                              enum figure figure)
{
    bool is_percent = false;
    char key[64];
    const char *metric = figure == FIGURE_LOSS ? "loss" : report_metric(report, &is_percent);
    plot->x_name = figure == FIGURE_MINUTES  ? (time_unit(report) > 1 ? "minutes" : "seconds")
                   : all_have_epochs(report) ? "epoch"
                                             : "step";
    if (figure == FIGURE_LR || figure == FIGURE_SPEED) {
        plot->y_name = figure == FIGURE_LR ? "learning rate" : "images/s";
        plot->from_zero = true;
        for (size_t r = 0; r < report->n; r++)
            TRY(series_add(lines, report, r, figure == FIGURE_LR ? "lr" : "images_per_s", "", false,
                           false));
        return STATUS_OK;
    }
    plot->y_name = metric;
    plot->is_percent = is_percent;
    for (size_t r = 0; r < report->n && metric[0]; r++) {
        snprintf(key, sizeof key, "test_%s", metric);
        TRY(series_add(lines, report, r, key, "test", figure == FIGURE_MINUTES, true));
        snprintf(key, sizeof key, "train_%s", metric);
        if (figure != FIGURE_MINUTES)
            TRY(series_add(lines, report, r, key, "train", false, true));
    }
    return STATUS_OK;
}

static enum status lines_draw(FILE *file, const struct report *report, enum figure figure,
                              struct plot *plot, bool *is_there)
{
    struct lines lines = {.n = 0};
    enum status status = lines_fill(&lines, plot, report, figure);
    *is_there = status == STATUS_OK && plot_has_lines(lines.series, lines.n);
    if (*is_there && file)
        plot_lines(file, plot, lines.series, lines.n);
    for (size_t i = 0; i < lines.n; i++)
        free(lines.memory[i]);
    return status;
}

// ---- of one run

static enum status layers_draw(FILE *file, const struct exam *e, struct plot *plot)
{
    struct model *model = e->trained.model;
    size_t n = model_n_layers(model), used = 0;
    struct plot_bar *bars;
    char(*texts)[48];
    TRY(memory_alloc(&bars, n, sizeof *bars, "bars of a plot"));
    enum status status = memory_alloc(&texts, n, sizeof *texts, "bars of a plot");
    double total = 0;
    for (size_t i = 0; status == STATUS_OK && i < n; i++)
        total += e->layers[i].seconds;
    for (size_t i = 0; status == STATUS_OK && i < n; i++) {
        double seconds = e->layers[i].seconds;
        if (seconds < 0.001 * total)
            continue; // fused into another, or no more than another view
        snprintf(texts[used], sizeof *texts, "%.2f us, %.0f %%", 1e6 * seconds,
                 100 * seconds / total);
        bars[used] = (struct plot_bar){model_layer(model, i)->name, texts[used], 1e6 * seconds};
        used++;
    }
    plot->x_name = "microseconds a sample, one core";
    plot->y_name = "Time of each layer's forward pass.";
    if (status == STATUS_OK)
        plot_bars(file, plot, bars, used);
    free(bars);
    free(texts);
    return status;
}

static enum status run_draw(FILE *file, const struct report_run *r, enum figure figure,
                            struct plot *plot, bool *is_there)
{
    const struct exam *e = &r->exam;
    *is_there = r->has_exam && (figure == FIGURE_LAYERS ? e->layers != NULL : e->is_classes);
    if (!*is_there || !file)
        return STATUS_OK;
    if (figure == FIGURE_LAYERS)
        return layers_draw(file, e, plot);
    plot->x_name = "confidence";
    plot->y_name = "right";
    if (figure == FIGURE_CONFUSION)
        plot_matrix(file, plot, e->confusion, e->trained.n_classes, e->trained.classes);
    else
        plot_reliability(file, plot, e->bins, EXAM_BINS);
    return STATUS_OK;
}

enum status figure_draw(FILE *file, const struct report *report, enum figure figure, size_t run,
                        bool is_alone, bool *is_there)
{
    char id[64];
    snprintf(id, sizeof id, "figure-%d-%zu", (int)figure, run);
    struct plot plot = {.id = id, .title = figure_title(report, figure), .is_alone = is_alone};
    if (figure_is_of_run(figure))
        return run_draw(file, &report->runs[run], figure, &plot, is_there);
    return lines_draw(file, report, figure, &plot, is_there);
}
