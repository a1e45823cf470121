// SPDX-License-Identifier: MIT
// Owns: byte streams over zlib's gzFile. Used by the importers; knows no format.
#include "data/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "comm/memory.h"
#include "data/guard.h"

enum { BUFFER = 1 << 17 };
static const uint64_t DEFLATE_MAX = 1032;

struct stream {
    gzFile file;
    char *path;
    bool is_gz;
    uint64_t stored; // bytes on disk
};

enum status stream_open(struct stream **stream, const char *path)
{
    guard_name(path);
    *stream = NULL;
    struct stat info;
    CHECK(stat(path, &info) == 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    CHECK(!S_ISDIR(info.st_mode), STATUS_DATA, "%s: is a folder, expected a file", path);
    CHECK(S_ISREG(info.st_mode), STATUS_DATA, "%s: is not a regular file", path);
    struct stream *fresh = NULL;
    TRY(memory_alloc(&fresh, 1, sizeof *fresh, "stream"));
    fresh->stored = (uint64_t)info.st_size;
    fresh->path = strdup(path);
    fresh->file = fresh->path ? gzopen(path, "rbe") : NULL;
    if (!fresh->file) {
        int why = errno;
        stream_close(fresh);
        FAIL(STATUS_DATA, "%s: %s", path, why ? strerror(why) : "out of memory");
    }
    gzbuffer(fresh->file, BUFFER);
    fresh->is_gz = !gzdirect(fresh->file);
    *stream = fresh;
    return STATUS_OK;
}

void stream_close(struct stream *stream)
{
    if (!stream)
        return;
    if (stream->file)
        gzclose_r(stream->file);
    free(stream->path);
    free(stream);
}

const char *stream_path(const struct stream *stream)
{
    return stream->path;
}

bool stream_is_gz(const struct stream *stream)
{
    return stream->is_gz;
}

uint64_t stream_tell(const struct stream *stream)
{
    z_off_t at = gztell(stream->file);
    return at < 0 ? 0 : (uint64_t)at;
}

uint64_t stream_size_max(const struct stream *stream)
{
    return stream->is_gz ? stream->stored * DEFLATE_MAX : stream->stored;
}

static enum status fail_gz(struct stream *stream)
{
    int code = 0;
    const char *text = gzerror(stream->file, &code);
    if (code == Z_ERRNO)
        text = strerror(errno);
    else if (code == Z_BUF_ERROR)
        text = "the gzip data ends early (truncated)";
    else if (code == Z_DATA_ERROR)
        text = "the gzip data is damaged";
    FAIL(STATUS_DATA, "%s: %s", stream->path, text);
}

enum status stream_seek(struct stream *stream, uint64_t position)
{
    CHECK(position <= INT64_MAX, STATUS_DATA, "%s: no position %zu", stream->path,
          (size_t)position);
    if (gzseek(stream->file, (z_off_t)position, SEEK_SET) < 0)
        return fail_gz(stream);
    return STATUS_OK;
}

enum status stream_read(struct stream *stream, void *out, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        size_t ask = n - *got < (1u << 30) ? n - *got : 1u << 30;
        int read = gzread(stream->file, (char *)out + *got, (unsigned)ask);
        if (read < 0)
            return fail_gz(stream);
        *got += (size_t)read;
        if (read == 0)
            break;
    }
    int code = 0;
    gzerror(stream->file, &code);
    if (*got < n && code != Z_OK && code != Z_STREAM_END)
        return fail_gz(stream);
    return STATUS_OK;
}

enum status stream_read_all(struct stream *stream, void *out, size_t n, const char *what)
{
    size_t got = 0;
    uint64_t at = stream_tell(stream);
    TRY(stream_read(stream, out, n, &got));
    CHECK(got == n, STATUS_DATA, "%s: truncated: %s at byte %zu needs %zu bytes, %zu are there",
          stream->path, what, (size_t)at, n, got);
    return STATUS_OK;
}

enum status stream_end(struct stream *stream)
{
    char byte = 0;
    size_t got = 0;
    uint64_t at = stream_tell(stream);
    TRY(stream_read(stream, &byte, 1, &got));
    CHECK(got == 0, STATUS_DATA, "%s: has more bytes than its header says (%zu)", stream->path,
          (size_t)at);
    return STATUS_OK;
}

size_t stream_peek(const char *path, void *out, size_t n)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return 0;
    gzFile file = gzopen(path, "rbe");
    if (!file)
        return 0;
    int got = gzread(file, out, (unsigned)n);
    gzclose_r(file);
    return got > 0 ? (size_t)got : 0;
}
