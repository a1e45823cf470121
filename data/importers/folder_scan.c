// SPDX-License-Identifier: MIT
// Owns: finding classes and picture files below a folder, in an order that does not depend on the
// file system. Called by folder.c.
#include "data/importers/folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "comm/memory.h"
#include "data/picture.h"

enum { DEPTH_MAX = 16 };

static const char *const train_names[] = {"train", "training"};
static const char *const test_names[] = {"test", "testing", "val", "valid", "validation"};

// Names in a folder, sorted by bytes, hidden ones left out.
struct entries {
    struct dirent **list;
    int n;
};

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static enum status entries_read(struct entries *entries, const char *path)
{
    entries->n = scandir(path, &entries->list, is_visible, by_bytes);
    CHECK(entries->n >= 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    return STATUS_OK;
}

static void entries_free(struct entries *entries)
{
    for (int i = 0; i < entries->n; i++)
        free(entries->list[i]);
    free(entries->list);
}

static enum status join(char out[FOLDER_PATH_ROOM], const char *folder, const char *name)
{
    CHECK(snprintf(out, FOLDER_PATH_ROOM, "%s/%s", folder, name) < FOLDER_PATH_ROOM, STATUS_DATA,
          "%s/%s: the path is too long", folder, name);
    return STATUS_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static enum status grow(void *array, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return STATUS_OK;
    size_t fresh = *room * 2 > need ? *room * 2 : need + 1024;
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    void *moved = realloc(old, fresh * size);
    CHECK(moved, STATUS_ERROR, "out of memory: list of files");
    memcpy(array, &moved, sizeof moved);
    *room = fresh;
    return STATUS_OK;
}

static enum status add_file(struct folder_list *list, const char *path, size_t label)
{
    const char *relative = path + strlen(list->root) + 1;
    size_t bytes = strlen(relative) + 1;
    CHECK(list->n_files < IMPORT_ROWS_MAX, STATUS_DATA, "%s: too many files", list->root);
    TRY(grow(&list->files, &list->files_room, list->n_files + 1, sizeof *list->files));
    TRY(grow(&list->names, &list->names_room, list->names_bytes + bytes, 1));
    memcpy(list->names + list->names_bytes, relative, bytes);
    list->files[list->n_files++] =
        (struct folder_file){.name = list->names_bytes, .label = (uint32_t)label};
    list->names_bytes += bytes;
    return STATUS_OK;
}

static enum status scan_class(struct folder_list *list, const char *folder, size_t label, int depth,
                              const struct import_progress *progress)
{
    CHECK(depth < DEPTH_MAX, STATUS_DATA, "%s: more than %d folders deep", folder, DEPTH_MAX);
    struct entries entries = {0};
    TRY(entries_read(&entries, folder));
    enum status status = STATUS_OK;
    for (int i = 0; i < entries.n && status == STATUS_OK; i++) {
        char path[FOLDER_PATH_ROOM];
        const char *name = entries.list[i]->d_name;
        status = join(path, folder, name);
        if (status == STATUS_OK && is_folder(path)) {
            status = scan_class(list, path, label, depth + 1, progress);
        } else if (status == STATUS_OK && picture_is_one(path)) {
            status = add_file(list, path, label);
        } else if (status == STATUS_OK && list->n_skipped++ == 0) {
            snprintf(list->skipped, sizeof list->skipped, "%s", name);
        }
        if (status == STATUS_OK && list->n_files % 1024 == 0)
            status = import_tick(progress, "listing files", list->n_files, 0);
    }
    entries_free(&entries);
    return status;
}

// The child of `path` with one of these names (case ignored), or "".
static enum status find_child(const char *path, const char *const *names, size_t n,
                              char out[FOLDER_PATH_ROOM])
{
    struct entries entries = {0};
    out[0] = 0;
    TRY(entries_read(&entries, path));
    enum status status = STATUS_OK;
    for (size_t k = 0; k < n && !out[0] && status == STATUS_OK; k++)
        for (int i = 0; i < entries.n && !out[0] && status == STATUS_OK; i++) {
            if (strcasecmp(entries.list[i]->d_name, names[k]) != 0)
                continue;
            status = join(out, path, entries.list[i]->d_name);
            if (status == STATUS_OK && !is_folder(out))
                out[0] = 0;
        }
    entries_free(&entries);
    return status;
}

// Where the classes of a side are: path itself, path/train or path/test; "" = no such part.
static enum status find_root(const char *path, enum import_side side, char out[FOLDER_PATH_ROOM])
{
    char train[FOLDER_PATH_ROOM];
    CHECK(is_folder(path), STATUS_DATA, "%s: %s", path,
          errno == ENOENT ? "no such folder" : "is not a folder");
    CHECK(strlen(path) < FOLDER_PATH_ROOM, STATUS_DATA, "%s: the path is too long", path);
    TRY(find_child(path, train_names, sizeof train_names / sizeof *train_names, train));
    if (side == IMPORT_TRAIN) {
        strcpy(out, train[0] ? train : path);
        return STATUS_OK;
    }
    out[0] = 0;
    if (!train[0])
        return STATUS_OK;
    return find_child(path, test_names, sizeof test_names / sizeof *test_names, out);
}

static enum status read_classes(struct folder_list *list)
{
    struct entries entries = {0};
    TRY(entries_read(&entries, list->root));
    enum status status =
        memory_alloc(&list->classes, (size_t)entries.n, sizeof *list->classes, "class names");
    for (int i = 0; i < entries.n && status == STATUS_OK; i++) {
        char path[FOLDER_PATH_ROOM];
        status = join(path, list->root, entries.list[i]->d_name);
        if (status != STATUS_OK || !is_folder(path))
            continue;
        list->classes[list->n_classes] = strdup(entries.list[i]->d_name);
        if (!list->classes[list->n_classes++])
            status = error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory: class names");
    }
    entries_free(&entries);
    TRY(status);
    CHECK(list->n_classes > 0, STATUS_DATA,
          "%s: no folders in it, expected one folder of pictures for each class", list->root);
    CHECK(list->n_classes <= IMPORT_CLASSES_MAX, STATUS_DATA, "%s: %zu classes, at most %zu",
          list->root, list->n_classes, IMPORT_CLASSES_MAX);
    import_sort_names(list->classes, list->n_classes);
    return STATUS_OK;
}

// Takes classes without pictures out of the list; the labels of the others move down.
static enum status drop_empty(struct folder_list *list)
{
    uint32_t *place = NULL; // 1 + new label of a class that has pictures
    TRY(memory_alloc(&place, list->n_classes, sizeof *place, "class names"));
    for (size_t i = 0; i < list->n_files; i++)
        place[list->files[i].label] = 1;
    uint32_t n = 0;
    for (size_t k = 0; k < list->n_classes; k++) {
        char *name = list->classes[k];
        if (place[k]) {
            list->classes[n] = name;
            place[k] = ++n;
            continue;
        }
        if (list->n_empty++ == 0)
            snprintf(list->empty, sizeof list->empty, "%s", name);
        free(name);
    }
    list->n_classes = n;
    for (size_t i = 0; i < list->n_files; i++)
        list->files[i].label = place[list->files[i].label] - 1;
    free(place);
    return STATUS_OK;
}

enum status folder_scan(const char *path, enum import_side side,
                        const struct import_progress *progress, struct folder_list *list,
                        bool *is_there)
{
    char root[FOLDER_PATH_ROOM], class[FOLDER_PATH_ROOM];
    TRY(find_root(path, side, root));
    *is_there = root[0] != 0;
    if (!*is_there)
        return STATUS_OK;
    for (size_t n = strlen(root); n > 1 && root[n - 1] == '/'; n--)
        root[n - 1] = 0;
    list->root = strdup(root);
    CHECK(list->root, STATUS_ERROR, "out of memory: list of files");
    TRY(read_classes(list));
    for (size_t i = 0; i < list->n_classes; i++) {
        TRY(join(class, list->root, list->classes[i]));
        TRY(scan_class(list, class, i, 0, progress));
    }
    CHECK(list->n_files > 0, STATUS_DATA, "%s: no pictures in the folders in it", list->root);
    return drop_empty(list);
}

void folder_list_free(struct folder_list *list)
{
    for (size_t i = 0; i < list->n_classes; i++)
        free(list->classes[i]);
    free(list->classes);
    free(list->files);
    free(list->names);
    free(list->root);
    *list = (struct folder_list){0};
}

enum status folder_path(const struct folder_list *list, size_t i, char out[FOLDER_PATH_ROOM])
{
    ASSERT(i < list->n_files);
    return join(out, list->root, list->names + list->files[i].name);
}

// A folder with a folder that holds a picture.
bool folder_accepts(const char *path)
{
    char root[FOLDER_PATH_ROOM], class[FOLDER_PATH_ROOM], file[FOLDER_PATH_ROOM];
    if (!is_folder(path) || find_root(path, IMPORT_TRAIN, root) != STATUS_OK)
        return false;
    struct entries entries = {0};
    if (entries_read(&entries, root) != STATUS_OK)
        return false;
    bool found = false;
    for (int i = 0; i < entries.n && !found; i++) {
        struct entries inner = {0};
        if (join(class, root, entries.list[i]->d_name) != STATUS_OK || !is_folder(class) ||
            entries_read(&inner, class) != STATUS_OK)
            continue;
        for (int k = 0; k < inner.n && !found; k++)
            found = join(file, class, inner.list[k]->d_name) == STATUS_OK &&
                    (is_folder(file) || picture_is_one(file));
        entries_free(&inner);
    }
    entries_free(&entries);
    return found;
}
