// SPDX-License-Identifier: MIT
// Between the files of the watchdog and their tests; for no one else. watchdog.c: the thread;
// watchdog_look.c: what this rank does; watchdog_judge.c: who hangs (pure); watchdog_text.c: how to
// say so; watchdog_net.c: datagrams; watchdog_end.c: the end of the job.
#ifndef SW2_COMM_WATCHDOG_PRIVATE_H
#define SW2_COMM_WATCHDOG_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comm/events.h"
#include "comm/group.h"

#define WATCH_TEXT 48
#define WATCH_SHARES 8
#define WATCH_SLOW 60.0 // times the patience, where no progress is promised
#define WATCH_STEPS 10.0
#define WATCH_NAMED 8 // ranks that a message names
#define WATCH_MESSAGE 1000

// What a rank says of itself.
struct watch_report {
    double median;   // seconds of a step, 0: unknown
    double late;     // seconds that its watchdog woke late lately, at most
    uint64_t step;   // 0: none yet
    uint32_t kind;   // enum events_kind of the activity below; EVENTS_IDLE: nobody is to blame
    char state;      // of that thread, as the kernel has it; 0: not looked
    char is_waiting; // all of the rank's threads wait for other ranks
    char is_step;    // inside a training step
    double stalled;  // seconds that the activity has shown no progress
    uint64_t number, tick_number;
    char thread[WATCH_TEXT], text[WATCH_TEXT], around[WATCH_TEXT], tick[WATCH_TEXT];
    uint64_t share;   // collectives that its main thread has begun
    double share_for; // is_waiting: seconds without progress
    char share_text[WATCH_TEXT];
    uint32_t shares[WATCH_SHARES]; // hashes of the names of the last ones; [share % ...]
};

enum watch_seen { WATCH_UNSEEN, WATCH_RUNS, WATCH_STOPPED, WATCH_TRACED, WATCH_DEAD };

// What the judge knows of a rank.
struct watch_row {
    bool is_heard;        // ever
    bool is_gone;         // has ended
    double silent;        // seconds since its last word
    enum watch_seen seen; // where it is on the judge's host and silent
    struct watch_report report;
};

enum watch_what { WATCH_FINE, WATCH_SILENT, WATCH_STUCK, WATCH_ORDER, WATCH_LOST };

struct watch_verdict {
    enum watch_what what;
    int n;                  // culprits; ORDER: those that differ from most
    int ranks[WATCH_NAMED]; // the first of them
    int other;              // ORDER: a rank of most
    int n_waiting;          // ranks that wait for others
    double seconds;         // that it has lasted
};

// Pure. late: seconds that the judge's own thread woke late lately.
struct watch_verdict watch_judge(const struct watch_row *rows, int size, double seconds,
                                 double late);
double watch_patience(uint32_t kind, double seconds, double median);

struct watch_name { // who a rank is
    char host[64];
    int32_t pid;
    uint64_t born; // start time of the process, in the kernel's ticks
};

// One line, without a newline.
void watch_text(char out[WATCH_MESSAGE], const struct watch_verdict *verdict,
                const struct watch_row *rows, const struct watch_name *names, int size,
                const char *folder);

// ---- this rank

struct watch_look {
    struct {
        int thread; // 0: none
        uint64_t progress;
        double changed;       // when that was seen first
        double delayed;       // s it has waited for a core since then
        double delay_at_look; // of the kernel's count
        bool is_looked;
        char state;
        struct events_view view;
    } lanes[EVENTS_LANES];
};

void watch_look(struct watch_look *look, double now, double seconds, struct watch_report *report);
void watch_look_reset(struct watch_look *look, double now); // time before now does not count
uint64_t watch_born(int pid);                               // 0: no such process
enum watch_seen watch_process(const struct watch_name *name);
// All rings as text; returns bytes, less than n.
size_t watch_rings(char *out, size_t n, const char *verdict, int rank,
                   const struct watch_name *name);

// ---- datagrams

enum watch_type { WATCH_BEAT = 1, WATCH_ACK, WATCH_FIRE, WATCH_DONE, WATCH_BYE };

struct watch_packet {
    uint64_t key[2];
    int32_t type, from, to, wants_ack;
    union {
        struct watch_report report;
        char message[WATCH_MESSAGE];
    };
};

struct watch_net;
// Collective: names of all ranks, too (size, owned by the net). *net NULL with STATUS_OK: there is
// no network; all ranks agree.
enum status watch_net_open(struct watch_net **net, struct group *group);
void watch_net_close(struct watch_net *net);
int watch_net_fd(const struct watch_net *net);
const struct watch_name *watch_net_names(const struct watch_net *net);
// To a rank; rank 0 and 1 are known, others once they were heard of.
void watch_net_send(struct watch_net *net, int rank, struct watch_packet *packet);
bool watch_net_receive(struct watch_net *net, struct watch_packet *packet); // false: no more

// ---- the end

enum status watch_end_init(const struct group *group);
void watch_end_free(void);
void watch_end_write(const char *verdict, const struct watch_name *name); // its thread begins to
bool watch_end_is_written(void);
void watch_end_speak(const char *what, const char *message); // what: "error", "warning"
_Noreturn void watch_end_job(void);
const char *watch_end_folder(void);

#endif
