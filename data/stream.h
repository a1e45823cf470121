// SPDX-License-Identifier: MIT
// A file of bytes, gzip'ed or not (zlib tells by content), for the importers.
#ifndef SW2_DATA_STREAM_H
#define SW2_DATA_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/error.h"

struct stream;

// STATUS_DATA naming the file: missing, a folder, not readable.
enum status stream_open(struct stream **stream, const char *path);
void stream_close(struct stream *stream); // NULL is allowed
const char *stream_path(const struct stream *stream);
bool stream_is_gz(const struct stream *stream);
uint64_t stream_tell(const struct stream *stream); // position in the decompressed bytes
// Bytes of the content: exact for a plain file, for gzip the most it can hold (deflate shrinks at
// most 1032 times). Bounds what a header may claim.
uint64_t stream_size_max(const struct stream *stream);
enum status stream_seek(struct stream *stream, uint64_t position);
// Up to n bytes; *got < n only at the end. STATUS_DATA: I/O error, damaged or truncated gzip.
enum status stream_read(struct stream *stream, void *out, size_t n, size_t *got);
// Exactly n bytes, else STATUS_DATA "truncated". `what` names them.
enum status stream_read_all(struct stream *stream, void *out, size_t n, const char *what);
// The file must end here (for gzip this also checks its CRC). STATUS_DATA otherwise.
enum status stream_end(struct stream *stream);
// First n bytes of the content of a regular file; how many there are (0 on any trouble).
size_t stream_peek(const char *path, void *out, size_t n);

#endif
