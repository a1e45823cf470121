// SPDX-License-Identifier: MIT
// The only user of HDF5: checked wrapper with one lock (HDF5 is not used from two threads at once),
// its error stack turned into one error text. Inputs are opened read-only and without file locks
// (NFS, Lustre). Outputs go to a temporary name in the same folder and reach their name only by
// h5_commit.
#ifndef SW2_DATA_H5_H
#define SW2_DATA_H5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

#define H5_RANK_MAX 8

enum h5_type {
    H5_U8,
    H5_I8,
    H5_I16,
    H5_U16,
    H5_I32,
    H5_U32,
    H5_I64,
    H5_U64,
    H5_F32,
    H5_F64,
    H5_OTHER
};

size_t h5_type_bytes(enum h5_type type);
const char *h5_type_name(enum h5_type type); // "uint8", "float32", ...

struct h5_info {
    enum h5_type type;
    int rank;
    uint64_t dim[H5_RANK_MAX];
    uint64_t chunk[H5_RANK_MAX]; // 0 when contiguous
    bool is_compressed;
    uint64_t stored_bytes;
};

struct h5; // an open file

// STATUS_DATA naming the file: missing, not HDF5, truncated.
enum status h5_open(struct h5 **file, const char *path);
enum status h5_create(struct h5 **file, const char *path); // writes path.tmp.<pid>; STATUS_ERROR
// Flushes, closes, fsyncs, renames to the final name, fsyncs the folder. Frees *file in any case;
// on error the temporary file is removed. STATUS_ERROR (full disk, ...).
enum status h5_commit(struct h5 *file);
// As h5_commit, but nothing is fsync'ed: for who adds to the file and does it himself.
enum status h5_end(struct h5 *file);
void h5_close(
    struct h5 *file); // of an input; of an output: discards the temporary file. NULL is allowed.
const char *h5_path(const struct h5 *file);

bool h5_exists(struct h5 *file, const char *object); // path of a group or data set inside the file
// Names of the children of a group, sorted; each callback gets the child's name and whether it is a
// data set.
enum status h5_list(struct h5 *file, const char *group,
                    enum status (*each)(void *context, const char *name, bool is_dataset),
                    void *context);

enum status h5_info(struct h5 *file, const char *dataset, struct h5_info *out);
// Reads rows [first, first + count) of the first dimension as `as` (HDF5 converts numbers) into
// out.
enum status h5_read_rows(struct h5 *file, const char *dataset, uint64_t first, uint64_t count,
                         enum h5_type as, void *out);
// An open data set, for many reads.
struct h5_set;
enum status h5_set_open(struct h5 *file, const char *dataset, struct h5_set **set);
const struct h5_info *h5_set_info(const struct h5_set *set);
enum status h5_set_read(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                        void *out);
enum status h5_set_write(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                         const void *in);
// Looks chunks up in the file's index (up to 65,536 of them, spread evenly) without reading them.
enum status h5_set_probe(struct h5_set *set);
void h5_set_close(struct h5_set *set); // NULL is allowed
// Memory that reading may still take, bytes: undone chunks that are kept. 0 where contiguous.
size_t h5_set_cache_bytes(const struct h5_set *set);

// Missing groups on the way are made. Contiguous layout, nothing written yet (write by
// h5_set_write).
enum status h5_create_set(struct h5 *file, const char *dataset, enum h5_type type, int rank,
                          const uint64_t *dim, struct h5_set **set);
enum status h5_write(struct h5 *file, const char *dataset, enum h5_type type, int rank,
                     const uint64_t *dim, const void *data); // create and write all

// Attributes of an object ("/" for the file). Reading a missing one: STATUS_DATA naming it.
bool h5_attr_exists(struct h5 *file, const char *object, const char *name);
enum status h5_attr_write_text(struct h5 *file, const char *object, const char *name,
                               const char *text);
enum status h5_attr_read_text(struct h5 *file, const char *object, const char *name,
                              char **text); // malloc'ed
enum status h5_attr_write(struct h5 *file, const char *object, const char *name, enum h5_type type,
                          size_t n, const void *data);
// Exactly n elements must be there.
enum status h5_attr_read(struct h5 *file, const char *object, const char *name, enum h5_type as,
                         size_t n, void *out);
enum status h5_attr_count(struct h5 *file, const char *object, const char *name, size_t *n);
// Lists of texts (class names). UTF-8 of one fixed length, padded with zeros (h5_attr.c says why);
// any kind of text is read. Each text and the array are malloc'ed; free with h5_texts_free.
enum status h5_attr_write_texts(struct h5 *file, const char *object, const char *name, size_t n,
                                const char *const *texts);
enum status h5_attr_read_texts(struct h5 *file, const char *object, const char *name, size_t *n,
                               char ***texts);
void h5_texts_free(size_t n, char **texts);

const char *h5_version(void); // "1.10.8"

#endif
