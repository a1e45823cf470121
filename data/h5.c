// SPDX-License-Identifier: MIT
// HDF5 files: open, look, list; the lock, the types and the reasons. Data sets are read in
// h5_read.c, outputs written in h5_write.c, attributes in h5_attr.c. Called through h5.h by
// dataset.c, the importers and the checkpoint.
#include "data/h5_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/events.h"
#include "comm/memory.h"
#include "data/guard.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static hid_t links = -1;
static _Thread_local char reason[256];

static herr_t link_refuse(const char *parent_file, const char *parent_group,
                          const char *target_file, const char *target, unsigned *flags, hid_t fapl,
                          void *context)
{
    (void)parent_file, (void)parent_group, (void)target_file, (void)target;
    (void)flags, (void)fapl, (void)context;
    return -1;
}

void h5_lock(void)
{
    if (pthread_mutex_trylock(&mutex) != 0) {
        events_begin(EVENTS_SLOW, "waits for another thread's use of HDF5", 0);
        pthread_mutex_lock(&mutex);
        events_end();
    }
    if (links < 0) // the library's own clean-up at exit crashes where a file could not be closed
        H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (links < 0) {
        links = H5Pcreate(H5P_LINK_ACCESS);
        ASSERT(links >= 0 && H5Pset_elink_cb(links, link_refuse, NULL) >= 0);
    }
}

void h5_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

hid_t h5_links(void)
{
    return links;
}

// The most specific entry of the error stack. Where the system said why, only that.
static herr_t reason_take(unsigned n, const H5E_error2_t *error, void *context)
{
    if (n > 0)
        return 0;
    bool *is_truncated = context;
    *is_truncated = error->min_num == H5E_TRUNCATED;
    const char *text = error->desc ? error->desc : "";
    const char *said = strstr(text, "error message = '");
    if (said) {
        said += strlen("error message = '");
        snprintf(reason, sizeof reason, "%.*s", (int)strcspn(said, "'"), said);
    } else {
        snprintf(reason, sizeof reason, "%s", text);
    }
    return 0;
}

static const char *reason_find(bool *is_truncated)
{
    reason[0] = 0;
    *is_truncated = false;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, reason_take, is_truncated);
    if (!reason[0])
        snprintf(reason, sizeof reason, "no reason given");
    return reason;
}

const char *h5_reason(void)
{
    bool is_truncated = false;
    return reason_find(&is_truncated);
}

const char *h5_version(void)
{
    static char version[32];
    unsigned major = 0, minor = 0, release = 0;
    h5_lock();
    H5get_libversion(&major, &minor, &release);
    if (!version[0])
        snprintf(version, sizeof version, "%u.%u.%u", major, minor, release);
    h5_unlock();
    return version;
}

// ---- types

size_t h5_type_bytes(enum h5_type type)
{
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8, 0};
    return bytes[type];
}

const char *h5_type_name(enum h5_type type)
{
    static const char *const names[] = {"uint8",
                                        "int8",
                                        "int16",
                                        "uint16",
                                        "int32",
                                        "uint32",
                                        "int64",
                                        "uint64",
                                        "float32",
                                        "float64",
                                        "neither integer nor float"};
    return names[type];
}

hid_t h5_native(enum h5_type type)
{
    switch (type) {
    case H5_U8:
        return H5T_NATIVE_UINT8;
    case H5_I8:
        return H5T_NATIVE_INT8;
    case H5_I16:
        return H5T_NATIVE_INT16;
    case H5_U16:
        return H5T_NATIVE_UINT16;
    case H5_I32:
        return H5T_NATIVE_INT32;
    case H5_U32:
        return H5T_NATIVE_UINT32;
    case H5_I64:
        return H5T_NATIVE_INT64;
    case H5_U64:
        return H5T_NATIVE_UINT64;
    case H5_F32:
        return H5T_NATIVE_FLOAT;
    case H5_F64:
        return H5T_NATIVE_DOUBLE;
    case H5_OTHER:
        break;
    }
    return -1;
}

// float16 (IEEE half) is read as float32. Its description is compared field by field.
static bool type_is_half(hid_t type)
{
    size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 0, fraction_bits = 0;
    return H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) == 2 &&
           H5Tget_precision(type) == 16 && H5Tget_offset(type) == 0 &&
           H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits) >= 0 &&
           sign == 15 && exponent == 10 && exponent_bits == 5 && fraction == 0 &&
           fraction_bits == 10 && H5Tget_ebias(type) == 15 && H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

enum h5_type h5_type_of(hid_t type, bool *is_native)
{
    const hid_t little[] = {H5T_STD_U8LE,   H5T_STD_I8LE,  H5T_STD_I16LE, H5T_STD_U16LE,
                            H5T_STD_I32LE,  H5T_STD_U32LE, H5T_STD_I64LE, H5T_STD_U64LE,
                            H5T_IEEE_F32LE, H5T_IEEE_F64LE};
    const hid_t big[] = {H5T_STD_U8BE,   H5T_STD_I8BE,  H5T_STD_I16BE, H5T_STD_U16BE,
                         H5T_STD_I32BE,  H5T_STD_U32BE, H5T_STD_I64BE, H5T_STD_U64BE,
                         H5T_IEEE_F32BE, H5T_IEEE_F64BE};
    for (int i = 0; i < H5_OTHER; i++)
        if (H5Tequal(type, little[i]) > 0 || H5Tequal(type, big[i]) > 0) {
            *is_native = H5Tequal(type, h5_native((enum h5_type)i)) > 0;
            return (enum h5_type)i;
        }
    *is_native = false;
    return type_is_half(type) ? H5_F32 : H5_OTHER;
}

// ---- files

// The signature stands at byte 0, 512, 1024, 2048 ...
static bool signature_find(int fd, uint64_t bytes, uint64_t *place)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char head[8];
    for (uint64_t at = 0; at + 8 <= bytes; at = at ? at * 2 : 512) {
        if (pread(fd, head, sizeof head, (off_t)at) != (ssize_t)sizeof head)
            return false;
        *place = at;
        if (!memcmp(head, signature, sizeof head))
            return true;
    }
    return false;
}

static enum status file_look(struct h5 *file)
{
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
    CHECK(file->fd >= 0, STATUS_DATA, "cannot open %s: %s", file->path, strerror(errno));
    struct stat stat;
    CHECK(fstat(file->fd, &stat) == 0, STATUS_DATA, "cannot open %s: %s", file->path,
          strerror(errno));
    CHECK(S_ISREG(stat.st_mode), STATUS_DATA, "cannot open %s: not a regular file", file->path);
    file->bytes = (uint64_t)stat.st_size;
    CHECK(file->bytes > 0, STATUS_DATA, "%s is empty", file->path);
    uint64_t base;
    CHECK(signature_find(file->fd, file->bytes, &base), STATUS_DATA, "%s is not an HDF5 file",
          file->path);
    const char *refused = h5_root_refuses(file, base);
    CHECK(!refused, STATUS_DATA, "cannot open %s: its root group %s", file->path, refused);
    return STATUS_OK;
}

static enum status file_open_locked(struct h5 *file)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    CHECK(access >= 0, STATUS_ERROR, "HDF5: %s", h5_reason());
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(access, false, true);
#endif
    file->id = H5Fopen(file->path, H5F_ACC_RDONLY, access);
    bool is_truncated = false;
    const char *why = file->id < 0 ? reason_find(&is_truncated) : "";
    H5Pclose(access);
    CHECK(!is_truncated, STATUS_DATA, "%s is truncated: %s", file->path, why);
    CHECK(file->id >= 0, STATUS_DATA, "cannot open %s: damaged (HDF5: %s)", file->path, why);
    return STATUS_OK;
}

enum status h5_open(struct h5 **out, const char *path)
{
    struct h5 *file = NULL;
    *out = NULL;
    guard_name(path);
    TRY(memory_alloc(&file, 1, sizeof *file, "file"));
    file->id = file->fd = -1;
    file->path = strdup(path);
    enum status status = STATUS_OK;
    if (!file->path)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory");
    else
        status = file_look(file);
    if (status == STATUS_OK) {
        h5_lock();
        status = file_open_locked(file);
        h5_unlock();
    }
    if (status != STATUS_OK)
        h5_close(file);
    else
        *out = file;
    return status;
}

void h5_close(struct h5 *file)
{
    if (!file)
        return;
    h5_lock();
    if (file->id >= 0)
        H5Fclose(file->id);
    h5_unlock();
    if (file->temporary)
        unlink(file->temporary);
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->temporary);
    free(file);
}

const char *h5_path(const struct h5 *file)
{
    return file->path;
}

// ---- names

// Links are followed to where the file says, also round and round, or to other files; and a group
// is looked at before a name is looked up in it.
static enum status links_check(struct h5 *file, const char *object)
{
    char part[1024] = "/";
    size_t length = strlen(object);
    CHECK(length < sizeof part, STATUS_DATA, "%s: the name '%.100s...' is too long", file->path,
          object);
    for (size_t i = 0; i < length;) {
        i += strspn(object + i, "/");
        if (i == length)
            break;
        const char *refused = h5_header_refuses(file, file->id, part);
        CHECK(!refused, STATUS_DATA, "%s: '%s' %s", file->path, part, refused);
        i += strcspn(object + i, "/");
        memcpy(part, object, i);
        part[i] = 0;
        H5L_info_t info;
        if (H5Lexists(file->id, part, links) <= 0 || H5Lget_info(file->id, part, &info, links) < 0)
            return STATUS_OK; // H5Oopen will say why
        CHECK(info.type == H5L_TYPE_HARD, STATUS_DATA,
              "%s: '%s' is a link to another %s, which is not followed; copy the data to its place"
              " (h5copy)",
              file->path, part, info.type == H5L_TYPE_SOFT ? "name" : "file");
    }
    return STATUS_OK;
}

bool h5_exists_locked(struct h5 *file, const char *object)
{
    char part[1024] = "/";
    size_t length = strlen(object);
    if (length >= sizeof part)
        return false;
    for (size_t i = 0; i < length;) {
        while (object[i] == '/')
            i++;
        if (i == length)
            break;
        if (h5_header_refuses(file, file->id, part))
            return true; // opening it tells why not
        i += strcspn(object + i, "/");
        memcpy(part, object, i);
        part[i] = 0;
        if (H5Lexists(file->id, part, links) <= 0)
            return false;
    }
    object = length ? object : "/";
    if (h5_header_refuses(file, file->id, object))
        return true; // it is there; opening it tells why not
    hid_t id = H5Oopen(file->id, object, links);
    if (id >= 0)
        H5Oclose(id);
    return id >= 0;
}

bool h5_exists(struct h5 *file, const char *object)
{
    h5_lock();
    bool exists = h5_exists_locked(file, object);
    h5_unlock();
    return exists;
}

enum status h5_object_open(struct h5 *file, const char *name, hid_t *object)
{
    name = *name ? name : "/";
    TRY(links_check(file, name));
    const char *refused = h5_header_refuses(file, file->id, name);
    CHECK(!refused, STATUS_DATA, "%s: '%s' %s", file->path, name, refused);
    *object = H5Oopen(file->id, name, links);
    if (*object < 0) {
        char why[sizeof reason];
        snprintf(why, sizeof why, "%s", h5_reason());
        CHECK(h5_exists_locked(file, name), STATUS_DATA, "%s: there is no '%s' in it (HDF5: %s)",
              file->path, name, why);
        FAIL(STATUS_DATA, "%s: cannot open '%s' (HDF5: %s)", file->path, name, why);
    }
    return STATUS_OK;
}

struct child_list {
    struct h5 *file;
    size_t n, room;
    struct child {
        char *name;
        bool is_dataset;
    } * child;
    bool is_failed;
};

static herr_t child_add(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    struct child_list *list = context;
    bool is_refused = info->type != H5L_TYPE_HARD || h5_header_refuses(list->file, group, name);
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        struct child *more = realloc(list->child, room * sizeof *more);
        if (!more) {
            list->is_failed = true;
            return -1;
        }
        list->child = more;
        list->room = room;
    }
    // What is refused is listed, so that who asks for it is told why.
    hid_t id = is_refused ? -1 : H5Oopen(group, name, links);
    if (id < 0 && !is_refused)
        return 0; // damaged
    list->child[list->n].is_dataset = is_refused || H5Iget_type(id) == H5I_DATASET;
    if (!is_refused)
        H5Oclose(id);
    list->child[list->n].name = strdup(name);
    if (!list->child[list->n].name) {
        list->is_failed = true;
        return -1;
    }
    list->n++;
    return 0;
}

static enum status children_locked(struct h5 *file, const char *group, struct child_list *list)
{
    hid_t id = -1;
    TRY(h5_object_open(file, group, &id));
    if (H5Iget_type(id) != H5I_GROUP) {
        H5Oclose(id);
        FAIL(STATUS_DATA, "%s: '%s' is not a group", file->path, group);
    }
    herr_t result = H5Literate(id, H5_INDEX_NAME, H5_ITER_INC, NULL, child_add, list);
    const char *why = result < 0 ? h5_reason() : "";
    H5Oclose(id);
    CHECK(!list->is_failed, STATUS_ERROR, "out of memory: names of '%s'", group);
    CHECK(result >= 0, STATUS_DATA, "%s: cannot list '%s' (HDF5: %s)", file->path, group, why);
    return STATUS_OK;
}

static int child_compare(const void *a, const void *b)
{
    return strcmp(((const struct child *)a)->name, ((const struct child *)b)->name);
}

enum status h5_list(struct h5 *file, const char *group,
                    enum status (*each)(void *context, const char *name, bool is_dataset),
                    void *context)
{
    struct child_list list = {.file = file};
    h5_lock();
    enum status status = children_locked(file, group, &list);
    h5_unlock();
    if (list.n > 1)
        qsort(list.child, list.n, sizeof *list.child, child_compare);
    for (size_t i = 0; i < list.n && status == STATUS_OK; i++)
        status = each(context, list.child[i].name, list.child[i].is_dataset);
    for (size_t i = 0; i < list.n; i++)
        free(list.child[i].name);
    free(list.child);
    return status;
}
