// SPDX-License-Identifier: MIT
// Owns: the first pass over a CSV file: header or not, which column is the target, whether it
// holds classes or numbers, the classes' names. Called by csv.c.
#include "data/importers/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "comm/digest.h"
#include "comm/memory.h"
#include "comm/names.h"

enum { AUTO_CLASSES_MAX = 1000, SLOTS = 1 << 18 }; // slots: a power of two, 4 x IMPORT_CLASSES_MAX

// Distinct texts in order of appearance, found by open addressing.
struct texts {
    char **list;
    size_t n;
    uint32_t *slots; // 1 + index, 0 = free
};

struct scan {
    struct texts texts;
    bool is_fraction; // a target value is a number, but not whole
    bool is_text;     // a target value is not a number
    bool is_over;     // too many different values for classes
    int32_t *labels;  // index in texts.list
    size_t labels_room;
    char **sizes_names; // class names of a first line with sizes
    size_t n_sizes_names;
};

static enum status texts_find(struct texts *texts, const char *text, size_t *index)
{
    size_t slot = (size_t)digest_bytes(text, strlen(text), 0) & (SLOTS - 1);
    while (texts->slots[slot]) {
        *index = texts->slots[slot] - 1;
        if (strcmp(texts->list[*index], text) == 0)
            return STATUS_OK;
        slot = (slot + 1) & (SLOTS - 1);
    }
    *index = texts->n;
    if (texts->n == IMPORT_CLASSES_MAX)
        return STATUS_OK;
    texts->list[texts->n] = strdup(text);
    CHECK(texts->list[texts->n], STATUS_ERROR, "out of memory: class names");
    texts->slots[slot] = (uint32_t)++texts->n;
    return STATUS_OK;
}

static void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < texts->n; i++)
        free(texts->list[i]);
    free(texts->list);
    free(texts->slots);
    *texts = (struct texts){0};
}

static enum status copy_fields(const struct csv_reader *reader, char ***out)
{
    TRY(memory_alloc(out, reader->n_fields, sizeof **out, "fields"));
    for (size_t i = 0; i < reader->n_fields; i++) {
        (*out)[i] = strdup(reader->fields[i]);
        CHECK((*out)[i], STATUS_ERROR, "out of memory: fields");
    }
    return STATUS_OK;
}

static void free_fields(char **fields, size_t n)
{
    for (size_t i = 0; fields && i < n; i++)
        free(fields[i]);
    free(fields);
}

// A header: a column that is a number in the second line but not in the first; or no number at all.
static bool looks_like_header(char *const *first, size_t n, const struct csv_reader *second)
{
    double value = 0;
    size_t n_numbers = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_number = csv_number(first[i], &value);
        n_numbers += is_number;
        if (!is_number && i < second->n_fields && csv_number(second->fields[i], &value))
            return true;
    }
    return n_numbers == 0;
}

// scikit-learn's files begin with: number of rows, number of input columns, class names.
static bool looks_like_sizes(char *const *first, size_t n, const struct csv_reader *second)
{
    double rows = 0, columns = 0;
    return n >= 2 && n != second->n_fields && csv_number(first[0], &rows) &&
           csv_number(first[1], &columns) && rows >= 1 && columns == (double)second->n_fields - 1;
}

// Reads the first two records and decides what the first is; leaves the reader at the first row.
static enum status find_header(struct csv *csv, const struct import_options *options,
                               struct scan *scan)
{
    struct csv_reader *reader = &csv->reader;
    char **first = NULL;
    TRY(csv_next(reader));
    CHECK(reader->n_fields > 0, STATUS_DATA, "%s: the file is empty", stream_path(reader->stream));
    size_t n = reader->n_fields;
    enum status status = copy_fields(reader, &first);
    if (status == STATUS_OK)
        status = csv_next(reader);
    if (status != STATUS_OK) {
        free_fields(first, n);
        return status;
    }
    csv->has_sizes = options->header == IMPORT_HEADER_AUTO && looks_like_sizes(first, n, reader);
    csv->has_header =
        csv->has_sizes || options->header == IMPORT_HEADER_YES ||
        (options->header == IMPORT_HEADER_AUTO && looks_like_header(first, n, reader));
    csv->n_columns = csv->has_sizes ? reader->n_fields : n;
    if (csv->has_sizes) {
        scan->sizes_names = first;
        scan->n_sizes_names = n;
    } else if (csv->has_header) {
        csv->names = first;
    } else {
        free_fields(first, n);
    }
    TRY(csv_rewind(reader));
    return csv->has_header ? csv_next(reader) : STATUS_OK;
}

// Column by name (header) or number: from 1, or from the end with -1.
static enum status find_column(const struct csv *csv, const char *text, size_t *column)
{
    const char *path = stream_path(csv->reader.stream);
    for (size_t i = 0; csv->names && i < csv->n_columns; i++)
        if (strcmp(csv->names[i], text) == 0) {
            *column = i;
            return STATUS_OK;
        }
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (end == text || *end) {
        const char *near =
            csv->names ? names_nearest(text, (const char *const *)csv->names, csv->n_columns)
                       : NULL;
        CHECK(!near, STATUS_USAGE, "%s: no column '%s', did you mean '%s'?", path, text, near);
        FAIL(STATUS_USAGE, "%s: no column '%s'%s", path, text,
             csv->names ? "" : " (the file has no header: give the column's number)");
    }
    long n = (long)csv->n_columns;
    CHECK(number != 0 && number <= n && number >= -n, STATUS_USAGE,
          "%s: no column %ld, it has columns 1 to %ld", path, number, n);
    *column = (size_t)(number > 0 ? number - 1 : n + number);
    return STATUS_OK;
}

// No column asked for: the only one with a usual name, else the last that is left.
static enum status guess_target(struct csv *csv, struct import_source *out)
{
    static const char *const usual[] = {"label", "labels", "class", "target"};
    size_t last = csv->n_columns - 1, found = 0, n = 0;
    CHECK(csv->n_inputs > 0, STATUS_USAGE, "--drop leaves no column");
    while (!csv->is_input[last])
        last--;
    for (size_t k = 0; csv->names && k < sizeof usual / sizeof *usual; k++)
        for (size_t i = 0; i < csv->n_columns; i++)
            if (csv->is_input[i] && strcasecmp(csv->names[i], usual[k]) == 0) {
                found = i;
                n++;
            }
    if (n != 1)
        found = last;
    csv->targets[csv->n_targets++] = found;
    csv->is_input[found] = false;
    csv->n_inputs--;
    return import_note(out, "target: %s (--target chooses another)", csv_column(csv, found));
}

// Columns named in a list with commas: takes them from the inputs, and puts them in out[*n].
static enum status take_columns(struct csv *csv, const char *option, const char *text, size_t *out,
                                size_t *n)
{
    while (text && *text) {
        char name[256];
        size_t length = strcspn(text, ","), column = 0;
        CHECK(length < sizeof name && *n < CSV_TARGETS_MAX, STATUS_USAGE,
              "%s: too many or too long names", option);
        memcpy(name, text, length);
        name[length] = 0;
        TRY(find_column(csv, name, &column));
        CHECK(csv->is_input[column], STATUS_USAGE, "%s names %s, which is taken already", option,
              csv_column(csv, column));
        csv->is_input[column] = false;
        csv->n_inputs--;
        out[(*n)++] = column;
        text += length + (text[length] == ',');
    }
    return STATUS_OK;
}

static enum status find_targets(struct csv *csv, const struct import_options *options,
                                struct import_source *out)
{
    const char *text = options->target_column;
    size_t dropped[CSV_TARGETS_MAX], n_dropped = 0;
    TRY(memory_alloc(&csv->is_input, csv->n_columns, sizeof *csv->is_input, "columns"));
    for (size_t i = 0; i < csv->n_columns; i++)
        csv->is_input[i] = true;
    csv->n_inputs = csv->n_columns;
    TRY(take_columns(csv, "--target", text, csv->targets, &csv->n_targets));
    TRY(take_columns(csv, "--drop", options->drop, dropped, &n_dropped));
    return csv->n_targets > 0 ? STATUS_OK : guess_target(csv, out);
}

// The target of the current record as a class; whole numbers in one spelling ("5.0" is "5").
static enum status note_label(struct scan *scan, const struct csv *csv, uint64_t row)
{
    const char *field = csv->reader.fields[csv->targets[0]];
    char number[64];
    double value = 0;
    CHECK(field[0], STATUS_DATA, "%s: line %zu, %s: the target is empty",
          stream_path(csv->reader.stream), (size_t)csv->reader.line,
          csv_column(csv, csv->targets[0]));
    if (!csv_number(field, &value)) {
        scan->is_text = true;
    } else if (!isfinite(value) || value != floor(value) || fabs(value) > 1e15) {
        scan->is_fraction = true;
    } else {
        snprintf(number, sizeof number, "%.0f", value + 0.0);
        field = number;
    }
    size_t index = 0;
    TRY(texts_find(&scan->texts, field, &index));
    if (index == IMPORT_CLASSES_MAX)
        scan->is_over = true;
    if (row == scan->labels_room) {
        size_t room = scan->labels_room * 2 + 4096;
        int32_t *moved = realloc(scan->labels, room * sizeof *moved);
        CHECK(moved, STATUS_ERROR, "out of memory: labels");
        scan->labels = moved;
        scan->labels_room = room;
    }
    scan->labels[row] = (int32_t)index;
    return STATUS_OK;
}

static enum status scan_rows(struct csv *csv, struct scan *scan,
                             const struct import_options *options, struct import_source *out)
{
    struct csv_reader *reader = &csv->reader;
    const char *path = stream_path(reader->stream);
    uint64_t bytes = stream_is_gz(reader->stream) ? 0 : stream_size_max(reader->stream);
    csv->is_byte_range = true;
    for (;; out->n_rows++) {
        TRY(csv_next(reader));
        if (reader->n_fields == 0)
            break;
        CHECK(reader->n_fields == csv->n_columns, STATUS_DATA,
              "%s: line %zu has %zu fields, expected %zu", path, (size_t)reader->line,
              reader->n_fields, csv->n_columns);
        CHECK(out->n_rows < IMPORT_ROWS_MAX, STATUS_DATA, "%s: too many rows", path);
        for (size_t i = 0; i < csv->n_columns; i++) {
            double value = 0;
            if (!csv->is_input[i])
                continue;
            TRY(csv_value(csv, i, &value));
            if (!(value >= 0 && value <= 255 && value == floor(value)))
                csv->is_byte_range = false;
        }
        TRY(note_label(scan, csv, out->n_rows));
        for (size_t i = 1; i < csv->n_targets; i++) {
            double value = 0;
            CHECK(csv_number(reader->fields[csv->targets[i]], &value), STATUS_DATA,
                  "%s: line %zu, %s: '%.60s' is not a number", path, (size_t)reader->line,
                  csv_column(csv, csv->targets[i]), reader->fields[csv->targets[i]]);
        }
        if (out->n_rows % 1024 == 0)
            TRY(import_tick(&options->progress, "reading the table",
                            bytes ? stream_tell(reader->stream) : out->n_rows, bytes));
    }
    CHECK(out->n_rows > 0, STATUS_DATA, "%s: has no rows%s", path,
          csv->has_header ? " after its header" : "");
    return STATUS_OK;
}

// Class names sorted, labels renumbered to match.
static enum status set_classes(struct scan *scan, struct import_source *out)
{
    size_t n = scan->texts.n;
    int32_t *place = NULL;
    TRY(memory_alloc(&place, n, sizeof *place, "class names"));
    enum status status = memory_alloc(&out->classes, n, sizeof *out->classes, "class names");
    if (status != STATUS_OK) {
        free(place);
        return status;
    }
    memcpy(out->classes, scan->texts.list, n * sizeof *out->classes);
    import_sort_names(out->classes, n);
    for (size_t i = 0; i < n; i++) {
        size_t index = 0;
        status = texts_find(&scan->texts, out->classes[i], &index);
        ASSERT(status == STATUS_OK && index < n);
        place[index] = (int32_t)i;
    }
    for (uint64_t i = 0; i < out->n_rows; i++)
        scan->labels[i] = place[scan->labels[i]];
    free(place);
    scan->texts.n = 0; // the names are the source's now
    out->labels = scan->labels;
    scan->labels = NULL;
    out->target = (struct target_shape){.type = TARGET_CLASS, .count = 1, .n_classes = n};
    // Names from scikit-learn's first line stand for 0, 1, ...
    bool is_counted = scan->n_sizes_names == n + 2;
    for (size_t i = 0; i < n && is_counted; i++) {
        char number[32];
        snprintf(number, sizeof number, "%zu", i);
        is_counted = strcmp(out->classes[i], number) == 0;
    }
    for (size_t i = 0; i < n && is_counted; i++) {
        free(out->classes[i]);
        out->classes[i] = scan->sizes_names[i + 2];
        scan->sizes_names[i + 2] = NULL;
    }
    return STATUS_OK;
}

static enum status set_target(struct csv *csv, struct scan *scan,
                              const struct import_options *options, struct import_source *out)
{
    const char *path = stream_path(csv->reader.stream);
    bool is_float = options->target == IMPORT_TARGET_FLOAT;
    if (options->target == IMPORT_TARGET_AUTO)
        is_float = csv->n_targets > 1 ||
                   (!scan->is_text && (scan->is_fraction || scan->texts.n > AUTO_CLASSES_MAX));
    if (is_float) {
        CHECK(!scan->is_text, STATUS_DATA, "%s: %s holds texts, expected numbers", path,
              csv_column(csv, csv->targets[0]));
        out->target = (struct target_shape){.type = TARGET_FLOAT, .count = csv->n_targets};
        return STATUS_OK;
    }
    CHECK(csv->n_targets == 1, STATUS_USAGE, "several --target columns are numbers, not classes");
    CHECK(!scan->is_over, STATUS_DATA,
          "%s: %s holds more than %zu different values, too many for"
          " classes (--targets float for numbers)",
          path, csv_column(csv, csv->targets[0]), IMPORT_CLASSES_MAX);
    return set_classes(scan, out);
}

enum status csv_scan(struct csv *csv, const struct import_options *options,
                     struct import_source *out)
{
    struct scan scan = {0};
    enum status status = find_header(csv, options, &scan);
    if (status == STATUS_OK)
        status = find_targets(csv, options, out);
    if (status == STATUS_OK)
        status = memory_alloc(&scan.texts.list, IMPORT_CLASSES_MAX, sizeof(char *), "class names");
    if (status == STATUS_OK)
        status = memory_alloc(&scan.texts.slots, SLOTS, sizeof *scan.texts.slots, "class names");
    if (status == STATUS_OK)
        status = scan_rows(csv, &scan, options, out);
    if (status == STATUS_OK)
        status = set_target(csv, &scan, options, out);
    texts_free(&scan.texts);
    free_fields(scan.sizes_names, scan.n_sizes_names);
    free(scan.labels);
    return status;
}
