// SPDX-License-Identifier: MIT
#include "trainer/explain_output.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/memory.h"
#include "data/h5.h"
#include "trainer/explain_filters.h"
#include "trainer/explain_job.h"
#include "trainer/explain_sheet.h"
#include "trainer/text_file.h"

enum { PATH_MOST = 4096 };

struct explain_output {
    const struct explain_job *job;
    struct h5 *h5;
    struct h5_set *raw[EXPLAIN_METHODS], *input, *target, *score, *probability;
    float *zeros; // of the largest raw
    struct text_file lines;
    char lines_path[PATH_MOST];
    struct contact_sheet sheet;
    size_t pages, written;
    float *map;             // (h, w)
    uint8_t *sample, *cell; // (h, w, 3)
    struct image image;
    struct explain_summary summary;
};

__attribute__((format(printf, 3, 4))) static enum status
path_of(const struct explain_output *o, char path[PATH_MOST], const char *format, ...)
{
    char name[128];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    int n = snprintf(path, PATH_MOST, "%s/%s", o->job->output.folder, name);
    CHECK(n > 0 && n < PATH_MOST, STATUS_USAGE, "--out: a path of %d characters is too long", n);
    return STATUS_OK;
}

// ---- the folder

// Is this a name that explain_output_add gives? Then it may be removed: it is of an earlier run.
static bool is_ours(const char *name)
{
    static const char *const fixed[] = {"explanations.h5", "explanations.jsonl", "summary.json",
                                        "filters.png"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(name, fixed[i]) == 0)
            return true;
    const char *dot = strrchr(name, '.');
    if (!dot || strcmp(dot, ".png") != 0)
        return false;
    return strncmp(name, "sheet-", 6) == 0 ||
           (strspn(name, "0123456789") >= 6 && name[strspn(name, "0123456789")] == '-');
}

static enum status folder_clear(const char *folder)
{
    DIR *dir = opendir(folder);
    CHECK(dir, STATUS_ERROR, "cannot write to '%s': %s", folder, strerror(errno));
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(dir));)
        if (is_ours(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot remove '%s/%s': %s",
                               folder, entry->d_name, strerror(errno));
    closedir(dir);
    return status;
}

static enum status folder_make(const struct explain_output_config *c)
{
    if (mkdir(c->folder, 0777) == 0)
        return STATUS_OK;
    CHECK(errno == EEXIST, STATUS_ERROR, "cannot make the folder '%s': %s", c->folder,
          strerror(errno));
    CHECK(c->is_forced, STATUS_USAGE,
          "the folder '%s' exists: name another one by --out, or replace what an earlier run left "
          "there by --force",
          c->folder);
    return folder_clear(c->folder);
}

// ---- HDF5

static enum status set_make(struct explain_output *o, const char *name, enum h5_type type,
                            struct shape s, struct h5_set **set)
{
    uint64_t dim[4] = {inputs_count(o->job->inputs), s.h, s.w, s.c};
    int rank = s.h * s.w * s.c == 0 ? 1 : s.c == 1 ? 3 : 4;
    return h5_create_set(o->h5, name, type, rank, dim, set);
}

static enum status attributes_write(struct explain_output *o)
{
    const struct trained *t = o->job->trained;
    const struct explain_config *c = explain_config(o->job->explain);
    const struct layer *layer = explain_layer(o->job->explain);
    const uint64_t numbers[] = {c->steps, c->samples, c->window, c->stride, c->seed};
    TRY(h5_attr_write_text(o->h5, "/", "checkpoint", checkpoint_path(t->checkpoint)));
    TRY(h5_attr_write_text(o->h5, "/", "layer", layer ? layer->name : ""));
    TRY(h5_attr_write(o->h5, "/", "steps_samples_window_stride_seed", H5_U64, 5, numbers));
    TRY(h5_attr_write(o->h5, "/", "noise", H5_F64, 1, &c->noise));
    return h5_attr_write_texts(o->h5, "/", "classes", t->n_classes, t->classes);
}

static enum status sets_make(struct explain_output *o)
{
    const struct explain_job *job = o->job;
    const struct shape none = {0, 0, 0};
    struct shape in = {job->trained->input.h, job->trained->input.w, job->trained->input.c};
    size_t most = in.h * in.w * in.c;
    TRY(set_make(o, "input", job->trained->is_u8 ? H5_U8 : H5_F32, in, &o->input));
    TRY(set_make(o, "class", H5_I32, none, &o->target));
    TRY(set_make(o, "score", H5_F32, none, &o->score));
    TRY(set_make(o, "probability", H5_F32, none, &o->probability));
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        if (!job->wanted[m])
            continue;
        struct shape s = explain_raw_shape(job->explain, (enum explain_method)m);
        TRY(set_make(o, explain_info((enum explain_method)m)->name, H5_F32, s, &o->raw[m]));
        most = s.h * s.w * s.c > most ? s.h * s.w * s.c : most;
    }
    TRY(memory_alloc(&o->zeros, most, sizeof *o->zeros, "an explanation"));
    return attributes_write(o);
}

static enum status rows_write(struct explain_output *o, const struct explain_answer *answer,
                              float *const raw[EXPLAIN_METHODS], const void *row)
{
    const uint64_t i = o->written;
    const int32_t target = answer->is_bad ? -1 : answer->target;
    TRY(h5_set_write(o->input, i, 1, h5_set_info(o->input)->type, answer->is_bad ? o->zeros : row));
    TRY(h5_set_write(o->target, i, 1, H5_I32, &target));
    TRY(h5_set_write(o->score, i, 1, H5_F32, &answer->score));
    TRY(h5_set_write(o->probability, i, 1, H5_F32, &answer->probability));
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        if (o->raw[m])
            TRY(h5_set_write(o->raw[m], i, 1, H5_F32, answer->is_bad ? o->zeros : raw[m]));
    return STATUS_OK;
}

// ---- pictures

static enum status filters_write(struct explain_output *o)
{
    char path[PATH_MOST];
    struct filters filters;
    const struct trained *t = o->job->trained;
    TRY(filters_find(&filters, t->model, t->params));
    enum status status = STATUS_OK;
    if (filters.n > 0) {
        status = path_of(o, path, "filters.png");
        if (status == STATUS_OK)
            status = filters_draw(&filters, t->params, &o->image);
        if (status == STATUS_OK)
            status = image_write_png(path, &o->image);
    }
    filters_free(&filters);
    return status;
}

static enum status overlay_write(struct explain_output *o, size_t h, size_t w, const char *name)
{
    char path[PATH_MOST];
    size_t times = render_times(h, w);
    TRY(path_of(o, path, "%06zu-%s.png", o->written, name));
    TRY(image_size(&o->image, path, h * times, w * times, 3));
    render_put(&o->image, 0, 0, o->cell, h, w, times);
    return image_write_png(path, &o->image);
}

static enum status channels_write(struct explain_output *o, const float *y)
{
    char path[PATH_MOST];
    TRY(path_of(o, path, "%06zu-channels.png", o->written));
    TRY(channels_draw(y, explain_raw_shape(o->job->explain, EXPLAIN_ACTIVATION),
                      o->job->output.style.colours, &o->image));
    return image_write_png(path, &o->image);
}

static enum status method_draw(struct explain_output *o, enum explain_method m, size_t column,
                               const float *raw)
{
    const struct explain_info *info = explain_info(m);
    const struct explain_output_config *c = &o->job->output;
    const struct sample_shape in = o->job->trained->input;
    explain_map(o->job->explain, m, raw, o->map);
    // A few extreme pixels would leave the others pale (Smilkov et al. 2017, section 2).
    bool has_extremes = !info->is_layer && m != EXPLAIN_OCCLUSION;
    float range = render_range(o->map, in.h * in.w, has_extremes ? 0.99 : 1);
    render_overlay(&c->style, info->is_signed, o->map, range, o->sample, in.h, in.w, o->cell);
    sheet_cell(&o->sheet, column, o->cell);
    if (!c->has_overlays)
        return STATUS_OK;
    TRY(overlay_write(o, in.h, in.w, info->name));
    return m == EXPLAIN_ACTIVATION ? channels_write(o, raw) : STATUS_OK;
}

static enum status page_write(struct explain_output *o)
{
    char path[PATH_MOST];
    if (o->sheet.used == 0)
        return STATUS_OK;
    TRY(path_of(o, path, "sheet-%04zu.png", ++o->pages));
    sheet_end(&o->sheet);
    TRY(image_write_png(path, &o->sheet.image));
    sheet_clear(&o->sheet);
    return STATUS_OK;
}

static void caption(const struct explain_output *o, const char *name,
                    const struct explain_answer *answer, char text[512])
{
    const struct trained *t = o->job->trained;
    const char *slash = strrchr(name, '/'), *base = slash && slash[1] ? slash + 1 : name;
    if (answer->is_bad)
        snprintf(text, 512, "%06zu %.200s: not read", o->written, base);
    else if (!t->is_classifier)
        snprintf(text, 512, "%06zu %.200s  output %d: %.4g", o->written, base, answer->target,
                 (double)answer->score);
    else
        snprintf(text, 512, "%06zu %.200s  %.100s %.1f %%%s%.100s", o->written, base,
                 t->classes[answer->target], 100 * (double)answer->probability,
                 answer->target == answer->predicted ? "" : ", predicted: ",
                 answer->target == answer->predicted ? "" : t->classes[answer->predicted]);
}

static enum status pictures_draw(struct explain_output *o, const char *name,
                                 const struct explain_answer *answer,
                                 float *const raw[EXPLAIN_METHODS], const void *row)
{
    char text[512];
    const struct trained *t = o->job->trained;
    caption(o, name, answer, text);
    sheet_caption(&o->sheet, text);
    if (!answer->is_bad) {
        render_sample(row, t->is_u8, t->input.h, t->input.w, t->input.c, o->sample);
        sheet_cell(&o->sheet, 0, o->sample);
        size_t column = 1;
        for (int m = 0; m < EXPLAIN_METHODS; m++)
            if (o->job->wanted[m])
                TRY(method_draw(o, (enum explain_method)m, column++, raw[m]));
    }
    sheet_next(&o->sheet);
    return o->sheet.used == o->sheet.rows ? page_write(o) : STATUS_OK;
}

// ---- life

static enum status begin(struct explain_output *o)
{
    const struct explain_job *job = o->job;
    const struct sample_shape in = job->trained->input;
    const char *titles[EXPLAIN_METHODS];
    char path[PATH_MOST];
    size_t n = 0;
    for (int m = 0; m < EXPLAIN_METHODS; m++)
        if (job->wanted[m])
            titles[n++] = explain_info((enum explain_method)m)->title;
    TRY(memory_alloc(&o->map, in.h * in.w, sizeof *o->map, "map"));
    TRY(memory_alloc(&o->sample, in.h * in.w, 3, "picture"));
    TRY(memory_alloc(&o->cell, in.h * in.w, 3, "picture"));
    size_t count = inputs_count(job->inputs), rows = job->output.rows;
    TRY(sheet_init(&o->sheet, count < rows ? count : rows, n, titles, in.h, in.w));
    TRY(folder_make(&job->output));
    TRY(path_of(o, path, "explanations.h5"));
    TRY(h5_create(&o->h5, path));
    TRY(sets_make(o));
    TRY(path_of(o, o->lines_path, "explanations.jsonl"));
    TRY(text_file_open(&o->lines, o->lines_path));
    return filters_write(o);
}

enum status explain_output_open(struct explain_output **out, const struct explain_job *job)
{
    struct explain_output *o = NULL;
    *out = NULL;
    TRY(memory_alloc(&o, 1, sizeof *o, "output"));
    o->job = job;
    enum status status = begin(o);
    if (status != STATUS_OK)
        explain_output_free(o);
    else
        *out = o;
    return status;
}

enum status explain_output_add(struct explain_output *o, const char *name,
                               const struct explain_answer *answer,
                               float *const raw[EXPLAIN_METHODS], const void *row)
{
    summary_add(&o->summary, o->job, answer);
    answer_json(o->lines.file, o->job, name, o->written, answer);
    TRY(rows_write(o, answer, raw, row));
    TRY(pictures_draw(o, name, answer, raw, row));
    o->written++;
    return STATUS_OK;
}

static void sets_close(struct explain_output *o)
{
    struct h5_set **const sets[] = {&o->input, &o->target, &o->score, &o->probability};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        h5_set_close(*sets[i]);
        *sets[i] = NULL;
    }
    for (int m = 0; m < EXPLAIN_METHODS; m++) {
        h5_set_close(o->raw[m]);
        o->raw[m] = NULL;
    }
}

enum status explain_output_commit(struct explain_output *o)
{
    char path[PATH_MOST];
    const char *json = o->job->output.json;
    TRY(page_write(o));
    sets_close(o);
    struct h5 *h5 = o->h5;
    o->h5 = NULL;
    TRY(h5_commit(h5));
    TRY(text_file_commit(&o->lines));
    TRY(path_of(o, path, "summary.json"));
    TRY(summary_json(&o->summary, o->job, path));
    if (json)
        TRY(summary_json(&o->summary, o->job, json));
    if (!json || strcmp(json, "-") != 0)
        summary_show(&o->summary, o->job);
    return STATUS_OK;
}

void explain_output_free(struct explain_output *o)
{
    if (!o)
        return;
    sets_close(o);
    h5_close(o->h5);
    text_file_discard(&o->lines);
    sheet_free(&o->sheet);
    image_free(&o->image);
    free(o->zeros);
    free(o->map);
    free(o->sample);
    free(o->cell);
    free(o);
}
