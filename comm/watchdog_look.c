// SPDX-License-Identifier: MIT
// What the threads of this rank do: which of them has made no progress for how long, time without a
// core not counted, and whether all only wait for other ranks.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/watchdog_private.h"

#define CROWDED 0.25    // of the time counts in any case: else a loop at low priority had for ever
#define LOOK_CLOSER 0.5 // s without progress, from which on the kernel is asked

static size_t file_read(const char *path, char *text, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, n - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

// State and start time from a stat file of /proc; 0: there is none.
static char stat_read(const char *path, uint64_t *born)
{
    char text[1024], state;
    if (file_read(path, text, sizeof text) == 0)
        return 0;
    const char *at = strrchr(text, ')'); // the name before it may hold anything
    if (!at || at[1] != ' ')
        return 0;
    state = at[2];
    at += 2;
    for (int field = 3; field < 22 && at; field++) // 3: state, 22: start time
        at = strchr(at + 1, ' ');
    *born = at ? strtoull(at, NULL, 10) : 0;
    return state;
}

uint64_t watch_born(int pid)
{
    char path[64];
    uint64_t born = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    stat_read(path, &born);
    return born;
}

enum watch_seen watch_process(const struct watch_name *name)
{
    char path[64];
    uint64_t born = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)name->pid);
    char state = stat_read(path, &born);
    if (state == 0 || name->born == 0 || born != name->born)
        return WATCH_UNSEEN;
    return state == 'T'                   ? WATCH_STOPPED
           : state == 't'                 ? WATCH_TRACED
           : state == 'Z' || state == 'X' ? WATCH_DEAD
                                          : WATCH_RUNS;
}

// Seconds that the thread was ready to run but had no core, of the kernel's count; 0: unknown.
static double thread_delay(int thread)
{
    char path[64], text[128], *end = text;
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", thread);
    if (file_read(path, text, sizeof text) == 0)
        return 0;
    strtoull(text, &end, 10); // time on a core
    return 1e-9 * (double)strtoull(end, NULL, 10);
}

// ---- lanes

static void lane_see(struct watch_look *look, int at, double now)
{
    struct events_view view;
    bool is_there = events_look(at, &view);
    int thread = is_there || view.thread ? view.thread : 0;
    if (thread && !is_there) // it is noting just now: that is progress
        view.progress = look->lanes[at].progress + 1;
    bool is_changed = thread != look->lanes[at].thread || view.progress != look->lanes[at].progress;
    look->lanes[at].thread = thread;
    if (!thread)
        return;
    if (is_changed) {
        look->lanes[at].progress = view.progress;
        look->lanes[at].changed = now;
        look->lanes[at].delayed = 0;
        look->lanes[at].is_looked = false;
        look->lanes[at].state = 0;
    }
    if (is_there)
        look->lanes[at].view = view;
    if (now - look->lanes[at].changed < LOOK_CLOSER)
        return;
    double delay = thread_delay(thread);
    if (look->lanes[at].is_looked)
        look->lanes[at].delayed += delay - look->lanes[at].delay_at_look;
    look->lanes[at].delay_at_look = delay;
    look->lanes[at].is_looked = true;
    char path[64];
    uint64_t born;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    look->lanes[at].state = stat_read(path, &born);
}

static double lane_stalled(const struct watch_look *look, int at, double now)
{
    double passed = now - look->lanes[at].changed, ran = passed - look->lanes[at].delayed;
    return ran > passed * CROWDED ? ran : passed * CROWDED;
}

// The lane of that role that has rested least of those that have something to do: -1: none.
static int lane_of_role(const struct watch_look *look, enum events_role role, double now)
{
    int best = -1;
    for (int i = 0; i < EVENTS_LANES; i++) {
        const struct events_view *view = &look->lanes[i].view;
        if (!look->lanes[i].thread || view->role != role || view->now.kind == EVENTS_IDLE)
            continue;
        if (best < 0 || lane_stalled(look, i, now) < lane_stalled(look, best, now))
            best = i;
    }
    return best;
}

// The lane to blame for what lane `at` does not do, -1: none, and for how long.
static int lane_blamed(const struct watch_look *look, int at, double now, double *stalled)
{
    const struct events_view *view = &look->lanes[at].view;
    *stalled = lane_stalled(look, at, now);
    if (view->role != EVENTS_MAIN && view->role != EVENTS_WORKER)
        return -1; // matters only where one of these waits for it
    switch (view->now.kind) {
    case EVENTS_WORK:
    case EVENTS_READ:
    case EVENTS_SLOW:
        return at;
    case EVENTS_THREAD:
        break;
    default:
        return -1;
    }
    int other = lane_of_role(look, (enum events_role)view->now.number, now);
    if (other < 0 || other == at)
        return at;
    double its = lane_stalled(look, other, now);
    *stalled = its < *stalled ? its : *stalled;
    enum events_kind kind = look->lanes[other].view.now.kind;
    return kind == EVENTS_SHARE || kind == EVENTS_WAIT ? -1 : other;
}

// ---- the report

static void text_put(char to[WATCH_TEXT], const char *from)
{
    snprintf(to, WATCH_TEXT, "%s", from ? from : "");
}

static void blame_put(const struct watch_look *look, int at, struct watch_report *report)
{
    const struct events_view *view = &look->lanes[at].view;
    report->kind = view->now.kind;
    report->number = view->now.number;
    report->tick_number = view->tick_number;
    report->state = look->lanes[at].state;
    if (view->role == EVENTS_WORKER)
        snprintf(report->thread, WATCH_TEXT, "%s %d", events_role_name(view->role), view->number);
    else
        text_put(report->thread, events_role_name(view->role));
    text_put(report->text, view->now.text);
    text_put(report->around, view->around);
    text_put(report->tick, view->tick);
}

static uint32_t hash(const char *text) // FNV-1a
{
    uint32_t h = 2166136261u;
    for (; text && *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

static void waiting_put(const struct watch_look *look, int at, double now,
                        struct watch_report *report)
{
    const struct events_view *view = &look->lanes[at].view;
    bool is_share = view->now.kind == EVENTS_SHARE;
    report->step = view->now.step;
    report->is_step = view->now.is_step;
    report->share = view->now.share;
    for (int i = 0; i < EVENTS_SHARES; i++)
        report->shares[i] = hash(view->shares[i]);
    if (!is_share && view->now.kind != EVENTS_WAIT)
        return;
    report->is_waiting = 1;
    report->share_for = lane_stalled(look, at, now);
    text_put(report->share_text, is_share || !view->around ? view->now.text : view->around);
}

void watch_look(struct watch_look *look, double now, double seconds, struct watch_report *report)
{
    double worst = -1;
    *report = (struct watch_report){.kind = EVENTS_IDLE, .median = events_median_step()};
    for (int i = 0; i < EVENTS_LANES; i++)
        lane_see(look, i, now);
    bool is_busy = false;
    for (int i = 0; i < EVENTS_LANES; i++) {
        if (!look->lanes[i].thread)
            continue;
        if (look->lanes[i].view.role == EVENTS_MAIN)
            waiting_put(look, i, now, report);
        double stalled;
        int blamed = lane_blamed(look, i, now, &stalled);
        if (blamed < 0)
            continue;
        is_busy = true;
        enum events_kind kind = look->lanes[blamed].view.now.kind;
        double part = stalled / watch_patience(kind, seconds, report->median);
        if (part <= worst)
            continue;
        worst = part;
        blame_put(look, blamed, report);
        report->stalled = stalled;
    }
    report->is_waiting = report->is_waiting && !is_busy;
}

void watch_look_reset(struct watch_look *look, double now)
{
    for (int i = 0; i < EVENTS_LANES; i++) {
        look->lanes[i].changed = now;
        look->lanes[i].delayed = 0;
        look->lanes[i].is_looked = false;
    }
}

// ---- rings as text

struct page {
    char *at;
    size_t n, used;
};

static void page_add(struct page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void page_add(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int got = vsnprintf(page->at + page->used, page->n - page->used, format, args);
    va_end(args);
    if (got > 0 && (size_t)got < page->n - page->used)
        page->used += (size_t)got;
    else
        page->n = page->used + 1; // full
}

static void ring_add(struct page *page, int lane, uint64_t now)
{
    static struct events_record records[EVENTS_RING];
    struct events_view view;
    if (!events_look(lane, &view))
        return;
    size_t n = events_copy(lane, records);
    page_add(page, "\n%s %d (thread %d), the last %zu events\n", events_role_name(view.role),
             view.number, view.thread, n);
    for (size_t i = 0; i < n; i++) {
        const struct events_record *r = &records[i];
        page_add(page, "%12.6f s  step %-8llu %-4s %-6s %s %llu",
                 -1e-9 * (double)(int64_t)(now - r->at), (unsigned long long)r->step,
                 r->is_end ? "back" : "", events_kind_name(r->kind), r->text,
                 (unsigned long long)r->number);
        if (r->kind == EVENTS_SHARE)
            page_add(page, " (collective %llu)", (unsigned long long)r->share);
        page_add(page, "\n");
    }
    if (view.tick)
        page_add(page, "since then: %s %llu\n", view.tick, (unsigned long long)view.tick_number);
}

size_t watch_rings(char *out, size_t n, const char *verdict, int rank,
                   const struct watch_name *name)
{
    struct page page = {out, n, 0};
    uint64_t now = events_now();
    out[0] = '\0';
    page_add(&page, "rank %d, host %s, process %d; times before this was written\n%s\n", rank,
             name->host, (int)name->pid, verdict);
    for (int lane = 0; lane < EVENTS_LANES; lane++)
        ring_add(&page, lane, now);
    while (page.used > 0 && out[page.used - 1] != '\n')
        page.used--;
    out[page.used] = '\0';
    return page.used;
}
