// SPDX-License-Identifier: MIT
#include "trainer/shrink/table.h"

#include <stdio.h>

#include "comm/log.h"
#include "trainer/report/plot.h"
#include "trainer/text_file.h"

static double shown(const struct shrink_table *t, size_t i)
{
    return t->points[i].value * (t->metric.is_percent ? 100 : 1);
}

void shrink_table_line(const struct shrink_table *t, size_t i)
{
    const struct shrink_point *p = &t->points[i];
    log_line("%.2f times as fast, %s %.2f%s, %.0f parameters, %.3g MFLOP", p->speed, t->metric.name,
             shown(t, i), t->metric.is_percent ? " %" : "", p->parameters, p->flops * 1e-6);
}

void shrink_table_show(const struct shrink_table *t)
{
    log_line("%8s%12s%12s%14s%12s", "speed", t->metric.name, "change", "parameters", "MFLOP");
    for (size_t i = 0; i < t->n; i++)
        log_line("%7.2fx%12.2f%+12.2f%14.0f%12.3g", t->points[i].speed, shown(t, i),
                 shown(t, i) - shown(t, 0), t->points[i].parameters, t->points[i].flops * 1e-6);
}

static void csv_put(FILE *file, const struct shrink_table *t)
{
    fprintf(file, "round,speed,%s,parameters,flops\n", t->metric.name);
    for (size_t i = 0; i < t->n; i++)
        fprintf(file, "%zu,%.4f,%.17g,%.0f,%.0f\n", i, t->points[i].speed, t->points[i].value,
                t->points[i].parameters, t->points[i].flops);
}

static void json_put(FILE *file, const struct shrink_table *t)
{
    fputs("{\"metric\": ", file);
    json_text(file, t->metric.name);
    fputs(", \"rounds\": [", file);
    for (size_t i = 0; i < t->n; i++) {
        fprintf(file, "%s\n {\"speed\": ", i ? "," : "");
        json_number(file, t->points[i].speed);
        fputs(", \"value\": ", file);
        json_number(file, t->points[i].value);
        fprintf(file, ", \"parameters\": %.0f, \"flops\": %.0f}", t->points[i].parameters,
                t->points[i].flops);
    }
    fputs("]}\n", file);
}

static void svg_put(FILE *file, const struct shrink_table *t)
{
    double x[sizeof t->points / sizeof *t->points], y[sizeof t->points / sizeof *t->points];
    for (size_t i = 0; i < t->n; i++) {
        x[i] = t->points[i].speed;
        y[i] = t->points[i].value;
    }
    struct plot plot = {.id = "shrink",
                        .title = "What speed costs",
                        .x_name = "speed of the forward pass, times the network as it was",
                        .y_name = t->metric.name,
                        .is_percent = t->metric.is_percent,
                        .is_alone = true};
    struct plot_series series = {.name = t->metric.name, .n = t->n, .x = x, .y = y};
    plot_lines(file, &plot, &series, 1);
}

enum status shrink_table_write(const struct shrink_table *t, const char *folder)
{
    static const struct {
        const char *name;
        void (*put)(FILE *, const struct shrink_table *);
    } files[] = {{"csv", csv_put}, {"json", json_put}, {"svg", svg_put}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        struct text_file out = {0};
        snprintf(path, sizeof path, "%s/shrink.%s", folder, files[i].name);
        TRY(text_file_open(&out, path));
        files[i].put(out.file, t);
        TRY(text_file_commit(&out));
    }
    return STATUS_OK;
}
