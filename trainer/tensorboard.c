// SPDX-License-Identifier: MIT
#include "trainer/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "comm/memory.h"
#include "trainer/export_bytes.h"

#define LEAST 1e-10
#define GROWTH 1.25

// Fields of event.proto and summary.proto.
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7,
    SESSION_STATUS = 1,
    SESSION_START = 1,
    SUMMARY_VALUE = 1,
    VALUE_TAG = 1,
    VALUE_SCALAR = 2,
    VALUE_IMAGE = 4,
    VALUE_HISTOGRAM = 5,
    IMAGE_HEIGHT = 1,
    IMAGE_WIDTH = 2,
    IMAGE_CHANNELS = 3,
    IMAGE_BYTES = 4,
    HISTOGRAM_MIN = 1,
    HISTOGRAM_MAX = 2,
    HISTOGRAM_NUM = 3,
    HISTOGRAM_SUM = 4,
    HISTOGRAM_SUM_SQUARES = 5,
    HISTOGRAM_LIMIT = 6,
    HISTOGRAM_COUNT = 7
};

struct tensorboard {
    int fd;
    char path[4096];
    struct bytes summary, value, inner, event; // kept from event to event
    uint32_t crc_table[256];
};

// ---- wire

static void put_double(struct bytes *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes_put_number(b, bits, 8);
}

static void pb_double(struct bytes *b, int field, double value)
{
    bytes_put_number(b, (uint64_t)field << 3 | 1, 1); // wire type 1: 64 bits; field below 16
    put_double(b, value);
}

// CRC-32C (Castagnoli; RFC 3720, appendix B.4), reflected, a byte at a time.
static void crc_init(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc_masked(const uint32_t table[256], const uint8_t *at, size_t n)
{
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++)
        c = c >> 8 ^ table[(c ^ at[i]) & 255];
    c = ~c;
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

// A frame around event, in one write.
static enum status event_write(struct tensorboard *t)
{
    struct bytes *frame = &t->value;
    frame->n = 0;
    bytes_put_number(frame, t->event.n, 8);
    bytes_put_number(frame, crc_masked(t->crc_table, frame->at, frame->at ? 8 : 0), 4);
    bytes_put(frame, t->event.at, t->event.n);
    bytes_put_number(frame, crc_masked(t->crc_table, t->event.at, t->event.n), 4);
    bool is_lost = frame->is_lost || t->event.is_lost;
    ssize_t put = is_lost ? -1 : write(t->fd, frame->at, frame->n);
    int why = is_lost ? ENOMEM : put < 0 ? errno : ENOSPC;
    size_t n = frame->n;
    frame->n = t->event.n = 0;
    CHECK(put == (ssize_t)n, STATUS_ERROR, "cannot write '%s': %s", t->path, strerror(why));
    return STATUS_OK;
}

static void event_begin(struct tensorboard *t, uint64_t step)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->event.n = 0;
    pb_double(&t->event, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    pb_int(&t->event, EVENT_STEP, (int64_t)step);
}

// ---- file

static enum status file_open(struct tensorboard *t, const char *folder)
{
    char host[64] = "host";
    CHECK(mkdir(folder, 0777) == 0 || errno == EEXIST, STATUS_ERROR,
          "cannot make the folder '%s': %s", folder, strerror(errno));
    gethostname(host, sizeof host - 1);
    for (int n = 0; t->fd < 0; n++) { // names in the order they were made, none taken twice
        snprintf(t->path, sizeof t->path, "%.3900s/events.out.tfevents.%010lld.%s.%ld.%d", folder,
                 (long long)time(NULL), host, (long)getpid(), n);
        t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
        CHECK(t->fd >= 0 || errno == EEXIST, STATUS_ERROR, "cannot write '%s': %s", t->path,
              strerror(errno));
    }
    return STATUS_OK;
}

static enum status head_write(struct tensorboard *t, uint64_t step)
{
    event_begin(t, 0);
    pb_text(&t->event, EVENT_FILE_VERSION, "brain.Event:2");
    TRY(event_write(t));
    if (step == 0)
        return STATUS_OK;
    event_begin(t, step + 1);
    pb_int(&t->inner, SESSION_STATUS, SESSION_START);
    pb_message(&t->event, EVENT_SESSION_LOG, &t->inner);
    return event_write(t);
}

enum status tensorboard_open(struct tensorboard **out, const char *folder, uint64_t step)
{
    struct tensorboard *t;
    *out = NULL;
    TRY(memory_alloc(&t, 1, sizeof *t, "event file"));
    t->fd = -1;
    crc_init(t->crc_table);
    enum status status = file_open(t, folder);
    if (status == STATUS_OK)
        status = head_write(t, step);
    if (status != STATUS_OK)
        tensorboard_close(t);
    else
        *out = t;
    return status;
}

void tensorboard_close(struct tensorboard *t)
{
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    bytes_free(&t->summary);
    bytes_free(&t->value);
    bytes_free(&t->inner);
    bytes_free(&t->event);
    free(t);
}

// ---- values

static void value_end(struct tensorboard *t)
{
    pb_message(&t->summary, SUMMARY_VALUE, &t->value);
}

void tensorboard_scalar(struct tensorboard *t, const char *tag, double value)
{
    if (!t)
        return;
    pb_text(&t->value, VALUE_TAG, tag);
    pb_float(&t->value, VALUE_SCALAR, (float)value);
    value_end(t);
}

void tensorboard_image(struct tensorboard *t, const char *tag, const uint8_t *png, size_t n,
                       size_t h, size_t w, size_t c)
{
    if (!t)
        return;
    struct bytes picture = {0};
    bytes_put(&picture, png, n);
    pb_text(&t->value, VALUE_TAG, tag);
    pb_int(&t->inner, IMAGE_HEIGHT, (int64_t)h);
    pb_int(&t->inner, IMAGE_WIDTH, (int64_t)w);
    pb_int(&t->inner, IMAGE_CHANNELS, (int64_t)c);
    pb_message(&t->inner, IMAGE_BYTES, &picture); // bytes and messages look alike
    pb_message(&t->value, VALUE_IMAGE, &t->inner);
    value_end(t);
    bytes_free(&picture);
}

// ---- histograms

void histogram_clear(struct histogram *h)
{
    *h = (struct histogram){.least = INFINITY, .most = -INFINITY};
}

static size_t bucket_of(double value)
{
    double size = fabs(value);
    if (size < LEAST)
        return HISTOGRAM_SIDE;
    double place = floor(log(size / LEAST) / log(GROWTH));
    size_t k = place < 0 ? 0 : place >= HISTOGRAM_SIDE - 1 ? HISTOGRAM_SIDE - 1 : (size_t)place;
    return value < 0 ? HISTOGRAM_SIDE - 1 - k : HISTOGRAM_SIDE + 1 + k;
}

void histogram_add(struct histogram *h, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double value = (double)values[i];
        if (!isfinite(value))
            continue;
        h->least = fmin(h->least, value);
        h->most = fmax(h->most, value);
        h->n += 1;
        h->sum += value;
        h->sum_squares += value * value;
        h->count[bucket_of(value)]++;
    }
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->least = fmin(into->least, from->least);
    into->most = fmax(into->most, from->most);
    into->n += from->n;
    into->sum += from->sum;
    into->sum_squares += from->sum_squares;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->count[i] += from->count[i];
}

// Upper end of a bucket.
static double bucket_limit(size_t i)
{
    if (i < HISTOGRAM_SIDE)
        return -LEAST * pow(GROWTH, (double)(HISTOGRAM_SIDE - 1 - i));
    return LEAST * pow(GROWTH, (double)(i - HISTOGRAM_SIDE));
}

void tensorboard_histogram(struct tensorboard *t, const char *tag, const struct histogram *h)
{
    if (!t || h->n <= 0)
        return;
    size_t first = 0, last = HISTOGRAM_BUCKETS - 1;
    while (h->count[first] == 0)
        first++;
    while (h->count[last] == 0)
        last--;
    struct bytes limits = {0}, counts = {0};
    for (size_t i = first; i <= last; i++) {
        put_double(&limits, bucket_limit(i));
        put_double(&counts, (double)h->count[i]);
    }
    pb_text(&t->value, VALUE_TAG, tag);
    pb_double(&t->inner, HISTOGRAM_MIN, h->least);
    pb_double(&t->inner, HISTOGRAM_MAX, h->most);
    pb_double(&t->inner, HISTOGRAM_NUM, h->n);
    pb_double(&t->inner, HISTOGRAM_SUM, h->sum);
    pb_double(&t->inner, HISTOGRAM_SUM_SQUARES, h->sum_squares);
    pb_message(&t->inner, HISTOGRAM_LIMIT, &limits); // packed numbers and messages look alike
    pb_message(&t->inner, HISTOGRAM_COUNT, &counts);
    pb_message(&t->value, VALUE_HISTOGRAM, &t->inner);
    value_end(t);
    bytes_free(&limits);
    bytes_free(&counts);
}

enum status tensorboard_flush(struct tensorboard *t, uint64_t step)
{
    if (!t || t->summary.n == 0)
        return STATUS_OK;
    event_begin(t, step);
    pb_message(&t->event, EVENT_SUMMARY, &t->summary);
    return event_write(t);
}
