// SPDX-License-Identifier: MIT
// Owns: the IDX format of MNIST (LeCun's page: big-endian magic 00 00 type rank, sizes, values),
// gzip'ed or not: a pair of files, images and labels, or a folder with MNIST's names.
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "data/import.h"
#include "data/stream.h"

enum { RANK_MAX = 4, PATH_ROOM = 4096 };

struct header {
    uint8_t type; // 0x08 uint8, 0x09 int8, 0x0b int16, 0x0c int32, 0x0d float32, 0x0e float64
    size_t width; // bytes a value
    int rank;
    uint64_t dim[RANK_MAX];
    uint64_t bytes; // of the header
};

struct idx {
    struct stream *images;
    struct header header;
    size_t values; // a row
    uint8_t *raw;  // one row as stored
};

static size_t type_width(uint8_t type)
{
    static const uint8_t widths[] = {1, 1, 0, 2, 4, 4, 8};
    return type >= 8 && type <= 14 ? widths[type - 8] : 0;
}

static bool is_magic(const uint8_t magic[4])
{
    return magic[0] == 0 && magic[1] == 0 && type_width(magic[2]) > 0 && magic[3] >= 1 &&
           magic[3] <= RANK_MAX;
}

static bool name_has(const char *name, const char *part)
{
    return strcasestr(name, part) != NULL;
}

// Is this directory entry the images (labels) of that side?
static bool is_part(const char *name, enum import_side side, bool is_images)
{
    bool is_test = name_has(name, "t10k") || name_has(name, "test");
    bool is_train = !is_test && name_has(name, "train");
    const char *what = is_images ? "images" : "labels";
    return name_has(name, what) && name_has(name, "idx") && name[0] != '.' &&
           (side == IMPORT_TEST ? is_test : is_train);
}

// The one file of a folder for a side; path[0] = 0 when there is none.
static enum status find_part(const char *folder, enum import_side side, bool is_images, char *path)
{
    path[0] = 0;
    DIR *dir = opendir(folder);
    CHECK(dir, STATUS_DATA, "%s: %s", folder, strerror(errno));
    enum status status = STATUS_OK;
    char found[256] = "";
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (!is_part(name, side, is_images))
            continue;
        size_t n = strlen(found);
        // The same file with and without .gz: the plain one.
        if (n > 0 && strncmp(found, name, n) == 0 && strcmp(name + n, ".gz") == 0)
            continue;
        size_t m = strlen(name);
        if (n > 0 && !(strncmp(found, name, m) == 0 && strcmp(found + m, ".gz") == 0))
            status = error_set(STATUS_DATA, __FILE__, __LINE__,
                               "%s: both %s and %s could be meant, name the files to import",
                               folder, found, name);
        snprintf(found, sizeof found, "%s", name);
    }
    closedir(dir);
    TRY(status);
    if (found[0])
        CHECK(snprintf(path, PATH_ROOM, "%s/%s", folder, found) < PATH_ROOM, STATUS_DATA,
              "%s: the path is too long", folder);
    return STATUS_OK;
}

// The labels that belong to an images file: ...images-idx3... to ...labels-idx1... beside it.
static enum status find_labels(const char *images, char *path)
{
    char folder[PATH_ROOM], file[PATH_ROOM];
    CHECK(strlen(images) < PATH_ROOM - 16, STATUS_DATA, "%s: the path is too long", images);
    strcpy(folder, images);
    strcpy(file, images);
    const char *name = basename(file);
    const char *at = strstr(name, "images");
    CHECK(at, STATUS_USAGE, "%s: give the images and the labels file, or their folder", images);
    char pattern[PATH_ROOM];
    snprintf(pattern, sizeof pattern, "%.*slabels%s", (int)(at - name), name, at + 6);
    char *rank = strstr(pattern, "idx3");
    if (rank)
        rank[3] = '1';
    CHECK(snprintf(path, PATH_ROOM, "%s/%s", dirname(folder), pattern) < PATH_ROOM, STATUS_DATA,
          "%s: the path is too long", images);
    struct stat info;
    CHECK(stat(path, &info) == 0, STATUS_DATA, "%s: no labels found beside it (looked for %s)",
          images, path);
    return STATUS_OK;
}

static enum status read_header(struct stream *stream, struct header *header)
{
    const char *path = stream_path(stream);
    uint8_t magic[4], size[4];
    TRY(stream_read_all(stream, magic, 4, "IDX header"));
    CHECK(is_magic(magic), STATUS_DATA, "%s: not an IDX file (first bytes %02x %02x %02x %02x)",
          path, magic[0], magic[1], magic[2], magic[3]);
    *header = (struct header){.type = magic[2], .width = type_width(magic[2]), .rank = magic[3]};
    header->bytes = 4 + 4 * (uint64_t)header->rank;
    uint64_t total = header->width;
    for (int i = 0; i < header->rank; i++) {
        TRY(stream_read_all(stream, size, 4, "IDX header"));
        header->dim[i] =
            (uint64_t)size[0] << 24 | (uint64_t)size[1] << 16 | (uint64_t)size[2] << 8 | size[3];
        CHECK(header->dim[i] > 0, STATUS_DATA, "%s: size %d in the IDX header is 0", path, i + 1);
        CHECK(!__builtin_mul_overflow(total, header->dim[i], &total), STATUS_DATA,
              "%s: the sizes in the IDX header multiply beyond 2^64", path);
    }
    uint64_t most = stream_size_max(stream);
    CHECK(total <= most && header->bytes <= most - total, STATUS_DATA,
          "%s: truncated: the IDX header promises %zu bytes, the file can hold %zu", path,
          (size_t)(header->bytes + total), (size_t)most);
    CHECK(stream_is_gz(stream) || header->bytes + total == most, STATUS_DATA,
          "%s: has %zu bytes, its IDX header promises %zu", path, (size_t)most,
          (size_t)(header->bytes + total));
    return STATUS_OK;
}

// One stored value (big-endian) as a double.
static double value_of(const uint8_t *at, uint8_t type)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < type_width(type); i++)
        bits = bits << 8 | at[i];
    uint32_t low = (uint32_t)bits;
    float single;
    double full;
    switch (type) {
    case 0x08:
        return (double)bits;
    case 0x09:
        return (double)(int8_t)bits;
    case 0x0b:
        return (double)(int16_t)bits;
    case 0x0c:
        return (double)(int32_t)bits;
    case 0x0d:
        memcpy(&single, &low, 4);
        return (double)single;
    default:
        memcpy(&full, &bits, 8);
        return full;
    }
}

// Reads all labels into source->labels.
static enum status read_labels(struct stream *stream, const struct header *header,
                               struct import_source *source)
{
    const char *path = stream_path(stream);
    CHECK(header->type != 0x0d && header->type != 0x0e, STATUS_DATA,
          "%s: the labels are fractions, expected whole numbers", path);
    TRY(memory_alloc(&source->labels, source->n_rows, sizeof *source->labels, "labels"));
    int32_t most = 0;
    for (uint64_t i = 0; i < source->n_rows; i++) {
        uint8_t raw[8];
        TRY(stream_read_all(stream, raw, header->width, "labels"));
        double label = value_of(raw, header->type);
        CHECK(label >= 0 && label < (double)IMPORT_CLASSES_MAX, STATUS_DATA,
              "%s: label %zu is %.0f, expected 0 to %zu", path, (size_t)i, label,
              IMPORT_CLASSES_MAX - 1);
        source->labels[i] = (int32_t)label;
        most = source->labels[i] > most ? source->labels[i] : most;
    }
    source->target =
        (struct target_shape){.type = TARGET_CLASS, .count = 1, .n_classes = (size_t)most + 1};
    return stream_end(stream);
}

static enum status read_row(struct import_source *source, uint64_t row, void *input, float *target)
{
    (void)target;
    struct idx *idx = source->self;
    size_t bytes = idx->values * idx->header.width;
    uint64_t at = idx->header.bytes + row * bytes;
    if (stream_tell(idx->images) != at)
        TRY(stream_seek(idx->images, at));
    if (source->is_u8) {
        TRY(stream_read_all(idx->images, input, bytes, "image"));
    } else {
        TRY(stream_read_all(idx->images, idx->raw, bytes, "row"));
        float *out = input;
        for (size_t i = 0; i < idx->values; i++)
            out[i] = (float)value_of(idx->raw + i * idx->header.width, idx->header.type);
    }
    return row + 1 == source->n_rows ? stream_end(idx->images) : STATUS_OK;
}

static void close_idx(struct import_source *source)
{
    struct idx *idx = source->self;
    if (!idx)
        return;
    stream_close(idx->images);
    free(idx->raw);
    free(idx);
}

static enum status set_shape(struct idx *idx, struct import_source *out)
{
    const struct header *header = &idx->header;
    const char *path = stream_path(idx->images);
    uint64_t values = 1;
    for (int i = 1; i < header->rank; i++)
        values *= header->dim[i];
    CHECK(header->dim[0] <= IMPORT_ROWS_MAX && values <= IMPORT_ROW_BYTES_MAX / 8, STATUS_DATA,
          "%s: %zu rows of %zu values are too many", path, (size_t)header->dim[0], (size_t)values);
    idx->values = (size_t)values;
    out->n_rows = header->dim[0];
    out->is_u8 = header->type == 0x08;
    out->is_sequential = stream_is_gz(idx->images);
    out->shape = (struct sample_shape){1, 1, (size_t)header->dim[1]};
    if (header->rank >= 3)
        out->shape = (struct sample_shape){(size_t)header->dim[1], (size_t)header->dim[2],
                                           header->rank == 4 ? (size_t)header->dim[3] : 1};
    return memory_alloc(&idx->raw, idx->values, header->width, "row");
}

// Two streams whose headers are read: which are the images, do they fit?
static enum status pair_up(struct stream *streams[2], struct header headers[2], struct idx *idx,
                           struct import_source *out)
{
    CHECK((headers[0].rank == 1) != (headers[1].rank == 1), STATUS_DATA,
          "%s and %s: expected one file of images (rank 2 to 4) and one of labels (rank 1), found"
          " rank %d and %d",
          stream_path(streams[0]), stream_path(streams[1]), headers[0].rank, headers[1].rank);
    int labels = headers[0].rank == 1 ? 0 : 1, images = 1 - labels;
    CHECK(headers[0].dim[0] == headers[1].dim[0], STATUS_DATA,
          "%s has %zu images, but %s has %zu labels", stream_path(streams[images]),
          (size_t)headers[images].dim[0], stream_path(streams[labels]),
          (size_t)headers[labels].dim[0]);
    idx->images = streams[images];
    streams[images] = NULL;
    idx->header = headers[images];
    TRY(set_shape(idx, out));
    return read_labels(streams[labels], &headers[labels], out);
}

static enum status open_pair(const char *first, const char *second, struct import_source *out)
{
    struct idx *idx = NULL;
    TRY(memory_alloc(&idx, 1, sizeof *idx, "importer"));
    out->self = idx;
    out->read = read_row;
    out->close = close_idx;
    struct stream *streams[2] = {NULL, NULL};
    struct header headers[2];
    enum status status = stream_open(&streams[0], first);
    if (status == STATUS_OK)
        status = stream_open(&streams[1], second);
    for (int i = 0; i < 2 && status == STATUS_OK; i++)
        status = read_header(streams[i], &headers[i]);
    if (status == STATUS_OK)
        status = pair_up(streams, headers, idx, out);
    stream_close(streams[0]);
    stream_close(streams[1]);
    return status;
}

static enum status open_idx(const char *const *paths, size_t n_paths, enum import_side side,
                            const struct import_options *options, struct import_source *out)
{
    (void)options;
    char images[PATH_ROOM], labels[PATH_ROOM];
    struct stat info;
    CHECK(n_paths <= 2, STATUS_USAGE,
          "idx: %zu files given, expected images and labels, or their folder (the test files go to"
          " --test)",
          n_paths);
    CHECK(stat(paths[0], &info) == 0, STATUS_DATA, "%s: %s", paths[0], strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        if (side == IMPORT_TEST)
            return STATUS_OK;
        if (n_paths == 2)
            return open_pair(paths[0], paths[1], out);
        TRY(find_labels(paths[0], labels));
        return open_pair(paths[0], labels, out);
    }
    TRY(find_part(paths[0], side, true, images));
    TRY(find_part(paths[0], side, false, labels));
    if (side == IMPORT_TEST && !images[0] && !labels[0])
        return STATUS_OK;
    CHECK(images[0] && labels[0], STATUS_DATA, "%s: no %s file like %s-%s-idx%d-ubyte in it",
          paths[0], images[0] ? "labels" : "images", side == IMPORT_TEST ? "t10k" : "train",
          images[0] ? "labels" : "images", images[0] ? 1 : 3);
    return open_pair(images, labels, out);
}

static bool accepts(const char *path)
{
    char part[PATH_ROOM];
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return find_part(path, IMPORT_TRAIN, true, part) != STATUS_OK || part[0];
    uint8_t magic[4];
    return stream_peek(path, magic, 4) == 4 && is_magic(magic);
}

const struct importer importer_idx = {
    .name = "idx",
    .summary = "MNIST's format, gzip'ed or not: a folder, or an images and a labels file",
    .accepts = accepts,
    .open = open_idx,
};
