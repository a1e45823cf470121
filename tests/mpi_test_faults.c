// SPDX-License-Identifier: MIT
// Flips random bits while a small network trains, and counts what the audit finds and whom it
// names: weights, optimiser state, inputs, activations, gradients, partial sums, received messages,
// new weights, on a random rank at a random instant. Each fault is run without any check (do the
// weights change?), and with each audit of a list.
//   mpi_test_faults [N [SEED]]   N faults; without arguments a few, as a test
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/fault.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/random.h"
#include "trainer/step.h"
#include "trainer/update_private.h"

#define STEPS 3
#define POINTS_MAX ((size_t)1 << 16)
#define KINDS (2 * FAULT_KINDS) // in the work; and in the checks

static const char *const kind_names[KINDS] = {
    "weights",          "optimiser state",    "inputs",
    "activations",      "gradients",          "partial sums",
    "received",         "sum before update",  "updated weights",
    "gathered weights", "(weights)",          "(state)",
    "(inputs)",         "audit: activations", "audit: grads",
    "audit: partial",   "audit: received",    "(sum)",
    "(updated)",        "(gathered)"};

static const struct audit_config configs[] = {
    {.rate = 1, .verify_every = 100},    {.rate = 0.1, .verify_every = 100},
    {.rate = 0.01, .verify_every = 100}, {.rate = 0, .verify_every = 1},
    {.rate = 0, .verify_every = 100},
};
#define CONFIGS (sizeof configs / sizeof *configs)

// A point is told by its step and place, for messages come in any order; or else by its number.
struct point {
    int step;
    void *at;
};

static struct {
    bool is_counting, is_armed;
    int step;
    uint64_t counts[KINDS];
    struct point received[2][POINTS_MAX];
    // of the fault to come
    size_t kind;
    uint64_t number, random;
    uint64_t seen;
    struct point point;
} fault;

static void hook(enum fault_kind kind, void *at, size_t bytes)
{
    size_t which = (size_t)kind + (fault_is_check > 0 ? FAULT_KINDS : 0);
    struct point here = {fault.step, at};
    if (bytes == 0)
        return;
    if (fault.is_counting) {
        if (kind == FAULT_RECEIVED)
            fault.received[fault_is_check > 0][fault.counts[which] % POINTS_MAX] = here;
        fault.counts[which]++;
    }
    if (!fault.is_armed || which != fault.kind)
        return;
    uint64_t number = fault.seen++;
    bool is_here = kind == FAULT_RECEIVED
                       ? here.step == fault.point.step && here.at == fault.point.at
                       : number == fault.number;
    if (!is_here)
        return;
    fault.is_armed = false;
    ((unsigned char *)at)[fault.random % bytes] ^= (unsigned char)(1 << (fault.random >> 40) % 8);
}

struct bench {
    struct group *group;
    struct recipe recipe;
    struct session session;
    struct step step;
    struct audit *audits[CONFIGS];
    float *params, *states[UPDATE_STATES_MAX]; // at the start
    uint64_t *all_counts;                      // (size, KINDS)
};

struct outcome {
    enum status status;
    struct update_digest digest;
    struct audit_finding finding;
};

static enum status bench_init(struct bench *b, struct group *group)
{
    static const char *texts[] = {"train.batch=32",      "train.slots=1",     "train.steps=100000",
                                  "train.bucket_kib=16", "train.clip_norm=3", "train.ema=0.9",
                                  "train.lr=0.02",       "train.warmup=0"};
    struct option_strings overrides = {sizeof texts / sizeof *texts, texts};
    struct session *s = &b->session;
    b->group = group;
    TRY(recipe_load(&b->recipe, group, "digits", &overrides));
    TRY(session_data(s, group, &b->recipe));
    TRY(session_sizes(s));
    TRY(session_training(s));
    TRY(step_init(&b->step, s));
    for (size_t i = 0; i < CONFIGS; i++)
        TRY(audit_init(&b->audits[i], s, &configs[i]));
    TRY(memory_alloc(&b->params, s->n, sizeof(float), "weights"));
    memcpy(b->params, s->params, s->n * sizeof(float));
    for (int i = 0; i < s->update->n_states; i++) {
        TRY(memory_alloc(&b->states[i], s->update->n_local, sizeof(float), "state"));
        memcpy(b->states[i], s->update->state[i], s->update->n_local * sizeof(float));
    }
    return memory_alloc(&b->all_counts, (size_t)group->size * KINDS, sizeof(uint64_t), "counts");
}

static void bench_free(struct bench *b)
{
    for (size_t i = 0; i < CONFIGS; i++)
        audit_free(b->audits[i]);
    step_free(&b->step);
    session_free(&b->session);
    recipe_free(&b->recipe);
    free(b->params);
    for (int i = 0; i < UPDATE_STATES_MAX; i++)
        free(b->states[i]);
    free(b->all_counts);
}

// STEPS steps from the same start, as if `done` steps had been done.
static struct outcome run(struct bench *b, struct audit *audit, uint64_t done)
{
    struct session *s = &b->session;
    struct outcome outcome = {.finding = {AUDIT_NONE, -1, -1}};
    uint64_t epoch = done / s->order.steps, at = done % s->order.steps;
    group_barrier(b->group); // nobody still reads these weights
    memcpy(s->params, b->params, s->n * sizeof(float));
    for (int i = 0; i < s->update->n_states; i++)
        memcpy(s->update->state[i], b->states[i], s->update->n_local * sizeof(float));
    reduce_clear(s->reduce);
    group_barrier(b->group);
    audit_reset(audit);
    audit_start(audit, done);
    b->step.audit = audit;
    fault.seen = 0;
    outcome.status = group_agree(b->group, loader_seek(s->loader, (uint32_t)epoch, at));
    for (fault.step = 0; fault.step < STEPS && outcome.status == STATUS_OK; fault.step++) {
        struct step_news news = {0};
        outcome.status = step_run(&b->step, epoch, at, done, &news);
        epoch += at + 1 == s->order.steps;
        at = (at + 1) % s->order.steps;
        done++;
    }
    outcome.finding = audit_finding(audit);
    outcome.digest = update_digest(s->update, s->params);
    return outcome;
}

static bool is_same(struct outcome a, struct outcome b)
{
    return a.status == b.status && a.digest.params == b.digest.params &&
           a.digest.state == b.digest.state;
}

// Points of each kind on each rank: of the work without a check, of the checks with all of them.
static enum status points_count(struct bench *b)
{
    fault.is_counting = true;
    struct outcome plain = run(b, NULL, 0);
    uint64_t counts[KINDS];
    memcpy(counts, fault.counts, sizeof counts);
    memset(fault.counts, 0, sizeof fault.counts);
    struct outcome audited = run(b, b->audits[0], 0);
    fault.is_counting = false;
    memcpy(counts + FAULT_KINDS, fault.counts + FAULT_KINDS, sizeof counts / 2);
    group_allgather(b->group, counts, sizeof counts, b->all_counts);
    CHECK(plain.status == STATUS_OK && is_same(plain, audited), STATUS_VERIFY,
          "an audited run without a fault: status %d, expected the digest of the one without",
          (int)audited.status);
    return STATUS_OK;
}

struct tally {
    long faults, changed;
    long found[CONFIGS], named[CONFIGS]; // of those that change the weights
    long spurious;                       // found by the first audit, though nothing changed
    long harmless_named;                 // and named rightly
};

// Chooses kind, rank and instant, the same on all ranks.
static int fault_choose(struct bench *b, uint64_t seed, uint64_t number, uint64_t *done)
{
    struct random_key key = {seed, RANDOM_GENERATE, 0};
    for (uint32_t try = 0;; try++) {
        uint32_t w[4], v[4];
        random_words(key, number, 2 * try, w);
        random_words(key, number, 2 * try + 1, v);
        size_t kind = random_below(w[0], KINDS);
        int rank = (int)random_below(w[1], (uint32_t)b->group->size);
        uint64_t count = b->all_counts[(size_t)rank * KINDS + kind];
        if (count == 0)
            continue;
        fault.kind = kind;
        fault.number = ((uint64_t)w[2] << 16) % count;
        fault.random = (uint64_t)v[0] << 32 | v[1];
        *done = v[2] % 4000;
        if (kind % FAULT_KINDS == FAULT_RECEIVED)
            fault.point = fault.received[kind >= FAULT_KINDS][fault.number % POINTS_MAX];
        return rank;
    }
}

static void fault_try(struct bench *b, uint64_t seed, uint64_t number, struct tally *tallies)
{
    uint64_t done = 0;
    int rank = fault_choose(b, seed, number, &done);
    bool is_mine = rank == b->group->rank, is_check = fault.kind >= FAULT_KINDS;
    struct tally *tally = &tallies[fault.kind];
    struct outcome clean = run(b, NULL, done);
    fault.is_armed = is_mine && !is_check;
    bool has_changed = !is_same(clean, run(b, NULL, done));
    tally->faults++;
    tally->changed += has_changed;
    for (size_t i = 0; i < (is_check ? 1 : CONFIGS); i++) {
        fault.is_armed = is_mine;
        struct outcome got = run(b, b->audits[i], done);
        fault.is_armed = false;
        bool is_found = got.status == STATUS_VERIFY;
        bool is_named = is_found && got.finding.rank == rank && got.finding.other != rank;
        if (has_changed) {
            tally->found[i] += is_found;
            tally->named[i] += is_named;
        } else if (i == 0) {
            tally->spurious += is_found;
            tally->harmless_named += is_named;
        }
        bool is_bad = i == 0 && (has_changed || is_found) && !is_named;
        if (is_bad)
            log_line("fault %" PRIu64 ", %s on rank %d after step %" PRIu64 ": %s, check %d, rank "
                     "%d, other %d: %s",
                     number, kind_names[fault.kind], rank, done,
                     is_found ? "not named" : "not found", (int)got.finding.check, got.finding.rank,
                     got.finding.other, is_found ? error_text() : "");
    }
}

static struct tally table_show(const struct bench *b, const struct tally *tallies)
{
    struct tally sum = {0};
    log_line("%d ranks, %s", b->group->size,
             reduce_is_shared(b->session.reduce) ? "shared memory" : "messages");
    log_line("%-20s %6s %7s %11s %11s %11s %11s %11s  %s", "bits flipped in", "faults", "changed",
             "audit 1", "0.1", "0.01", "verify 1", "verify 100", "harmless: found, named");
    for (size_t k = 0; k <= KINDS; k++) {
        const struct tally *t = k < KINDS ? &tallies[k] : &sum;
        char cells[CONFIGS][16];
        if (t->faults == 0)
            continue;
        for (size_t i = 0; i < CONFIGS; i++) {
            snprintf(cells[i], sizeof cells[i], "%ld/%ld", t->found[i], t->named[i]);
            if (k < KINDS) {
                sum.found[i] += t->found[i];
                sum.named[i] += t->named[i];
            }
        }
        log_line("%-20s %6ld %7ld %11s %11s %11s %11s %11s  %ld, %ld",
                 k < KINDS ? kind_names[k] : "all", t->faults, t->changed, cells[0], cells[1],
                 cells[2], cells[3], cells[4], t->spurious, t->harmless_named);
        if (k == KINDS)
            break;
        sum.faults += t->faults;
        sum.changed += t->changed;
        sum.spurious += t->spurious;
        sum.harmless_named += t->harmless_named;
    }
    return sum;
}

static enum status check_all(struct group *group, uint64_t n, uint64_t seed)
{
    static struct bench b;
    static struct tally tallies[KINDS];
    TRY(bench_init(&b, group));
    fault_hook = hook;
    TRY(points_count(&b));
    for (uint64_t i = 0; i < n; i++)
        fault_try(&b, seed, i, tallies);
    struct tally sum = table_show(&b, tallies);
    fault_hook = NULL;
    bench_free(&b);
    CHECK(sum.found[0] * 100 >= sum.changed * 99 && sum.named[0] * 100 >= sum.changed * 99,
          STATUS_VERIFY, "of %ld faults that changed the weights %ld were found, %ld named",
          sum.changed, sum.found[0], sum.named[0]);
    CHECK(sum.changed > 0 || n < 10, STATUS_VERIFY, "no fault changed the weights");
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_faults", &argc, &argv);
    uint64_t few = group ? (uint64_t)(24 / group->size) : 0;
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : few;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (status == STATUS_OK)
        status = check_all(group, n, seed);
    return group_finish(group, status);
}
