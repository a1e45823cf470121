// SPDX-License-Identifier: MIT
// What import_onnx.c (nodes) and import_onnx_tensors.c share. Nobody else includes it.
#ifndef SW2_TRAINER_IMPORT_ONNX_PRIVATE_H
#define SW2_TRAINER_IMPORT_ONNX_PRIVATE_H

#include "trainer/import_bytes.h"
#include "trainer/import_foreign.h"
#include "trainer/onnx.h"

#define ONNX_TENSORS_MAX ((size_t)100000)

struct onnx_text {
    const char *at; // not ended by zero
    size_t n;
};

struct onnx_tensor {
    struct onnx_text name;
    int rank, type;
    size_t dim[4], count; // rank above 4: count 0, never a weight of ours
    bool is_external;
    const uint8_t *raw; // NULL: the numbers stand in `floats`
    size_t raw_n;
    struct pb_reader message; // whole, for numbers that are fields
};

struct onnx_reader {
    const char *path;
    uint8_t *bytes; // the file
    size_t n;
    struct onnx_tensor *tensors; // (n_tensors) sorted by name
    size_t n_tensors, tensor_capacity;
    struct onnx_text *turned; // outputs that hold h, w, c in this order
    size_t n_turned, turned_capacity;
    struct foreign_net *net;
    size_t taken; // numbers, of all layers
};

#define BAD(r, what)                                                                               \
    error_set(STATUS_DATA, __FILE__, __LINE__, "%s is no ONNX file, or damaged: %s", (r)->path,    \
              what)

struct onnx_text onnx_text_of(const struct pb_field *field);
bool onnx_text_is(struct onnx_text a, const char *b);
int onnx_text_compare(struct onnx_text a, struct onnx_text b);
// Printable, shortened, ended by zero.
const char *onnx_shown(struct onnx_text t, char out[FOREIGN_NAME_MAX]);
// Room for one more behind n. STATUS_ERROR: memory.
enum status onnx_array_grow(void *array, size_t n, size_t *capacity, size_t size);

// Adds a TensorProto; name: instead of its own, where not empty. STATUS_DATA.
enum status onnx_tensor_add(struct onnx_reader *r, struct pb_reader message, struct onnx_text name);
int onnx_tensor_compare(const void *a, const void *b); // by name, for qsort
// NULL: none of that name. Wants them sorted.
const struct onnx_tensor *onnx_tensor_find(const struct onnx_reader *r, struct onnx_text name);
// The numbers as floats; *out owned by the caller. STATUS_DATA: another type, too few or too many.
enum status onnx_tensor_floats_get(struct onnx_reader *r, const struct onnx_tensor *t, float **out);

#endif
