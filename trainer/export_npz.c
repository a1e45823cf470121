// SPDX-License-Identifier: MIT
// NumPy's NPZ: a zip archive without compression, an NPY array (numpy.lib.format, version 1.0) a
// parameter under its name in the checkpoint, and the resolved recipe as recipe.yaml. Shapes and
// order are those of the checkpoint. See export.h.
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/export.h"
#include "trainer/export_bytes.h"

#define ENTRIES_MAX ((size_t)65535) // of a zip file without zip64
#define ZIP_VERSION 20
#define ZIP_DATE 0x21 // 1980-01-01: the same bytes whenever they are written

struct zip {
    struct bytes file, directory, entry;
    size_t n;
};

// What local header and directory share: version ... length of the name.
static void header_put(struct bytes *to, const struct zip *zip, const char *name)
{
    bytes_put_number(to, ZIP_VERSION, 2);
    bytes_put_number(to, 0x800, 2); // flags: names are UTF-8
    bytes_put_number(to, 0, 2);     // stored
    bytes_put_number(to, (uint64_t)ZIP_DATE << 16, 4);
    bytes_put_number(to, bytes_crc32(zip->entry.at, zip->entry.n), 4);
    bytes_put_number(to, zip->entry.n, 4);
    bytes_put_number(to, zip->entry.n, 4);
    bytes_put_number(to, strlen(name), 2);
}

// Adds zip->entry under this name.
static enum status entry_add(struct zip *zip, const char *name)
{
    size_t offset = zip->file.n;
    CHECK(zip->n < ENTRIES_MAX && offset + zip->entry.n < (size_t)UINT32_MAX - 65536, STATUS_USAGE,
          "NPZ: the network is too large for a zip file of less than 4 GiB and %zu arrays",
          ENTRIES_MAX);
    bytes_put_number(&zip->file, 0x04034b50, 4);
    header_put(&zip->file, zip, name);
    bytes_put_number(&zip->file, 0, 2); // no extra field
    bytes_put(&zip->file, name, strlen(name));
    bytes_put(&zip->file, zip->entry.at, zip->entry.n);

    bytes_put_number(&zip->directory, 0x02014b50, 4);
    bytes_put_number(&zip->directory, ZIP_VERSION, 2);
    header_put(&zip->directory, zip, name);
    bytes_put_number(&zip->directory, 0, 4); // no extra field, no comment
    bytes_put_number(&zip->directory, 0, 4); // disk 0, no internal attributes
    bytes_put_number(&zip->directory, 0, 4); // external attributes
    bytes_put_number(&zip->directory, offset, 4);
    bytes_put(&zip->directory, name, strlen(name));
    zip->file.is_lost = zip->file.is_lost || zip->entry.is_lost || zip->directory.is_lost;
    zip->entry.n = 0;
    zip->n++;
    return STATUS_OK;
}

static void end_put(struct zip *zip)
{
    size_t offset = zip->file.n;
    bytes_put(&zip->file, zip->directory.at, zip->directory.n);
    bytes_put_number(&zip->file, 0x06054b50, 4);
    bytes_put_number(&zip->file, 0, 4); // disks
    bytes_put_number(&zip->file, zip->n, 2);
    bytes_put_number(&zip->file, zip->n, 2);
    bytes_put_number(&zip->file, zip->directory.n, 4);
    bytes_put_number(&zip->file, offset, 4);
    bytes_put_number(&zip->file, 0, 2); // no comment
}

static enum status array_add(struct zip *zip, const char *layer, const char *param,
                             const float *data, int rank, const size_t *dim)
{
    char head[256], name[256];
    size_t count = 1;
    int used = snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int d = 0; d < rank; d++) {
        used += snprintf(head + used, sizeof head - (size_t)used, "%zu,%s", dim[d],
                         d < rank - 1 ? " " : "");
        count *= dim[d];
    }
    used += snprintf(head + used, sizeof head - (size_t)used, "), }");
    while ((10 + used + 1) % 64 != 0) // magic, version, length; a newline at the end
        head[used++] = ' ';
    head[used++] = '\n';
    bytes_put(&zip->entry, "\x93NUMPY\x01", 8); // with version 1.0's second byte
    bytes_put_number(&zip->entry, (uint64_t)used, 2);
    bytes_put(&zip->entry, head, (size_t)used);
    bytes_put_floats(&zip->entry, data, count);
    snprintf(name, sizeof name, "%s/%s.npy", layer, param);
    return entry_add(zip, name);
}

static enum status node_add(struct zip *zip, const struct export_node *node)
{
    const struct export_window *w = &node->window;
    const size_t conv[] = {w->kernel_h, w->kernel_w, node->x.c / (w->groups ? w->groups : 1),
                           node->y.c};
    const size_t dense[] = {node->x.c, node->y.c};
    if (!node->weight)
        return STATUS_OK;
    int rank = node->kind == EXPORT_CONV ? 4 : node->kind == EXPORT_DENSE ? 2 : 1;
    TRY(array_add(zip, node->name, "weight", node->weight, rank, rank == 4 ? conv : dense));
    if (node->bias)
        TRY(array_add(zip, node->name, "bias", node->bias, 1, &node->y.c));
    if (node->kind != EXPORT_NORM)
        return STATUS_OK;
    TRY(array_add(zip, node->name, "running_mean", node->mean, 1, &node->y.c));
    return array_add(zip, node->name, "running_var", node->variance, 1, &node->y.c);
}

static enum status zip_fill(struct zip *zip, const struct export_net *net)
{
    const struct trained *t = net->trained;
    for (size_t i = 0; i < net->n; i++)
        TRY(node_add(zip, &net->nodes[i]));
    if (net->scale) {
        TRY(array_add(zip, "preprocess", "scale", net->scale, 1, &net->input.c));
        TRY(array_add(zip, "preprocess", "shift", net->shift, 1, &net->input.c));
    }
    const char *recipe = t->recipe.resolved;
    bytes_put(&zip->entry, recipe, strlen(recipe));
    TRY(entry_add(zip, "recipe.yaml"));
    for (size_t k = 0; t->is_classifier && k < t->n_classes; k++) {
        bytes_put(&zip->entry, t->classes[k], strlen(t->classes[k]));
        bytes_put(&zip->entry, "\n", 1);
    }
    return t->is_classifier ? entry_add(zip, "classes.txt") : STATUS_OK;
}

enum status export_npz(const struct export_net *net, const struct export_config *config,
                       const char *path)
{
    struct zip zip = {0};
    (void)config;
    enum status status = zip_fill(&zip, net);
    if (status == STATUS_OK) {
        end_put(&zip);
        status = bytes_save(&zip.file, path);
    }
    bytes_free(&zip.file);
    bytes_free(&zip.directory);
    bytes_free(&zip.entry);
    return status;
}
