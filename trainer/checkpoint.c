// SPDX-License-Identifier: MIT
// Opening and loading checkpoints: rank 0 reads and verifies, the others receive. See checkpoint.h.
#include "trainer/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/checkpoint_private.h"

struct checkpoint {
    struct group *group;
    char *path;
    struct checkpoint_meta meta;
    char states[256];         // names of the optimiser's states in the file, "adam_m, adam_v"
    struct h5 *file;          // rank 0
    struct contents contents; // rank 0: all tensors
};

// ---- verify, on rank 0

// Walks a group and adds every tensor in it.
struct walk {
    struct checkpoint *checkpoint;
    const char *group;
};

static enum status tensor_verify(struct checkpoint *c, const char *path)
{
    struct h5_info info;
    TRY(h5_info(c->file, path, &info));
    CHECK(info.type == H5_F32 && info.rank > 0, STATUS_DATA,
          "checkpoint %s: '%s' is %s of rank %d, expected a float32 tensor", c->path, path,
          h5_type_name(info.type), info.rank);
    size_t count = 1;
    for (int d = 0; d < info.rank; d++)
        CHECK(!__builtin_mul_overflow(count, info.dim[d], &count), STATUS_DATA,
              "checkpoint %s: '%s' has an impossible shape", c->path, path);
    float *data = NULL;
    TRY(memory_alloc(&data, count, sizeof *data, path));
    enum status status = h5_read_rows(c->file, path, 0, info.dim[0], H5_F32, data);
    if (status == STATUS_OK)
        status = contents_add(&c->contents, path, info.rank, info.dim, data);
    free(data);
    return status;
}

static enum status walk_child(void *context, const char *name, bool is_dataset)
{
    const struct walk *walk = context;
    struct checkpoint *c = walk->checkpoint;
    char path[CHECKPOINT_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", walk->group, name);
    CHECK(n > 0 && (size_t)n < sizeof path, STATUS_DATA,
          "checkpoint %s: name of '%s' in '%s' is too long", c->path, name, walk->group);
    if (is_dataset)
        return tensor_verify(c, path);
    if (strcmp(walk->group, "/optimizer") == 0) {
        size_t used = strlen(c->states);
        snprintf(c->states + used, sizeof c->states - used, "%s%s", used ? ", " : "", name);
    }
    struct walk inner = {c, path};
    return h5_list(c->file, path, walk_child, &inner);
}

static enum status format_check(struct checkpoint *c)
{
    char *format = NULL;
    uint32_t version = 0;
    TRY(h5_attr_read_text(c->file, "/", "format", &format));
    bool is_ours = strcmp(format, "sw2 checkpoint") == 0;
    free(format);
    CHECK(is_ours, STATUS_DATA, "%s is no sw2 checkpoint", c->path);
    TRY(h5_attr_read(c->file, "/", "format_version", H5_U32, 1, &version));
    CHECK(version == CHECKPOINT_VERSION, STATUS_DATA,
          "checkpoint %s has format %u, this program reads format %d", c->path, version,
          CHECKPOINT_VERSION);
    return STATUS_OK;
}

static enum status file_verify(struct checkpoint *c)
{
    char *sealed = NULL, hex[33];
    TRY(seal_check(c->path));
    TRY(h5_open(&c->file, c->path));
    TRY(format_check(c));
    TRY(meta_read(c->file, &c->meta));
    struct walk root = {c, ""};
    TRY(h5_list(c->file, "/", walk_child, &root));
    TRY(contents_digest(&c->contents, &c->meta, hex));
    TRY(h5_attr_read_text(c->file, "/", "digest", &sealed));
    enum status status = STATUS_OK;
    if (strcmp(sealed, hex) != 0)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "checkpoint %s is damaged: digest of its contents is %s, expected %s",
                           c->path, hex, sealed);
    free(sealed);
    return status;
}

static void file_forget(struct checkpoint *c)
{
    h5_close(c->file);
    c->file = NULL;
    contents_free(&c->contents);
    meta_free(&c->meta);
    memset(&c->meta, 0, sizeof c->meta);
    c->states[0] = '\0';
    free(c->path);
    c->path = NULL;
}

// The newest valid file of a folder; c->path stays NULL where there is none at all.
static enum status folder_open(struct checkpoint *c, const char *folder)
{
    uint64_t *steps;
    size_t n;
    TRY(folder_steps(folder, &steps, &n));
    enum status status = STATUS_OK;
    for (size_t i = n; i-- > 0;) {
        c->path = folder_step_path(folder, steps[i]);
        status =
            c->path ? file_verify(c) : error_set(STATUS_ERROR, __FILE__, __LINE__, "out of memory");
        if (status != STATUS_DATA)
            break;
        if (i > 0)
            log_warn("%s; trying the one before", error_text());
        else if (n > 1)
            error_add(status, "and the %zu newer ones in %s are damaged too", n - 1, folder);
        file_forget(c);
    }
    free(steps);
    return status;
}

static enum status path_open(struct checkpoint *c, const char *path)
{
    struct stat stat_of;
    int result = stat(path, &stat_of);
    size_t length = strlen(path);
    bool is_file = length > 3 && strcmp(path + length - 3, ".h5") == 0;
    bool is_folder = result == 0 && S_ISDIR(stat_of.st_mode);
    if (is_folder || (result != 0 && errno == ENOENT && !is_file)) {
        TRY(folder_open(c, path));
        char *inside = NULL; // a run's folder
        if (c->path || !is_folder || asprintf(&inside, "%s/checkpoints", path) < 0)
            return STATUS_OK;
        enum status status = folder_open(c, inside);
        free(inside);
        return status;
    }
    c->path = strdup(path);
    CHECK(c->path, STATUS_ERROR, "out of memory: name of checkpoint %s", path);
    return file_verify(c);
}

// ---- open

// What rank 0 found, to all.
static enum status found_broadcast(struct checkpoint *c)
{
    struct group *group = c->group;
    uint64_t length = group->rank == 0 ? strlen(c->path) : 0;
    group_broadcast(group, &length, sizeof length, 0);
    enum status status = STATUS_OK;
    if (group->rank != 0)
        status = memory_alloc(&c->path, length + 1, 1, "name of a checkpoint");
    TRY(group_agree(group, status));
    group_broadcast(group, c->path, length, 0);
    group_broadcast(group, c->states, sizeof c->states, 0);
    return meta_broadcast(group, &c->meta);
}

enum status checkpoint_open(struct checkpoint **checkpoint, struct group *group, const char *path)
{
    *checkpoint = NULL;
    struct checkpoint *c = NULL;
    enum status status = memory_alloc(&c, 1, sizeof *c, "checkpoint");
    if (status == STATUS_OK) {
        c->group = group;
        if (group->rank == 0)
            status = path_open(c, path);
    }
    status = group_agree(group, status);
    uint8_t is_found = status == STATUS_OK && c->path;
    if (status == STATUS_OK)
        group_broadcast(group, &is_found, sizeof is_found, 0);
    if (is_found && status == STATUS_OK)
        status = found_broadcast(c);
    if (is_found && status == STATUS_OK)
        *checkpoint = c;
    else
        checkpoint_close(c);
    return status;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    file_forget(checkpoint);
    free(checkpoint);
}

const struct checkpoint_meta *checkpoint_meta(const struct checkpoint *checkpoint)
{
    return &checkpoint->meta;
}

const char *checkpoint_path(const struct checkpoint *checkpoint)
{
    return checkpoint->path;
}

bool checkpoint_has_state(const struct checkpoint *checkpoint, const char *state)
{
    size_t length = strlen(state);
    for (const char *at = checkpoint->states; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && strncmp(at, state, n) == 0)
            return true;
        at += n + strspn(at + n, ", ");
    }
    return false;
}

// ---- load

static void shape_text(int rank, const uint64_t *dim, char text[128])
{
    size_t used = 0;
    text[0] = '\0';
    for (int d = 0; d < rank && used < 128; d++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%llu", d ? " x " : "",
                                 (unsigned long long)dim[d]);
}

static enum status shape_check(struct checkpoint *c, const char *path, const struct param *param)
{
    CHECK(h5_exists(c->file, path), STATUS_USAGE,
          "checkpoint %s has no '%s', which this network needs", c->path, path);
    struct h5_info info;
    TRY(h5_info(c->file, path, &info));
    uint64_t dim[4] = {0};
    bool is_same = info.rank == param->rank;
    for (int d = 0; d < param->rank; d++) {
        dim[d] = param->dim[d];
        is_same = is_same && info.dim[d] == dim[d];
    }
    char got[128], want[128];
    shape_text(info.rank, info.dim, got);
    shape_text(param->rank, dim, want);
    CHECK(is_same, STATUS_USAGE, "checkpoint %s: '%s' is %s, this network's is %s", c->path, path,
          got, want);
    return STATUS_OK;
}

// Reads tensors from rank 0's file to their places in a vector.
static enum status tensors_read(struct checkpoint *c, const char *state,
                                const struct model_param *list, size_t n_list, float *vector)
{
    for (size_t t = 0; t < n_list; t++) {
        const struct param *param = list[t].param;
        if (!tensor_is_saved(state, param))
            continue;
        char path[CHECKPOINT_PATH_MAX];
        tensor_path(path, state, &list[t]);
        TRY(shape_check(c, path, param));
        TRY(h5_read_rows(c->file, path, 0, param->dim[0], H5_F32, vector + param->offset));
    }
    return STATUS_OK;
}

// All of one vector; padding is zero.
static enum status vector_read(struct checkpoint *c, const char *state,
                               const struct model_param *list, size_t n_list, float *vector,
                               size_t n)
{
    memset(vector, 0, n * sizeof *vector);
    return tensors_read(c, state, list, n_list, vector);
}

// Tensors of the file under /model (or a state) that the network does not have.
static enum status unknown_check(struct checkpoint *c, const char *state,
                                 const struct model_param *list, size_t n_list)
{
    char prefix[CHECKPOINT_PATH_MAX], path[CHECKPOINT_PATH_MAX];
    int length = state ? snprintf(prefix, sizeof prefix, "/optimizer/%s/", state)
                       : snprintf(prefix, sizeof prefix, "/model/");
    for (size_t i = 0; i < c->contents.n; i++) {
        const char *name = c->contents.entry[i].path;
        bool is_known = strncmp(name, prefix, (size_t)length) != 0;
        for (size_t t = 0; t < n_list && !is_known; t++) {
            tensor_path(path, state, &list[t]);
            is_known = tensor_is_saved(state, list[t].param) && strcmp(path, name) == 0;
        }
        CHECK(is_known, STATUS_USAGE, "checkpoint %s holds '%s', which this network does not have",
              c->path, name);
    }
    return STATUS_OK;
}

enum status checkpoint_load_weights(struct checkpoint *checkpoint, const char *state,
                                    const struct model_param *list, size_t n_list, float *params,
                                    size_t n)
{
    struct checkpoint *c = checkpoint;
    CHECK(!state || checkpoint_has_state(c, state), STATUS_USAGE,
          "checkpoint %s has no state '%s', only: %s", c->path, state,
          c->states[0] ? c->states : "none");
    enum status status = STATUS_OK;
    if (c->group->rank == 0) {
        status = unknown_check(c, state, list, n_list);
        if (status == STATUS_OK)
            status = vector_read(c, state, list, n_list, params, n);
    }
    TRY(group_agree(c->group, status));
    group_broadcast(c->group, params, n * sizeof *params, 0);
    return STATUS_OK;
}

enum status checkpoint_load_some(struct checkpoint *checkpoint, const char *state,
                                 const struct model_param *list, size_t n_list, float *params,
                                 size_t n)
{
    struct checkpoint *c = checkpoint;
    enum status status = STATUS_OK;
    if (c->group->rank == 0)
        status = tensors_read(c, state, list, n_list, params);
    TRY(group_agree(c->group, status));
    group_broadcast(c->group, params, n * sizeof *params, 0);
    return STATUS_OK;
}

// The same on all ranks: no agreement needed.
static enum status states_check(const struct checkpoint *c, const struct update *update)
{
    char want[256] = "";
    bool is_same = true;
    size_t n = c->states[0] ? 1 : 0;
    for (const char *at = c->states; (at = strchr(at, ',')); at++)
        n++;
    for (int i = 0; i < update_n_states(update); i++) {
        size_t used = strlen(want);
        const char *name = update_state_name(update, i);
        snprintf(want + used, sizeof want - used, "%s%s", used ? ", " : "", name);
        is_same = is_same && checkpoint_has_state(c, name);
    }
    CHECK(is_same && n == (size_t)update_n_states(update), STATUS_USAGE,
          "checkpoint %s holds the optimiser's states %s, this run needs %s (another optimizer, or "
          "ema switched on or off)",
          c->path, c->states[0] ? c->states : "none", want[0] ? want : "none");
    return STATUS_OK;
}

enum status checkpoint_load(struct checkpoint *checkpoint, struct update *update,
                            const struct model_param *list, size_t n_list, float *params, size_t n)
{
    struct checkpoint *c = checkpoint;
    TRY(checkpoint_load_weights(c, NULL, list, n_list, params, n));
    TRY(states_check(c, update));
    for (int i = 0; i < update_n_states(update); i++) {
        enum status status = STATUS_OK;
        const char *name = update_state_name(update, i);
        if (c->group->rank == 0) {
            status = unknown_check(c, name, list, n_list);
            if (status == STATUS_OK)
                status = vector_read(c, name, list, n_list, update_state_buffer(update), n);
        }
        TRY(group_agree(c->group, status));
        update_state_scatter(update, i);
    }
    struct update_digest got = update_digest(update, params);
    CHECK(got.params == c->meta.digest.params && got.state == c->meta.digest.state, STATUS_VERIFY,
          "checkpoint %s: digests of what was loaded are %016llx %016llx, saved were %016llx "
          "%016llx",
          c->path, (unsigned long long)got.params, (unsigned long long)got.state,
          (unsigned long long)c->meta.digest.params, (unsigned long long)c->meta.digest.state);
    return STATUS_OK;
}
