// SPDX-License-Identifier: MIT
#include "trainer/data_info.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "data/dataset.h"
#include "data/h5.h"
#include "trainer/text_file.h"

enum { DEPTH_MAX = 8, SHOWN_MAX = 12 };

struct level {
    struct h5 *file;
    const char *group; // "" at the root
    int depth;
};

static void show_set(struct h5 *file, const char *path, const char *name, int depth)
{
    struct h5_info info;
    char dims[256] = "", stored[128] = "contiguous";
    if (h5_info(file, path, &info) != STATUS_OK) {
        log_line("%*s%-10s (%s)", 2 * depth, "", name, error_text());
        return;
    }
    for (int i = 0; i < info.rank; i++)
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%" PRIu64, i ? " x " : "",
                 info.dim[i]);
    if (info.rank > 0 && info.chunk[0] > 0)
        snprintf(stored, sizeof stored, "chunks of %" PRIu64 " rows%s", info.chunk[0],
                 info.is_compressed ? ", compressed" : "");
    log_line("%*s%-10s %s %s, %s, %.1f MB", 2 * depth, "", name, h5_type_name(info.type), dims,
             stored, (double)info.stored_bytes / 1e6);
}

static void show_text(struct h5 *file, const char *group, const char *name, int depth)
{
    char *text = NULL;
    if (h5_attr_exists(file, group, name) &&
        h5_attr_read_text(file, group, name, &text) == STATUS_OK)
        log_line("%*s%-10s %s", 2 * depth, "", name, text);
    free(text);
}

static void show_numbers(struct h5 *file, const char *group, const char *name, int depth)
{
    size_t n = 0;
    char line[512] = "";
    double *values = NULL;
    if (!h5_attr_exists(file, group, name) || h5_attr_count(file, group, name, &n) != STATUS_OK ||
        n == 0 || n > 1 << 20)
        return;
    values = calloc(n, sizeof *values);
    if (values && h5_attr_read(file, group, name, H5_F64, n, values) == STATUS_OK) {
        for (size_t i = 0; i < n && i < SHOWN_MAX; i++)
            snprintf(line + strlen(line), sizeof line - strlen(line), "%s%.6g", i ? " " : "",
                     values[i]);
        log_line("%*s%-10s %s%s", 2 * depth, "", name, line, n > SHOWN_MAX ? " ..." : "");
    }
    free(values);
}

static void show_classes(struct h5 *file, const char *group, int depth)
{
    size_t n = 0;
    char line[512] = "", **texts = NULL;
    if (!h5_attr_exists(file, group, "classes") ||
        h5_attr_read_texts(file, group, "classes", &n, &texts) != STATUS_OK)
        return;
    for (size_t i = 0; i < n && i < SHOWN_MAX && strlen(line) < sizeof line - 64; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "%s%.40s", i ? ", " : "",
                 texts[i]);
    log_line("%*s%-10s %zu: %s%s", 2 * depth, "", "classes", n, line, n > SHOWN_MAX ? ", ..." : "");
    h5_texts_free(n, texts);
}

static enum status show_child(void *context, const char *name, bool is_dataset)
{
    const struct level *level = context;
    char path[1024];
    if (snprintf(path, sizeof path, "%s/%s", level->group, name) >= (int)sizeof path)
        return STATUS_OK;
    if (is_dataset) {
        show_set(level->file, path, name, level->depth);
        return STATUS_OK;
    }
    log_line("%*s%s", 2 * level->depth, "", path);
    struct level below = {level->file, path, level->depth + 1};
    show_classes(level->file, path, below.depth);
    show_numbers(level->file, path, "mean", below.depth);
    show_numbers(level->file, path, "std", below.depth);
    show_text(level->file, path, "source", below.depth);
    show_text(level->file, path, "licence", below.depth);
    show_text(level->file, path, "digest", below.depth);
    return below.depth < DEPTH_MAX ? h5_list(level->file, path, show_child, &below) : STATUS_OK;
}

// What sw2-train would make of the file.
static void show_side(const char *path, enum dataset_side side)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    const char *name = side == DATASET_TRAIN ? "training" : "test";
    if (dataset_open(&dataset, path, side, &config) != STATUS_OK) {
        log_line("as %s data: none: %s", name, error_text());
        return;
    }
    char *text = dataset_describe(dataset);
    for (char *at = text; at && *at;) {
        size_t n = strcspn(at, "\n");
        log_line("%s%s%s%.*s", at == text ? "as " : "  ", at == text ? name : "",
                 at == text ? " data: " : "", (int)n, at);
        at += n + (at[n] == '\n');
    }
    free(text);
    dataset_close(dataset);
}

enum status data_info(const char *path)
{
    struct h5 *file = NULL;
    TRY(h5_open(&file, path));
    log_line("%s", path);
    struct level level = {file, "", 1};
    enum status status = h5_list(file, "/", show_child, &level);
    h5_close(file);
    TRY(status);
    show_side(path, DATASET_TRAIN);
    show_side(path, DATASET_TEST);
    return STATUS_OK;
}

static void json_numbers(const char *name, const double *v, size_t n)
{
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < n; i++)
        printf("%s%.17g", i ? ", " : "", v[i]);
    printf("]");
}

static void json_side(const char *path, enum dataset_side side)
{
    struct data_config config = dataset_defaults();
    struct dataset *dataset = NULL;
    printf(", \"%s\": ", side == DATASET_TRAIN ? "train" : "test");
    if (dataset_open(&dataset, path, side, &config) != STATUS_OK) {
        printf("null");
        return;
    }
    struct sample_shape shape = dataset_shape(dataset);
    struct target_shape target = dataset_target(dataset);
    printf("{\"path\": ");
    json_text(stdout, dataset_path(dataset));
    printf(", \"rows\": %" PRIu64 ", \"shape\": [%zu, %zu, %zu], \"input\": \"%s\"",
           dataset_rows(dataset), shape.h, shape.w, shape.c,
           dataset_is_u8(dataset) ? "uint8" : "float32");
    printf(", \"target\": \"%s\", \"target_count\": %zu, \"n_classes\": %zu",
           target.type == TARGET_CLASS ? "class" : "float", target.count, target.n_classes);
    size_t n = 0;
    char *const *names = dataset_classes(dataset, &n);
    for (size_t i = 0; names && i < n; i++) {
        printf("%s", i ? ", " : ", \"classes\": [");
        json_text(stdout, names[i]);
    }
    printf("%s", names && n ? "]" : "");
    json_numbers("mean", dataset_mean(dataset), shape.c);
    json_numbers("std", dataset_std(dataset), shape.c);
    printf(", \"fingerprint\": \"%s\"}", dataset_fingerprint(dataset));
    dataset_close(dataset);
}

enum status data_info_json(const char *path)
{
    struct h5 *file = NULL;
    TRY(h5_open(&file, path));
    h5_close(file);
    printf("{\"file\": ");
    json_text(stdout, path);
    json_side(path, DATASET_TRAIN);
    json_side(path, DATASET_TEST);
    printf("}\n");
    fflush(stdout);
    return STATUS_OK;
}
