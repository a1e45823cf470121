// SPDX-License-Identifier: MIT
// A verdict as one line for a person: who, where, at which step, doing what, for how long, and what
// to do about it.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "comm/watchdog_private.h"

struct line {
    char *at;
    size_t used;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->at + line->used, WATCH_MESSAGE - line->used, format, args);
    va_end(args);
    line->used += n > 0 ? (size_t)n : 0;
    if (line->used >= WATCH_MESSAGE)
        line->used = WATCH_MESSAGE - 1;
}

static void add_rank(struct line *line, int rank, const struct watch_name *names)
{
    add(line, "rank %d (host %s, process %d)", rank, names[rank].host, (int)names[rank].pid);
}

static void add_step(struct line *line, const struct watch_report *report)
{
    if (report->step > 0)
        add(line, "at step %llu", (unsigned long long)report->step);
    else
        add(line, "before the first step");
}

// "main thread: grain 3 in step, forward of layer 2"
static void add_activity(struct line *line, const struct watch_report *report)
{
    if (report->kind == EVENTS_IDLE) {
        add(line, "%s", report->share_text[0] ? "waiting in " : "nothing known");
        add(line, "%s", report->share_text);
        return;
    }
    add(line, "%s: %s", report->thread, report->text);
    if (report->number > 0 && report->kind != EVENTS_THREAD)
        add(line, " %llu", (unsigned long long)report->number);
    if (report->tick[0])
        add(line, ", %s %llu", report->tick, (unsigned long long)report->tick_number);
}

static const char *state_text(const struct watch_report *report)
{
    switch (report->state) {
    case 'R':
        return " (it runs: an endless loop?)";
    case 'D':
        return " (blocked in the kernel: a disk or file server that does not answer?)";
    case 'S':
        return report->kind == EVENTS_READ
                   ? " (asleep in the kernel: a disk or file server that does not answer?)"
                   : " (asleep)";
    default:
        return "";
    }
}

static void add_silent(struct line *line, const struct watch_row *row)
{
    switch (row->seen) {
    case WATCH_STOPPED:
        add(line, ": it is stopped (SIGSTOP; kill -CONT would wake it)");
        break;
    case WATCH_TRACED:
        add(line, ": a debugger holds it");
        break;
    case WATCH_DEAD:
        add(line, ": its process is dead");
        break;
    case WATCH_RUNS:
        add(line, ": it lives but gets no core, or its memory is swapped out");
        break;
    default:
        add(line, ": it is stopped, or its host or network is down");
        break;
    }
    add(line, "; its last word came ");
    add_step(line, &row->report);
    add(line, ", ");
    add_activity(line, &row->report);
}

static void add_culprit(struct line *line, const struct watch_verdict *verdict, int rank,
                        const struct watch_row *row, const struct watch_name *names)
{
    const struct watch_report *report = &row->report;
    add_rank(line, rank, names);
    if (verdict->what == WATCH_SILENT) {
        add(line, " has been silent for %.1f s", row->silent);
        add_silent(line, row);
    } else {
        add(line, " has made no progress for %.1f s ", report->stalled);
        add_step(line, report);
        add(line, ", ");
        add_activity(line, report);
        add(line, "%s", state_text(report));
    }
}

static void add_share(struct line *line, const struct watch_report *report)
{
    add(line, "in %s, collective %llu, ", report->share_text, (unsigned long long)report->share);
    add_step(line, report);
}

static void add_order(struct line *line, const struct watch_verdict *verdict,
                      const struct watch_row *rows, const struct watch_name *names)
{
    int rank = verdict->ranks[0];
    add_rank(line, rank, names);
    if (verdict->n > 1)
        add(line, " and %d more", verdict->n - 1);
    add(line, " left the order of collectives: it waits ");
    add_share(line, &rows[rank].report);
    if (verdict->other >= 0) {
        add(line, ", but ");
        add_rank(line, verdict->other, names);
        add(line, " ");
        add_share(line, &rows[verdict->other].report);
    }
    add(line, "; for %.1f s; this is a bug, please report it", verdict->seconds);
}

void watch_text(char out[WATCH_MESSAGE], const struct watch_verdict *verdict,
                const struct watch_row *rows, const struct watch_name *names, int size,
                const char *folder)
{
    struct line line = {out, 0};
    out[0] = '\0';
    if (verdict->what == WATCH_ORDER) {
        add_order(&line, verdict, rows, names);
    } else if (verdict->what == WATCH_LOST) {
        add(&line, "all ranks have waited for each other for %.1f s, rank 0 ", verdict->seconds);
        add_share(&line, &rows[0].report);
        add(&line, ": a message is lost, or the network is down");
    }
    for (int i = 0; verdict->what <= WATCH_STUCK && i < verdict->n && i < WATCH_NAMED; i++) {
        if (line.used > WATCH_MESSAGE - 450) {
            add(&line, "; and %d more", verdict->n - i);
            break;
        }
        add(&line, "%s", i > 0 ? "; " : "");
        add_culprit(&line, verdict, verdict->ranks[i], &rows[verdict->ranks[i]], names);
    }
    if (verdict->n_waiting > 0 && verdict->what <= WATCH_STUCK)
        add(&line, "; %d of %d ranks wait", verdict->n_waiting, size);
    add(&line,
        "; the job ends, %s/hang-rank-*.txt tell what the ranks did; run it again to go on from "
        "the last checkpoint",
        folder);
}
