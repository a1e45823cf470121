// SPDX-License-Identifier: MIT
// Writing one checkpoint file from a snapshot, on rank 0: to a temporary name, sealed, on disk,
// then renamed. Called by checkpoint_writer.c, in its thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trainer/checkpoint_private.h"

// HDF5's lock is held for one slice at a time: the loader may need it.
#define SLICE_BYTES ((size_t)1 << 20)

void tensor_path(char path[CHECKPOINT_PATH_MAX], const char *state, const struct model_param *p)
{
    int n = state ? snprintf(path, CHECKPOINT_PATH_MAX, "/optimizer/%s/%s", state, p->name)
                  : snprintf(path, CHECKPOINT_PATH_MAX, "/model/%s", p->name);
    ASSERT(n > 0 && n < CHECKPOINT_PATH_MAX);
}

bool tensor_is_saved(const char *state, const struct param *param)
{
    return !state || strcmp(state, "ema") == 0 || strcmp(state, "lookahead") == 0 ||
           param->kind == PARAM_WEIGHT || param->kind == PARAM_BIAS;
}

static enum status rows_write(struct h5_set *set, const struct param *param, const float *data)
{
    size_t row = param->count / param->dim[0], row_bytes = row * sizeof *data;
    size_t most = row_bytes < SLICE_BYTES ? SLICE_BYTES / row_bytes : 1;
    for (size_t first = 0; first < param->dim[0]; first += most) {
        size_t left = param->dim[0] - first;
        TRY(h5_set_write(set, first, left < most ? left : most, H5_F32, data + first * row));
    }
    return STATUS_OK;
}

static enum status tensor_write(struct h5 *file, struct contents *contents, const char *state,
                                const struct model_param *tensor, const float *vector)
{
    const struct param *param = tensor->param;
    const float *data = vector + param->offset;
    char path[CHECKPOINT_PATH_MAX];
    uint64_t dim[4] = {0};
    for (int d = 0; d < param->rank; d++)
        dim[d] = param->dim[d];
    tensor_path(path, state, tensor);
    struct h5_set *set;
    TRY(h5_create_set(file, path, H5_F32, param->rank, dim, &set));
    enum status status = param->count > 0 ? rows_write(set, param, data) : STATUS_OK;
    h5_set_close(set);
    TRY(status);
    return contents_add(contents, path, param->rank, dim, data);
}

static enum status tensors_write(struct h5 *file, const struct snapshot *snapshot,
                                 struct contents *contents)
{
    for (int v = 0; v < snapshot->n_vectors; v++) {
        const char *state = snapshot->state[v];
        for (size_t t = 0; t < snapshot->n_list; t++)
            if (tensor_is_saved(state, snapshot->list[t].param))
                TRY(tensor_write(file, contents, state, &snapshot->list[t], snapshot->vector[v]));
    }
    return STATUS_OK;
}

static enum status attributes_write(struct h5 *file, const struct snapshot *snapshot,
                                    struct contents *contents)
{
    char hex[33];
    uint32_t version = CHECKPOINT_VERSION;
    TRY(contents_digest(contents, &snapshot->meta, hex));
    TRY(meta_write(file, &snapshot->meta));
    TRY(h5_attr_write_text(file, "/", "format", "sw2 checkpoint"));
    TRY(h5_attr_write(file, "/", "format_version", H5_U32, 1, &version));
    return h5_attr_write_text(file, "/", "digest", hex);
}

enum status snapshot_write(const struct snapshot *snapshot, struct contents *contents,
                           const char *folder, const char *path, const char *open_path)
{
    struct h5 *file;
    contents->n = 0;
    TRY(h5_create(&file, open_path));
    enum status status = tensors_write(file, snapshot, contents);
    if (status == STATUS_OK)
        status = attributes_write(file, snapshot, contents);
    if (status != STATUS_OK) {
        h5_close(file); // what is not ended is discarded
        return status;
    }
    TRY(h5_end(file));
    status = seal_write(open_path);
    if (status == STATUS_OK && rename(open_path, path) != 0)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot rename %s to %s: %s",
                           open_path, path, strerror(errno));
    if (status != STATUS_OK) {
        unlink(open_path);
        return status;
    }
    return folder_sync(folder);
}

uint64_t checkpoint_bytes(const struct update *update, const struct model_param *list,
                          size_t n_list)
{
    uint64_t floats = 0;
    for (size_t t = 0; t < n_list; t++) {
        floats += list[t].param->count;
        for (int i = 0; i < update_n_states(update); i++)
            if (tensor_is_saved(update_state_name(update, i), list[t].param))
                floats += list[t].param->count;
    }
    return floats * sizeof(float);
}
