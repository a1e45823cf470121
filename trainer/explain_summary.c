// SPDX-License-Identifier: MIT
// Owns: what sw2-explain says in words and numbers: a line of JSON for each input, means over the
// inputs as a table and as JSON.
#include <stdio.h>
#include <string.h>

#include "comm/log.h"
#include "trainer/explain_filters.h"
#include "trainer/explain_job.h"
#include "trainer/text_file.h"

static const struct {
    const char *name, *title;
    size_t offset;
} measures[] = {
    {"deletion", "deletion", offsetof(struct quality, deletion)},
    {"insertion", "insertion", offsetof(struct quality, insertion)},
    {"sensitivity_n", "sens.-n", offsetof(struct quality, sensitivity_n)},
    {"infidelity", "infidelity", offsetof(struct quality, infidelity)},
    {"unexplained", "unexplained", offsetof(struct quality, unexplained)},
};
enum { N_MEASURES = sizeof measures / sizeof *measures };

static double measure(const struct quality *q, size_t i)
{
    return *(const double *)(const void *)((const char *)q + measures[i].offset);
}

void summary_add(struct explain_summary *s, const struct explain_job *job,
                 const struct explain_answer *answer)
{
    s->n_bad += answer->is_bad != 0;
    if (answer->is_bad)
        return;
    s->n++;
    s->n_sanity += answer->has_sanity != 0;
    s->completeness =
        answer->completeness > s->completeness ? answer->completeness : s->completeness;
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        if (!job->wanted[m])
            continue;
        for (size_t i = 0; i < N_MEASURES; i++)
            *(double *)(void *)((char *)&s->quality[m] + measures[i].offset) +=
                measure(&answer->quality[m], i);
        for (size_t k = 0; k < SANITY_STAGES; k++)
            s->sanity[m][k] += answer->sanity[m][k];
    }
}

// ---- the table

static void row_show(const struct explain_summary *s, const struct explain_job *job, int m)
{
    char line[256];
    int at = snprintf(line, sizeof line, "  %-17s", explain_info((enum explain_method)m)->title);
    for (size_t i = 0; job->measures_quality && i < N_MEASURES; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %11.4g",
                       measure(&s->quality[m], i) / (double)s->n);
    for (size_t k = 0; s->n_sanity > 0 && k < SANITY_STAGES; k++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %9.3f",
                       s->sanity[m][k] / (double)s->n_sanity);
    log_line("%s", line);
}

void summary_show(const struct explain_summary *s, const struct explain_job *job)
{
    const struct layer *layer = explain_layer(job->explain);
    log_line("%zu inputs explained in %s/ (sheet-0001.png, explanations.h5, ...)", s->n,
             job->output.folder);
    if (layer)
        log_line("layer %s: %zux%zu positions, %zu channels", layer->name, layer->y.h, layer->y.w,
                 layer->y.c);
    if (job->wanted[EXPLAIN_INTEGRATED])
        log_line("integrated gradients: the sum is off by at most %.3g %% of the scores' "
                 "difference (more --steps: less)",
                 100 * s->completeness);
    if (s->n == 0 || (!job->measures_quality && s->n_sanity == 0))
        return;
    char line[256];
    int at = snprintf(line, sizeof line, "  %-17s", "mean over inputs");
    for (size_t i = 0; job->measures_quality && i < N_MEASURES; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %11s", measures[i].title);
    for (size_t k = 0; s->n_sanity > 0 && k < SANITY_STAGES; k++)
        at += snprintf(line + at, sizeof line - (size_t)at, "   random%zu", k + 1);
    log_line("%s", line);
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        if (job->wanted[m])
            row_show(s, job, m);
    if (job->measures_quality)
        log_line("good: low deletion, infidelity, unexplained; high insertion, sensitivity-n");
    if (s->n_sanity > 0)
        log_line("random1 to 4: rank correlation with the map of the same network when the last "
                 "quarter, half, three quarters,\nall of its layers have random weights (%zu "
                 "inputs): near 0 for a method that shows what was learned",
                 s->n_sanity);
}

// ---- JSON

static void quality_json(FILE *file, const struct quality *q, double n)
{
    fputs("{", file);
    for (size_t i = 0; i < N_MEASURES; i++) {
        fprintf(file, "%s\"%s\": ", i ? ", " : "", measures[i].name);
        json_number(file, measure(q, i) / n);
    }
    fputs("}", file);
}

static void sanity_json(FILE *file, const double *v, double n)
{
    for (size_t k = 0; k < SANITY_STAGES; k++) {
        fputs(k ? ", " : "[", file);
        json_number(file, v[k] / n);
    }
    fputs("]", file);
}

// "quality": {"gradcam": {...}, ...}, "sanity": {...}
static void methods_json(FILE *file, const struct explain_job *job, const struct quality *quality,
                         double n, double (*sanity)[SANITY_STAGES], double n_sanity)
{
    const char *comma = "";
    if (job->measures_quality && n > 0) {
        fputs(", \"quality\": {", file);
        for (int m = 0; m < EXPLAIN_METHODS; m++)
            if (job->wanted[m]) {
                fprintf(file, "%s\"%s\": ", comma, explain_info((enum explain_method)m)->name);
                quality_json(file, &quality[m], n);
                comma = ", ";
            }
        fputs("}", file);
    }
    if (n_sanity > 0) {
        comma = "";
        fputs(", \"sanity\": {", file);
        for (int m = 0; m < EXPLAIN_METHODS; m++)
            if (job->wanted[m]) {
                fprintf(file, "%s\"%s\": ", comma, explain_info((enum explain_method)m)->name);
                sanity_json(file, sanity[m], n_sanity);
                comma = ", ";
            }
        fputs("}", file);
    }
}

void answer_json(FILE *file, const struct explain_job *job, const char *name, size_t number,
                 const struct explain_answer *a)
{
    const struct trained *t = job->trained;
    fprintf(file, "{\"number\": %zu, \"input\": ", number);
    json_text(file, name);
    if (a->is_bad) {
        fputs(", \"error\": ", file);
        json_text(file, a->why);
        fputs("}\n", file);
        return;
    }
    fprintf(file, ", \"%s\": %d", t->is_classifier ? "class" : "output", a->target);
    if (t->is_classifier) {
        fputs(", \"name\": ", file);
        json_text(file, t->classes[a->target]);
        fprintf(file, ", \"predicted\": %d", a->predicted);
    }
    fputs(", \"score\": ", file);
    json_number(file, (double)a->score);
    if (a->probability > 0) {
        fputs(", \"probability\": ", file);
        json_number(file, (double)a->probability);
    }
    if (job->wanted[EXPLAIN_INTEGRATED]) {
        fputs(", \"completeness\": ", file);
        json_number(file, a->completeness);
    }
    methods_json(file, job, a->quality, 1, (double(*)[SANITY_STAGES])(uintptr_t)a->sanity,
                 a->has_sanity ? 1 : 0);
    fputs("}\n", file);
}

static enum status filters_json(FILE *file, const struct trained *t)
{
    struct filters f;
    TRY(filters_find(&f, t->model, t->params));
    fputs(", \"filters\": [", file);
    for (size_t k = 0; k < f.n; k++) {
        fprintf(file, "%s{\"nearest\": ", k ? ", " : "");
        json_text(file, f.match[k].name);
        fprintf(file, ", \"cosine\": %.4f}", f.match[k].cosine);
    }
    fputs("]", file);
    filters_free(&f);
    return STATUS_OK;
}

static enum status summary_write(FILE *file, const struct explain_summary *s,
                                 const struct explain_job *job)
{
    const struct layer *layer = explain_layer(job->explain);
    fprintf(file, "{\"inputs\": %zu, \"bad\": %zu, \"checkpoint\": ", s->n, s->n_bad);
    json_text(file, checkpoint_path(job->trained->checkpoint));
    fputs(", \"layer\": ", file);
    if (layer)
        json_text(file, layer->name);
    else
        fputs("null", file);
    if (job->wanted[EXPLAIN_INTEGRATED]) {
        fputs(", \"completeness\": ", file);
        json_number(file, s->completeness);
    }
    methods_json(file, job, s->quality, (double)s->n,
                 (double(*)[SANITY_STAGES])(uintptr_t)s->sanity, (double)s->n_sanity);
    TRY(filters_json(file, job->trained));
    fputs("}\n", file);
    return STATUS_OK;
}

enum status summary_json(const struct explain_summary *s, const struct explain_job *job,
                         const char *path)
{
    struct text_file out;
    TRY(text_file_open(&out, path));
    enum status status = summary_write(out.file, s, job);
    if (status == STATUS_OK)
        return text_file_commit(&out);
    text_file_discard(&out);
    return status;
}
