// SPDX-License-Identifier: MIT
// The files below a folder of classes. Private to the folder importer.
#ifndef SW2_DATA_IMPORTERS_FOLDER_H
#define SW2_DATA_IMPORTERS_FOLDER_H

#include "data/import.h"

#define FOLDER_PATH_ROOM 4096

struct folder_file {
    size_t name; // offset in names: path relative to root, NUL-ended
    uint32_t label;
};

struct folder_list {
    char *root;
    char **classes; // sorted by import_sort_names
    size_t n_classes;
    struct folder_file *files; // by class, then by path (bytes)
    size_t n_files;
    char *names;
    size_t n_skipped; // files that are no pictures
    char skipped[256];
    size_t n_empty; // folders without a picture
    char empty[256];
    size_t files_room, names_bytes, names_room;
};

// Lists one side of a folder; *is_there false: there is no test part. STATUS_DATA.
enum status folder_scan(const char *path, enum import_side side,
                        const struct import_progress *progress, struct folder_list *list,
                        bool *is_there);
void folder_list_free(struct folder_list *list);
enum status folder_path(const struct folder_list *list, size_t i, char out[FOLDER_PATH_ROOM]);
bool folder_accepts(const char *path);

#endif
