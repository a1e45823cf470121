// SPDX-License-Identifier: MIT
// Who errs: a third opinion on a grain, the first message or rank at which two sums part, the rank
// whose weights are not those of the others. Runs only when something was found; the job then ends.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/audit_private.h"

enum status audit_fail(struct audit *a, enum audit_check check, int rank, int other,
                       const char *format, ...)
{
    char what[512], who[256], second[200] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    a->finding = (struct audit_finding){check, rank, other};
    if (other >= 0)
        snprintf(second, sizeof second, " and rank %d (host %s)", other, a->hosts[other]);
    snprintf(who, sizeof who, "rank %d (host %s)%s", rank, a->hosts[rank], second);
    FAIL(STATUS_VERIFY,
         "wrong arithmetic or memory at %s in step %llu: %s; go on without that host from the "
         "newest checkpoint",
         who, (unsigned long long)a->global + 1, what);
}

// ---- weights

// A digest that more than half of the ranks have; false: there is none.
static bool majority(const uint64_t *values, int n, uint64_t *value)
{
    for (int r = 0; r < n; r++) {
        int same = 0;
        for (int q = 0; q < n; q++)
            same += values[q] == values[r];
        *value = values[r];
        if (2 * same > n)
            return true;
    }
    return false;
}

// First tensor in which digests of two ranks differ. Collective.
static const char *tensor_find(struct audit *a, const uint64_t *mine, int rank,
                               const uint64_t *mine_as_other, int other)
{
    struct group *group = a->s->group;
    size_t bytes = a->s->n_list * sizeof *mine;
    uint64_t *one = a->spare, *two = a->spare + a->width;
    if (group->rank == rank)
        memcpy(one, mine, bytes);
    if (group->rank == other)
        memcpy(two, mine_as_other, bytes);
    group_broadcast(group, one, bytes, rank);
    group_broadcast(group, two, bytes, other);
    for (size_t t = a->s->n_list; t-- > 0;) // backward finds the last first
        if (one[t] != two[t])
            return a->s->list[t].name;
    return "the loss";
}

enum status audit_find_weights(struct audit *a, uint64_t total, bool has_total)
{
    int size = a->s->group->size, odd = -1, even = -1, n_odd = 0;
    uint64_t good = total;
    bool is_known = majority(a->totals, size, &good);
    if (!is_known && has_total) {
        good = total;
        is_known = true;
    }
    if (!is_known)
        good = a->totals[0];
    for (int r = size; r-- > 0;) {
        if (a->totals[r] == good)
            even = r;
        else
            odd = r;
        n_odd += a->totals[r] != good;
    }
    if (n_odd == 0)
        return STATUS_OK;
    audit_digest_weights(a, a->weights_now);
    const char *tensor =
        even >= 0 ? tensor_find(a, a->weights_now, odd, a->weights_now, even) : a->s->list[0].name;
    return audit_fail(a, AUDIT_WEIGHTS, odd, is_known ? -1 : even,
                      "%d of %d ranks hold%s weights that differ%s, first in '%s'", n_odd, size,
                      n_odd > 1 ? "" : "s", is_known ? " from what was sent" : "", tensor);
}

// ---- grains

struct opinion {
    uint64_t first, again;
};

// The grain once more, from the packing of the weights on, if it is this rank's turn.
static enum status compute_again(struct audit *a, int grain, uint64_t *digests)
{
    struct session *s = a->s;
    struct loader *loader = NULL;
    struct loader_config config = {
        .dataset = a->data,
        .transforms = s->transforms,
        .order = &s->order,
        .first_grain = grain,
        .n_grains = 1,
        .slots = 1,
        .seed = (uint64_t)s->recipe->train.seed,
    };
    TRY(loader_init(&loader, &config));
    model_prepare(s->models[0], s->params, NULL);
    enum status status = audit_compute(a, 0, loader, grain, digests);
    loader_free(loader);
    return status;
}

// A rank beside these two, or -1.
static int third_rank(const struct audit *a, int owner, int checker)
{
    int size = a->s->group->size;
    for (int i = 1; i <= size; i++) {
        int rank = (checker + i * (a->shift > 0 ? a->shift : 1)) % size;
        if (rank != owner && rank != checker)
            return rank;
    }
    for (int rank = 0; rank < size; rank++)
        if (rank != owner && rank != checker)
            return rank;
    return -1;
}

static enum status grain_fail(struct audit *a, int grain, int rank, int other, const char *tensor)
{
    return audit_fail(a, AUDIT_GRAIN, rank, other,
                      "grain %d, computed twice, gives other gradients%s, first in '%s'", grain,
                      other >= 0 ? " on these two, again and again" : "", tensor);
}

enum status audit_find_grain(struct audit *a, int grain, int owner, int checker)
{
    struct group *group = a->s->group;
    int rank = group->rank, third = third_rank(a, owner, checker);
    bool is_owner = rank == owner, is_checker = rank == checker;
    const uint64_t *own = a->own, *others = a->others;
    own += is_owner ? (size_t)(grain - a->s->grains.first) * a->width : 0;
    others += is_checker ? (size_t)(grain - a->run.first) * a->width : 0;
    uint64_t *again = NULL;
    struct opinion mine = {0, 0}, *all = NULL;
    enum status status = memory_alloc(&all, (size_t)group->size, sizeof *all, "opinions");
    if (status == STATUS_OK)
        status = memory_alloc(&again, a->width, sizeof *again, "digests");
    if (status == STATUS_OK && (is_owner || is_checker || rank == third)) {
        status = compute_again(a, grain, again);
        mine.again = audit_total(a, again);
        mine.first = audit_total(a, is_owner ? own : is_checker ? others : again);
    }
    status = group_agree(group, status);
    if (status == STATUS_OK) {
        group_allgather(group, &mine, sizeof mine, all);
        const char *tensor = tensor_find(a, own, owner, others, checker);
        struct opinion o = all[owner], c = all[checker];
        uint64_t truth = third >= 0 ? all[third].again : o.again;
        if (owner == checker)
            status = grain_fail(a, grain, owner, -1, tensor);
        else if (o.again == c.again && o.first != o.again && c.first != c.again)
            status = grain_fail(a, grain, owner, checker, tensor);
        else if (o.again == c.again)
            status = grain_fail(a, grain, o.first != o.again ? owner : checker, -1, tensor);
        else if (third >= 0 && (truth == o.again || truth == c.again))
            status = grain_fail(a, grain, truth == o.again ? checker : owner, -1, tensor);
        else if ((o.first != o.again) != (c.first != c.again))
            status = grain_fail(a, grain, o.first != o.again ? owner : checker, -1, tensor);
        else
            status = grain_fail(a, grain, owner, checker, tensor);
    }
    free(all);
    free(again);
    return status;
}

// ---- sums

// What a rank knows of both sums: messages of the first, then of the second.
struct tables {
    size_t n; // partners
    int size;
    const uint64_t *all; // (size, 4, n): sent, received; sent, received
};

static uint64_t sent(const struct tables *t, int rank, int sum, size_t partner)
{
    return t->all[((size_t)rank * 4 + (size_t)sum * 2) * t->n + partner];
}

static uint64_t received(const struct tables *t, int rank, int sum, size_t partner)
{
    return t->all[((size_t)rank * 4 + (size_t)sum * 2 + 1) * t->n + partner];
}

// In the order of halving's rounds; of other sizes all messages are of one round.
static enum status tables_decide(struct audit *a, const struct tables *t)
{
    bool is_halving = (t->size & (t->size - 1)) == 0;
    for (size_t k = 0; k < t->n; k++)
        for (int rank = 0; rank < t->size; rank++) {
            int partner = is_halving ? rank ^ 1 << k : (int)k;
            size_t slot = is_halving ? k : (size_t)rank;
            for (int sum = 0; sum < 2 && partner != rank; sum++)
                if (received(t, rank, sum, k) != sent(t, partner, sum, slot))
                    return audit_fail(a, AUDIT_MESSAGE, rank, partner,
                                      "what the first received of a sum is not what the second "
                                      "sent");
            if (is_halving && sent(t, rank, 0, k) != sent(t, rank, 1, k))
                return audit_fail(a, AUDIT_SUM, rank, -1,
                                  "gradients, added twice, give other partial sums");
        }
    for (int rank = 0; !is_halving && rank < t->size; rank++)
        for (size_t k = 0; k < t->n; k++)
            if (sent(t, rank, 0, k) != sent(t, rank, 1, k))
                return audit_fail(a, AUDIT_SUM, rank, -1,
                                  "gradients, added twice, give other partial sums");
    return STATUS_OK;
}

static enum status messages_decide(struct audit *a)
{
    struct group *group = a->s->group;
    const uint64_t *each[4];
    size_t n = reduce_traced(a->s->reduce, &each[0], &each[1]);
    reduce_traced(a->twin, &each[2], &each[3]);
    uint64_t *mine = NULL, *all = NULL;
    if (n == 0)
        return STATUS_OK;
    enum status status = memory_alloc(&mine, 4 * n, sizeof *mine, "digests of messages");
    if (status == STATUS_OK)
        status =
            memory_alloc(&all, (size_t)group->size * 4 * n, sizeof *all, "digests of messages");
    status = group_agree(group, status);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < 4; i++)
            memcpy(mine + i * n, each[i], n * sizeof *mine);
        group_allgather(group, mine, 4 * n * sizeof *mine, all);
        struct tables tables = {n, group->size, all};
        status = tables_decide(a, &tables);
    }
    free(mine);
    free(all);
    return status;
}

enum status audit_find_sum(struct audit *a, bool differs, bool partials)
{
    struct group *group = a->s->group;
    TRY(messages_decide(a));
    int32_t mine = partials ? 2 : differs, worst = 0;
    int rank = 0;
    for (int r = 0; r < group->size; r++) {
        int32_t one = mine;
        group_broadcast(group, &one, sizeof one, r);
        rank = one > worst ? r : rank;
        worst = one > worst ? one : worst;
    }
    return audit_fail(a, AUDIT_SUM, rank, -1, "gradients, added twice, give other sums");
}
