// SPDX-License-Identifier: MIT
#include "data/picture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/memory.h"
#include "data/guard.h"

void picture_reader_free(struct picture_reader *reader)
{
    resize_free(reader->resize);
    image_free(&reader->image);
    free(reader->bytes);
    free(reader->scaled);
    *reader = (struct picture_reader){0};
}

static enum status room_make(uint8_t **bytes, size_t *room, size_t want)
{
    if (want <= *room)
        return STATUS_OK;
    free(*bytes);
    *bytes = NULL;
    *room = 0;
    TRY(memory_alloc(bytes, want, 1, "picture"));
    *room = want;
    return STATUS_OK;
}

// Reads up to `most` bytes of a file into reader->bytes. `size` receives the file's size.
static enum status read_file(struct picture_reader *reader, const char *path, size_t most,
                             size_t *got, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // opening a pipe must not wait
    CHECK(fd >= 0, STATUS_DATA, "%s: %s", path, strerror(errno));
    guard_name(path);
    struct stat info;
    enum status status = STATUS_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: is not a regular file", path);
    else if (info.st_size > (off_t)IMAGE_FILE_MAX)
        status = error_set(STATUS_DATA, __FILE__, __LINE__,
                           "%s: %zu bytes, more than %zu for one picture are refused", path,
                           (size_t)info.st_size, IMAGE_FILE_MAX);
    size_t want = 0;
    *got = 0;
    if (status == STATUS_OK) {
        *size = (size_t)info.st_size;
        want = *size < most ? *size : most;
        status = room_make(&reader->bytes, &reader->room, want);
    }
    while (status == STATUS_OK && *got < want) {
        ssize_t n = read(fd, reader->bytes + *got, want - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = error_set(STATUS_DATA, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
        if (n <= 0)
            break;
        *got += (size_t)n;
    }
    close(fd);
    return status;
}

enum status picture_probe(struct picture_reader *reader, const char *path,
                          struct sample_shape *shape)
{
    size_t got = 0, size = 0;
    TRY(read_file(reader, path, 4096, &got, &size));
    enum status status = image_probe(path, reader->bytes, got, &shape->h, &shape->w, &shape->c);
    if (status == STATUS_OK || got == size)
        return status;
    TRY(read_file(reader, path, IMAGE_FILE_MAX, &got, &size)); // a long header (EXIF)
    return image_probe(path, reader->bytes, got, &shape->h, &shape->w, &shape->c);
}

// Height and width to resample to: the wanted ones, or for CROP those of the smallest picture of
// the same proportions that covers them.
static void size_to(const struct picture_reader *reader, struct sample_shape shape, size_t *h,
                    size_t *w)
{
    size_t from_h = reader->image.h, from_w = reader->image.w;
    *h = shape.h;
    *w = shape.w;
    if (reader->fit != PICTURE_CROP)
        return;
    if (from_w * shape.h >= from_h * shape.w) // wider than wanted
        *w = (from_w * shape.h + from_h / 2) / from_h;
    else
        *h = (from_h * shape.w + from_w / 2) / from_w;
    *w = *w < shape.w ? shape.w : *w;
    *h = *h < shape.h ? shape.h : *h;
}

static enum status resample(struct picture_reader *reader, const char *path, uint8_t *out, size_t h,
                            size_t w)
{
    const struct image *image = &reader->image;
    TRY(image_check_size(path, h, w));
    if (!reader->resize || reader->to_h != h || reader->to_w != w ||
        !resize_fits(reader->resize, image->h, image->w, image->c)) {
        resize_free(reader->resize);
        reader->resize = NULL;
        TRY(resize_plan(&reader->resize, image->h, image->w, h, w, image->c, reader->is_nearest));
        reader->to_h = h;
        reader->to_w = w;
    }
    resize_run(reader->resize, image->pixels, out);
    return STATUS_OK;
}

enum status picture_read(struct picture_reader *reader, const char *path, struct sample_shape shape,
                         uint8_t *out)
{
    struct image *image = &reader->image;
    size_t got = 0, size = 0, h, w;
    TRY(read_file(reader, path, IMAGE_FILE_MAX, &got, &size));
    TRY(image_decode(path, reader->bytes, got, image));
    TRY(image_set_channels(image, path, shape.c));
    if (image->h == shape.h && image->w == shape.w) {
        memcpy(out, image->pixels, shape.h * shape.w * shape.c);
        return STATUS_OK;
    }
    CHECK(reader->fit != PICTURE_REFUSE, STATUS_DATA,
          "%s: is %zux%zu, expected %zux%zu (fit: stretch or crop would resample it)", path,
          image->h, image->w, shape.h, shape.w);
    size_to(reader, shape, &h, &w);
    if (h == shape.h && w == shape.w)
        return resample(reader, path, out, h, w);
    TRY(room_make(&reader->scaled, &reader->scaled_room, h * w * shape.c));
    TRY(resample(reader, path, reader->scaled, h, w));
    size_t top = (h - shape.h) / 2, left = (w - shape.w) / 2;
    for (size_t y = 0; y < shape.h; y++)
        memcpy(out + y * shape.w * shape.c, reader->scaled + ((top + y) * w + left) * shape.c,
               shape.w * shape.c);
    return STATUS_OK;
}

static bool has_picture_suffix(const char *name)
{
    static const char *const suffixes[] = {"png", "jpg", "jpeg", "jpe", "pgm", "ppm", "pnm"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcasecmp(dot + 1, suffixes[i]) == 0)
            return true;
    return false;
}

bool picture_is_one(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (has_picture_suffix(slash ? slash + 1 : path))
        return true;
    uint8_t head[16];
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) // opening a pipe would wait
        return false;
    FILE *file = fopen(path, "rbe");
    size_t n = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return image_format_of(head, n) != IMAGE_UNKNOWN;
}
