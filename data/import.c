// SPDX-License-Identifier: MIT
// Owns: the table of importers, which one reads a source, and the way from paths to import_write.
#include "data/import.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/memory.h"
#include "comm/names.h"
#include "data/import_private.h"

#define IMPORTER(name) extern const struct importer importer_##name;
#include "data/importers.def"
#undef IMPORTER

const struct importer *const importers[] = {
#define IMPORTER(name) &importer_##name,
#include "data/importers.def"
#undef IMPORTER
};
const size_t importers_n = sizeof importers / sizeof *importers;

void import_source_close(struct import_source *source)
{
    if (source->close)
        source->close(source);
    for (size_t i = 0; source->classes && i < source->target.n_classes; i++)
        free(source->classes[i]);
    free(source->classes);
    free(source->labels);
    free(source->note);
    *source = (struct import_source){0};
}

enum status import_note(struct import_source *source, const char *format, ...)
{
    char line[1024], *joined = NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    int n = asprintf(&joined, "%s%s\n", source->note ? source->note : "", line);
    CHECK(n >= 0, STATUS_ERROR, "out of memory: notes");
    free(source->note);
    source->note = joined;
    return STATUS_OK;
}

// Is the name an integer that strtol gives back?
static bool is_integer(const char *name, long long *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(name, &end, 10);
    return end != name && *end == 0 && errno == 0 && name[0] != ' ';
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_value(const void *a, const void *b)
{
    long long x = 0, y = 0;
    is_integer(*(char *const *)a, &x);
    is_integer(*(char *const *)b, &y);
    return x < y ? -1 : x > y ? 1 : by_bytes(a, b);
}

void import_sort_names(char **names, size_t n)
{
    bool are_integers = true;
    long long value = 0;
    for (size_t i = 0; i < n && are_integers; i++)
        are_integers = is_integer(names[i], &value);
    qsort(names, n, sizeof *names, are_integers ? by_value : by_bytes);
}

static enum status find_importer(const char *format, const char *path,
                                 const struct importer **importer)
{
    const char *names[16];
    struct stat info;
    ASSERT(importers_n < 16);
    bool is_auto = !format || strcmp(format, "auto") == 0;
    CHECK(stat(path, &info) == 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    for (size_t i = 0; i < importers_n; i++) {
        names[i] = importers[i]->name;
        if (is_auto ? importers[i]->accepts(path) : strcmp(format, names[i]) == 0) {
            *importer = importers[i];
            return STATUS_OK;
        }
    }
    CHECK(!is_auto, STATUS_DATA,
          "%s: no importer knows this %s (idx, cifar, a folder of pictures for each class, csv);"
          " --format names one",
          path, S_ISDIR(info.st_mode) ? "folder" : "file");
    const char *near = names_nearest(format, names, importers_n);
    FAIL(STATUS_USAGE, "unknown format '%s'%s%s%s", format, near ? ", did you mean '" : "",
         near ? near : "", near ? "'?" : "");
}

// `out` must not be one of the inputs, nor a file of another kind inside a source folder.
static enum status check_out(const char *out, const char *path)
{
    struct stat target, source;
    if (stat(out, &target) != 0 || stat(path, &source) != 0)
        return STATUS_OK;
    CHECK(!S_ISDIR(target.st_mode), STATUS_USAGE, "%s: is a folder, expected a file to write", out);
    CHECK(target.st_dev != source.st_dev || target.st_ino != source.st_ino, STATUS_USAGE,
          "%s: is both input and output", out);
    char *inner = realpath(out, NULL), *outer = realpath(path, NULL);
    size_t n = outer ? strlen(outer) : 0;
    bool is_inside = inner && outer && S_ISDIR(source.st_mode) && strncmp(inner, outer, n) == 0 &&
                     inner[n] == '/';
    free(inner);
    free(outer);
    char head[8] = "";
    FILE *file = is_inside ? fopen(out, "rbe") : NULL;
    size_t got = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    CHECK(!is_inside || (got == 8 && memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0), STATUS_USAGE,
          "%s: is a file of the source folder %s, and not HDF5: not overwritten", out, path);
    return STATUS_OK;
}

// Before anything is read: can the output be written at all?
static enum status check_folder(const char *out)
{
    char folder[4096];
    const char *slash = strrchr(out, '/');
    int n = slash == out ? 1 : slash ? (int)(slash - out) : 1;
    CHECK(n < (int)sizeof folder, STATUS_ERROR, "%s: the path is too long", out);
    snprintf(folder, sizeof folder, "%.*s", n, slash ? out : ".");
    CHECK(access(folder, W_OK | X_OK) == 0, STATUS_ERROR, "cannot write %s: folder %s: %s", out,
          folder, strerror(errno));
    return STATUS_OK;
}

static enum status open_side(const struct importer *importer, const char *const *paths, size_t n,
                             enum import_side side, const struct import_options *options,
                             struct import_source *out)
{
    TRY(importer->open(paths, n, side, options, out));
    if (!out->read || options->resize_h == 0)
        return STATUS_OK;
    return import_resize(out, options->resize_h, options->resize_w, options->is_nearest);
}

struct sources {
    const struct importer *importer;
    struct import_source train, test;
};

static void close_sources(struct sources *sources)
{
    import_source_close(&sources->train);
    import_source_close(&sources->test);
}

static enum status open_test(struct sources *sources, const struct import_config *config,
                             const struct import_options *options)
{
    struct import_source *test = &sources->test;
    const struct importer *importer = sources->importer;
    if (!config->test)
        return open_side(importer, config->paths, config->n_paths, IMPORT_TEST, options, test);
    TRY(open_side(importer, &config->test, 1, IMPORT_TEST, options, test));
    if (test->read)
        return STATUS_OK;
    import_source_close(test);
    return open_side(importer, &config->test, 1, IMPORT_TRAIN, options, test);
}

static enum status open_sources(struct sources *sources, const struct import_config *config)
{
    struct import_options options = config->options;
    TRY(find_importer(config->format, config->paths[0], &sources->importer));
    for (int again = 0; again < 2; again++) {
        TRY(open_side(sources->importer, config->paths, config->n_paths, IMPORT_TRAIN, &options,
                      &sources->train));
        TRY(open_test(sources, config, &options));
        if (!sources->test.read || sources->test.shape.c == sources->train.shape.c || again)
            break;
        // One part has colour, the other not (folders): colour for both.
        if (sources->importer != &importer_folder)
            break;
        options.channels = 3;
        close_sources(sources);
    }
    if (!sources->test.read)
        return STATUS_OK;
    CHECK(config->split == 0, STATUS_USAGE, "%s has a test part: leave --split out",
          config->test ? config->test : config->paths[0]);
    return import_match(&sources->train, &sources->test);
}

// --classes: names instead of those found; there may be more of them than labels seen.
static enum status set_classes(struct import_source *train, const char *names)
{
    size_t n = 1;
    char **list = NULL;
    CHECK(train->labels, STATUS_USAGE, "--classes: the targets are numbers, not classes");
    for (const char *c = names; *c; c++)
        n += *c == ',';
    CHECK(n >= train->target.n_classes, STATUS_USAGE, "--classes: %zu names for %zu classes", n,
          train->target.n_classes);
    TRY(memory_alloc(&list, n, sizeof *list, "class names"));
    for (size_t i = 0; train->classes && i < train->target.n_classes; i++)
        free(train->classes[i]);
    free(train->classes);
    train->classes = list;
    train->target.n_classes = n;
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(names, ",");
        CHECK(length > 0, STATUS_USAGE, "--classes: name %zu is empty", i + 1);
        list[i] = strndup(names, length);
        CHECK(list[i], STATUS_ERROR, "out of memory: class names");
        names += length + 1;
    }
    return STATUS_OK;
}

// The attribute "source" where none is given.
static enum status join_paths(const struct import_config *config, char **text)
{
    *text = strdup(config->paths[0]);
    for (size_t i = 1; i <= config->n_paths && *text; i++) {
        const char *path = i < config->n_paths ? config->paths[i] : config->test;
        char *longer = NULL;
        if (path && asprintf(&longer, "%s %s", *text, path) < 0)
            longer = NULL;
        if (!path)
            continue;
        free(*text);
        *text = longer;
    }
    CHECK(*text, STATUS_ERROR, "out of memory: source");
    return STATUS_OK;
}

static enum status run(struct sources *sources, const struct import_config *config,
                       struct import_report *report)
{
    TRY(open_sources(sources, config));
    report->format = sources->importer->name;
    if (config->classes)
        TRY(set_classes(&sources->train, config->classes));
    struct import_config full = *config;
    char *source = NULL;
    TRY(join_paths(config, &source));
    if (!full.source)
        full.source = source;
    enum status status =
        import_write(&sources->train, sources->test.read ? &sources->test : NULL, &full, report);
    free(source);
    report->note = sources->train.note;
    sources->train.note = NULL;
    return status;
}

enum status import_run(const struct import_config *config, struct import_report *report)
{
    struct sources sources = {0};
    *report = (struct import_report){0};
    ASSERT(config->n_paths > 0);
    for (size_t i = 0; i < config->n_paths; i++)
        TRY(check_out(config->out, config->paths[i]));
    if (config->test)
        TRY(check_out(config->out, config->test));
    TRY(check_folder(config->out));
    enum status status = run(&sources, config, report);
    close_sources(&sources);
    return status;
}
