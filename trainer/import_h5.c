// SPDX-License-Identifier: MIT
// A PyTorch state_dict in HDF5, as `for name, x in model.state_dict().items(): file[name] = x`
// writes it: data sets layer1.0.conv1.weight, or groups of them. What a layer is follows from its
// arrays; their order from the names, numbers in them as numbers. See import_foreign.h.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "data/h5.h"
#include "trainer/import_foreign.h"

#define DEPTH_MAX 32

struct walk {
    struct foreign_net *net;
    struct h5 *file;
    const char *group; // path in the file: "", "/layer1"
    int depth;
};

// "layer1.0.conv1", "weight" of the path "/layer1/0/conv1/weight" or "/layer1.0.conv1.weight".
static enum status name_split(const struct walk *walk, const char *path,
                              char prefix[FOREIGN_NAME_MAX], const char **last)
{
    size_t n = strlen(path + 1);
    CHECK(n < FOREIGN_NAME_MAX, STATUS_DATA, "%s: name '%.80s...' is too long", h5_path(walk->file),
          path);
    memcpy(prefix, path + 1, n + 1);
    for (size_t i = 0; i < n; i++)
        if (prefix[i] == '/')
            prefix[i] = '.';
    char *dot = strrchr(prefix, '.');
    if (dot)
        *dot = 0;
    else
        prefix[0] = 0;
    *last = path + 1 + (dot ? dot - prefix + 1 : 0);
    return STATUS_OK;
}

static struct foreign_layer *layer_find(struct foreign_net *net, const char *name)
{
    for (size_t i = net->n; i-- > 0;)
        if (strcmp(net->layers[i].name, name) == 0)
            return &net->layers[i];
    return NULL;
}

// Which array of the layer is this? NULL: none that we know.
static float **slot_of(struct foreign_layer *layer, const char *last)
{
    return strcmp(last, "weight") == 0         ? &layer->weight
           : strcmp(last, "bias") == 0         ? &layer->bias
           : strcmp(last, "running_mean") == 0 ? &layer->mean
           : strcmp(last, "running_var") == 0  ? &layer->variance
                                               : NULL;
}

static enum status weight_shape(const struct walk *walk, const char *path,
                                const struct h5_info *info, struct foreign_layer *layer)
{
    static const enum foreign_kind kinds[] = {FOREIGN_NORM, FOREIGN_NORM, FOREIGN_DENSE,
                                              FOREIGN_CONV, FOREIGN_CONV};
    CHECK(info->rank >= 1 && info->rank <= 4, STATUS_DATA,
          "%s: '%s' has %d dimensions: no convolution over images, dense layer or batch-norm",
          h5_path(walk->file), path, info->rank);
    CHECK(!layer->dim[0] || layer->dim[0] == info->dim[0], STATUS_DATA,
          "%s: '%s' has %zu outputs, its bias or statistics %zu", h5_path(walk->file), path,
          (size_t)info->dim[0], layer->dim[0]);
    layer->kind = kinds[info->rank];
    for (int d = 0; d < info->rank; d++)
        layer->dim[d] = (size_t)info->dim[d];
    if (info->rank == 3) { // a convolution over one dimension: O, I, 1, W
        layer->dim[3] = layer->dim[2];
        layer->dim[2] = 1;
    }
    return STATUS_OK;
}

static enum status array_take(struct walk *walk, const char *path)
{
    char prefix[FOREIGN_NAME_MAX];
    const char *last = path, *file = h5_path(walk->file);
    struct foreign_layer probe = {0};
    struct h5_info info;
    TRY(name_split(walk, path, prefix, &last));
    if (strcmp(last, "num_batches_tracked") == 0)
        return STATUS_OK;
    if (!slot_of(&probe, last)) {
        log_warn("%s: '%s' is none of weight, bias, running_mean, running_var and is left out",
                 file, path);
        return STATUS_OK;
    }
    TRY(h5_info(walk->file, path, &info));
    CHECK(info.type == H5_F32 || info.type == H5_F64, STATUS_DATA,
          "%s: '%s' is %s, expected float32 or float64", file, path, h5_type_name(info.type));
    bool is_weight = strcmp(last, "weight") == 0;
    CHECK(info.rank >= 1 && (is_weight || info.rank == 1), STATUS_DATA,
          "%s: '%s' has %d dimensions, expected 1", file, path, info.rank);
    size_t count = 1;
    for (int d = 0; d < info.rank; d++)
        CHECK(info.dim[d] > 0 && !__builtin_mul_overflow(count, info.dim[d], &count), STATUS_DATA,
              "%s: '%s' has an impossible shape", file, path);
    struct foreign_layer *layer = layer_find(walk->net, prefix);
    if (!layer) {
        TRY(foreign_add(walk->net, file, &layer));
        memcpy(layer->name, prefix, sizeof prefix);
        layer->kind = FOREIGN_KINDS; // its weight will tell
    }
    if (is_weight)
        TRY(weight_shape(walk, path, &info, layer));
    else if (!layer->dim[0])
        layer->dim[0] = (size_t)info.dim[0];
    CHECK(is_weight || layer->dim[0] == info.dim[0], STATUS_DATA,
          "%s: '%s' has %zu numbers, its layer has %zu outputs", file, path, (size_t)info.dim[0],
          layer->dim[0]);
    float **slot = slot_of(layer, last);
    CHECK(!*slot, STATUS_DATA, "%s: '%s' is there twice", file, path);
    TRY(memory_alloc(slot, count, sizeof **slot, path));
    return h5_read_rows(walk->file, path, 0, info.dim[0], H5_F32, *slot);
}

static enum status child_walk(void *context, const char *name, bool is_dataset)
{
    struct walk *walk = context;
    char path[4 * FOREIGN_NAME_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", walk->group, name);
    CHECK(n > 0 && (size_t)n < sizeof path && walk->depth < DEPTH_MAX, STATUS_DATA,
          "%s: groups in '%.80s' are too deep", h5_path(walk->file), walk->group);
    if (is_dataset)
        return array_take(walk, path);
    struct walk inner = {walk->net, walk->file, path, walk->depth + 1};
    return h5_list(walk->file, path, child_walk, &inner);
}

// layer2 before layer10.
static int name_compare(const void *a, const void *b)
{
    const char *x = ((const struct foreign_layer *)a)->name;
    const char *y = ((const struct foreign_layer *)b)->name;
    while (*x && *y) {
        if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) {
            char *x_end, *y_end;
            unsigned long long i = strtoull(x, &x_end, 10), j = strtoull(y, &y_end, 10);
            if (i != j)
                return i < j ? -1 : 1;
            x = x_end;
            y = y_end;
        } else if (*x != *y) {
            return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
        } else {
            x++;
            y++;
        }
    }
    return *x ? 1 : *y ? -1 : 0;
}

static enum status layers_finish(struct foreign_net *net, const char *path)
{
    for (size_t i = 0; i < net->n; i++) {
        struct foreign_layer *layer = &net->layers[i];
        bool has_statistics = layer->mean && layer->variance;
        if (layer->kind == FOREIGN_KINDS) // no weight: a norm without one
            layer->kind = FOREIGN_NORM;
        CHECK(layer->kind != FOREIGN_NORM || has_statistics, STATUS_DATA,
              "%s: '%s' has a weight for each channel and no running statistics: no batch-norm, "
              "for which alone there is a layer here",
              path, layer->name);
        CHECK(layer->kind == FOREIGN_NORM || !(layer->mean || layer->variance), STATUS_DATA,
              "%s: '%s' has running statistics and is no batch-norm", path, layer->name);
    }
    if (net->n > 1)
        qsort(net->layers, net->n, sizeof *net->layers, name_compare);
    CHECK(net->n > 0, STATUS_DATA, "%s has no arrays named weight, as a state_dict has", path);
    return STATUS_OK;
}

enum status foreign_h5_read(struct foreign_net *net, const char *path)
{
    struct h5 *file;
    TRY(h5_open(&file, path));
    struct walk walk = {net, file, "", 0};
    enum status status = h5_list(file, "/", child_walk, &walk);
    h5_close(file);
    return status == STATUS_OK ? layers_finish(net, path) : status;
}
