// SPDX-License-Identifier: MIT
// Owns: what the counts of check_scan.c mean, in words. Called by sw2-data check.
#include "data/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "data/check_private.h"

// Larger chunks cost a shuffled reader; smaller ones cost HDF5's bookkeeping.
static const uint64_t CHUNK_LARGE = 8 << 20, CHUNK_SMALL = 16 << 10;
static const double BALANCE_MAX = 10;

struct check {
    const struct check_config *config;
    struct check_result *result;
    struct check_scan train, test;
};

static void say(struct check *check, enum check_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct check *check, enum check_level level, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    check->result->n_warnings += level == CHECK_WARNING;
    check->result->n_errors += level == CHECK_ERROR;
    if (check->config->say)
        check->config->say(check->config->context, level, text);
}

// "3 (cat)" or "3".
static const char *class_text(const struct check_scan *scan, size_t k, char out[96])
{
    size_t n = 0;
    char *const *names = dataset_classes(scan->dataset, &n);
    snprintf(out, 96, "%zu", k);
    if (names && k < n && strcmp(names[k], out) != 0)
        snprintf(out, 96, "%zu (%.64s)", k, names[k]);
    return out;
}

static void say_values(struct check *check, const struct check_scan *scan)
{
    uint64_t n_changed = 0, lowest = 0;
    bool is_sealed = dataset_changed(scan->dataset, &n_changed, &lowest);
    if (n_changed > 0)
        say(check, CHECK_ERROR,
            "%s: %" PRIu64 " rows are not what was imported, first row %" PRIu64, scan->name,
            n_changed, lowest);
    else if (is_sealed)
        say(check, CHECK_NOTE, "%s: the seal fits, and all rows are what was imported", scan->name);
    if (scan->n_not_finite > 0)
        say(check, CHECK_ERROR,
            "%s: %" PRIu64 " input values are NaN or infinite, first in row %" PRIu64, scan->name,
            scan->n_not_finite, scan->first_not_finite);
    if (scan->n_bad_targets > 0)
        say(check, CHECK_ERROR,
            "%s: %" PRIu64 " target values are NaN or infinite, first in row %" PRIu64, scan->name,
            scan->n_bad_targets, scan->first_bad_target);
    if (scan->n_blank > 0)
        say(check, CHECK_WARNING,
            "%s: %" PRIu64 " rows are blank (one value throughout), first"
            " row %" PRIu64,
            scan->name, scan->n_blank, scan->first_blank);
    size_t c = dataset_shape(scan->dataset).c, n_constant = 0, first = 0;
    for (size_t k = 0; k < c; k++)
        if (scan->least[k] == scan->most[k] && n_constant++ == 0)
            first = k;
    if (n_constant > 0)
        say(check, CHECK_WARNING, "%s: %zu of %zu channels are constant, first channel %zu (%g)",
            scan->name, n_constant, c, first, (double)scan->least[first]);
}

static void say_balance(struct check *check, const struct check_scan *scan)
{
    struct target_shape target = dataset_target(scan->dataset);
    char most_text[96], least_text[96], empty_text[96];
    size_t most = 0, least = 0, n_empty = 0, empty = 0;
    if (target.type != TARGET_CLASS || target.n_classes == 0)
        return;
    for (size_t k = 0; k < target.n_classes; k++) {
        if (scan->count[k] == 0 && n_empty++ == 0)
            empty = k;
        if (scan->count[k] > scan->count[most])
            most = k;
        bool is_least = scan->count[least] == 0 || scan->count[k] < scan->count[least];
        if (scan->count[k] > 0 && is_least)
            least = k;
    }
    class_text(scan, most, most_text);
    class_text(scan, least, least_text);
    if (n_empty > 0)
        say(check, CHECK_WARNING, "%s: %zu of %zu classes have no row, first class %s", scan->name,
            n_empty, target.n_classes, class_text(scan, empty, empty_text));
    uint64_t least_n = scan->count[least], most_n = scan->count[most];
    bool is_uneven = (double)most_n > BALANCE_MAX * (double)least_n;
    if (least_n == most_n)
        say(check, CHECK_NOTE, "%s: %zu classes of %" PRIu64 " rows each", scan->name,
            target.n_classes - n_empty, most_n);
    else
        say(check, is_uneven ? CHECK_WARNING : CHECK_NOTE,
            "%s: %zu classes of %" PRIu64 " rows (class %s) to %" PRIu64 " rows (class %s)%s",
            scan->name, target.n_classes - n_empty, least_n, least_text, most_n, most_text,
            is_uneven ? ": consider class weights, and look at recall per class" : "");
}

static bool have_same_target(const struct check_scan *a, uint64_t x, const struct check_scan *b,
                             uint64_t y)
{
    struct target_shape target = dataset_target(a->dataset);
    size_t bytes = target.count * (target.type == TARGET_CLASS ? sizeof(int32_t) : sizeof(float));
    return memcmp(dataset_target_of(a->dataset, x), dataset_target_of(b->dataset, y), bytes) == 0;
}

// Rows equal to an earlier row of the same side.
static void say_duplicates(struct check *check, const struct check_scan *scan)
{
    uint64_t n = 0, n_other = 0, a = 0, b = 0, other_a = 0, other_b = 0;
    for (uint64_t i = 1, first = 0; i < scan->n_rows; i++) {
        if (scan->rows[i].key != scan->rows[first].key) {
            first = i;
            continue;
        }
        uint64_t x = scan->rows[first].row, y = scan->rows[i].row;
        if (n == 0 || x < a) {
            a = x;
            b = y;
        }
        n++;
        if (have_same_target(scan, x, scan, y))
            continue;
        if (n_other == 0 || x < other_a) {
            other_a = x;
            other_b = y;
        }
        n_other++;
    }
    if (n > 0)
        say(check, CHECK_WARNING,
            "%s: %" PRIu64 " rows repeat an earlier row, first %" PRIu64 " = %" PRIu64, scan->name,
            n, b, a);
    if (n_other > 0)
        say(check, CHECK_WARNING,
            "%s: %" PRIu64 " of these have another target than the row they"
            " repeat, first %" PRIu64 " and %" PRIu64,
            scan->name, n_other, other_b, other_a);
}

// Test rows that are also training rows: the test result would be too good.
static void say_shared(struct check *check)
{
    const struct check_scan *train = &check->train, *test = &check->test;
    uint64_t n = 0, a = 0, b = 0, i = 0;
    if (dataset_row_bytes(train->dataset) != dataset_row_bytes(test->dataset)) {
        say(check, CHECK_ERROR, "rows of %s and %s are not of one size (%zu and %zu bytes)",
            train->name, test->name, dataset_row_bytes(train->dataset),
            dataset_row_bytes(test->dataset));
        return;
    }
    for (uint64_t k = 0; k < test->n_rows; k++) {
        while (i < train->n_rows && train->rows[i].key < test->rows[k].key)
            i++;
        if (i == train->n_rows || train->rows[i].key != test->rows[k].key)
            continue;
        if (n == 0 || test->rows[k].row < b) {
            a = train->rows[i].row;
            b = test->rows[k].row;
        }
        n++;
    }
    if (n > 0)
        say(check, CHECK_WARNING,
            "leak: %" PRIu64 " of %" PRIu64 " test rows are training rows"
            " too, first test row %" PRIu64 " = training row %" PRIu64,
            n, test->n_rows, b, a);
    else
        say(check, CHECK_NOTE, "no test row is a training row");
}

// Compares with the attributes that sw2-data import wrote.
static enum status say_attributes(struct check *check, struct check_scan *scan, struct h5 *file,
                                  const char *group, bool has_own_statistics)
{
    struct dataset *dataset = scan->dataset;
    char hex[33], *stored = NULL;
    if (h5_attr_exists(file, group, "digest") &&
        h5_attr_read_text(file, group, "digest", &stored) == STATUS_OK &&
        strncmp(stored, ROW_DIGEST_PREFIX, strlen(ROW_DIGEST_PREFIX)) == 0) {
        enum status status = row_digest_end(&scan->digest, scan->n_rows, dataset_shape(dataset),
                                            dataset_is_u8(dataset), dataset_target(dataset), hex);
        bool is_same = strcmp(stored + strlen(ROW_DIGEST_PREFIX), hex) == 0;
        if (status == STATUS_OK)
            say(check, is_same ? CHECK_NOTE : CHECK_ERROR, "%s: the content %s its digest %s",
                scan->name, is_same ? "has" : "does not have", stored);
    }
    free(stored);
    size_t c = dataset_shape(dataset).c;
    if (!has_own_statistics || !h5_attr_exists(file, group, "mean"))
        return STATUS_OK;
    double *now = NULL;
    TRY(memory_alloc(&now, 2 * c, sizeof *now, "statistics"));
    import_stats_end(&scan->stats, now, now + c);
    const double *mean = dataset_mean(dataset), *deviation = dataset_std(dataset);
    for (size_t k = 0; k < c; k++) {
        double off = mean[k] - now[k], scale = now[c + k] > 0 ? now[c + k] : 1;
        double ratio = deviation[k] / scale;
        if (off < 0.01 * scale && off > -0.01 * scale && ratio > 0.99 && ratio < 1.01)
            continue;
        say(check, CHECK_WARNING,
            "%s: channel %zu has mean %g and std %g, the file's attributes"
            " say %g and %g",
            scan->name, k, now[k], now[c + k], mean[k], deviation[k]);
        break;
    }
    free(now);
    return STATUS_OK;
}

struct layout {
    struct check *check;
    struct h5 *file;
    const char *group, *name;
};

enum check_level check_chunks(const struct h5_info *info, char text[CHECK_CHUNKS_BYTES])
{
    uint64_t bytes = h5_type_bytes(info->type);
    for (int i = 0; i < info->rank; i++)
        bytes *= info->chunk[i];
    const char *packed = info->is_compressed ? "compressed (every epoch unpacks it again), " : "";
    if (info->chunk[0] == 0) {
        snprintf(text, CHECK_CHUNKS_BYTES, "stored in one piece: best for shuffled reading");
        return CHECK_NOTE;
    }
    if (bytes > CHUNK_LARGE && info->chunk[0] > 1) {
        snprintf(text, CHECK_CHUNKS_BYTES,
                 "%sin chunks of %" PRIu64 " rows (%" PRIu64 " MiB), which shuffled reading reads"
                 " again and again: rewrite with chunks of at most 1 MiB, or none",
                 packed, info->chunk[0], bytes >> 20);
        return CHECK_WARNING;
    }
    if (bytes < CHUNK_SMALL && info->chunk[0] < info->dim[0]) {
        snprintf(text, CHECK_CHUNKS_BYTES,
                 "%sin chunks of %" PRIu64 " bytes, slow to find: rewrite with chunks of 64 KiB to"
                 " 1 MiB, or none",
                 packed, bytes);
        return CHECK_WARNING;
    }
    snprintf(text, CHECK_CHUNKS_BYTES, "%sin chunks of %" PRIu64 " rows", packed, info->chunk[0]);
    return CHECK_NOTE;
}

// Advice about one data set of a group.
static enum status say_chunks(void *context, const char *name, bool is_dataset)
{
    struct layout *layout = context;
    struct h5_info info;
    char path[1024], text[CHECK_CHUNKS_BYTES];
    snprintf(path, sizeof path, "%s/%s", layout->group, name);
    if (!is_dataset || h5_info(layout->file, path, &info) != STATUS_OK || info.rank < 2)
        return STATUS_OK;
    enum check_level level = check_chunks(&info, text);
    if (level == CHECK_NOTE && strcmp(name, "labels") == 0)
        return STATUS_OK;
    say(layout->check, level, "%s: %s is %s", layout->name, name, text);
    return STATUS_OK;
}

static enum status say_file(struct check *check, struct check_scan *scan, bool is_train)
{
    char *path = strdup(dataset_path(scan->dataset));
    CHECK(path, STATUS_ERROR, "out of memory: path");
    char *colon = strrchr(path, ':');
    struct h5 *file = NULL;
    if (colon)
        *colon = 0;
    const char *group = colon ? colon + 1 : "/";
    enum status status = h5_open(&file, path);
    if (status == STATUS_OK) {
        struct layout layout = {check, file, group, scan->name};
        status = say_attributes(check, scan, file, group, is_train);
        if (status == STATUS_OK)
            status = h5_list(file, group, say_chunks, &layout);
    }
    h5_close(file);
    free(path);
    return status;
}

static enum status check_side(struct check *check, struct check_scan *scan, bool is_train)
{
    TRY(check_scan_run(scan, &check->config->progress));
    say_values(check, scan);
    say_balance(check, scan);
    say_duplicates(check, scan);
    return say_file(check, scan, is_train);
}

// The part of a path before ":/group"; does the file hold this group?
static bool file_has_group(const char *path, const char *group)
{
    struct h5 *file = NULL;
    bool is_there = h5_open(&file, path) == STATUS_OK && h5_exists(file, group);
    h5_close(file);
    return is_there;
}

static enum status open_test(struct check *check, const char *path, const struct data_config *data)
{
    struct dataset *dataset = NULL;
    bool is_asked = check->config->test != NULL;
    if (!is_asked && strstr(path, ":/"))
        return STATUS_OK;
    enum status status =
        dataset_open(&dataset, is_asked ? check->config->test : path, DATASET_TEST, data);
    if (status == STATUS_ERROR)
        return status;
    if (status != STATUS_OK) {
        bool is_bad = is_asked || file_has_group(path, "/test");
        say(check, is_bad ? CHECK_ERROR : CHECK_NOTE, "%s", is_bad ? error_text() : "no test part");
        return STATUS_OK;
    }
    // A file of one part gives the same rows again.
    const struct dataset *train = check->train.dataset;
    if (!is_asked && strcmp(dataset_path(dataset), dataset_path(train)) == 0 &&
        strcmp(dataset_fingerprint(dataset), dataset_fingerprint(train)) == 0) {
        dataset_close(dataset);
        say(check, CHECK_NOTE, "no test part");
        return STATUS_OK;
    }
    return check_scan_init(&check->test, dataset, "test");
}

static enum status run(struct check *check)
{
    const struct check_config *config = check->config;
    struct data_config data = dataset_defaults();
    data.is_lenient = true; // all changed rows are counted
    struct dataset *dataset = NULL;
    struct h5 *file = NULL;
    char *path = strdup(config->path);
    CHECK(path, STATUS_ERROR, "out of memory: path");
    char *colon = strstr(path, ":/");
    if (colon)
        *colon = 0;
    enum status status = h5_open(&file, path); // not even a file: no findings
    h5_close(file);
    free(path);
    TRY(status);
    status = dataset_open(&dataset, config->path, DATASET_TRAIN, &data);
    if (status == STATUS_DATA || status == STATUS_USAGE) {
        say(check, CHECK_ERROR, "%s", error_text());
        return STATUS_OK;
    }
    TRY(status);
    TRY(check_scan_init(&check->train, dataset, "train"));
    data.n_classes = (int64_t)dataset_target(dataset).n_classes;
    TRY(open_test(check, config->path, &data));
    TRY(check_side(check, &check->train, true));
    check->result->n_train = check->train.n_rows;
    if (!check->test.dataset)
        return STATUS_OK;
    TRY(check_side(check, &check->test, false));
    check->result->n_test = check->test.n_rows;
    say_shared(check);
    return STATUS_OK;
}

enum status check_run(const struct check_config *config, struct check_result *result)
{
    struct check check = {.config = config, .result = result};
    *result = (struct check_result){0};
    enum status status = run(&check);
    check_scan_free(&check.train);
    check_scan_free(&check.test);
    return status;
}
