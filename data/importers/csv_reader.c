// SPDX-License-Identifier: MIT
// Owns: cutting a CSV file into records and fields. Called by csv.c and csv_scan.c.
#include "data/importers/csv_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "comm/memory.h"

enum { BUFFER = 1 << 16, FIELDS_MAX = 1 << 24 };
static const size_t RECORD_MAX = (size_t)1 << 28;

// Next byte or -1 at the end.
static enum status get_byte(struct csv_reader *reader, int *byte)
{
    if (reader->at == reader->end) {
        reader->at = 0;
        TRY(stream_read(reader->stream, reader->buffer, BUFFER, &reader->end));
        if (reader->end == 0) {
            *byte = -1;
            return STATUS_OK;
        }
    }
    *byte = (unsigned char)reader->buffer[reader->at++];
    CHECK(*byte != 0, STATUS_DATA, "%s: line %zu holds a zero byte: not a CSV text",
          stream_path(reader->stream), (size_t)reader->next_line);
    return STATUS_OK;
}

static enum status grow(void *array, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return STATUS_OK;
    size_t fresh = need * 2 + 256;
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    void *moved = realloc(old, fresh * size);
    CHECK(moved, STATUS_ERROR, "out of memory: a record of the CSV file");
    memcpy(array, &moved, sizeof moved);
    *room = fresh;
    return STATUS_OK;
}

static enum status put_char(struct csv_reader *reader, char c)
{
    CHECK(reader->text_bytes < RECORD_MAX, STATUS_DATA,
          "%s: the record at line %zu is longer than %zu bytes (an open quote?)",
          stream_path(reader->stream), (size_t)reader->line, RECORD_MAX);
    TRY(grow(&reader->text, &reader->text_room, reader->text_bytes + 1, 1));
    reader->text[reader->text_bytes++] = c;
    return STATUS_OK;
}

// Ends the field that began at `start`: cuts spaces unless it was quoted.
static enum status end_field(struct csv_reader *reader, size_t start, bool is_quoted)
{
    CHECK(reader->n_fields < FIELDS_MAX, STATUS_DATA, "%s: line %zu has more than %d fields",
          stream_path(reader->stream), (size_t)reader->line, FIELDS_MAX);
    while (!is_quoted && reader->text_bytes > start &&
           strchr(" \t\r", reader->text[reader->text_bytes - 1]))
        reader->text_bytes--;
    TRY(put_char(reader, 0));
    while (!is_quoted && (reader->text[start] == ' ' || reader->text[start] == '\t'))
        start++;
    TRY(grow(&reader->starts, &reader->starts_room, reader->n_fields + 1, sizeof(size_t)));
    reader->starts[reader->n_fields++] = start;
    return STATUS_OK;
}

// The inside of a quoted field, up to and with its closing quote.
static enum status read_quoted(struct csv_reader *reader)
{
    for (int c;;) {
        TRY(get_byte(reader, &c));
        CHECK(c >= 0, STATUS_DATA, "%s: the quote in the record at line %zu is never closed",
              stream_path(reader->stream), (size_t)reader->line);
        reader->next_line += c == '\n';
        if (c == '"') {
            TRY(get_byte(reader, &c));
            if (c != '"') {
                if (c >= 0)
                    reader->at--;
                return STATUS_OK;
            }
        }
        TRY(put_char(reader, (char)c));
    }
}

// One record into text and starts.
static enum status read_record(struct csv_reader *reader)
{
    size_t start = 0;
    bool is_quoted = false;
    reader->n_fields = 0;
    reader->text_bytes = 0;
    reader->line = reader->next_line;
    for (int c;;) {
        TRY(get_byte(reader, &c));
        bool is_end = c < 0 || c == '\n';
        if (c < 0 && reader->n_fields == 0 && reader->text_bytes == start && !is_quoted)
            return STATUS_OK;
        if (is_end || c == reader->separator) {
            TRY(end_field(reader, start, is_quoted));
            start = reader->text_bytes;
            is_quoted = false;
            reader->next_line += c == '\n';
            if (is_end)
                return STATUS_OK;
        } else if (c == '"' && reader->text_bytes == start && !is_quoted) {
            is_quoted = true;
            TRY(read_quoted(reader));
        } else if (is_quoted) {
            CHECK(c == ' ' || c == '\t' || c == '\r', STATUS_DATA,
                  "%s: line %zu: '%c' follows a closing quote", stream_path(reader->stream),
                  (size_t)reader->next_line, c);
        } else {
            TRY(put_char(reader, (char)c));
        }
    }
}

enum status csv_next(struct csv_reader *reader)
{
    do
        TRY(read_record(reader));
    while (reader->n_fields == 1 && reader->text[reader->starts[0]] == 0);
    TRY(grow(&reader->fields, &reader->fields_room, reader->n_fields, sizeof(char *)));
    for (size_t i = 0; i < reader->n_fields; i++)
        reader->fields[i] = reader->text + reader->starts[i];
    return STATUS_OK;
}

// The most frequent of , ; and tab outside quotes in the first line.
static char find_separator(const char *bytes, size_t n)
{
    static const char candidates[] = ",;\t";
    size_t counts[3] = {0};
    bool is_inside = false;
    for (size_t i = 0; i < n && (is_inside || bytes[i] != '\n'); i++) {
        is_inside ^= bytes[i] == '"';
        const char *at = bytes[i] && !is_inside ? strchr(candidates, bytes[i]) : NULL;
        if (at)
            counts[at - candidates]++;
    }
    size_t best = counts[1] > counts[0] ? 1 : 0;
    return candidates[counts[2] > counts[best] ? 2 : best];
}

enum status csv_rewind(struct csv_reader *reader)
{
    TRY(stream_seek(reader->stream, 0));
    TRY(stream_read(reader->stream, reader->buffer, BUFFER, &reader->end));
    bool has_mark = reader->end >= 3 && memcmp(reader->buffer, "\xef\xbb\xbf", 3) == 0;
    reader->at = has_mark ? 3 : 0;
    reader->next_line = 1;
    reader->separator = find_separator(reader->buffer + reader->at, reader->end - reader->at);
    return STATUS_OK;
}

enum status csv_open(struct csv_reader *reader, const char *path)
{
    *reader = (struct csv_reader){0};
    TRY(stream_open(&reader->stream, path));
    enum status status = memory_alloc(&reader->buffer, BUFFER, 1, "CSV buffer");
    if (status == STATUS_OK)
        status = csv_rewind(reader);
    if (status != STATUS_OK)
        csv_close(reader);
    return status;
}

void csv_close(struct csv_reader *reader)
{
    stream_close(reader->stream);
    free(reader->fields);
    free(reader->starts);
    free(reader->text);
    free(reader->buffer);
    *reader = (struct csv_reader){0};
}

bool csv_number(const char *text, double *out)
{
    const char *digits = text + (*text == '+' || *text == '-');
    bool is_word = strcasecmp(digits, "nan") == 0 || strcasecmp(digits, "inf") == 0;
    // strtod also takes hexadecimal and more
    if (!is_word && (!*digits || strspn(digits, "0123456789.eE+-") != strlen(digits)))
        return false;
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && *end == 0;
}
