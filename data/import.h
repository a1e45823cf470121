// SPDX-License-Identifier: MIT
// Importers: source files of a known format to rows. One file an importer in data/importers/, one
// row each in importers.def (IMPORTER(name)), each a const struct importer importer_<name>.
#ifndef SW2_DATA_IMPORT_H
#define SW2_DATA_IMPORT_H

#include "data/dataset.h"

// What an importer produces: a stream of rows, in source order.
struct import_source {
    uint64_t n_rows;
    struct sample_shape shape; // of every row
    bool is_u8;                // else float32
    struct target_shape target;
    size_t n_classes;
    char **classes; // names, owned, may be NULL
    void *self;     // importer's own
    // Reads one row: input in NHWC (h*w*c), target int32 or float. STATUS_DATA naming the file and
    // place.
    enum status (*read)(struct import_source *source, uint64_t row, void *input, void *target);
    void (*close)(struct import_source *source);
};

struct import_options {
    const char *target_column; // csv: name or number of the label column ("" = last)
    struct option_ints
        shape;          // csv: h, w, c of a row; images: resize to h, w(, c); empty = as found
    const char *resize; // "bilinear" | "nearest"
};

struct importer {
    const char *name;    // "idx", "cifar", "folder", "csv"
    const char *summary; // for --help
    // Can this path be mine? (by content, not only by name)
    bool (*accepts)(const char *path);
    enum status (*open)(const char *const *paths, size_t n_paths,
                        const struct import_options *options, struct import_source *out);
};

#endif
