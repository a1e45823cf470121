// SPDX-License-Identifier: MIT
#include "trainer/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "trainer/text_file.h"
#include "trainer/update_private.h"

// Where each kind's items begin.
struct places {
    size_t weights, input, forward, loss, gradients, sums, updated, state, end;
};

struct ledger {
    struct session *s; // borrowed
    struct places at;
    int workers;
    uint64_t *parts;  // (workers, end)
    uint64_t *total;  // (end)
    uint64_t *gather; // (size, end)
    FILE *file;
    bool has_failed;
};

enum status ledger_init(struct ledger **out, struct session *s)
{
    struct ledger *ledger = NULL;
    *out = NULL;
    enum status status = memory_alloc(&ledger, 1, sizeof *ledger, "digests of a step");
    TRY(group_agree(s->group, status));
    size_t n = s->n_list, layers = model_n_layers(s->model);
    struct places *at = &ledger->at;
    ledger->s = s;
    ledger->workers = workers_count(s->workers);
    at->input = at->weights + n;
    at->forward = at->input + 1;
    at->loss = at->forward + layers;
    at->gradients = at->loss + 1;
    at->sums = at->gradients + n;
    at->updated = at->sums + n;
    at->state = at->updated + n;
    at->end = at->state + n * (size_t)s->update->n_states;
    size_t workers = (size_t)ledger->workers, size = (size_t)s->group->size;
    status = memory_alloc(&ledger->parts, workers * at->end, sizeof(uint64_t), "digests");
    if (status == STATUS_OK)
        status = memory_alloc(&ledger->total, at->end, sizeof(uint64_t), "digests");
    if (status == STATUS_OK)
        status = memory_alloc(&ledger->gather, size * at->end, sizeof(uint64_t), "digests");
    status = group_agree(s->group, status);
    if (status == STATUS_OK)
        *out = ledger;
    else
        ledger_free(ledger);
    return status;
}

void ledger_free(struct ledger *ledger)
{
    if (!ledger)
        return;
    if (ledger->file)
        fclose(ledger->file);
    free(ledger->parts);
    free(ledger->total);
    free(ledger->gather);
    free(ledger);
}

// ---- the file

// Step of a line; 0: it is none.
static uint64_t step_of(const char *line)
{
    uint64_t step = 0;
    return sscanf(line, "{\"step\":%" SCNu64 ",", &step) == 1 ? step : 0;
}

static enum status lines_keep(const char *path, uint64_t done)
{
    FILE *old = fopen(path, "re");
    if (!old)
        return STATUS_OK;
    struct text_file fresh;
    enum status status = text_file_open(&fresh, path);
    char *line = NULL;
    size_t capacity = 0;
    while (status == STATUS_OK && getline(&line, &capacity, old) > 0)
        if (strchr(line, '\n') && step_of(line) > 0 && step_of(line) <= done)
            fputs(line, fresh.file);
    if (status == STATUS_OK)
        status = text_file_commit(&fresh);
    free(line);
    fclose(old);
    return status;
}

enum status ledger_open(struct ledger *ledger, const char *path, uint64_t done)
{
    TRY(lines_keep(path, done));
    ledger->file = fopen(path, "ae");
    CHECK(ledger->file, STATUS_ERROR, "cannot write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static void line_write(struct ledger *ledger, uint64_t step, uint64_t epoch)
{
    FILE *file = ledger->file;
    if (!file || ledger->has_failed)
        return;
    fprintf(file, "{\"step\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"isa\":\"%s\",\"digests\":{", step,
            epoch + 1, isa_name(isa_current()));
    for (size_t i = 0; i < ledger->at.end; i++) {
        char name[128];
        ledger_name(ledger, i, name);
        if (name[0])
            fprintf(file, "%s\"%s\":\"%016" PRIx64 "\"", i ? "," : "", name, ledger->total[i]);
    }
    fputs("}}\n", file);
    if (fflush(file) != 0 || ferror(file)) {
        ledger->has_failed = true;
        log_warn("cannot write digests.jsonl: %s; there will be no more of them", strerror(errno));
    }
}

// ---- items

size_t ledger_items(const struct ledger *ledger, const uint64_t **digests)
{
    *digests = ledger->total;
    return ledger->at.end;
}

// Gradients are listed as they are computed, the last tensor's first.
static size_t backwards(const struct ledger *ledger, size_t i)
{
    return ledger->s->n_list - 1 - i;
}

void ledger_name(const struct ledger *ledger, size_t item, char name[128])
{
    const struct places *at = &ledger->at;
    const struct session *s = ledger->s;
    const char *kind = "state", *what = "";
    if (item < at->input)
        kind = "weights before", what = s->list[item].name;
    else if (item < at->forward)
        kind = "input";
    else if (item < at->loss)
        kind = "forward", what = model_layer(s->model, item - at->forward)->name;
    else if (item < at->gradients)
        kind = "loss";
    else if (item < at->sums)
        kind = "gradient", what = s->list[backwards(ledger, item - at->gradients)].name;
    else if (item < at->updated)
        kind = "sum", what = s->list[backwards(ledger, item - at->sums)].name;
    else if (item < at->state)
        kind = "weights after", what = s->list[item - at->updated].name;
    else {
        kind = update_state_name(s->update, (int)((item - at->state) / s->n_list));
        what = s->list[(item - at->state) % s->n_list].name;
    }
    snprintf(name, 128, "%s%s%s", kind, what[0] ? " " : "", what);
    for (char *c = name; *c; c++)
        if (*c == '"' || *c == '\\')
            *c = '?';
}

bool ledger_find(const struct ledger *ledger, size_t item, const char *line, uint64_t *digest)
{
    char name[128], wanted[140];
    ledger_name(ledger, item, name);
    snprintf(wanted, sizeof wanted, "\"%s\":\"", name);
    const char *at = strstr(line, wanted);
    return at && sscanf(at + strlen(wanted), "%16" SCNx64, digest) == 1;
}

// ---- a step

void ledger_begin(struct ledger *ledger)
{
    memset(ledger->parts, 0, (size_t)ledger->workers * ledger->at.end * sizeof(uint64_t));
}

static uint64_t *part_of(const struct ledger *ledger, int worker)
{
    return ledger->parts + (size_t)worker * ledger->at.end;
}

// What a grain adds to a sum over grains.
static uint64_t share(uint64_t digest, int grain)
{
    return digest_bytes(&digest, sizeof digest, (uint64_t)grain + 1);
}

void ledger_input(struct ledger *ledger, int worker, const struct batch *batch)
{
    struct shape shape = session_input(ledger->s->train_set);
    size_t bytes = batch->n * shape.h * shape.w * shape.c * sizeof *batch->x;
    part_of(ledger, worker)[ledger->at.input] +=
        share(digest_bytes(batch->x, bytes, 0), batch->grain);
}

void ledger_layer(struct ledger *ledger, int worker, int grain, const struct layer *layer)
{
    const struct tensor *y = &layer->y;
    uint64_t digest = 0;
    for (size_t n = 0; y->at && n < y->n; n++)
        for (size_t h = 0; h < y->h; h++)
            digest = digest_bytes(tensor_row(y, n, h), y->w * y->c * sizeof *y->at, digest);
    part_of(ledger, worker)[ledger->at.forward + (size_t)layer->index] += share(digest, grain);
}

void ledger_grain(struct ledger *ledger, int worker, int grain, const uint64_t *digests)
{
    uint64_t *part = part_of(ledger, worker);
    for (size_t t = 0; t < ledger->s->n_list; t++)
        part[ledger->at.gradients + backwards(ledger, t)] += share(digests[t], grain);
    part[ledger->at.loss] += share(digests[ledger->s->n_list], grain);
}

void ledger_sums(struct ledger *ledger, const uint64_t *weights)
{
    const struct update *u = ledger->s->update;
    const float *sum = reduce_sum(ledger->s->reduce);
    uint64_t *part = part_of(ledger, 0);
    if (u->group->rank == 0) // the same on all ranks
        memcpy(part + ledger->at.weights, weights, u->n_list * sizeof *weights);
    for (size_t k = 0; k < u->n_segments; k++) {
        const struct segment *segment = &u->segments[k];
        if (u->list[segment->tensor].param->kind == PARAM_FROZEN)
            continue; // nothing adds to them; states may have lain in their places
        part[ledger->at.sums + backwards(ledger, segment->tensor)] +=
            digest_span(sum + segment->offset, segment->offset, segment->count, 0);
    }
}

void ledger_end(struct ledger *ledger, uint64_t step, uint64_t epoch, const uint64_t *weights,
                const uint64_t *state)
{
    const struct update *u = ledger->s->update;
    size_t n = ledger->at.end, size = (size_t)u->group->size;
    uint64_t *part = part_of(ledger, 0);
    if (u->group->rank == 0)
        memcpy(part + ledger->at.updated, weights, u->n_list * sizeof *weights);
    for (size_t i = 0; i < (size_t)u->n_states * u->n_segments; i++)
        part[ledger->at.state + i / u->n_segments * u->n_list +
             u->segments[i % u->n_segments].tensor] += state[i];
    for (int w = 1; w < ledger->workers; w++)
        for (size_t i = 0; i < n; i++)
            part[i] += part_of(ledger, w)[i];
    group_allgather(u->group, part, n * sizeof *part, ledger->gather);
    memset(ledger->total, 0, n * sizeof *ledger->total);
    for (size_t r = 0; r < size; r++)
        for (size_t i = 0; i < n; i++)
            ledger->total[i] += ledger->gather[r * n + i];
    line_write(ledger, step, epoch);
}
