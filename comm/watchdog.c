// SPDX-License-Identifier: MIT
// The watchdog's thread: looks, tells, listens, judges, and ends the job. See watchdog.h; the
// division of work is in watchdog_private.h.
#include "comm/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "comm/rehearsal.h"
#include "comm/watchdog_private.h"

#define BEAT_SECONDS 0.25     // between two words of a rank, up to
#define BEAT_SECONDS_MAX 1.0  // in jobs of many ranks
#define BEATS_A_SECOND 1600.0 // that a monitor hears, at most
#define ACK_BEATS 4u          // every so many ask for an answer
#define CROWD 64              // ranks, from which on monitors listen in slices
#define SLICE_SECONDS 0.02
#define GAP_SECONDS 2.0   // a thread that woke this late has not seen what happened
#define LATE_BEATS 0.98   // a late wake-up counts less with each beat
#define WRITE_SECONDS 3.0 // for the rings
#define DEPUTY_SECONDS 0.5
#define ORPHAN_SECONDS 1.0
#define UNHEARD_SECONDS 30.0

static struct {
    bool is_on;
    double seconds, beat;
    int rank, size;
    struct watch_net *net; // NULL: a single process
    struct watch_name alone;
    const struct watch_name *names; // (size)
    struct watch_row *rows;         // (size)
    double *heard;                  // (size): when
    struct watch_look look;
    int wake; // eventfd: stop
    atomic_bool must_stop;
    pthread_t thread;
    // Of the thread.
    double late;    // of its wake-ups
    double woke;    // last
    double next;    // beat
    uint64_t beats; // sent
    bool is_fired;  // told to write its rings
    double began, fired;
    bool has_warned;
    int monitor; // that told so
} self;

static double now(void)
{
    return 1e-9 * (double)events_now();
}

enum status watchdog_parse(const char *text, double *seconds)
{
    char *end = NULL;
    *seconds = 0;
    if (strcmp(text, "off") == 0)
        return STATUS_OK;
    double value = strtod(text, &end);
    CHECK(end != text && *end == '\0' && value >= 0.1 && value <= 1e6, STATUS_USAGE,
          "--watchdog: '%s', expected off or seconds from 0.1 to 1000000", text);
    *seconds = value;
    return STATUS_OK;
}

// ---- the end

static void fire(const struct watch_verdict *verdict)
{
    static char message[WATCH_MESSAGE];
    static struct watch_packet packet;
    double begin = now(), said = 0;
    watch_text(message, verdict, self.rows, self.names, self.size, watch_end_folder());
    watch_end_speak("error", message);
    watch_end_write(message, &self.names[self.rank]);
    for (bool is_all = false; !is_all && now() - begin < WRITE_SECONDS;) {
        is_all = watch_end_is_written();
        for (int rank = 0; self.net && rank < self.size; rank++) {
            struct watch_row *row = &self.rows[rank];
            if (rank == self.rank || row->is_gone)
                continue;
            bool is_silent = verdict->what == WATCH_SILENT && row->silent > verdict->seconds / 2;
            is_all = is_all && is_silent;
            if (now() - said < BEAT_SECONDS)
                continue;
            packet.type = WATCH_FIRE;
            memcpy(packet.message, message, sizeof message);
            watch_net_send(self.net, rank, &packet);
        }
        said = now() - said < BEAT_SECONDS ? said : now();
        poll(NULL, 0, 20);
        while (self.net && watch_net_receive(self.net, &packet))
            if (packet.type == WATCH_DONE)
                self.rows[packet.from].is_gone = true;
    }
    watch_end_job();
}

// Told by the monitor: writes the rings, says so, and ends if nobody ends it.
static void obey(const struct watch_packet *packet)
{
    if (!self.is_fired)
        self.fired = now();
    self.is_fired = true;
    self.monitor = packet->from;
    watch_end_write(packet->message, &self.names[self.rank]);
}

// ---- listening

static void hear(double at)
{
    static struct watch_packet packet;
    while (watch_net_receive(self.net, &packet)) {
        struct watch_row *row = &self.rows[packet.from];
        self.heard[packet.from] = at;
        row->is_heard = true;
        row->seen = WATCH_UNSEEN;
        if (packet.type == WATCH_BEAT || packet.type == WATCH_ACK)
            row->report = packet.report;
        if (packet.type == WATCH_FIRE)
            obey(&packet);
        row->is_gone = row->is_gone || packet.type == WATCH_BYE;
        if (packet.type != WATCH_BEAT || !packet.wants_ack)
            continue;
        packet.type = WATCH_ACK;
        packet.report = self.rows[self.rank].report;
        watch_net_send(self.net, packet.from, &packet);
    }
}

// Time in which this thread did not run tells nothing of anybody.
static void forget(double at)
{
    watch_look_reset(&self.look, at);
    for (int rank = 0; rank < self.size; rank++)
        self.heard[rank] = at;
}

// Until the next beat, or something has come; notes how late it was.
static void rest(void)
{
    bool is_crowd = self.net && self.rank < 2 && self.size > CROWD;
    struct pollfd from[2] = {{.fd = self.wake, .events = POLLIN},
                             {.fd = self.net ? watch_net_fd(self.net) : -1, .events = POLLIN}};
    double wanted = self.next - now();
    if (is_crowd && wanted > SLICE_SECONDS)
        wanted = SLICE_SECONDS;
    if (self.is_fired && wanted > SLICE_SECONDS)
        wanted = SLICE_SECONDS;
    wanted = wanted > 0 ? wanted : 0;
    poll(from, is_crowd ? 1 : 2, (int)(1000 * wanted) + 1);
    double at = now(), late = at - self.woke - wanted;
    self.woke = at;
    self.late = late > self.late ? late : self.late;
    double gap = self.seconds / 2 < GAP_SECONDS ? self.seconds / 2 : GAP_SECONDS;
    if (late > gap)
        forget(at);
}

// ---- judging

static void rows_age(double at)
{
    for (int rank = 0; rank < self.size; rank++) {
        struct watch_row *row = &self.rows[rank];
        row->silent = rank == self.rank ? 0 : at - self.heard[rank];
        row->seen = WATCH_UNSEEN;
        if (row->is_heard && !row->is_gone && row->silent > 4 * self.beat &&
            strcmp(self.names[rank].host, self.names[self.rank].host) == 0)
            row->seen = watch_process(&self.names[rank]);
    }
}

// A rank that was never heard cannot be judged.
static void warn_unheard(double at)
{
    if (self.rank > 0 || self.has_warned || at - self.began < UNHEARD_SECONDS)
        return;
    for (int rank = 0; rank < self.size; rank++) {
        if (self.rows[rank].is_heard || self.rows[rank].is_gone)
            continue;
        char message[256];
        snprintf(message, sizeof message,
                 "rank %d (host %s) is not heard by rank 0 over UDP (a firewall?): nobody will "
                 "notice if such a rank hangs",
                 rank, self.names[rank].host);
        watch_end_speak("warning", message);
        self.has_warned = true;
        return;
    }
}

// What this rank can say of the others; only monitors have their words.
static void judge(double at)
{
    rows_age(at);
    warn_unheard(at);
    struct watch_verdict verdict = watch_judge(self.rows, self.size, self.seconds, self.late);
    if (verdict.what == WATCH_FINE)
        return;
    if (self.rank > 0) { // only when those before it have had their time, and have not used it
        if (verdict.what != WATCH_SILENT || verdict.ranks[0] != 0)
            return;
        double patience = self.rank == 1 ? DEPUTY_SECONDS : ORPHAN_SECONDS;
        if (self.rank > 1 && (verdict.n < 2 || verdict.ranks[1] != 1))
            return;
        if (self.rank > 2)
            patience += 0.25 * (self.rank < 10 ? self.rank : 10);
        verdict = watch_judge(self.rows, self.size, self.seconds + patience, self.late);
        if (verdict.what != WATCH_SILENT || verdict.ranks[0] != 0)
            return;
        verdict.n_waiting = self.rank == 1 ? verdict.n_waiting : 0; // others' words go to those two
    }
    fire(&verdict);
}

static void beat(double at)
{
    static struct watch_packet packet;
    packet.type = WATCH_BEAT;
    packet.wants_ack = self.beats++ % ACK_BEATS == 0;
    watch_look(&self.look, at, self.seconds, &packet.report);
    packet.report.late = self.late;
    self.rows[self.rank].report = packet.report;
    self.rows[self.rank].is_heard = true;
    for (int monitor = 0; self.net && monitor < 2 && monitor < self.size; monitor++)
        if (monitor != self.rank)
            watch_net_send(self.net, monitor, &packet);
    self.late *= LATE_BEATS;
}

static void *thread_run(void *context)
{
    (void)context;
    prctl(PR_SET_NAME, "watchdog");
    self.next = self.woke = self.began = now();
    while (!atomic_load(&self.must_stop)) {
        rest();
        double at = now();
        if (self.net)
            hear(at);
        if (self.is_fired) {
            struct watch_packet done = {.type = WATCH_DONE};
            if (watch_end_is_written())
                watch_net_send(self.net, self.monitor, &done);
            if (at - self.fired > WRITE_SECONDS + 4)
                _exit(STATUS_ERROR);
            continue;
        }
        if (at < self.next)
            continue;
        self.next = at + self.beat;
        beat(at);
        judge(at);
    }
    return NULL;
}

// ---- start and stop

static enum status thread_start(void)
{
    sigset_t all, before;
    self.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(self.wake >= 0, STATUS_ERROR, "watchdog: no eventfd: %s", strerror(errno));
    sigfillset(&all); // they go to the main thread, which has the handlers
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&self.thread, NULL, thread_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(why == 0, STATUS_ERROR, "cannot start the watchdog's thread: %s", strerror(why));
    return STATUS_OK;
}

static enum status rows_init(const struct group *group)
{
    size_t size = (size_t)group->size;
    self.rank = group->rank;
    self.size = group->size;
    TRY(memory_alloc(&self.rows, size, sizeof *self.rows, "watchdog"));
    TRY(memory_alloc(&self.heard, size, sizeof *self.heard, "watchdog"));
    double crowd = (double)size / BEATS_A_SECOND;
    self.beat = crowd < BEAT_SECONDS ? BEAT_SECONDS : crowd;
    self.beat = self.beat > BEAT_SECONDS_MAX ? BEAT_SECONDS_MAX : self.beat;
    if (self.beat > self.seconds / 8)
        self.beat = self.seconds / 8;
    return STATUS_OK;
}

enum status watchdog_start(struct group *group, double seconds)
{
    if (rehearsal_is_built())
        return STATUS_OK;
    events_attach(EVENTS_MAIN, 0, EVENTS_SLOW, "starts");
    group_broadcast(group, &seconds, sizeof seconds, 0);
    if (seconds <= 0)
        return STATUS_OK;
    self.seconds = seconds;
    self.wake = -1;
    atomic_store(&self.must_stop, false);
    TRY(group_agree(group, rows_init(group)));
    if (group->size > 1) {
        TRY(watch_net_open(&self.net, group));
        if (!self.net)
            return STATUS_OK;
        self.names = watch_net_names(self.net);
    } else {
        snprintf(self.alone.host, sizeof self.alone.host, "%s", group->host);
        self.alone.pid = (int32_t)getpid();
        self.names = &self.alone;
    }
    forget(now());
    enum status status = watch_end_init(group);
    if (status == STATUS_OK)
        status = thread_start();
    self.is_on = status == STATUS_OK;
    return group_agree(group, status);
}

void watchdog_stop(void)
{
    if (self.is_on) {
        atomic_store(&self.must_stop, true);
        (void)!write(self.wake, &(uint64_t){1}, sizeof(uint64_t));
        pthread_join(self.thread, NULL);
        struct watch_packet bye = {.type = WATCH_BYE};
        for (int rank = 0; self.net && rank < (self.rank < 2 ? self.size : 2); rank++)
            if (rank != self.rank)
                watch_net_send(self.net, rank, &bye);
        watch_end_free();
    }
    if (self.wake > 0)
        close(self.wake);
    watch_net_close(self.net);
    free(self.rows);
    free(self.heard);
    memset(&self, 0, sizeof self);
    events_detach();
}
