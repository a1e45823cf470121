// SPDX-License-Identifier: MIT
// What a first pass over a CSV file finds out. Private to the csv importer.
#ifndef SW2_DATA_IMPORTERS_CSV_H
#define SW2_DATA_IMPORTERS_CSV_H

#include "data/import.h"
#include "data/importers/csv_reader.h"

enum { CSV_TARGETS_MAX = 1024 };

struct csv {
    struct csv_reader reader;
    bool has_header;
    bool has_sizes; // first line as scikit-learn's files: rows, columns, class names
    size_t n_columns;
    char **names; // of the columns, NULL without a header
    size_t targets[CSV_TARGETS_MAX];
    size_t n_targets;
    bool *is_input; // (n_columns) neither target nor dropped
    size_t n_inputs;
    double max;         // see import_options
    uint64_t at;        // row that the reader stands before
    bool is_byte_range; // all inputs are whole numbers 0..255
};

// Reads the whole file once: columns, header, target, rows, labels and classes of out.
enum status csv_scan(struct csv *csv, const struct import_options *options,
                     struct import_source *out);
// "column 3 (petal width)" into a buffer of this thread.
const char *csv_column(const struct csv *csv, size_t column);
// One input value of the current record. STATUS_DATA with file, line and column.
enum status csv_value(const struct csv *csv, size_t column, double *out);

#endif
