// SPDX-License-Identifier: MIT
#include "trainer/report/run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "comm/number.h"

#define TEXT_MAX ((size_t)256 << 20) // bytes of a file of text

// The whole file with a 0 behind it; *text is NULL where there is none.
static enum status text_read(const char *folder, const char *name, char **text, size_t *n)
{
    char path[4096 + 64];
    struct stat info;
    *text = NULL;
    *n = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (stat(path, &info) != 0)
        return STATUS_OK;
    CHECK(S_ISREG(info.st_mode) && (size_t)info.st_size <= TEXT_MAX, STATUS_DATA,
          "'%s' is no file of at most %zu MiB", path, TEXT_MAX >> 20);
    TRY(memory_alloc(text, (size_t)info.st_size + 1, 1, name));
    FILE *file = fopen(path, "r");
    if (file) {
        *n = fread(*text, 1, (size_t)info.st_size, file);
        (*text)[*n] = 0;
        bool is_bad = ferror(file) != 0;
        fclose(file);
        if (!is_bad)
            return STATUS_OK;
    }
    free(*text);
    *text = NULL;
    FAIL(STATUS_ERROR, "cannot read '%s': %s", path, strerror(errno));
}

static size_t lines_count(const char *text, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

static enum status column_of(struct run *run, const char *key, size_t room, double **column)
{
    for (size_t k = 0; k < run->n_keys; k++)
        if (strcmp(run->key[k], key) == 0) {
            *column = run->column[k];
            return STATUS_OK;
        }
    CHECK(run->n_keys < RUN_KEYS_MAX, STATUS_DATA, "'%s/metrics.jsonl' has more than %d columns",
          run->folder, RUN_KEYS_MAX);
    TRY(memory_alloc(&run->column[run->n_keys], room, sizeof **column, "metrics of a run"));
    TRY(memory_alloc(&run->key[run->n_keys], strlen(key) + 1, 1, "metrics of a run"));
    strcpy(run->key[run->n_keys], key);
    *column = run->column[run->n_keys++];
    for (size_t i = 0; i < room; i++)
        (*column)[i] = NAN;
    return STATUS_OK;
}

static enum status record_read(struct run *run, const struct yaml_node *map, size_t room)
{
    const struct yaml_node *type = yaml_find(map, "type"), *digest = yaml_find(map, "digest");
    run->is_epoch[run->n] = type && type->kind == YAML_SCALAR && strcmp(type->text, "epoch") == 0;
    if (digest && digest->kind == YAML_SCALAR)
        snprintf(run->digest, sizeof run->digest, "%s", digest->text);
    for (const struct yaml_node *child = map->first; child; child = child->next) {
        double value, *column = NULL;
        const char *problem;
        if (child->kind != YAML_SCALAR || !child->key ||
            !number_double(child->text, &value, &problem))
            continue; // texts, and null for what was not finite
        TRY(column_of(run, child->key, room, &column));
        column[run->n] = value;
    }
    run->n++;
    return STATUS_OK;
}

// JSON lines are read as the YAML that they are.
static enum status metrics_read(struct run *run)
{
    char *text, name[4096 + 64];
    size_t bytes;
    TRY(text_read(run->folder, "metrics.jsonl", &text, &bytes));
    if (!text)
        return STATUS_OK;
    size_t room = lines_count(text, bytes), line = 0;
    enum status status = memory_alloc(&run->is_epoch, room + 1, sizeof(bool), "metrics of a run");
    snprintf(name, sizeof name, "%s/metrics.jsonl", run->folder);
    for (char *at = text, *end; status == STATUS_OK && (end = strchr(at, '\n')); at = end + 1) {
        struct yaml *yaml = NULL;
        line++;
        if (end == at)
            continue;
        status = yaml_parse(&yaml, name, at, (size_t)(end - at));
        if (status == STATUS_OK)
            status = record_read(run, yaml->root, room);
        yaml_free(yaml);
        if (status == STATUS_USAGE)
            status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s:%zu is no record of a run",
                               name, line);
    }
    free(text);
    return status;
}

// A line a process: as a list of one document.
static enum status starts_read(struct run *run)
{
    char *text, *list;
    size_t bytes;
    TRY(text_read(run->folder, "starts.jsonl", &text, &bytes));
    if (!text)
        return STATUS_OK;
    size_t lines = lines_count(text, bytes), used;
    enum status status = memory_alloc(&list, bytes + 3 * lines + 16, 1, "starts of a run");
    if (status == STATUS_OK && lines > 0) {
        used = (size_t)sprintf(list, "starts:\n");
        for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1)
            used += (size_t)sprintf(list + used, "- %.*s\n", (int)(end - at), at);
        status = yaml_parse(&run->starts, "starts.jsonl", list, used);
        if (status == STATUS_USAGE)
            status = error_set(STATUS_DATA, __FILE__, __LINE__,
                               "'%s/starts.jsonl' is no list of starts", run->folder);
    }
    if (status == STATUS_OK || lines > 0)
        free(list);
    free(text);
    return status;
}

static enum status checkpoint_find(struct run *run)
{
    char path[4096 + 64];
    struct stat info;
    static const char *const places[] = {"checkpoints/best.h5", "checkpoints"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s/%s", run->folder, places[i]);
        if (stat(path, &info) != 0)
            continue;
        run->checkpoint = strdup(path);
        CHECK(run->checkpoint, STATUS_ERROR, "out of memory: '%s'", path);
        return STATUS_OK;
    }
    return STATUS_OK;
}

// The last part of the folder's name.
static enum status label_make(struct run *run)
{
    size_t n = strlen(run->folder);
    while (n > 1 && run->folder[n - 1] == '/')
        n--;
    size_t first = n;
    while (first > 0 && run->folder[first - 1] != '/')
        first--;
    run->label = strndup(run->folder + first, n - first);
    CHECK(run->label, STATUS_ERROR, "out of memory: name of '%s'", run->folder);
    return STATUS_OK;
}

enum status run_open(struct run *run, const char *folder)
{
    struct stat info;
    size_t n;
    *run = (struct run){.folder = folder};
    CHECK(strlen(folder) < 4000 && stat(folder, &info) == 0, STATUS_USAGE,
          "no folder '%.200s': expected the folder of a run, as sw2-train --out made it", folder);
    CHECK(S_ISDIR(info.st_mode), STATUS_USAGE,
          "'%s' is no folder: expected the folder of a run, not a file in it", folder);
    TRY(label_make(run));
    TRY(metrics_read(run));
    TRY(text_read(folder, "recipe.yaml", &run->recipe, &n));
    TRY(text_read(folder, "profile.txt", &run->profile, &n));
    TRY(starts_read(run));
    TRY(checkpoint_find(run));
    CHECK(run->n > 0 || run->checkpoint, STATUS_USAGE,
          "'%s' is no folder of a run: neither metrics.jsonl nor checkpoints/ are in it", folder);
    return STATUS_OK;
}

void run_close(struct run *run)
{
    for (size_t k = 0; k < RUN_KEYS_MAX; k++) {
        free(run->key[k]);
        free(run->column[k]);
    }
    yaml_free(run->starts);
    free(run->is_epoch);
    free(run->label);
    free(run->recipe);
    free(run->profile);
    free(run->checkpoint);
    *run = (struct run){0};
}

const double *run_column(const struct run *run, const char *key)
{
    for (size_t k = 0; k < run->n_keys; k++)
        if (strcmp(run->key[k], key) == 0)
            return run->column[k];
    return NULL;
}

double run_last(const struct run *run, const char *key)
{
    const double *column = run_column(run, key);
    for (size_t i = run->n; column && i-- > 0;)
        if (run->is_epoch[i] && isfinite(column[i]))
            return column[i];
    return NAN;
}

double run_extreme(const struct run *run, const char *key, bool is_largest, double *epoch)
{
    const double *column = run_column(run, key), *epochs = run_column(run, "epoch");
    double best = NAN;
    *epoch = NAN;
    for (size_t i = 0; column && i < run->n; i++) {
        if (!run->is_epoch[i] || !isfinite(column[i]))
            continue;
        if (isnan(best) || (is_largest ? column[i] > best : column[i] < best)) {
            best = column[i];
            *epoch = epochs ? epochs[i] : NAN;
        }
    }
    return best;
}
