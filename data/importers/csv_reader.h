// SPDX-License-Identifier: MIT
// Records of a CSV file (RFC 4180: quotes, doubled quotes, line ends inside quotes), gzip'ed or
// not. The separator , ; or tab is told from the first line. Private to the csv importer.
#ifndef SW2_DATA_IMPORTERS_CSV_READER_H
#define SW2_DATA_IMPORTERS_CSV_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"
#include "data/stream.h"

struct csv_reader {
    struct stream *stream;
    char separator;
    uint64_t line;   // of the record's first line, from 1
    char **fields;   // of the record, NUL-ended, spaces around unquoted ones cut; borrowed
    size_t n_fields; // 0: end of file
    // private
    size_t fields_room;
    size_t *starts;
    size_t starts_room;
    char *text;
    size_t text_bytes, text_room;
    char *buffer;
    size_t at, end;
    uint64_t next_line;
};

enum status csv_open(struct csv_reader *reader, const char *path);
void csv_close(struct csv_reader *reader);
enum status csv_rewind(struct csv_reader *reader);
// The next record; blank lines are skipped. STATUS_DATA with file and line.
enum status csv_next(struct csv_reader *reader);
// A decimal number, nan or inf, and nothing else?
bool csv_number(const char *text, double *out);

#endif
