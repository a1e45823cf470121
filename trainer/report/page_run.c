// SPDX-License-Identifier: MIT
// What the page says of one run: its network's verdicts, the network, the recipe, the machine.
#include <math.h>
#include <string.h>

#include "trainer/report/page_private.h"

static void tile(FILE *file, const char *value, const char *what)
{
    fputs("<li><b>", file);
    plot_text(file, value);
    fputs("</b><span>", file);
    plot_text(file, what);
    fputs("</span></li>\n", file);
}

static void count_text(double n, char text[32])
{
    if (n >= 1e6)
        snprintf(text, 32, "%.2f M", n * 1e-6);
    else if (n >= 1e4)
        snprintf(text, 32, "%.1f k", n * 1e-3);
    else
        snprintf(text, 32, "%.0f", n);
}

static void tiles_write(FILE *file, const struct exam *e)
{
    const struct loss_ops *ops = model_loss(e->trained.model)->ops;
    char text[32], what[96];
    fputs("<ul class=\"tiles\">\n", file);
    for (int i = 0; i < ops->n_metrics; i++) { // the second, by which networks are judged, first
        int m = ops->n_metrics > 1 && i < 2 ? 1 - i : i;
        snprintf(text, sizeof text, ops->metrics[m].is_percent ? "%.2f %%" : "%.4f",
                 e->mean[m] * (ops->metrics[m].is_percent ? 100 : 1));
        snprintf(what, sizeof what, "test %s", ops->metrics[m].name);
        tile(file, text, what);
    }
    if (e->is_classes) {
        snprintf(text, sizeof text, "%.2f %%", 100 * e->ece);
        tile(file, text, "expected calibration error");
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)e->n);
    tile(file, text, "test samples");
    count_text((double)model_n_trained(e->trained.model), text);
    tile(file, text, "trained parameters");
    count_text(model_flops(e->trained.model) * 0.5, text);
    tile(file, text, "multiply-adds a sample");
    fputs("</ul>\n", file);
}

static void class_row(FILE *file, const struct exam *e, size_t k)
{
    size_t n = e->trained.n_classes, worst = k;
    uint64_t truth = 0, predicted = 0, right = e->confusion[k * n + k], most = 0;
    for (size_t i = 0; i < n; i++) {
        truth += e->confusion[k * n + i];
        predicted += e->confusion[i * n + k];
        if (i != k && e->confusion[k * n + i] > most) {
            most = e->confusion[k * n + i];
            worst = i;
        }
    }
    double recall = truth > 0 ? (double)right / (double)truth : NAN;
    double precision = predicted > 0 ? (double)right / (double)predicted : NAN;
    double f1 = precision + recall > 0 ? 2 * precision * recall / (precision + recall) : NAN;
    const double values[] = {precision, recall, f1};
    fputs("<tr><th scope=\"row\">", file);
    plot_text(file, e->trained.classes[k]);
    fprintf(file, "</th><td>%llu</td>", (unsigned long long)truth);
    for (size_t i = 0; i < 3; i++)
        if (isfinite(values[i]))
            fprintf(file, "<td>%.2f %%</td>", 100 * values[i]);
        else
            fputs("<td>–</td>", file);
    fputs("<td class=\"text\">", file);
    if (most > 0) {
        plot_text(file, e->trained.classes[worst]);
        fprintf(file, " (%llu)", (unsigned long long)most);
    }
    fputs("</td></tr>\n", file);
}

static void classes_write(FILE *file, const struct exam *e)
{
    fputs("<h3>Classes</h3>\n<div class=\"wide\"><table><caption>Precision: share of the samples "
          "given this class that are of it. Recall: share of its samples that were found."
          "</caption><thead><tr><th scope=\"col\">class</th><th scope=\"col\">samples</th><th "
          "scope=\"col\">precision</th><th scope=\"col\">recall</th><th scope=\"col\">F1</th><th "
          "scope=\"col\" class=\"text\">most often taken for</th></tr></thead><tbody>\n",
          file);
    for (size_t k = 0; k < e->trained.n_classes; k++)
        class_row(file, e, k);
    fputs("</tbody></table></div>\n", file);
}

static enum status verdict_write(FILE *file, struct report *report, size_t r)
{
    struct report_run *run = &report->runs[r];
    struct exam *e = &run->exam;
    fputs("<p class=\"note\">Weights of ", file);
    plot_text(file, checkpoint_path(e->trained.checkpoint));
    fputs(", tested on ", file);
    plot_text(file, dataset_path(e->dataset));
    fputs(".", file);
    if (e->fallback) {
        fputs(" ", file);
        plot_text(file, e->fallback);
    }
    fputs("</p>\n", file);
    tiles_write(file, e);
    if (!e->is_classes)
        return STATUS_OK;
    fputs("<div class=\"grid2\">\n", file);
    TRY(page_figure(file, report, FIGURE_CONFUSION, r));
    TRY(page_figure(file, report, FIGURE_RELIABILITY, r));
    fprintf(file,
            "</div>\n<p class=\"note\">Calibration: on average confidence and accuracy are %.2f %% "
            "apart (ECE, %d bins), at most %.2f %% (MCE).</p>\n",
            100 * e->ece, EXAM_BINS, 100 * e->mce);
    classes_write(file, e);
    return page_mistakes_write(file, run);
}

// ---- the network

static void layer_row(FILE *file, const struct exam *e, size_t i)
{
    const struct layer *layer = model_layer(e->trained.model, i);
    const struct exam_layer *time = &e->layers[i];
    size_t params = 0;
    for (int p = 0; p < layer->n_params; p++)
        params += layer->param[p].kind == PARAM_WEIGHT || layer->param[p].kind == PARAM_BIAS
                      ? layer->param[p].count
                      : 0;
    fputs("<tr><th scope=\"row\">", file);
    plot_text(file, layer->name);
    fprintf(file, "</th><td class=\"text\">%s</td><td>%zu × %zu × %zu</td><td>%zu</td>",
            layer->ops->name, layer->y.h, layer->y.w, layer->y.c, params);
    fprintf(file, "<td>%.3f</td><td>%.2f</td>", layer->flops * 0.5e-6, 1e6 * time->seconds);
    if (time->flops > 0 && time->seconds > 0)
        fprintf(file, "<td>%.0f</td><td>%.0f %%</td>", time->flops / time->seconds * 1e-9,
                100 * time->flops / time->seconds / e->peak);
    else
        fputs("<td></td><td></td>", file);
    fputs("</tr>\n", file);
}

static enum status network_write(FILE *file, const struct report *report, size_t r)
{
    const struct exam *e = &report->runs[r].exam;
    fputs("<h3>Network</h3>\n<div class=\"wide\"><table><caption>Output: height, width, channels; "
          "the forward pass as measured here by this report on one core. Layers without time of "
          "their own are fused into the one before.</caption><thead><tr><th scope=\"col\">layer"
          "</th><th scope=\"col\" class=\"text\">kind</th><th scope=\"col\">output</th><th "
          "scope=\"col\">parameters</th><th scope=\"col\">M multiply-adds</th><th scope=\"col\">us "
          "a sample</th><th scope=\"col\">GFLOP/s</th><th scope=\"col\">of peak</th></tr></thead>"
          "<tbody>\n",
          file);
    for (size_t i = 0; e->layers && i < model_n_layers(e->trained.model); i++)
        layer_row(file, e, i);
    fprintf(file,
            "</tbody></table></div>\n<p class=\"note\">Peak of one core: %.0f GFLOP/s fp32; "
            "Winograd convolutions and bf16 can be above 100 %%.</p>\n",
            e->peak * 1e-9);
    TRY(page_figure(file, report, FIGURE_LAYERS, r));
    return STATUS_OK;
}

// ---- recipe and machine

static void node_text(FILE *file, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR) {
        plot_text(file, node->text);
        return;
    }
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        node_text(file, child);
        fputs(child->next ? ", " : "", file);
    }
}

static void starts_write(FILE *file, const struct run *run)
{
    const struct yaml_node *list = run->starts ? yaml_find(run->starts->root, "starts") : NULL;
    if (!list || list->kind != YAML_LIST)
        return;
    fputs("<h3>Machine</h3>\n", file);
    size_t number = 1;
    for (const struct yaml_node *start = list->first; start; start = start->next, number++) {
        fprintf(file, "<div class=\"wide\"><table><caption>Start %zu of %zu</caption><tbody>\n",
                number, list->n);
        for (const struct yaml_node *row = start->first; row; row = row->next) {
            fputs("<tr><th scope=\"row\">", file);
            plot_text(file, row->key ? row->key : "");
            fputs("</th><td class=\"text\">", file);
            node_text(file, row);
            fputs("</td></tr>\n", file);
        }
        fputs("</tbody></table></div>\n", file);
    }
}

static void text_write(FILE *file, const char *title, const char *text)
{
    if (!text)
        return;
    fprintf(file, "<h3>%s</h3>\n<pre tabindex=\"0\">", title);
    plot_text(file, text);
    fputs("</pre>\n", file);
}

enum status page_run_write(FILE *file, struct report *report, size_t r)
{
    struct report_run *run = &report->runs[r];
    fprintf(file, "<section aria-labelledby=\"run-%zu\">\n<h2 id=\"run-%zu\">Run ", r, r);
    plot_text(file, run->run.label);
    fputs("</h2>\n", file);
    if (run->has_exam) {
        TRY(verdict_write(file, report, r));
        TRY(page_filters_write(file, run));
        TRY(network_write(file, report, r));
    } else {
        fputs("<p class=\"warn\">The network was not tested: ", file);
        plot_text(file, run->why);
        fputs("</p>\n", file);
    }
    text_write(file, "Profile of the training", run->run.profile);
    text_write(file, "Recipe", run->run.recipe);
    starts_write(file, &run->run);
    fputs("</section>\n", file);
    return STATUS_OK;
}
