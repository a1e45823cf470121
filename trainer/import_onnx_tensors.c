// SPDX-License-Identifier: MIT
// Constants of an ONNX file: names, shapes and numbers out of TensorProto messages. See
// import_onnx_private.h.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/import_onnx_private.h"

struct onnx_text onnx_text_of(const struct pb_field *field)
{
    return (struct onnx_text){(const char *)field->data, field->wire == 2 ? field->n : 0};
}

bool onnx_text_is(struct onnx_text a, const char *b)
{
    return strlen(b) == a.n && memcmp(a.at, b, a.n) == 0;
}

int onnx_text_compare(struct onnx_text a, struct onnx_text b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.at, b.at, n) : 0;
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

const char *onnx_shown(struct onnx_text t, char out[FOREIGN_NAME_MAX])
{
    size_t n = t.n < FOREIGN_NAME_MAX - 1 ? t.n : FOREIGN_NAME_MAX - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)t.at[i] < 32 || t.at[i] == 127 ? '?' : t.at[i];
    out[n] = 0;
    return out;
}

enum status onnx_array_grow(void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return STATUS_OK;
    size_t more = *capacity ? 2 * *capacity : 256;
    void **at = array, *grown = realloc(*at, more * size);
    CHECK(grown, STATUS_ERROR, "out of memory: %zu parts of an ONNX file", more);
    *at = grown;
    *capacity = more;
    return STATUS_OK;
}

// ---- tensors

static enum status dim_add(struct onnx_reader *r, struct onnx_tensor *t, uint64_t value)
{
    if (value > (uint64_t)1 << 40)
        return BAD(r, "a tensor of impossible shape");
    if (t->rank < 4)
        t->dim[t->rank] = (size_t)value;
    t->rank++;
    if (__builtin_mul_overflow(t->count, (size_t)value, &t->count))
        return BAD(r, "a tensor of impossible shape");
    return STATUS_OK;
}

static enum status tensor_read(struct onnx_reader *r, struct pb_reader message,
                               struct onnx_tensor *t)
{
    struct pb_field field;
    *t = (struct onnx_tensor){.count = 1, .message = message};
    while (pb_next(&message, &field)) {
        struct pb_reader packed = pb_inner(&field);
        if (field.number == ONNX_TENSOR_DIMS && field.wire == 0)
            TRY(dim_add(r, t, field.value));
        else if (field.number == ONNX_TENSOR_DIMS)
            while (packed.at < packed.end && !packed.is_bad)
                TRY(dim_add(r, t, pb_varint(&packed)));
        else if (field.number == ONNX_TENSOR_TYPE && field.wire == 0)
            t->type = field.value < 100 ? (int)field.value : 0;
        else if (field.number == ONNX_TENSOR_NAME)
            t->name = onnx_text_of(&field);
        else if (field.number == ONNX_TENSOR_RAW && field.wire == 2) {
            t->raw = field.data;
            t->raw_n = field.n;
        } else if (field.number == ONNX_TENSOR_EXTERNAL ||
                   (field.number == ONNX_TENSOR_LOCATION && field.value == 1))
            t->is_external = true;
        if (packed.is_bad && field.number == ONNX_TENSOR_DIMS && field.wire != 0)
            return BAD(r, "a tensor's shape");
    }
    return message.is_bad ? BAD(r, "a tensor is cut short") : STATUS_OK;
}

enum status onnx_tensor_add(struct onnx_reader *r, struct pb_reader message, struct onnx_text name)
{
    CHECK(r->n_tensors < ONNX_TENSORS_MAX, STATUS_DATA, "%s has more than %zu tensors", r->path,
          ONNX_TENSORS_MAX);
    TRY(onnx_array_grow(&r->tensors, r->n_tensors, &r->tensor_capacity, sizeof *r->tensors));
    struct onnx_tensor *t = &r->tensors[r->n_tensors];
    TRY(tensor_read(r, message, t));
    t->name = name.n > 0 ? name : t->name;
    r->n_tensors++;
    return STATUS_OK;
}

int onnx_tensor_compare(const void *a, const void *b)
{
    return onnx_text_compare(((const struct onnx_tensor *)a)->name,
                             ((const struct onnx_tensor *)b)->name);
}

const struct onnx_tensor *onnx_tensor_find(const struct onnx_reader *r, struct onnx_text name)
{
    struct onnx_tensor key = {.name = name};
    return name.n == 0 || r->n_tensors == 0
               ? NULL
               : bsearch(&key, r->tensors, r->n_tensors, sizeof *r->tensors, onnx_tensor_compare);
}

// Numbers that stand as fields: packed (wire 2) or one by one.
static size_t fields_read(struct pb_reader message, int wanted, size_t width, float *out,
                          size_t count)
{
    struct pb_field field;
    size_t n = 0;
    while (pb_next(&message, &field)) {
        struct pb_reader packed = pb_inner(&field);
        if (field.number != (uint32_t)wanted)
            continue;
        if (field.wire == (width == 8 ? 1 : 5)) // one number: its own bytes again
            packed = (struct pb_reader){.at = message.at - width, .end = message.at};
        while ((size_t)(packed.end - packed.at) >= width) {
            uint64_t bits = pb_fixed(&packed, width);
            float x;
            double y;
            uint32_t low = (uint32_t)bits;
            memcpy(&x, &low, sizeof x);
            memcpy(&y, &bits, sizeof y);
            if (n < count)
                out[n] = width == 8 ? (float)y : x;
            n++;
        }
    }
    return n;
}

enum status onnx_tensor_floats_get(struct onnx_reader *r, const struct onnx_tensor *t, float **out)
{
    char name[FOREIGN_NAME_MAX];
    onnx_shown(t->name, name);
    const size_t width = t->type == ONNX_DOUBLE ? 8 : 4;
    CHECK(!t->is_external, STATUS_DATA,
          "%s: '%s' is stored in another file (external data), which is not supported: save the "
          "model as one file",
          r->path, name);
    CHECK(t->type == ONNX_FLOAT || t->type == ONNX_DOUBLE, STATUS_DATA,
          "%s: '%s' has ONNX's type %d, expected float32 or float64", r->path, name, t->type);
    CHECK(t->count > 0 && t->count <= r->n / width, STATUS_DATA,
          "%s: '%s' should have %zu numbers, more than the file has (or none)", r->path, name,
          t->count);
    r->taken += t->count;
    CHECK(r->taken <= r->n, STATUS_DATA, "%s: its layers share too many of its weights", r->path);
    TRY(memory_alloc(out, t->count, sizeof **out, name));
    struct pb_reader raw = {.at = t->raw, .end = t->raw + t->raw_n};
    size_t n = t->raw_n / width;
    bool is_whole = t->raw_n % width == 0;
    for (size_t i = 0; t->raw && i < n && i < t->count; i++) {
        uint64_t bits = pb_fixed(&raw, width);
        uint32_t low = (uint32_t)bits;
        double y;
        memcpy(&y, &bits, sizeof y);
        memcpy(&(*out)[i], &low, sizeof low);
        if (width == 8)
            (*out)[i] = (float)y;
    }
    if (!t->raw) {
        int wanted = t->type == ONNX_DOUBLE ? ONNX_TENSOR_DOUBLES : ONNX_TENSOR_FLOATS;
        n = fields_read(t->message, wanted, width, *out, t->count);
        is_whole = true;
    }
    CHECK(is_whole && n == t->count, STATUS_DATA, "%s: '%s' has %zu numbers, its shape says %zu",
          r->path, name, n, t->count);
    return STATUS_OK;
}
