// SPDX-License-Identifier: MIT
// The two agreements of a checked step: before the update (memory, grains, sums) and after it
// (weights on all ranks, the update itself). All ranks see all records and decide alike.
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/audit_private.h"

// A rank's record before the update; totals of its own grains follow, then of those it computed
// again.
struct before {
    uint64_t weights;       // all of them, as this rank holds them
    uint64_t slices;        // its own, when they were last taken
    int32_t tensor, state;  // what changed in its memory; -1: nothing (state: the weights)
    int32_t has_kept;       // slices and what could have changed is known
    int32_t sums, partials; // differ from the second ones
    int32_t unused;
};

static uint64_t sum_of(const uint64_t *digests, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += digests[i];
    return sum;
}

static void keep(struct audit *a)
{
    audit_digest_weights(a, a->weights);
    audit_digest_state(a, NULL, a->state);
    a->own_slices = audit_digest_slices(a);
    a->has_kept = true;
}

void audit_start(struct audit *a, uint64_t done)
{
    if (a && audit_is_checked(a, done))
        keep(a);
}

// What of this rank's memory is not as it was left.
static void memory_compare(const struct audit *a, struct before *record)
{
    const struct update *u = a->s->update;
    record->tensor = record->state = -1;
    for (size_t t = 0; t < a->s->n_list; t++)
        if (a->weights[t] != a->weights_now[t]) {
            record->tensor = (int32_t)t;
            return;
        }
    for (size_t i = 0; i < a->n_state; i++)
        if (a->state[i] != a->state_now[i]) {
            record->tensor = (int32_t)u->segments[i % u->n_segments].tensor;
            record->state = (int32_t)(i / u->n_segments);
            return;
        }
}

static struct before before_make(struct audit *a)
{
    struct before record = {.tensor = -1, .state = -1, .has_kept = a->has_kept};
    if (a->is_audited) {
        audit_copy_take(a); // first, and then looked at: what changes later differs from it
        record.sums = audit_sums_differ(a);
        record.partials = reduce_partials_differ(a->s->reduce, a->twin);
    }
    if (!a->is_checked)
        return record;
    audit_digest_weights(a, a->weights_now);
    audit_digest_state(a, a->is_audited ? a->copy.state : NULL, a->state_now);
    record.weights = sum_of(a->weights_now, a->s->n_list);
    record.slices = a->own_slices;
    if (a->has_kept)
        memory_compare(a, &record);
    return record;
}

static int checker_of(const struct audit *a, int owner)
{
    return (owner + a->shift) % a->s->group->size;
}

static size_t record_bytes(const struct audit *a, int rank)
{
    int size = a->s->group->size, grains = a->s->order.grains;
    int owner = (rank - a->shift + size) % size;
    int n = tree_run_of(grains, size, rank).count + tree_run_of(grains, size, owner).count;
    return sizeof(struct before) + (size_t)n * sizeof(uint64_t);
}

enum status audit_records_init(struct audit *a)
{
    size_t size = (size_t)a->s->group->size, bytes = 0;
    TRY(memory_alloc(&a->after, size, sizeof *a->after, "records of the audit"));
    TRY(memory_alloc(&a->totals, size, sizeof *a->totals, "records of the audit"));
    TRY(memory_alloc(&a->counts, size, sizeof *a->counts, "records of the audit"));
    for (size_t r = 0; r < size; r++)
        bytes += a->counts[r] = record_bytes(a, (int)r);
    return memory_alloc(&a->records, bytes, 1, "records of the audit");
}

static const char *record_at(const struct audit *a, int rank)
{
    const char *record = a->records;
    for (int r = 0; r < rank; r++)
        record += a->counts[r];
    return record;
}

static void records_share(struct audit *a, struct before mine)
{
    const struct session *s = a->s;
    char *own = a->records + (record_at(a, s->group->rank) - a->records), *at = own;
    memcpy(at, &mine, sizeof mine);
    at += sizeof mine;
    for (int g = 0; g < s->grains.count + a->run.count; g++, at += sizeof(uint64_t)) {
        bool is_own = g < s->grains.count;
        int grain = is_own ? s->grains.first + g : a->run.first + g - s->grains.count;
        const uint64_t *digests = is_own ? a->own + (size_t)g * a->width
                                         : a->others + (size_t)(g - s->grains.count) * a->width;
        uint64_t total = a->config.rate > 0 && a->is_chosen[grain] ? audit_total(a, digests) : 0;
        memcpy(at, &total, sizeof total);
    }
    group_allgatherv(s->group, own, a->counts, a->records);
}

static struct before before_of(const struct audit *a, int rank)
{
    struct before record;
    memcpy(&record, record_at(a, rank), sizeof record);
    return record;
}

static uint64_t total_of(const struct audit *a, int rank, int i)
{
    uint64_t total;
    memcpy(&total, record_at(a, rank) + sizeof(struct before) + (size_t)i * sizeof total,
           sizeof total);
    return total;
}

static enum status memory_decide(struct audit *a)
{
    int size = a->s->group->size;
    uint64_t total = 0;
    bool has_total = true;
    for (int r = 0; r < size; r++) {
        struct before record = before_of(a, r);
        const char *state =
            record.state >= 0 ? update_state_name(a->s->update, record.state) : "weights";
        if (record.tensor >= 0)
            return audit_fail(a, AUDIT_MEMORY, r, -1,
                              "its memory changed between two steps: %s of '%s'", state,
                              a->s->list[record.tensor].name);
        total += record.slices;
        has_total = has_total && record.has_kept;
    }
    for (int r = 0; r < size; r++)
        a->totals[r] = before_of(a, r).weights;
    return audit_find_weights(a, total, has_total);
}

static enum status grains_decide(struct audit *a)
{
    int size = a->s->group->size, grains = a->s->order.grains;
    for (int owner = 0; owner < size; owner++) {
        struct tree_run run = tree_run_of(grains, size, owner);
        int checker = checker_of(a, owner), before = tree_run_of(grains, size, checker).count;
        for (int i = 0; i < run.count; i++)
            if (a->is_chosen[run.first + i] &&
                total_of(a, owner, i) != total_of(a, checker, before + i))
                return audit_find_grain(a, run.first + i, owner, checker);
    }
    return STATUS_OK;
}

enum status audit_before_update(struct audit *a)
{
    if (!a || (!a->is_checked && !a->any_chosen))
        return STATUS_OK;
    records_share(a, before_make(a));
    if (a->is_recorded)
        ledger_sums(a->ledger, a->weights_now);
    if (a->is_checked)
        TRY(memory_decide(a));
    if (a->any_chosen)
        TRY(grains_decide(a));
    bool differ = false;
    for (int r = 0; r < a->s->group->size; r++)
        differ = differ || before_of(a, r).sums;
    if (!differ)
        return STATUS_OK;
    const struct before mine = before_of(a, a->s->group->rank);
    return audit_find_sum(a, mine.sums, mine.partials);
}

static enum status after_decide(struct audit *a, struct audit_after mine)
{
    uint64_t total = 0;
    group_allgather(a->s->group, &mine, sizeof mine, a->after);
    for (int r = 0; r < a->s->group->size; r++) {
        struct audit_after after = a->after[r];
        const char *state =
            after.state >= 0 ? update_state_name(a->s->update, after.state) : "weights";
        if (after.tensor >= 0)
            return audit_fail(a, AUDIT_UPDATE, r, -1,
                              "its update and a repetition of it give other %s of '%s'", state,
                              a->s->list[after.tensor].name);
        a->totals[r] = after.weights;
        total += after.slices;
    }
    return audit_find_weights(a, total, true);
}

enum status audit_after_update(struct audit *a, double lr)
{
    if (!a)
        return STATUS_OK;
    bool is_last = a->global + 1 >= a->s->steps, is_shared = a->is_audited || is_last;
    struct audit_after mine = {.tensor = -1, .state = -1};
    a->has_kept = false;
    if (a->is_audited)
        TRY(audit_copy_update(a, lr));
    if (is_shared || a->is_recorded || audit_is_checked(a, a->global + 1))
        keep(a);
    if (a->is_recorded)
        ledger_end(a->ledger, a->global + 1, a->epoch, a->weights, a->state);
    if (!is_shared)
        return STATUS_OK;
    if (a->is_audited)
        audit_copy_compare(a, &mine.tensor, &mine.state);
    mine.weights = sum_of(a->weights, a->s->n_list);
    mine.slices = a->own_slices;
    return after_decide(a, mine);
}
