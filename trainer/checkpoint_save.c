// SPDX-License-Identifier: MIT
// Writing a checkpoint: rank 0 to a temporary name, sealed, on disk, then renamed. The other ranks
// only give their slices of the optimiser's state.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/checkpoint_private.h"

// One file on its way; rank 0 only.
struct saver {
    struct h5 *file;
    char *path, *open_path; // final; complete but not yet sealed
    struct contents contents;
};

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

static enum status saver_begin(struct saver *saver, const char *folder, bool is_best, uint64_t step)
{
    if (!is_best)
        saver->path = folder_step_path(folder, step);
    else if (asprintf(&saver->path, "%s/best.h5", folder) < 0)
        saver->path = NULL;
    if (!saver->path || asprintf(&saver->open_path, "%s.tmp.open", saver->path) < 0)
        saver->open_path = NULL;
    CHECK(saver->open_path, STATUS_ERROR, "out of memory: name of a checkpoint in %s", folder);
    return h5_create(&saver->file, saver->open_path);
}

static enum status saver_vector(struct saver *saver, const char *state,
                                const struct model_param *list, size_t n_list, const float *vector)
{
    for (size_t t = 0; t < n_list; t++) {
        const struct param *param = list[t].param;
        if (!tensor_is_saved(state, param))
            continue;
        char path[CHECKPOINT_PATH_MAX];
        tensor_path(path, state, &list[t]);
        uint64_t dim[4] = {0};
        for (int d = 0; d < param->rank; d++)
            dim[d] = param->dim[d];
        const float *data = vector + param->offset;
        TRY(h5_write(saver->file, path, H5_F32, param->rank, dim, data));
        TRY(contents_add(&saver->contents, path, param->rank, dim, data));
    }
    return STATUS_OK;
}

static enum status saver_end(struct saver *saver, const char *folder,
                             const struct checkpoint_meta *meta)
{
    char hex[33];
    uint32_t version = CHECKPOINT_VERSION;
    TRY(contents_digest(&saver->contents, meta, hex));
    TRY(meta_write(saver->file, meta));
    TRY(h5_attr_write_text(saver->file, "/", "format", "sw2 checkpoint"));
    TRY(h5_attr_write(saver->file, "/", "format_version", H5_U32, 1, &version));
    TRY(h5_attr_write_text(saver->file, "/", "digest", hex));
    struct h5 *file = saver->file;
    saver->file = NULL; // h5_commit frees it in any case
    TRY(h5_commit(file));
    enum status status = seal_write(saver->open_path);
    if (status == STATUS_OK && rename(saver->open_path, saver->path) != 0)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot rename %s to %s: %s",
                           saver->open_path, saver->path, strerror(errno));
    if (status != STATUS_OK) {
        unlink(saver->open_path);
        return status;
    }
    return folder_sync(folder);
}

static void saver_free(struct saver *saver)
{
    h5_close(saver->file); // what is not committed is discarded
    contents_free(&saver->contents);
    free(saver->open_path);
    free(saver->path);
}

enum status checkpoint_save(struct group *group, const char *folder, size_t keep, bool is_best,
                            struct checkpoint_meta *meta, struct update *update,
                            const struct model_param *list, size_t n_list, const float *params)
{
    ASSERT(meta->n_metrics <= CHECKPOINT_METRICS_MAX);
    meta->digest = update_digest(update, params);
    struct saver saver = {0};
    bool is_writer = group->rank == 0;
    enum status status = STATUS_OK;
    if (is_writer) {
        status = saver_begin(&saver, folder, is_best, meta->global_step);
        if (status == STATUS_OK)
            status = saver_vector(&saver, NULL, list, n_list, params);
    }
    for (int i = 0; i < update_n_states(update); i++) {
        const float *vector = update_state_gather(update, i);
        if (is_writer && status == STATUS_OK)
            status = saver_vector(&saver, update_state_name(update, i), list, n_list, vector);
    }
    if (is_writer && status == STATUS_OK)
        status = saver_end(&saver, folder, meta);
    if (is_writer && status == STATUS_OK && !is_best)
        status = folder_prune(folder, meta->global_step, keep);
    saver_free(&saver);
    return group_agree(group, status);
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
