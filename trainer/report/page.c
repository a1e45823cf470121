// SPDX-License-Identifier: MIT
#include <math.h>
#include <string.h>

#include "report_css.h" // made by the build from trainer/report/report.css
#include "report_js.h"  // and report.js
#include "trainer/report/page_private.h"

static void head_write(FILE *file, const struct report *report)
{
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          file);
    plot_text(file, report->title);
    fprintf(file, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", report_css);
    fputs("<a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header>\n<h1>", file);
    plot_text(file, report->title);
    fputs(
        "</h1>\n<p class=\"sub\">What the training runs learned, written by sw2-report " SW2_VERSION
        ".</p>\n<nav aria-label=\"Sections\"><a href=\"#curves\">Curves</a>",
        file);
    for (size_t r = 0; r < report->n; r++) {
        fprintf(file, "<a href=\"#run-%zu\">", r);
        plot_text(file, report->runs[r].run.label);
        fputs("</a>", file);
    }
    fputs("</nav>\n</header>\n<main id=\"main\">\n", file);
}

enum status page_figure(FILE *file, const struct report *report, enum figure figure, size_t run)
{
    bool is_there;
    TRY(figure_draw(NULL, report, figure, run, false, &is_there));
    if (!is_there)
        return STATUS_OK;
    bool is_fixed = figure == FIGURE_CONFUSION || figure == FIGURE_RELIABILITY;
    fprintf(file, "<figure%s><figcaption>", is_fixed ? " class=\"fixed\"" : "");
    plot_text(file, figure_title(report, figure));
    fputs("</figcaption>\n", file);
    TRY(figure_draw(file, report, figure, run, false, &is_there));
    fputs("</figure>\n", file);
    return STATUS_OK;
}

static void number_cell(FILE *file, double value, bool is_percent)
{
    if (!isfinite(value))
        fputs("<td>–</td>", file);
    else if (is_percent)
        fprintf(file, "<td>%.2f %%</td>", 100 * value);
    else
        fprintf(file, "<td>%.4f</td>", value);
}

static void summary_row(FILE *file, const struct report_run *r, const char *metric, bool is_percent)
{
    double epoch, best_epoch, seconds = run_last(&r->run, "seconds");
    char key[64];
    snprintf(key, sizeof key, "test_%s", metric);
    double best = run_extreme(&r->run, key, true, &best_epoch);
    run_extreme(&r->run, "epoch", true, &epoch);
    fputs("<tr><th scope=\"row\">", file);
    plot_text(file, r->run.label);
    fputs("</th>", file);
    if (isfinite(epoch))
        fprintf(file, "<td>%.0f</td>", epoch);
    else
        fputs("<td>–</td>", file);
    number_cell(file, run_last(&r->run, "train_loss"), false);
    number_cell(file, run_last(&r->run, "test_loss"), false);
    number_cell(file, run_last(&r->run, key), is_percent);
    number_cell(file, best, is_percent);
    if (isfinite(best))
        fprintf(file, "<td>%.0f</td>", best_epoch);
    else
        fputs("<td>–</td>", file);
    if (seconds < 180)
        fprintf(file, "<td>%.1f s</td>", seconds);
    else if (isfinite(seconds))
        fprintf(file, "<td>%.1f min</td>", seconds / 60);
    else
        fputs("<td>–</td>", file);
    fprintf(file, "<td class=\"text\"><code>%s</code></td></tr>\n",
            r->run.digest[0] ? r->run.digest : "–");
}

static void summary_write(FILE *file, const struct report *report)
{
    bool is_percent;
    const char *metric = report_metric(report, &is_percent);
    fputs("<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">Summary</h2>\n<div "
          "class=\"wide\"><table><caption>After the last epoch of each run</caption><thead><tr><th "
          "scope=\"col\">run</th><th scope=\"col\">epochs</th><th scope=\"col\">training loss</th>"
          "<th scope=\"col\">test loss</th><th scope=\"col\">test ",
          file);
    plot_text(file, metric);
    fputs("</th><th scope=\"col\">best</th><th scope=\"col\">in epoch</th><th scope=\"col\">time"
          "</th><th scope=\"col\" class=\"text\">digest of the weights</th></tr></thead><tbody>\n",
          file);
    for (size_t r = 0; r < report->n; r++)
        summary_row(file, &report->runs[r], metric, is_percent);
    fputs("</tbody></table></div>\n", file);
    if (report->n > 1)
        fputs(
            "<p class=\"note\">Runs with the same digest have the same weights, bit for bit.</p>\n",
            file);
    fputs("</section>\n", file);
}

// The records behind the curves, for readers who cannot see them.
static void numbers_write(FILE *file, const struct run *run)
{
    fputs("<details><summary>Numbers of ", file);
    plot_text(file, run->label);
    fputs("</summary><div class=\"wide\"><table><caption>A row an epoch</caption><thead><tr>",
          file);
    for (size_t k = 0; k < run->n_keys; k++) {
        fputs("<th scope=\"col\">", file);
        plot_text(file, run->key[k]);
        fputs("</th>", file);
    }
    fputs("</tr></thead><tbody>\n", file);
    for (size_t i = 0; i < run->n; i++) {
        if (!run->is_epoch[i])
            continue;
        fputs("<tr>", file);
        for (size_t k = 0; k < run->n_keys; k++)
            if (isfinite(run->column[k][i]))
                fprintf(file, "<td>%.6g</td>", run->column[k][i]);
            else
                fputs("<td>–</td>", file);
        fputs("</tr>\n", file);
    }
    fputs("</tbody></table></div></details>\n", file);
}

static enum status curves_write(FILE *file, const struct report *report)
{
    fputs("<section aria-labelledby=\"curves\">\n<h2 id=\"curves\">Curves</h2>\n"
          "<div class=\"grid2\">\n",
          file);
    for (enum figure f = 0; !figure_is_of_run(f); f++)
        TRY(page_figure(file, report, f, 0));
    fputs("</div>\n", file);
    for (size_t r = 0; r < report->n; r++)
        if (report->runs[r].run.n > 0)
            numbers_write(file, &report->runs[r].run);
    fputs("</section>\n", file);
    return STATUS_OK;
}

enum status page_write(FILE *file, struct report *report)
{
    head_write(file, report);
    summary_write(file, report);
    TRY(curves_write(file, report));
    for (size_t r = 0; r < report->n; r++)
        TRY(page_run_write(file, report, r));
    fprintf(file,
            "</main>\n<footer><p>This page holds all it shows; it asks no network.</p></footer>\n"
            "<script>\n%s</script>\n</body>\n</html>\n",
            report_js);
    return STATUS_OK;
}
