// SPDX-License-Identifier: MIT
// Pictures in the page: samples and filters, as PNG inside the text.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/image.h"
#include "trainer/explain_render.h"
#include "trainer/report/page_private.h"

#define FILTERS_MAX 256

static void base64_write(FILE *file, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned word = (unsigned)bytes[i] << 16;
        word |= i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0;
        word |= i + 2 < n ? (unsigned)bytes[i + 2] : 0;
        fputc(digits[word >> 18], file);
        fputc(digits[word >> 12 & 63], file);
        fputc(i + 1 < n ? digits[word >> 6 & 63] : '=', file);
        fputc(i + 2 < n ? digits[word & 63] : '=', file);
    }
}

static enum status image_put(FILE *file, const struct image *image, const char *what)
{
    uint8_t *bytes;
    size_t n;
    TRY(image_png_encode(image, &bytes, &n));
    fprintf(file, "<img width=\"%zu\" height=\"%zu\" alt=\"", image->w, image->h);
    plot_text(file, what);
    fputs("\" src=\"data:image/png;base64,", file);
    base64_write(file, bytes, n);
    fputs("\">", file);
    free(bytes);
    return STATUS_OK;
}

// ---- samples

// The sample, and beside it where the network looked.
struct pictures {
    struct exam *exam;
    void *raw;
    struct image sample, overlay; // (h, w, 3)
};

static void pictures_close(struct pictures *p)
{
    free(p->raw);
    image_free(&p->sample);
    image_free(&p->overlay);
}

static enum status pictures_open(struct pictures *p, struct exam *e)
{
    struct sample_shape in = e->trained.input;
    *p = (struct pictures){.exam = e};
    TRY(memory_alloc(&p->raw, 1, dataset_row_bytes(e->dataset), "a sample"));
    TRY(image_size(&p->sample, "sample", in.h, in.w, 3));
    return image_size(&p->overlay, "explanation", in.h, in.w, 3);
}

static void overlay_draw(struct pictures *p, const float *map)
{
    struct sample_shape in = p->exam->trained.input;
    struct render_style style = {.colours = RENDER_VIRIDIS, .opacity = 0.7f};
    float range = render_range(map, in.h * in.w, 0.99);
    render_overlay(&style, false, map, range, p->sample.pixels, in.h, in.w, p->overlay.pixels);
}

static enum status mistake_put(FILE *file, struct pictures *p, size_t i)
{
    struct exam *e = p->exam;
    struct sample_shape in = e->trained.input;
    const struct exam_mistake *one = &e->mistake[i];
    const char *truth = e->trained.classes[one->truth];
    const char *predicted = e->trained.classes[one->predicted];
    char what[256];
    TRY(exam_read(e, one->row, p->raw));
    render_sample(p->raw, dataset_is_u8(e->dataset), in.h, in.w, in.c, p->sample.pixels);
    snprintf(what, sizeof what, "test sample %llu: %.80s, taken for %.80s",
             (unsigned long long)one->row, truth, predicted);
    fprintf(file, "<li><div%s>", e->maps ? " class=\"pair\"" : "");
    TRY(image_put(file, &p->sample, what));
    if (e->maps) {
        overlay_draw(p, e->maps + i * in.h * in.w);
        snprintf(what, sizeof what, "where the network saw %.80s in it", predicted);
        TRY(image_put(file, &p->overlay, what));
    }
    fputs("</div><div><b>", file);
    plot_text(file, truth);
    fprintf(file, "</b> (%.1f %%) taken for <b>", 100 * one->truth_probability);
    plot_text(file, predicted);
    fprintf(file, "</b> (%.1f %%)<br><span class=\"note\">row %llu, loss %.2f</span></div></li>\n",
            100 * one->predicted_probability, (unsigned long long)one->row, one->loss);
    return STATUS_OK;
}

enum status page_mistakes_write(FILE *file, struct report_run *run)
{
    struct exam *e = &run->exam;
    struct pictures pictures;
    if (e->n_mistakes == 0) {
        fputs("<p class=\"note\">There was no mistake.</p>\n", file);
        return STATUS_OK;
    }
    fprintf(file,
            "<h3>Worst mistakes</h3>\n<p class=\"note\">The %zu with the largest loss, that is, "
            "where the network was surest of something else.%s</p>\n<ul class=\"pictures\">\n",
            e->n_mistakes,
            e->maps ? " Beside each, where it saw that (Grad-CAM; yellow: most)." : "");
    enum status status = pictures_open(&pictures, e);
    for (size_t i = 0; status == STATUS_OK && i < e->n_mistakes; i++)
        status = mistake_put(file, &pictures, i);
    fputs("</ul>\n", file);
    pictures_close(&pictures);
    return status;
}

// ---- filters

// The first layer on 1 or 3 channels with weights (R, S, C, K) of more than one tap; NULL: none.
static const struct param *filters_find(const struct model *model, const struct layer **layer)
{
    for (size_t i = 0; i < model_n_layers(model); i++) {
        *layer = model_layer(model, i);
        for (int p = 0; p < (*layer)->n_params; p++) {
            const struct param *param = &(*layer)->param[p];
            if (param->rank == 4 && param->dim[0] * param->dim[1] > 1)
                return param->dim[2] == 1 || param->dim[2] == 3 ? param : NULL;
        }
    }
    return NULL;
}

// A grid of filters with a line of grey between; each stretched so that 0 is middle grey.
static void filters_draw(const struct param *param, const float *w, size_t columns, size_t shown,
                         struct image *image)
{
    size_t r_n = param->dim[0], s_n = param->dim[1], c_n = param->dim[2], k_n = param->dim[3];
    memset(image->pixels, 128, image->h * image->w * image->c);
    for (size_t k = 0; k < shown; k++) {
        size_t top = k / columns * (r_n + 1), left = k % columns * (s_n + 1);
        float most = 0;
        for (size_t i = 0; i < r_n * s_n * c_n; i++)
            most = fmaxf(most, fabsf(w[i * k_n + k]));
        for (size_t r = 0; r < r_n; r++)
            for (size_t s = 0; s < s_n; s++)
                for (size_t c = 0; c < c_n; c++) {
                    float value = w[((r * s_n + s) * c_n + c) * k_n + k];
                    float shade = 127.5f + (most > 0 ? 127.5f * value / most : 0);
                    image->pixels[((top + r) * image->w + left + s) * c_n + c] = (uint8_t)shade;
                }
    }
}

enum status page_filters_write(FILE *file, struct report_run *run)
{
    const struct exam *e = &run->exam;
    const struct layer *layer;
    const struct param *param = filters_find(e->trained.model, &layer);
    struct image image = {0};
    char what[160];
    if (!param)
        return STATUS_OK;
    size_t k = param->dim[3], shown = k < FILTERS_MAX ? k : FILTERS_MAX;
    size_t columns = shown < 16 ? shown : 16, rows = (shown + columns - 1) / columns;
    TRY(image_size(&image, "filters", rows * (param->dim[0] + 1) - 1,
                   columns * (param->dim[1] + 1) - 1, param->dim[2]));
    filters_draw(param, e->trained.params + param->offset, columns, shown, &image);
    snprintf(what, sizeof what, "%zu of %zu filters of layer %s, %zu x %zu", shown, k, layer->name,
             param->dim[0], param->dim[1]);
    fputs("<h3>Filters of the first convolution</h3>\n<figure class=\"fixed\" "
          "style=\"max-width:640px\"><figcaption>",
          file);
    plot_text(file, what);
    fputs("; middle grey is zero</figcaption>", file);
    enum status status = image_put(file, &image, what);
    fputs("</figure>\n", file);
    image_free(&image);
    return status;
}
