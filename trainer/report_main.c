// SPDX-License-Identifier: MIT
// sw2-report: runs, side by side, as one page that needs nothing else; or their plots alone.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/cli.h"
#include "trainer/report/raster.h"
#include "trainer/report/report.h"
#include "trainer/text_file.h"

struct args {
    const char *out, *data, *svg, *png, *title;
    int64_t chunk;
    bool no_test;
};

#define ROW(name, type, field, fallback, low, high, choices, help, letter, value)                  \
    {                                                                                              \
        {name, type, offsetof(struct args, field), fallback, low, high, choices, help}, letter,    \
            value                                                                                  \
    }
static const struct cli_option options[] = {
    ROW("out", OPTION_STRING, out, "report.html", 0, 0, NULL,
        "the page to write; - for standard output", 'O', "FILE"),
    ROW("data", OPTION_STRING, data, NULL, 0, 0, NULL,
        "test data, instead of what the recipes name", 0, "FILE.h5[:/group]"),
    ROW("svg", OPTION_STRING, svg, NULL, 0, 0, NULL,
        "write each plot as a file of its own into DIR, and no page", 0, "DIR"),
    ROW("png", OPTION_STRING, png, NULL, 0, 0, NULL, "the same as PNG", 0, "DIR"),
    ROW("title", OPTION_STRING, title, NULL, 0, 0, NULL, "of the page", 0, "TEXT"),
    ROW("no-test", OPTION_BOOL, no_test, "false", 0, 0, NULL,
        "curves only: networks are not loaded and tested", 0, NULL),
    ROW("chunk", OPTION_INT, chunk, "64", 1, 65536, NULL, "samples tested at a time", 0, "N"),
};

static const struct cli cli = {
    .program = "sw2-report",
    .arguments = "RUN...",
    .about = "Writes one HTML page about a run, or several side by side: curves, confusion matrix, "
             "classes, worst mistakes,\ncalibration, filters, network, recipe, machine. RUN is a "
             "folder that sw2-train --out made; its best network is\ntested on the test data of "
             "its recipe. The page holds all it shows and asks no network.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_arguments = 1,
    .max_arguments = REPORT_RUNS_MAX,
    .examples = "sw2-report runs/digits-1\n"
                "mpirun -np 4 sw2-report runs/a runs/b -O compare.html\n"
                "sw2-report runs/digits-1 --svg plots",
};

// Names that two runs share become the whole paths.
static enum status labels_part(struct report *report)
{
    for (size_t a = 0; a < report->n; a++)
        for (size_t b = a + 1; b < report->n; b++) {
            struct run *x = &report->runs[a].run, *y = &report->runs[b].run;
            if (strcmp(x->label, y->label) != 0)
                continue;
            CHECK(strcmp(x->folder, y->folder) != 0, STATUS_USAGE, "'%s' is named twice",
                  x->folder);
            free(x->label);
            free(y->label);
            x->label = strdup(x->folder);
            y->label = strdup(y->folder);
            CHECK(x->label && y->label, STATUS_ERROR, "out of memory: names of runs");
        }
    return STATUS_OK;
}

static enum status runs_open(struct report *report, const struct option_strings *folders)
{
    for (report->n = 0; report->n < folders->n; report->n++)
        TRY(run_open(&report->runs[report->n].run, folders->v[report->n]));
    return labels_part(report);
}

// A network that cannot be tested (its data lie elsewhere) leaves a gap that says so; without its
// folder's records there would be nothing to show.
static enum status exams_run(struct report *report, struct group *group, const struct args *args)
{
    for (size_t r = 0; r < report->n; r++) {
        struct report_run *one = &report->runs[r];
        enum status status = STATUS_USAGE;
        if (args->no_test)
            snprintf(one->why, sizeof one->why, "--no-test was asked for.");
        else if (!one->run.checkpoint)
            snprintf(one->why, sizeof one->why, "it has no checkpoint.");
        else
            status =
                exam_run(&one->exam, group, one->run.checkpoint, args->data, (size_t)args->chunk);
        one->has_exam = status == STATUS_OK;
        if (one->has_exam || one->why[0])
            continue;
        snprintf(one->why, sizeof one->why, "%s", error_text());
        if (args->data || one->run.n == 0 || status == STATUS_ERROR)
            return status;
        log_warn("%s: the network was not tested: %s", one->run.folder, one->why);
    }
    return STATUS_OK;
}

static enum status page_make(struct report *report, const char *path)
{
    struct text_file out = {0};
    TRY(text_file_open(&out, path));
    enum status status = page_write(out.file, report);
    if (status == STATUS_OK)
        status = text_file_commit(&out);
    if (status != STATUS_OK)
        text_file_discard(&out);
    else if (strcmp(path, "-") != 0)
        log_line("%s", path);
    return status;
}

// ---- single plots

static enum status folder_make(const char *path)
{
    CHECK(mkdir(path, 0777) == 0 || errno == EEXIST, STATUS_ERROR,
          "cannot make the folder '%s': %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status figure_make(const struct report *report, enum figure figure, size_t run,
                               const char *folder, bool is_png)
{
    bool is_there;
    char name[256], path[4096 + 300];
    TRY(figure_draw(NULL, report, figure, run, true, &is_there));
    if (!is_there)
        return STATUS_OK;
    figure_name(report, figure, run, name, sizeof name);
    snprintf(path, sizeof path, "%.4096s/%s.%s", folder, name, is_png ? "png" : "svg");
    struct text_file out = {0};
    char *svg = NULL;
    size_t n = 0;
    TRY(text_file_open(&out, path));
    FILE *to = is_png ? open_memstream(&svg, &n) : out.file;
    enum status status = to ? figure_draw(to, report, figure, run, true, &is_there)
                            : error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory: a plot");
    if (is_png && to)
        fclose(to);
    if (status == STATUS_OK && is_png)
        status = raster_png(svg, n, 2, out.file);
    free(svg);
    if (status == STATUS_OK)
        status = text_file_commit(&out);
    if (status != STATUS_OK)
        text_file_discard(&out);
    else
        log_line("%s", path);
    return status;
}

static enum status figures_make(const struct report *report, const char *folder, bool is_png)
{
    if (is_png)
        TRY(raster_check());
    TRY(folder_make(folder));
    for (enum figure f = 0; f < FIGURES; f++)
        for (size_t r = 0; r < (figure_is_of_run(f) ? report->n : 1); r++)
            TRY(figure_make(report, f, r, folder, is_png));
    return STATUS_OK;
}

static enum status output_make(struct report *report, const struct args *args)
{
    if (args->svg)
        TRY(figures_make(report, args->svg, false));
    if (args->png)
        TRY(figures_make(report, args->png, true));
    return args->svg || args->png ? STATUS_OK : page_make(report, args->out);
}

static enum status report_make(struct group *group, const void *given,
                               const struct option_strings *folders)
{
    const struct args *args = given;

    struct report *report;
    char title[256];
    TRY(group_agree(group, memory_alloc(&report, 1, sizeof *report, "report")));
    enum status status = group_agree(group, runs_open(report, folders));
    if (status == STATUS_OK) {
        snprintf(title, sizeof title, report->n > 1 ? "%s and %zu more" : "%s",
                 report->runs[0].run.label, report->n - 1);
        report->title = args->title ? args->title : title;
        status = exams_run(report, group, args);
    }
    if (status == STATUS_OK)
        status = group_agree(group, group->rank == 0 ? output_make(report, args) : STATUS_OK);
    for (size_t r = 0; r < REPORT_RUNS_MAX; r++) {
        exam_free(&report->runs[r].exam);
        run_close(&report->runs[r].run);
    }
    free(report);
    return status;
}

int main(int argc, char **argv)
{
    struct args args = {0};
    return cli_main(&cli, argc, argv, &args, report_make);
}
