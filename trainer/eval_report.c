// SPDX-License-Identifier: MIT
#include "trainer/eval_report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/text_file.h"

#define MATRIX_SHOWN_MAX 20 // classes; larger matrices are in the JSON only

enum status eval_report_init(struct eval_report *report, size_t n_classes)
{
    report->n_classes = n_classes;
    return memory_alloc(&report->confusion, n_classes * n_classes, sizeof *report->confusion,
                        "confusion matrix");
}

void eval_report_free(struct eval_report *report)
{
    free(report->confusion);
    report->confusion = NULL;
}

void eval_report_count(void *context, const struct batch *batch, const struct tensor *logits)
{
    struct eval_report *report = context;
    const int32_t *truth = batch->target;
    for (size_t i = 0; i < batch->n && report->n_classes > 0; i++) {
        const float *row = tensor_row(logits, i, 0);
        size_t best = 0;
        for (size_t k = 1; k < report->n_classes; k++)
            best = row[k] > row[best] ? k : best;
        report->confusion[(size_t)truth[i] * report->n_classes + best]++;
    }
}

enum status eval_report_sum(struct eval_report *report, struct group *group)
{
    size_t k = report->n_classes, size = (size_t)group->size;
    uint64_t *all;
    enum status status = memory_alloc(&all, k * size, sizeof *all, "confusion matrix");
    TRY(group_agree(group, status));
    for (size_t row = 0; row < k; row++) {
        uint64_t *own = report->confusion + row * k;
        group_allgather(group, own, k * sizeof *own, all);
        for (size_t i = 0; i < k; i++) {
            own[i] = 0;
            for (size_t r = 0; r < size; r++)
                own[i] += all[r * k + i];
        }
    }
    free(all);
    return STATUS_OK;
}

static uint64_t truths(const struct eval_report *report, size_t class)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < report->n_classes; i++)
        sum += report->confusion[class * report->n_classes + i];
    return sum;
}

static uint64_t predictions(const struct eval_report *report, size_t class)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < report->n_classes; i++)
        sum += report->confusion[i * report->n_classes + class];
    return sum;
}

// NaN where nothing was counted.
static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : NAN;
}

static void class_text(const struct eval_report *report, size_t class, char text[24])
{
    if (report->names && report->names[class])
        snprintf(text, 24, "%.20s", report->names[class]);
    else
        snprintf(text, 24, "%zu", class);
}

static void percent_text(double value, char text[16])
{
    if (isnan(value))
        snprintf(text, 16, "-");
    else
        snprintf(text, 16, "%.2f %%", 100 * value);
}

static void classes_show(const struct eval_report *report)
{
    log_line("  %-20s %8s %10s %10s %10s", "class", "samples", "precision", "recall", "F1");
    for (size_t i = 0; i < report->n_classes; i++) {
        uint64_t hit = report->confusion[i * report->n_classes + i];
        double precision = share(hit, predictions(report, i)),
               recall = share(hit, truths(report, i));
        char name[24], text[3][16];
        class_text(report, i, name);
        percent_text(precision, text[0]);
        percent_text(recall, text[1]);
        percent_text(share(2 * hit, predictions(report, i) + truths(report, i)), text[2]);
        log_line("  %-20s %8llu %10s %10s %10s", name, (unsigned long long)truths(report, i),
                 text[0], text[1], text[2]);
    }
}

static void matrix_show(const struct eval_report *report)
{
    char line[64 + MATRIX_SHOWN_MAX * 8], name[24];
    log_line("confusion matrix: rows are the truth, columns the predictions");
    int at = snprintf(line, sizeof line, "  %-20s", "");
    for (size_t i = 0; i < report->n_classes; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %6zu", i);
    log_line("%s", line);
    for (size_t i = 0; i < report->n_classes; i++) {
        class_text(report, i, name);
        at = snprintf(line, sizeof line, "  %-20s", name);
        for (size_t k = 0; k < report->n_classes; k++)
            at += snprintf(line + at, sizeof line - (size_t)at, " %6llu",
                           (unsigned long long)report->confusion[i * report->n_classes + k]);
        log_line("%s", line);
    }
}

void eval_report_show(const struct eval_report *report)
{
    bool is_averaged = strcmp(report->tta, "off") != 0;
    log_line("%s on %s: %llu samples%s%s", report->checkpoint, report->data,
             (unsigned long long)report->n, is_averaged ? ", logits averaged over views: " : "",
             is_averaged ? report->tta : "");
    for (int m = 0; m < report->n_metrics; m++) {
        if (report->metrics[m].is_percent)
            log_line("  %-10s %.2f %%", report->metrics[m].name, 100 * report->mean[m]);
        else
            log_line("  %-10s %.6f", report->metrics[m].name, report->mean[m]);
    }
    if (report->n_classes == 0)
        return;
    classes_show(report);
    if (report->n_classes <= MATRIX_SHOWN_MAX)
        matrix_show(report);
    else
        log_line("confusion matrix of %zu classes: see --json FILE", report->n_classes);
}

static void json_classes(const struct eval_report *report, FILE *file)
{
    fprintf(file, ",\n \"classes\": [");
    for (size_t i = 0; i < report->n_classes; i++) {
        uint64_t hit = report->confusion[i * report->n_classes + i];
        char name[24];
        class_text(report, i, name);
        fprintf(file, "%s\n  {\"class\": %zu, \"name\": ", i ? "," : "", i);
        json_text(file, report->names && report->names[i] ? report->names[i] : name);
        fprintf(file,
                ", \"samples\": %llu, \"precision\": ", (unsigned long long)truths(report, i));
        json_number(file, share(hit, predictions(report, i)));
        fprintf(file, ", \"recall\": ");
        json_number(file, share(hit, truths(report, i)));
        fputc('}', file);
    }
    fprintf(file, "],\n \"confusion\": [");
    for (size_t i = 0; i < report->n_classes; i++) {
        fprintf(file, "%s\n  [", i ? "," : "");
        for (size_t k = 0; k < report->n_classes; k++)
            fprintf(file, "%s%llu", k ? ", " : "",
                    (unsigned long long)report->confusion[i * report->n_classes + k]);
        fputc(']', file);
    }
    fputs("]", file);
}

static void json_write(const struct eval_report *report, FILE *file)
{
    fputs("{\"checkpoint\": ", file);
    json_text(file, report->checkpoint);
    fputs(", \"data\": ", file);
    json_text(file, report->data);
    fprintf(file, ", \"tta\": \"%s\", \"samples\": %llu", report->tta,
            (unsigned long long)report->n);
    for (int m = 0; m < report->n_metrics; m++) {
        fprintf(file, ", \"%s\": ", report->metrics[m].name);
        json_number(file, report->mean[m]);
    }
    if (report->n_classes > 0)
        json_classes(report, file);
    fputs("}\n", file);
}

enum status eval_report_json(const struct eval_report *report, const char *path)
{
    struct text_file out;
    TRY(text_file_open(&out, path));
    json_write(report, out.file);
    return text_file_commit(&out);
}
