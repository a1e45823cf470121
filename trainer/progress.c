// SPDX-License-Identifier: MIT
#include "trainer/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "comm/log.h"

#define BAR_SECONDS 0.1 // between two drawings
#define BAR_MIN 8       // cells; a narrower bar is left out
#define BAR_MAX 40
#define PIECE_BYTES 64

void progress_init(struct progress *progress, const struct progress_config *config, double now)
{
    *progress = (struct progress){.config = *config,
                                  .is_terminal = log_is_terminal(),
                                  .has_colour = log_has_colour(),
                                  .start = now,
                                  .last_bar = now - 1,
                                  .last_line = now};
}

// Soon at first, so that a person sees it live; rarely in the long run.
static double line_seconds(double running)
{
    return running < 30 ? 10 : running < 600 ? 30 : 300;
}

static bool line_is_due(const struct progress *progress, uint64_t step, double now)
{
    if (progress->config.log_every > 0)
        return step % progress->config.log_every == 0;
    return now - progress->last_line >= line_seconds(now - progress->start);
}

bool progress_is_due(const struct progress *progress, uint64_t step, double now)
{
    return line_is_due(progress, step, now) ||
           (progress->is_terminal && now - progress->last_bar >= BAR_SECONDS);
}

size_t progress_width(void)
{
    struct winsize size;
    if (ioctl(log_terminal_fd(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    const char *columns = getenv("COLUMNS");
    long width = columns ? strtol(columns, NULL, 10) : 0;
    return width > 0 && width < 10000 ? (size_t)width : 80;
}

void progress_time_text(double seconds, char *out, size_t bytes)
{
    if (!(seconds >= 0 && seconds < 1e9)) {
        snprintf(out, bytes, "?");
        return;
    }
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(out, bytes, "%.1f s", seconds);
    else if (s < 60)
        snprintf(out, bytes, "%lu s", s);
    else if (s < 3600)
        snprintf(out, bytes, "%lu min %02lu s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, bytes, "%lu h %02lu min", s / 3600, s / 60 % 60);
    else
        snprintf(out, bytes, "%lu d %lu h", s / 86400, s / 3600 % 24);
}

static void append(char *out, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *out, size_t bytes, const char *format, ...)
{
    size_t n = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + n, bytes - n, format, args);
    va_end(args);
}

static void append_metric(char *out, size_t bytes, const struct loss_metric *metric, double value)
{
    double size = fabs(value);
    if (metric->is_percent)
        append(out, bytes, "%s %.2f %%", metric->name, 100 * value);
    else if (size == 0 || (size >= 0.001 && size < 1000) || !isfinite(value))
        append(out, bytes, "%s %.4f", metric->name, value);
    else
        append(out, bytes, "%s %.3e", metric->name, value);
}

static uint64_t step_in_epoch(const struct progress *progress, const struct run_record *record)
{
    uint64_t before =
        (record->epoch > 0 ? record->epoch - 1 : 0) * progress->config.steps_per_epoch;
    return record->step > before ? record->step - before : 0;
}

// Seconds to the run's end at the pace of this process, evaluation and checkpoints included;
// negative: not known yet.
static double seconds_left(const struct progress *progress, const struct run_record *record,
                           double now)
{
    const struct progress_config *config = &progress->config;
    if (record->step <= config->steps_done || record->step > config->steps)
        return -1;
    double pace = (now - progress->start) / (double)(record->step - config->steps_done);
    return pace * (double)(config->steps - record->step);
}

// Parts of a line. Of a bar the most important come first: a narrow terminal loses the last ones.
struct pieces {
    char text[8][PIECE_BYTES];
    size_t n;
};

static void add_metric(const struct progress *progress, const struct run_record *record, size_t i,
                       struct pieces *pieces)
{
    if (record->train && i < progress->config.n_metrics)
        append_metric(pieces->text[pieces->n++], PIECE_BYTES, &progress->config.metrics[i],
                      record->train[i]);
}

static void collect_pieces(const struct progress *progress, const struct run_record *record,
                           double now, bool is_bar, struct pieces *pieces)
{
    memset(pieces, 0, sizeof *pieces);
    add_metric(progress, record, 0, pieces);
    if (!is_bar)
        add_metric(progress, record, 1, pieces);
    snprintf(pieces->text[pieces->n++], PIECE_BYTES, "%.0f images/s", record->images_per_s);
    double left = seconds_left(progress, record, now);
    if (left >= 0) {
        char time[32];
        progress_time_text(left, time, sizeof time);
        snprintf(pieces->text[pieces->n++], PIECE_BYTES, "ETA %s", time);
    }
    if (is_bar)
        add_metric(progress, record, 1, pieces);
    snprintf(pieces->text[pieces->n++], PIECE_BYTES, "lr %.4g", record->lr);
}

static void head_text(const struct progress *progress, const struct run_record *record,
                      const char *word, char *out, size_t bytes)
{
    snprintf(out, bytes, "epoch %llu/%llu  %s%llu/%llu", (unsigned long long)record->epoch,
             (unsigned long long)progress->config.epochs, word,
             (unsigned long long)step_in_epoch(progress, record),
             (unsigned long long)progress->config.steps_per_epoch);
}

void progress_line_text(const struct progress *progress, const struct run_record *record,
                        double now, char *out, size_t bytes)
{
    struct pieces pieces;
    collect_pieces(progress, record, now, false, &pieces);
    head_text(progress, record, "step ", out, bytes);
    for (size_t i = 0; i < pieces.n; i++)
        append(out, bytes, "  %s", pieces.text[i]);
}

// " [=====>    ]" of so many cells.
static void append_bar(const struct progress *progress, double part, size_t cells, char *out,
                       size_t bytes)
{
    size_t done = (size_t)(part * (double)cells + 0.5);
    done = done > cells ? cells : done;
    append(out, bytes, " [%s", progress->has_colour ? "\033[32m" : "");
    for (size_t i = 0; i < cells; i++) {
        if (i == done && progress->has_colour)
            append(out, bytes, "\033[0m");
        append(out, bytes, "%c",
               i + 1 < done || (i + 1 == done && done == cells) ? '='
               : i + 1 == done                                  ? '>'
                                                                : ' ');
    }
    append(out, bytes, "%s]", progress->has_colour && done == cells ? "\033[0m" : "");
}

void progress_bar_text(const struct progress *progress, const struct run_record *record, double now,
                       size_t width, char *out, size_t bytes)
{
    struct pieces pieces;
    collect_pieces(progress, record, now, true, &pieces);
    head_text(progress, record, "", out, bytes);
    size_t room = width > 1 ? width - 1 : 1; // the last column makes some terminals wrap
    size_t used = strlen(out), bar = BAR_MIN + 3, n = 0;
    for (; n < pieces.n && used + bar + 2 + strlen(pieces.text[n]) <= room; n++)
        used += 2 + strlen(pieces.text[n]);
    if (used + bar <= room) {
        size_t cells = room - used - 3;
        double steps = (double)progress->config.steps_per_epoch;
        double part = steps > 0 ? (double)step_in_epoch(progress, record) / steps : 0;
        append_bar(progress, part, cells < BAR_MAX ? cells : BAR_MAX, out, bytes);
    }
    for (size_t i = 0; i < n; i++)
        append(out, bytes, "  %s", pieces.text[i]);
    if (used > room && bytes > room)
        out[room] = '\0'; // a terminal narrower than the head
}

void progress_epoch_text(const struct progress *progress, const struct run_record *record,
                         char *out, size_t bytes)
{
    const struct progress_config *config = &progress->config;
    char time[32];
    snprintf(out, bytes, "epoch %llu/%llu", (unsigned long long)record->epoch,
             (unsigned long long)config->epochs);
    for (size_t i = 0; record->train && i < config->n_metrics; i++) {
        append(out, bytes, "  ");
        append_metric(out, bytes, &config->metrics[i], record->train[i]);
    }
    for (size_t i = 0; record->test && i < config->n_metrics; i++) {
        append(out, bytes, i ? "  " : "  test ");
        append_metric(out, bytes, &config->metrics[i], record->test[i]);
    }
    progress_time_text(record->seconds, time, sizeof time);
    append(out, bytes, "  lr %.4g  %.0f images/s", record->lr, record->images_per_s);
    if (record->waited_s >= 0.05)
        append(out, bytes, "  waited %.1f s", record->waited_s);
    append(out, bytes, "  %s", time);
    if (record->digest)
        append(out, bytes, "  digest %s", record->digest);
}

bool progress_step(struct progress *progress, const struct run_record *record, double now)
{
    bool is_line = line_is_due(progress, record->step, now);
    char text[1024];
    if (is_line)
        progress->last_line = now;
    if (is_line && !progress->is_terminal) {
        progress_line_text(progress, record, now, text, sizeof text);
        log_line("%s", text);
    }
    if (progress->is_terminal && now - progress->last_bar >= BAR_SECONDS) {
        progress->last_bar = now;
        progress_bar_text(progress, record, now, progress_width(), text, sizeof text);
        log_transient(text);
    }
    return is_line;
}

void progress_epoch(struct progress *progress, const struct run_record *record, double now)
{
    char text[1024];
    progress_epoch_text(progress, record, text, sizeof text);
    log_line("%s", text);
    progress->last_line = now; // an epoch's line counts as a sign of life
}

void progress_note(const struct progress *progress, const char *text)
{
    if (progress->is_terminal)
        log_transient(text);
}

void progress_summary(const struct loss_metric *metric, double seconds, uint64_t best_epoch,
                      double best, const char *folder, uint64_t skipped)
{
    char took[64];
    progress_time_text(seconds, took, sizeof took);
    if (skipped > 0)
        log_warn("%llu step%s left out, because loss or gradient were not finite",
                 (unsigned long long)skipped, skipped > 1 ? "s were" : " was");
    if (best_epoch > 0)
        log_line(metric->is_percent
                     ? "done in %s: best test %s %.2f %% after epoch %llu; weights in "
                       "%s (best.h5, and the newest)"
                     : "done in %s: best test %s %.6f after epoch %llu; weights in "
                       "%s (best.h5, and the newest)",
                 took, metric->name, best * (metric->is_percent ? 100 : 1),
                 (unsigned long long)best_epoch, folder);
    else
        log_line("done in %s; weights in %s", took, folder);
}
