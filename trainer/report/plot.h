// SPDX-License-Identifier: MIT
// Plots as SVG: lines, matrices, reliability diagrams, bars. A plot is drawn into an open file,
// either as part of a page, whose style sheet colours its classes, or alone, with a style of its
// own. Each has a title and a description for screen readers; the numbers behind lines stand in
// data attributes, which the page's script shows under the pointer. Knows nothing of runs.
#ifndef SW2_TRAINER_REPORT_PLOT_H
#define SW2_TRAINER_REPORT_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PLOT_COLOURS 8 // series that can be told apart

struct plot_series {
    const char *name;
    size_t n;
    const double *x, *y; // (n); a y that is not finite leaves a gap
    int colour;          // below PLOT_COLOURS
    bool is_dashed;
};

struct plot {
    const char *id, *title; // id: unique in a page, letters, digits and dashes
    const char *x_name, *y_name;
    bool is_percent; // y is shown times 100
    bool from_zero;  // the y axis starts at 0
    bool is_alone;   // a file of its own
};

// True where a series has two points or more to draw a line through.
bool plot_has_lines(const struct plot_series *series, size_t n);
void plot_lines(FILE *file, const struct plot *plot, const struct plot_series *series, size_t n);

// counts (n, n): [row][column], shaded by share of the row. names (n). Numbers are written into the
// cells up to 20 rows.
void plot_matrix(FILE *file, const struct plot *plot, const uint64_t *counts, size_t n,
                 const char *const *names);

// Reliability diagram (DeGroot and Fienberg 1983; Guo et al. 2017): share that is right against
// confidence, in equal bins of [0, 1], with the share of samples of each bin below.
struct plot_bin {
    uint64_t n, right;
    double confidence; // mean of the bin
};
void plot_reliability(FILE *file, const struct plot *plot, const struct plot_bin *bins, size_t n);

// Horizontal bars, a row each; text is written behind the bar.
struct plot_bar {
    const char *name, *text;
    double value;
};
void plot_bars(FILE *file, const struct plot *plot, const struct plot_bar *bars, size_t n);

void plot_text(FILE *file, const char *text); // escaped for HTML and SVG

#endif
