// SPDX-License-Identifier: MIT
// Owns: folders of pictures by class: FOLDER/class/**/picture, or FOLDER/train/class/... and
// FOLDER/test/class/... . The list of files is folder_scan.c's, the pixels are image.h's.
#include "data/importers/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/memory.h"
#include "data/image.h"

struct folder {
    struct folder_list list;
    struct sample_shape shape;
    bool is_nearest;
    bool has_resize;
    struct resize *resize; // plan for the size of the picture before
    struct image image;
    uint8_t *bytes; // of one file
    size_t room;
};

static void close_folder(struct import_source *source)
{
    struct folder *folder = source->self;
    if (!folder)
        return;
    folder_list_free(&folder->list);
    resize_free(folder->resize);
    image_free(&folder->image);
    free(folder->bytes);
    free(folder);
}

// Reads up to `most` bytes of a file into folder->bytes. `size` receives the file's size.
static enum status read_file(struct folder *folder, const char *path, size_t most, size_t *got,
                             size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    struct stat info;
    enum status status = STATUS_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: is not a regular file", path);
    else if (info.st_size > (off_t)IMAGE_FILE_MAX)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "%s: %zu bytes, more than %zu for one picture are refused", path,
                           (size_t)info.st_size, IMAGE_FILE_MAX);
    size_t want = 0;
    *got = 0;
    if (status == STATUS_OK) {
        *size = (size_t)info.st_size;
        want = *size < most ? *size : most;
        if (want > folder->room) {
            free(folder->bytes);
            folder->room = 0;
            status = memory_alloc(&folder->bytes, want, 1, "picture file");
            folder->room = status == STATUS_OK ? want : 0;
        }
    }
    while (status == STATUS_OK && *got < want) {
        ssize_t n = read(fd, folder->bytes + *got, want - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
        if (n <= 0)
            break;
        *got += (size_t)n;
    }
    close(fd);
    return status;
}

static enum status probe_file(struct folder *folder, const char *path, struct sample_shape *shape)
{
    size_t got = 0, size = 0;
    TRY(read_file(folder, path, 4096, &got, &size));
    enum status status = image_probe(path, folder->bytes, got, &shape->h, &shape->w, &shape->c);
    if (status == STATUS_OK || got == size)
        return status;
    TRY(read_file(folder, path, IMAGE_FILE_MAX, &got, &size)); // a long header (EXIF)
    return image_probe(path, folder->bytes, got, &shape->h, &shape->w, &shape->c);
}

// Looks at every header: all of one size (or resized), in colour if any is.
static enum status probe_all(struct folder *folder, const struct import_options *options)
{
    struct sample_shape common = {0}, shape = {0};
    char path[FOLDER_PATH_ROOM], first[FOLDER_PATH_ROOM] = "";
    for (size_t i = 0; i < folder->list.n_files; i++) {
        TRY(folder_path(&folder->list, i, path));
        TRY(probe_file(folder, path, &shape));
        if (i == 0) {
            common = shape;
            memcpy(first, path, sizeof first);
        }
        CHECK(folder->has_resize || (shape.h == common.h && shape.w == common.w), STATUS_DATA,
              "%s: is %zux%zu, but %s is %zux%zu: give --resize HxW to make all alike", path,
              shape.h, shape.w, first, common.h, common.w);
        common.c = shape.c > common.c ? shape.c : common.c;
        if (i % 256 == 0)
            TRY(import_tick(&options->progress, "looking at pictures", i, folder->list.n_files));
    }
    folder->shape = common;
    if (folder->has_resize) {
        folder->shape.h = options->resize_h;
        folder->shape.w = options->resize_w;
    }
    if (options->channels)
        folder->shape.c = options->channels;
    return STATUS_OK;
}

static enum status read_row(struct import_source *source, uint64_t row, void *input, float *target)
{
    (void)target;
    struct folder *folder = source->self;
    struct image *image = &folder->image;
    const struct sample_shape *shape = &folder->shape;
    char path[FOLDER_PATH_ROOM];
    size_t got = 0, size = 0;
    TRY(folder_path(&folder->list, row, path));
    TRY(read_file(folder, path, IMAGE_FILE_MAX, &got, &size));
    TRY(image_decode(path, folder->bytes, got, image));
    TRY(image_set_channels(image, path, shape->c));
    if (image->h == shape->h && image->w == shape->w) {
        memcpy(input, image->pixels, shape->h * shape->w * shape->c);
        return STATUS_OK;
    }
    CHECK(folder->has_resize, STATUS_DATA, "%s: changed while it was imported", path);
    if (!resize_fits(folder->resize, image->h, image->w, image->c)) {
        resize_free(folder->resize);
        TRY(resize_plan(&folder->resize, image->h, image->w, shape->h, shape->w, shape->c,
                        folder->is_nearest));
    }
    resize_run(folder->resize, image->pixels, input);
    return STATUS_OK;
}

static enum status open_folder(const char *const *paths, size_t n_paths, enum import_side side,
                               const struct import_options *options, struct import_source *out)
{
    CHECK(n_paths == 1, STATUS_USAGE, "folder: %zu paths given, expected one folder", n_paths);
    struct folder *folder = NULL;
    TRY(memory_alloc(&folder, 1, sizeof *folder, "importer"));
    out->self = folder;
    out->close = close_folder;
    folder->is_nearest = options->is_nearest;
    folder->has_resize = options->resize_h > 0;
    bool is_there = false;
    TRY(folder_scan(paths[0], side, &options->progress, &folder->list, &is_there));
    if (!is_there)
        return STATUS_OK;
    TRY(probe_all(folder, options));
    struct folder_list *list = &folder->list;
    out->n_rows = list->n_files;
    out->shape = folder->shape;
    out->is_u8 = true;
    out->target =
        (struct target_shape){.type = TARGET_CLASS, .count = 1, .n_classes = list->n_classes};
    TRY(memory_alloc(&out->labels, list->n_files, sizeof *out->labels, "labels"));
    for (size_t i = 0; i < list->n_files; i++)
        out->labels[i] = (int32_t)list->files[i].label;
    TRY(memory_alloc(&out->classes, list->n_classes, sizeof *out->classes, "class names"));
    for (size_t i = 0; i < list->n_classes; i++) {
        out->classes[i] = strdup(list->classes[i]);
        CHECK(out->classes[i], STATUS_ERROR, "out of memory: class names");
    }
    if (list->n_skipped > 0)
        TRY(import_note(out, "left out %zu files that are not pictures (first: %s)",
                        list->n_skipped, list->skipped));
    if (list->n_empty > 0)
        TRY(import_note(out, "left out %zu folders without pictures (first: %s)", list->n_empty,
                        list->empty));
    out->read = read_row;
    return STATUS_OK;
}

const struct importer importer_folder = {
    .name = "folder",
    .summary = "a folder of pictures (PNG, JPEG, PGM, PPM) for each class; train/, test/ or not",
    .accepts = folder_accepts,
    .open = open_folder,
};
