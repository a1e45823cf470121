// SPDX-License-Identifier: MIT
// Owns: folders of pictures by class: FOLDER/class/**/picture, or FOLDER/train/class/... and
// FOLDER/test/class/... . The list of files is folder_scan.c's, the pixels are picture.h's.
#include "data/importers/folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "data/picture.h"

struct folder {
    struct folder_list list;
    struct sample_shape shape;
    bool has_resize;
    struct picture_reader reader;
};

static void close_folder(struct import_source *source)
{
    struct folder *folder = source->self;
    if (!folder)
        return;
    folder_list_free(&folder->list);
    picture_reader_free(&folder->reader);
    free(folder);
}

// Looks at every header: all of one size (or resized), in colour if any is.
static enum status probe_all(struct folder *folder, const struct import_options *options)
{
    struct sample_shape common = {0}, shape = {0};
    char path[FOLDER_PATH_ROOM], first[FOLDER_PATH_ROOM] = "";
    for (size_t i = 0; i < folder->list.n_files; i++) {
        TRY(folder_path(&folder->list, i, path));
        TRY(picture_probe(&folder->reader, path, &shape));
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
    char path[FOLDER_PATH_ROOM];
    TRY(folder_path(&folder->list, row, path));
    return picture_read(&folder->reader, path, folder->shape, input);
}

static enum status open_folder(const char *const *paths, size_t n_paths, enum import_side side,
                               const struct import_options *options, struct import_source *out)
{
    CHECK(n_paths == 1, STATUS_USAGE, "folder: %zu paths given, expected one folder", n_paths);
    struct folder *folder = NULL;
    TRY(memory_alloc(&folder, 1, sizeof *folder, "importer"));
    out->self = folder;
    out->close = close_folder;
    folder->has_resize = options->resize_h > 0;
    folder->reader.is_nearest = options->is_nearest;
    folder->reader.fit = folder->has_resize ? PICTURE_STRETCH : PICTURE_REFUSE;
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
