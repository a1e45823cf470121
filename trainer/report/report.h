// SPDX-License-Identifier: MIT
// One report: runs side by side, each with what an exam of its network on its test data gave. The
// main of sw2-report fills it; figures.c draws from it, page.c writes the page.
#ifndef SW2_TRAINER_REPORT_REPORT_H
#define SW2_TRAINER_REPORT_REPORT_H

#include "trainer/report/exam.h"
#include "trainer/report/run.h"

#define REPORT_RUNS_MAX PLOT_COLOURS

struct report_run {
    struct run run;
    struct exam exam;
    bool has_exam;
    char why[1024]; // !has_exam: why not
};

struct report {
    const char *title;
    size_t n;
    struct report_run runs[REPORT_RUNS_MAX];
};

// ---- figures

enum figure {
    FIGURE_LOSS,    // of all runs:
    FIGURE_METRIC,  // the loss's second metric (accuracy)
    FIGURE_MINUTES, // the same against minutes
    FIGURE_LR,
    FIGURE_SPEED,
    FIGURE_CONFUSION, // of one run:
    FIGURE_RELIABILITY,
    FIGURE_LAYERS,
    FIGURES
};
static inline bool figure_is_of_run(enum figure figure)
{
    return figure >= FIGURE_CONFUSION;
}
// Draws it into an open file as plot.h says, or, with file NULL, only says whether there is
// anything to draw. run: of a figure of one run. STATUS_ERROR: memory.
enum status figure_draw(FILE *file, const struct report *report, enum figure figure, size_t run,
                        bool is_alone, bool *is_there);
const char *figure_title(const struct report *report, enum figure figure);
// File name without its end: "loss", "confusion-RUN".
void figure_name(const struct report *report, enum figure figure, size_t run, char *name,
                 size_t bytes);

// The second metric's name in the records ("accuracy"), "" where there is none; shown times 100?
const char *report_metric(const struct report *report, bool *is_percent);

// ---- the page

// Writes the whole page. Rank 0. STATUS_ERROR: memory, or a picture that could not be read.
enum status page_write(FILE *file, struct report *report);

#endif
