// SPDX-License-Identifier: MIT
#include "trainer/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "comm/number.h"

#define LINE_BYTES 4096
#define PATH_BYTES 4096
#define LATE_BYTES ((size_t)256 << 10)

// A file, and what could not be written to it yet (a full disk): the next record takes it along.
struct sink {
    int fd;     // -1: not open
    char *late; // (LATE_BYTES) whole lines, but perhaps for the first
    size_t n;
    char path[PATH_BYTES];
};

struct run_log {
    const struct loss_metric *metrics; // (n_metrics) borrowed
    size_t n_metrics;
    struct sink jsonl, csv;
    double seconds; // of the records kept at open
    bool is_late;   // records could not be written yet, and it was said
};

// A line under construction; what does not fit is a bug.
struct line {
    char text[LINE_BYTES];
    size_t n;
};

static void line_add(struct line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line_add(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->n, LINE_BYTES - line->n, format, args);
    va_end(args);
    ASSERT(n >= 0 && line->n + (size_t)n < LINE_BYTES);
    line->n += (size_t)n;
}

// `otherwise` stands for a number that is not finite.
static void line_number(struct line *line, double value, const char *otherwise)
{
    char text[NUMBER_BYTES];
    if (isfinite(value))
        number_text(value, text);
    line_add(line, "%s", isfinite(value) ? text : otherwise);
}

// Times and speeds are for people: thousandths are enough.
static double thousandths(double value)
{
    return round(value * 1000) / 1000;
}

// How much of it is written: *done. No half line stays, where the system lets us take it back.
static enum status write_some(int fd, const char *path, const char *text, size_t n, size_t *done)
{
    off_t before = lseek(fd, 0, SEEK_END);
    ssize_t put = write(fd, text, n);
    *done = put > 0 ? (size_t)put : 0;
    if (*done == n)
        return STATUS_OK;
    const char *why = put < 0 ? strerror(errno) : "No space left on device";
    if (put > 0 && before >= 0 && ftruncate(fd, before) == 0)
        *done = 0;
    FAIL(STATUS_ERROR, "cannot write %s: %s", path, why);
}

static enum status write_all(int fd, const char *path, const char *text, size_t n)
{
    size_t done;
    return write_some(fd, path, text, n, &done);
}

static enum status sink_flush(struct sink *sink)
{
    if (sink->n == 0)
        return STATUS_OK;
    size_t done;
    enum status status = write_some(sink->fd, sink->path, sink->late, sink->n, &done);
    sink->n -= done;
    memmove(sink->late, sink->late + done, sink->n);
    return status;
}

// What does not fit any more is lost.
static enum status sink_write(struct sink *sink, const char *text, size_t n)
{
    if (n <= LATE_BYTES - sink->n) {
        memcpy(sink->late + sink->n, text, n);
        sink->n += n;
    }
    return sink_flush(sink);
}

// Whole file; an empty text where it is missing. malloc'ed.
static enum status read_file(const char *path, char **text, size_t *n)
{
    *text = NULL;
    *n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 || errno == ENOENT, STATUS_ERROR, "cannot read %s: %s", path, strerror(errno));
    struct stat info = {0};
    bool is_file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    size_t room = is_file ? (size_t)info.st_size : 0;
    enum status status = memory_alloc(text, room + 1, 1, "records of the run so far");
    while (status == STATUS_OK && *n < room) {
        ssize_t got = read(fd, *text + *n, room - *n);
        if (got < 0)
            status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot read %s: %s", path,
                               strerror(errno));
        if (got <= 0)
            break;
        *n += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    if (status != STATUS_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

// The digits after `at`; false where there are none.
static bool read_step(const char *at, uint64_t *step)
{
    char *end = NULL;
    *step = at && *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : 0;
    return end && end > at;
}

// What a resumed run has behind it: steps, and the end of the last one's epoch unless that is open.
struct behind {
    uint64_t steps;
    bool is_open;
};

// Is this line (without its newline) a whole record of what is behind?
static bool keeps_jsonl(char *line, const struct behind *behind, double *seconds)
{
    static const char epoch[] = "{\"type\":\"epoch\"";
    bool is_epoch = strncmp(line, epoch, sizeof epoch - 1) == 0;
    uint64_t step = 0;
    char *at = strstr(line, "\"step\":"), *time = strstr(line, "\"seconds\":");
    size_t n = strlen(line);
    if (!at || !time || line[0] != '{' || line[n - 1] != '}' || !read_step(at + 7, &step) ||
        step > behind->steps || (is_epoch && behind->is_open && step == behind->steps))
        return false;
    char text[NUMBER_BYTES];
    const char *problem;
    snprintf(text, sizeof text, "%.*s", (int)strcspn(time + 10, ",}"), time + 10);
    number_double(text, seconds, &problem);
    return true;
}

static size_t count_commas(const char *line)
{
    size_t n = 0;
    for (; *line; line++)
        n += *line == ',';
    return n;
}

static bool keeps_csv(const char *line, const char *header, const struct behind *behind)
{
    uint64_t step = 0;
    const char *comma = strchr(line, ',');
    return comma && count_commas(line) == count_commas(header) && read_step(comma + 1, &step) &&
           step + behind->is_open <= behind->steps;
}

// Replaces the file by text; the old one stands until the new one is whole.
static enum status replace_file(const char *path, const char *text, size_t n)
{
    char fresh[PATH_BYTES + 8];
    snprintf(fresh, sizeof fresh, "%s.tmp", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    CHECK(fd >= 0, STATUS_ERROR, "cannot write %s: %s", fresh, strerror(errno));
    enum status status = n ? write_all(fd, fresh, text, n) : STATUS_OK;
    if (status == STATUS_OK && fsync(fd) != 0)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot write %s: %s", fresh,
                           strerror(errno));
    if (close(fd) != 0 && status == STATUS_OK)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot write %s: %s", fresh,
                           strerror(errno));
    if (status == STATUS_OK && rename(fresh, path) != 0)
        status = error_set(STATUS_ERROR, __FILE__, __LINE__, "cannot write %s: %s", path,
                           strerror(errno));
    if (status != STATUS_OK)
        unlink(fresh);
    return status;
}

// Drops from text (n bytes) the lines that are not to be kept; header NULL: JSON lines. Returns
// the new length.
static size_t filter_lines(char *text, size_t n, const char *header, const struct behind *behind,
                           double *seconds)
{
    size_t kept = 0;
    char *end;
    for (char *line = text; (end = memchr(line, '\n', n - (size_t)(line - text))); line = end + 1) {
        *end = '\0';
        size_t bytes = (size_t)(end - line) + 1;
        bool is_header = header && line == text;
        bool is_kept = is_header || (header ? keeps_csv(line, header, behind)
                                            : keeps_jsonl(line, behind, seconds));
        *end = '\n';
        if (is_kept) {
            memmove(text + kept, line, bytes);
            kept += bytes;
        }
    }
    return kept;
}

// Columns of another recipe: the old table is put aside.
static enum status csv_put_aside(const char *path)
{
    char old[PATH_BYTES + 8];
    snprintf(old, sizeof old, "%s.old", path);
    CHECK(rename(path, old) == 0, STATUS_ERROR, "cannot rename %s to %s: %s", path, old,
          strerror(errno));
    log_warn("%s has other columns, it is now %s", path, old);
    return STATUS_OK;
}

// Brings the file to the state of what is behind and opens it for appending. header: with its
// newline; NULL for JSON lines.
static enum status open_file(const char *path, const char *header, const struct behind *behind,
                             double *seconds, int *fd)
{
    char *text;
    size_t n, header_n = header ? strlen(header) : 0;
    TRY(read_file(path, &text, &n));
    enum status status = STATUS_OK;
    size_t kept = 0;
    if (behind->steps > 0) {
        bool is_other = header && n > 0 && (n < header_n || memcmp(text, header, header_n) != 0);
        if (is_other)
            status = csv_put_aside(path);
        else
            kept = filter_lines(text, n, header, behind, seconds);
    }
    if (status == STATUS_OK && kept != n)
        status = replace_file(path, text, kept);
    free(text);
    TRY(status);
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    CHECK(*fd >= 0, STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    return header && kept == 0 ? write_all(*fd, path, header, header_n) : STATUS_OK;
}

static void csv_header(const struct run_log *log, struct line *line)
{
    line_add(line, "epoch,step,seconds,lr");
    for (int is_test = 0; is_test < 2; is_test++)
        for (size_t i = 0; i < log->n_metrics; i++)
            line_add(line, ",%s_%s", is_test ? "test" : "train", log->metrics[i].name);
    line_add(line, ",images_per_s,waited_s,digest\n");
}

static enum status sink_open(struct sink *sink, const char *header, const struct behind *behind,
                             double *seconds)
{
    TRY(memory_alloc(&sink->late, LATE_BYTES, 1, "records of the run"));
    return open_file(sink->path, header, behind, seconds, &sink->fd);
}

static void log_free(struct run_log *log)
{
    if (log->jsonl.fd >= 0)
        close(log->jsonl.fd);
    free(log->jsonl.late);
    free(log->csv.late);
    free(log);
}

enum status run_log_open(struct run_log **log, const char *folder,
                         const struct loss_metric *metrics, size_t n_metrics, uint64_t steps_done,
                         bool is_open)
{
    struct behind behind = {steps_done, is_open};
    struct line header = {.n = 0};
    *log = NULL;
    CHECK(strlen(folder) < PATH_BYTES - 32, STATUS_USAGE, "the folder name %.80s... is too long",
          folder);
    struct run_log *fresh;
    TRY(memory_alloc(&fresh, 1, sizeof *fresh, "run log"));
    fresh->metrics = metrics;
    fresh->n_metrics = n_metrics;
    fresh->jsonl.fd = fresh->csv.fd = -1;
    snprintf(fresh->jsonl.path, PATH_BYTES, "%s/metrics.jsonl", folder);
    snprintf(fresh->csv.path, PATH_BYTES, "%s/metrics.csv", folder);
    csv_header(fresh, &header);
    enum status status = sink_open(&fresh->jsonl, NULL, &behind, &fresh->seconds);
    if (status == STATUS_OK)
        status = sink_open(&fresh->csv, header.text, &behind, NULL);
    if (status != STATUS_OK) {
        log_free(fresh);
        return status;
    }
    *log = fresh;
    return STATUS_OK;
}

static void json_metrics(const struct run_log *log, struct line *line, const char *side,
                         const double *values)
{
    for (size_t i = 0; values && i < log->n_metrics; i++) {
        line_add(line, ",\"%s_%s\":", side, log->metrics[i].name);
        line_number(line, values[i], "null");
    }
}

static enum status write_jsonl(struct run_log *log, const struct run_record *record)
{
    struct line line = {.n = 0};
    line_add(&line, "{\"type\":\"%s\",\"epoch\":%llu,\"step\":%llu,\"seconds\":",
             record->is_epoch ? "epoch" : "step", (unsigned long long)record->epoch,
             (unsigned long long)record->step);
    line_number(&line, thousandths(log->seconds + record->seconds), "0");
    line_add(&line, ",\"lr\":");
    line_number(&line, record->lr, "null");
    json_metrics(log, &line, "train", record->train);
    json_metrics(log, &line, "test", record->test);
    line_add(&line, ",\"images_per_s\":");
    line_number(&line, thousandths(record->images_per_s), "null");
    line_add(&line, ",\"waited_s\":");
    line_number(&line, thousandths(record->waited_s), "null");
    if (record->skipped > 0)
        line_add(&line, ",\"skipped\":%llu", (unsigned long long)record->skipped);
    if (record->digest)
        line_add(&line, ",\"digest\":\"%s\"", record->digest);
    line_add(&line, "}\n");
    return sink_write(&log->jsonl, line.text, line.n);
}

static void csv_metrics(const struct run_log *log, struct line *line, const double *values)
{
    for (size_t i = 0; i < log->n_metrics; i++) {
        line_add(line, ",");
        line_number(line, values ? values[i] : (double)NAN, "");
    }
}

static enum status write_csv(struct run_log *log, const struct run_record *record)
{
    struct line line = {.n = 0};
    line_add(&line, "%llu,%llu,", (unsigned long long)record->epoch,
             (unsigned long long)record->step);
    line_number(&line, thousandths(log->seconds + record->seconds), "0");
    line_add(&line, ",");
    line_number(&line, record->lr, "");
    csv_metrics(log, &line, record->train);
    csv_metrics(log, &line, record->test);
    line_add(&line, ",");
    line_number(&line, thousandths(record->images_per_s), "");
    line_add(&line, ",");
    line_number(&line, thousandths(record->waited_s), "");
    line_add(&line, ",%s\n", record->digest ? record->digest : "");
    return sink_write(&log->csv, line.text, line.n);
}

enum status run_log_write(struct run_log *log, const struct run_record *record)
{
    if (!log)
        return STATUS_OK;
    enum status first = write_jsonl(log, record);
    enum status second = record->is_epoch ? write_csv(log, record) : STATUS_OK;
    return first != STATUS_OK ? first : second;
}

// fsync says EINVAL of what is no file (a pipe): nothing to sync there.
static enum status sink_close(struct sink *sink)
{
    enum status status = sink_flush(sink);
    int error = fsync(sink->fd) != 0 && errno != EINVAL ? errno : 0;
    if (close(sink->fd) != 0 && !error)
        error = errno;
    sink->fd = -1;
    TRY(status);
    CHECK(!error, STATUS_ERROR, "cannot write %s: %s", sink->path, strerror(error));
    return STATUS_OK;
}

enum status run_log_close(struct run_log *log)
{
    if (!log)
        return STATUS_OK;
    enum status first = sink_close(&log->jsonl);
    enum status second = sink_close(&log->csv);
    log_free(log);
    return first != STATUS_OK ? first : second;
}

bool run_log_record(struct run_log *log, const struct run_record *record)
{
    if (!log)
        return false;
    bool is_bad = run_log_write(log, record) != STATUS_OK;
    if (is_bad && !log->is_late)
        log_warn("%s; training goes on, and the records are kept until they can be written",
                 error_text());
    else if (!is_bad && log->is_late)
        log_warn("the records of the run can be written again");
    return log->is_late = is_bad;
}

void run_log_end(struct run_log *log, enum status status)
{
    char text[4096];
    snprintf(text, sizeof text, "%s", error_text());
    bool is_bad = run_log_close(log) != STATUS_OK;
    if (is_bad && status == STATUS_OK)
        log_warn("%s; records of the run are lost", error_text());
    else if (is_bad)
        error_set(status, __FILE__, __LINE__, "%s", text);
}
