// SPDX-License-Identifier: MIT
// Owns: the binary version of CIFAR-10 and CIFAR-100 (Krizhevsky's page): records of one label
// byte (two: coarse, fine) and 3 x 32 x 32 bytes, planes of red, green, blue. Batch files, or
// their folder.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "data/import.h"
#include "data/stream.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, FILES_MAX = 64, PATH_ROOM = 4096 };

struct cifar {
    size_t n_files;
    struct stream *files[FILES_MAX];
    uint64_t first[FILES_MAX]; // row number of a file's first record
    size_t n_labels;           // bytes before the pixels: 1 (CIFAR-10) or 2 (CIFAR-100)
    size_t which;              // which of them is the target
    size_t n_classes;
};

// Files of one side in a folder, in the order of the paper's site.
static const char *const train_names[] = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin", "train.bin"};
static const char *const test_names[] = {"test_batch.bin", "test.bin"};

static bool join(char *out, const char *folder, const char *name)
{
    return snprintf(out, PATH_ROOM, "%s/%s", folder, name) < PATH_ROOM;
}

static bool file_exists(const char *folder, const char *name)
{
    char path[PATH_ROOM];
    struct stat info;
    return join(path, folder, name) && stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

// Are all records' labels below these bounds? CIFAR-10: one byte; CIFAR-100: two.
static bool labels_fit(const char *path, uint64_t size, size_t n_labels)
{
    size_t record = n_labels + PIXELS;
    if (size == 0 || size % record != 0)
        return false;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return false;
    bool fits = true;
    uint64_t n = size / record, step = n / 64 + 1;
    for (uint64_t i = 0; i < n && fits; i += step) {
        int a = fseeko(file, (off_t)(i * record), SEEK_SET) == 0 ? fgetc(file) : EOF;
        int b = n_labels == 2 ? fgetc(file) : 0;
        fits = a >= 0 && b >= 0 && (n_labels == 1 ? a < 10 : a < 20 && b < 100);
    }
    fclose(file);
    return fits;
}

// 1 or 2 label bytes a record; 0: not a CIFAR file.
static size_t labels_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return 0;
    for (size_t n = 1; n <= 2; n++)
        if (labels_fit(path, (uint64_t)info.st_size, n))
            return n;
    return 0;
}

static bool accepts(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return file_exists(path, train_names[0]) ||
               (file_exists(path, "train.bin") && file_exists(path, "test.bin"));
    return labels_of(path) > 0;
}

static void close_cifar(struct import_source *source)
{
    struct cifar *cifar = source->self;
    if (!cifar)
        return;
    for (size_t i = 0; i < cifar->n_files; i++)
        stream_close(cifar->files[i]);
    free(cifar);
}

static enum status read_row(struct import_source *source, uint64_t row, void *input, float *target)
{
    (void)target;
    struct cifar *cifar = source->self;
    size_t i = cifar->n_files - 1;
    while (row < cifar->first[i])
        i--;
    struct stream *file = cifar->files[i];
    uint64_t at = (row - cifar->first[i]) * (cifar->n_labels + PIXELS);
    uint8_t record[2 + PIXELS];
    if (stream_tell(file) != at)
        TRY(stream_seek(file, at));
    TRY(stream_read_all(file, record, cifar->n_labels + PIXELS, "record"));
    const uint8_t *pixels = record + cifar->n_labels;
    uint8_t *out = input;
    for (size_t p = 0; p < PLANE; p++) // CHW to HWC
        for (size_t c = 0; c < 3; c++)
            out[p * 3 + c] = pixels[c * PLANE + p];
    return STATUS_OK;
}

static enum status add_file(struct cifar *cifar, const char *path, uint64_t *n_rows)
{
    CHECK(cifar->n_files < FILES_MAX, STATUS_USAGE, "cifar: more than %d files", FILES_MAX);
    struct stream *file = NULL;
    TRY(stream_open(&file, path));
    cifar->files[cifar->n_files] = file;
    cifar->first[cifar->n_files++] = *n_rows;
    CHECK(!stream_is_gz(file), STATUS_DATA, "%s: is gzip'ed, unpack it first", path);
    uint64_t size = stream_size_max(file);
    size_t n_labels = labels_of(path);
    CHECK(n_labels > 0, STATUS_DATA,
          "%s: not a CIFAR file: %zu bytes are not whole records of %d (CIFAR-10) or %d"
          " (CIFAR-100) bytes with labels in range",
          path, (size_t)size, 1 + PIXELS, 2 + PIXELS);
    CHECK(cifar->n_labels == 0 || cifar->n_labels == n_labels, STATUS_DATA,
          "%s: is CIFAR-%s, the files before it are not", path, n_labels == 1 ? "10" : "100");
    cifar->n_labels = n_labels;
    *n_rows += size / (n_labels + PIXELS);
    CHECK(*n_rows <= IMPORT_ROWS_MAX, STATUS_DATA, "%s: too many records", path);
    return STATUS_OK;
}

static enum status add_folder(struct cifar *cifar, const char *folder, enum import_side side,
                              uint64_t *n_rows)
{
    const char *const *names = side == IMPORT_TEST ? test_names : train_names;
    size_t n = side == IMPORT_TEST ? sizeof test_names / sizeof *test_names
                                   : sizeof train_names / sizeof *train_names;
    char path[PATH_ROOM];
    for (size_t i = 0; i < n; i++)
        if (file_exists(folder, names[i]) && join(path, folder, names[i]))
            TRY(add_file(cifar, path, n_rows));
    CHECK(side == IMPORT_TEST || *n_rows > 0, STATUS_DATA,
          "%s: no data_batch_1.bin or train.bin in it", folder);
    return STATUS_OK;
}

static enum status read_labels(struct cifar *cifar, const struct import_options *options,
                               struct import_source *out)
{
    TRY(memory_alloc(&out->labels, out->n_rows, sizeof *out->labels, "labels"));
    uint8_t record[2 + PIXELS];
    uint64_t row = 0;
    for (size_t i = 0; i < cifar->n_files; i++) {
        uint64_t end = i + 1 < cifar->n_files ? cifar->first[i + 1] : out->n_rows;
        for (; row < end; row++) {
            TRY(stream_read_all(cifar->files[i], record, cifar->n_labels + PIXELS, "record"));
            out->labels[row] = record[cifar->which];
            CHECK(record[cifar->which] < cifar->n_classes, STATUS_DATA,
                  "%s: label of record %zu is %u, expected 0 to %zu", stream_path(cifar->files[i]),
                  (size_t)(row - cifar->first[i]), record[cifar->which], cifar->n_classes - 1);
            if (row % 1024 == 0)
                TRY(import_tick(&options->progress, "reading labels", row, out->n_rows));
        }
    }
    return STATUS_OK;
}

// Class names from the text file beside the batches, if it holds exactly as many lines.
static enum status read_names(const struct cifar *cifar, struct import_source *out)
{
    static const char *const files[] = {"batches.meta.txt", "coarse_label_names.txt",
                                        "fine_label_names.txt"};
    char path[PATH_ROOM];
    const char *first = stream_path(cifar->files[0]);
    const char *slash = strrchr(first, '/');
    int folder = slash ? (int)(slash - first) : 1;
    snprintf(path, sizeof path, "%.*s/%s", folder, slash ? first : ".",
             files[cifar->n_labels == 1 ? 0 : 1 + cifar->which]);
    FILE *file = fopen(path, "re");
    if (!file)
        return STATUS_OK;
    char line[256];
    size_t n = 0;
    enum status status =
        memory_alloc(&out->classes, cifar->n_classes, sizeof *out->classes, "class names");
    while (status == STATUS_OK && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] && n < cifar->n_classes)
            out->classes[n] = strdup(line);
        n += line[0] != 0;
    }
    fclose(file);
    if (n != cifar->n_classes && out->classes) {
        for (size_t i = 0; i < cifar->n_classes; i++)
            free(out->classes[i]);
        free(out->classes);
        out->classes = NULL;
    }
    return status;
}

static enum status set_target(struct cifar *cifar, const char *column)
{
    bool is_any = !column || !column[0], is_coarse = column && strcmp(column, "coarse") == 0;
    CHECK(is_any || (cifar->n_labels == 2 && (is_coarse || strcmp(column, "fine") == 0)),
          STATUS_USAGE, "cifar: no target '%s', expected %s", column,
          cifar->n_labels == 2 ? "fine or coarse" : "none: CIFAR-10 has one label");
    cifar->which = cifar->n_labels == 2 && !is_coarse;
    cifar->n_classes = cifar->n_labels == 1 ? 10 : is_coarse ? 20 : 100;
    return STATUS_OK;
}

static enum status open_cifar(const char *const *paths, size_t n_paths, enum import_side side,
                              const struct import_options *options, struct import_source *out)
{
    struct stat info;
    CHECK(stat(paths[0], &info) == 0, STATUS_DATA, "%s: %s", paths[0], strerror(errno));
    bool is_folder = S_ISDIR(info.st_mode);
    if (side == IMPORT_TEST && !is_folder)
        return STATUS_OK;
    struct cifar *cifar = NULL;
    TRY(memory_alloc(&cifar, 1, sizeof *cifar, "importer"));
    out->self = cifar;
    out->close = close_cifar;
    if (is_folder) {
        CHECK(n_paths == 1, STATUS_USAGE, "cifar: give one folder, or batch files");
        TRY(add_folder(cifar, paths[0], side, &out->n_rows));
        if (out->n_rows == 0)
            return STATUS_OK;
    } else {
        for (size_t i = 0; i < n_paths; i++)
            TRY(add_file(cifar, paths[i], &out->n_rows));
    }
    TRY(set_target(cifar, options->target_column));
    out->read = read_row;
    out->shape = (struct sample_shape){SIDE, SIDE, 3};
    out->is_u8 = true;
    out->target =
        (struct target_shape){.type = TARGET_CLASS, .count = 1, .n_classes = cifar->n_classes};
    TRY(read_labels(cifar, options, out));
    return read_names(cifar, out);
}

const struct importer importer_cifar = {
    .name = "cifar",
    .summary = "CIFAR-10 and CIFAR-100, binary version: the folder, or batch files",
    .accepts = accepts,
    .open = open_cifar,
};
