// SPDX-License-Identifier: MIT
// Importers: source files of a known format to rows, and rows to an HDF5 file of sw2's own layout
// (dataset.h). One file an importer in data/importers/, one row each in importers.def
// (IMPORTER(name)), each a const struct importer importer_<name>. Used by sw2-data only.
#ifndef SW2_DATA_IMPORT_H
#define SW2_DATA_IMPORT_H

#include <signal.h>

#include "data/dataset.h"

// Bounds that no honest source passes; a damaged or hostile header does.
#define IMPORT_ROWS_MAX ((uint64_t)UINT32_MAX)
#define IMPORT_ROW_BYTES_MAX ((uint64_t)1 << 30)
#define IMPORT_CLASSES_MAX ((size_t)1 << 16)

// Called between blocks of work; a status other than OK ends the work and is handed up (Ctrl-C).
// total 0: not known. call may be NULL.
struct import_progress {
    enum status (*call)(void *context, const char *what, uint64_t done, uint64_t total);
    void *context;
};
enum status import_tick(const struct import_progress *progress, const char *what, uint64_t done,
                        uint64_t total);

// What an importer produces: rows, in source order.
struct import_source {
    uint64_t n_rows;           // at least 1
    struct sample_shape shape; // of every row
    bool is_u8;                // else float32
    bool is_sequential;        // reading in ascending order is much faster than any other order
    struct target_shape target;
    int32_t *labels; // TARGET_CLASS: (n_rows) below target.n_classes, owned; else NULL
    char **classes;  // (target.n_classes) names, owned, may be NULL
    char *note;      // lines for the person about what was found or assumed, owned, may be NULL
    void *self;      // importer's own
    // Reads one row: input in NHWC (h * w * c of uint8 or float32); target: TARGET_FLOAT only,
    // target.count floats. STATUS_DATA naming the file and place.
    enum status (*read)(struct import_source *source, uint64_t row, void *input, float *target);
    void (*close)(struct import_source *source); // frees self only; NULL is allowed
};

// Frees everything of a source, also of a half opened one, and zeroes it.
void import_source_close(struct import_source *source);
// Appends a line to source->note.
enum status import_note(struct import_source *source, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum import_target { IMPORT_TARGET_AUTO, IMPORT_TARGET_CLASS, IMPORT_TARGET_FLOAT };
enum import_header { IMPORT_HEADER_AUTO, IMPORT_HEADER_YES, IMPORT_HEADER_NO };
enum import_side { IMPORT_TRAIN, IMPORT_TEST };

// All zero: defaults.
struct import_options {
    // csv: names or numbers (from 1; -1 is the last) of the target columns, with commas;
    // cifar-100: "fine" or "coarse"; NULL or "" = a column named label, class or target, else last
    const char *target_column;
    const char *drop;          // csv: columns to leave out, as target_column; NULL: none
    enum import_target target; // csv: AUTO: float when there are several or a value is a fraction
    enum import_header header; // csv: AUTO: a first line whose fields are not all numbers
    double max;                // csv: 0..max becomes uint8 0..255, rounded; 0: float32 as it is
    struct sample_shape shape; // csv: of one row; h == 0: 1 x 1 x columns
    size_t resize_h, resize_w; // uint8 images: resample to this; 0 = as found
    size_t channels;           // folder: 1 or 3; 0 = 3 when any image is in colour
    bool is_nearest;           // resample by the nearest pixel; else bilinear, averaging when
                               // it shrinks
    struct import_progress progress;
};

struct importer {
    const char *name;    // "idx", "cifar", "folder", "csv"
    const char *summary; // for --help
    // Can this path be mine? (by content, not only by name)
    bool (*accepts)(const char *path);
    // Opens one side. A source that is not in two parts is all IMPORT_TRAIN; opening IMPORT_TEST
    // then gives STATUS_OK and out->read == NULL. STATUS_DATA, STATUS_USAGE (options that do not
    // fit). On error the caller calls import_source_close.
    enum status (*open)(const char *const *paths, size_t n_paths, enum import_side side,
                        const struct import_options *options, struct import_source *out);
};

extern const struct importer *const importers[];
extern const size_t importers_n;

struct import_config {
    const char *const *paths; // n_paths files or folders
    size_t n_paths;
    const char *test;   // a second source for the test part; NULL: none
    const char *format; // name of an importer, or "auto"
    const char *out;    // .h5; replaced whole or not at all
    double split; // part of the rows for /test: below 1 a fraction (rounded up), else a count;
                  // 0: none. Drawn by class where targets are classes.
    bool is_shuffled;
    uint64_t seed;
    const char *classes; // names with commas, replacing those found; NULL: as found
    const char *source;  // attribute; NULL: the paths
    const char *licence; // attribute; NULL: none
    struct import_options options;
};

// What was done, for the person.
struct import_report {
    const char *format;
    uint64_t n_train, n_test;
    struct sample_shape shape;
    bool is_u8;
    struct target_shape target;
    char digest[33]; // of /train
    char *note;      // owned by the caller (free)
};

// The whole import. Errors: STATUS_USAGE, STATUS_DATA (source), STATUS_ERROR (output). `out` is
// untouched and no temporary file is left unless STATUS_OK.
enum status import_run(const struct import_config *config, struct import_report *report);
// The same in a child process with limits (guard.h): a file that crashes a decoder, or keeps it
// busy for a minute without a row, is STATUS_DATA naming it. *stop not 0 (a signal came; may be
// NULL) is handed on to the child as SIGTERM.
enum status import_run_guarded(const struct import_config *config,
                               const volatile sig_atomic_t *stop, struct import_report *report);

// The second half of import_run, for sources made elsewhere (generate.h): writes train (cut by
// config->split) and test (NULL: none) to config->out. Rows go out in blocks: memory is one block a
// side plus 8 bytes a row. The sources stay the caller's.
enum status import_write(struct import_source *train, struct import_source *test,
                         const struct import_config *config, struct import_report *report);

// Sorts class names in place: by value when all are integers, else by bytes.
void import_sort_names(char **names, size_t n);

#endif
