// SPDX-License-Identifier: MIT
// Shared by h5.c and the other h5_*.c; by no one else.
#ifndef SW2_DATA_H5_PRIVATE_H
#define SW2_DATA_H5_PRIVATE_H

#include <hdf5.h>

#include "data/h5.h"

struct h5 {
    hid_t id;
    char *path;
    char *temporary; // of an output, else NULL
    uint64_t bytes;  // size of an input
    int fd;          // of an input: raw reads of contiguous data; -1 for outputs
    int failed;      // of an output: errno of the first failed write, else 0
    // Addresses of the groups last found sound (h5_header.c); 0: none.
    uint64_t sound[16];
    unsigned n_sound;
};

// A number of n bytes, the lowest first.
static inline uint64_t h5_number(const unsigned char *bytes, int n)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

// Reads n bytes of an input at an address, which counts from base. False: they are not all there.
bool h5_bytes_read(const struct h5 *file, uint64_t base, uint64_t at, uint64_t n, void *out);

// gzip can make 1,032 bytes of one; no file with honest content claims more.
#define H5_EXPANSION_MAX 2048
#define H5_FILTERS_MAX 32

struct h5_chunks; // of h5_chunk.c

struct h5_set {
    struct h5 *file;          // borrowed
    hid_t id, type;           // type: as stored
    struct h5_chunks *chunks; // chunked and undone by h5_chunk.c; else NULL
    char *name;
    struct h5_info info;
    uint64_t row_elements; // product of dim[1...]
    size_t type_bytes;     // of a number as stored
    bool is_native;        // numbers are stored in this machine's byte order
    uint64_t offset;       // of the first byte in the file, where raw reads are possible; else 0
};

// The one lock. h5_lock also turns HDF5's own error printing off for this thread.
void h5_lock(void);
void h5_unlock(void);

// Why the last HDF5 call failed, in a few words, of this thread: borrowed until the next call.
const char *h5_reason(void);

hid_t h5_native(enum h5_type type); // memory type; not to be closed
hid_t h5_links(void);               // link access list that follows no link to other files
// The number type of a stored type; H5_OTHER when it is not one of ours.
enum h5_type h5_type_of(hid_t type, bool *is_native);

// The following are called with the lock held.
// Why this object is not opened, for a message after its name (h5_header.c); NULL: it may be.
// Only for a name in a group that was looked at itself.
const char *h5_header_refuses(struct h5 *file, hid_t at, const char *name);
// The same of the root group before the file is opened; base: where the signature is.
const char *h5_root_refuses(const struct h5 *file, uint64_t base);
// Does the collection at this address of the global heap hold the object, of at least `length`
// bytes, and is it sound?
bool h5_heap_holds(const struct h5 *file, uint64_t base, uint64_t at, uint64_t object,
                   uint64_t length);
// Are the tree and the heap of a group with a symbol table sound, all the way down? tree_k,
// table_k: half of the most children a node of the tree and a symbol table may have (H5Pget_sym_k).
bool h5_group_is_sound(const struct h5 *file, uint64_t base, uint64_t tree, uint64_t heap,
                       unsigned tree_k, unsigned table_k);
// Is a type's description whole, in these n bytes (h5_type.c)?
bool h5_type_is_sound(const unsigned char *data, uint64_t n);
// Does the tree of a chunked set (version 1; rank: with the element) give every chunk these bytes?
// For sets without filters (h5_chunk_tree.c).
bool h5_chunk_tree_is_sound(const struct h5 *file, uint64_t base, uint64_t tree, int rank,
                            uint64_t chunk_bytes);
enum status h5_object_open(struct h5 *file, const char *name, hid_t *object);
bool h5_exists_locked(struct h5 *file, const char *object);
// Fills file, name, info from an open data set; takes the id over, also on error.
enum status h5_set_new(struct h5 *file, const char *name, hid_t id, struct h5_set **set);

// Has files be made by the driver of h5_output.c, which keeps the first error in *failed and tells
// HDF5 of none. False: HDF5 refused.
bool h5_output_choose(hid_t access, int *failed);
// STATUS_ERROR when a write to this output has failed. Inputs: STATUS_OK.
enum status h5_output_check(const struct h5 *file);

// Prepares the reading of a chunked set past HDF5's own (set->chunks); left NULL where HDF5 must do
// it (szip). On error set->chunks is to be freed all the same.
enum status h5_chunks_init(struct h5_set *set, hid_t plist);
void h5_chunks_free(struct h5_chunks *chunks);
enum status h5_chunks_probe(struct h5_set *set);
enum status h5_chunks_read(struct h5_set *set, uint64_t first, uint64_t count, enum h5_type as,
                           void *out);

#endif
