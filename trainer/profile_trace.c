// SPDX-License-Identifier: MIT
// The trace of the first steps in Chrome's trace event format (JSON): a process a rank, a row a
// thread, and a row for the sum over ranks. Called by profile.c.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/profile_private.h"

#define FLIGHT_ROW 1000 // tid

static const char *const part_names[LAYER_PARTS] = {
    [PART_PREPARE] = "pack",      [PART_FORWARD] = "forward",
    [PART_FUSED] = "bias, ReLU",  [PART_WEIGHTS] = "backward weights",
    [PART_BACKWARD] = "backward",
};

static const char *const model_names[MODEL_LAPS] = {
    [MODEL_INPUT] = "copy of the input",
    [MODEL_LOSS] = "loss",
    [MODEL_HOOK] = "sum of gradients",
};

static const char *const slot_names[PROFILE_SLOTS] = {
    [PROFILE_DATA] = "wait for data",
    [PROFILE_WAIT] = "wait for the sum over ranks",
    [PROFILE_IDLE] = "idle thread",
    [PROFILE_AGREE] = "agree",
    [PROFILE_UPDATE] = "norms, optimiser",
    [PROFILE_GATHER] = "gather weights",
    [PROFILE_REST] = "not accounted for",
    [PROFILE_BETWEEN] = "between steps",
    [PROFILE_EVALUATE] = "evaluation",
    [PROFILE_CHECKPOINT] = "checkpoint",
    [PROFILE_STEP] = "step",
    [PROFILE_FLIGHT] = "sum over ranks",
};

const char *profile_slot_name(const struct profile *p, size_t slot, char name[PROFILE_NAME_MAX])
{
    size_t layers = model_n_layers(p->model) * LAYER_PARTS, model = profile_model_slots(p);
    if (slot < layers)
        snprintf(name, PROFILE_NAME_MAX, "%s %s", model_layer(p->model, slot / LAYER_PARTS)->name,
                 part_names[slot % LAYER_PARTS]);
    else if (slot < model)
        snprintf(name, PROFILE_NAME_MAX, "%s", model_names[slot - layers]);
    else
        snprintf(name, PROFILE_NAME_MAX, "%s", slot_names[slot - model]);
    return name;
}

// Names of layers come from recipes: a text in JSON.
static void text_put(FILE *file, const char *text)
{
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(file, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            fprintf(file, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, file);
}

static void meta_put(FILE *file, int rank, uint32_t row, const char *what, const char *name)
{
    fprintf(file, "{\"name\":\"%s\",\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"args\":{\"name\":\"", what,
            rank, row);
    text_put(file, name);
    fputs("\"}},\n", file);
}

static void event_put(FILE *file, const struct profile *p, int rank, const struct lap_event *e)
{
    char name[PROFILE_NAME_MAX];
    bool is_flight = e->slot == profile_slot_at(p, PROFILE_FLIGHT);
    bool is_layer = e->slot < profile_model_slots(p);
    fputs("{\"name\":\"", file);
    text_put(file, profile_slot_name(p, e->slot, name));
    fprintf(file,
            "\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%.3f,\"dur\":%.3f,\"pid\":%d,\"tid\":%u},\n",
            is_layer ? "model" : "step", e->begin * 1e6, (e->end - e->begin) * 1e6, rank,
            is_flight ? FLIGHT_ROW : e->lane);
}

struct ranks {
    size_t *bytes;            // (size) of events
    char (*hosts)[64];        // (size)
    struct lap_event *events; // of all ranks
};

static void trace_put(FILE *file, const struct profile *p, const struct ranks *ranks)
{
    char text[PROFILE_NAME_MAX];
    const struct lap_event *e = ranks->events;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", file);
    for (int r = 0; r < p->group->size; r++) {
        snprintf(text, sizeof text, "rank %d on %.63s", r, ranks->hosts[r]);
        meta_put(file, r, 0, "process_name", text);
        for (int lane = 0; lane < p->n_lanes; lane++) {
            snprintf(text, sizeof text, "thread %d", lane);
            meta_put(file, r, (uint32_t)lane, "thread_name", text);
        }
        if (p->group->size > 1)
            meta_put(file, r, FLIGHT_ROW, "thread_name", "sum over ranks");
        for (size_t i = 0; i < ranks->bytes[r] / sizeof *e; i++)
            event_put(file, p, r, e++);
    }
    // JSON knows no trailing comma: one more piece of metadata ends the list.
    fputs("{\"name\":\"sw2\",\"ph\":\"M\",\"pid\":0,\"args\":{}}\n]}\n", file);
}

static enum status file_write(const struct profile *p, const char *path, const struct ranks *ranks)
{
    if (p->group->rank != 0)
        return STATUS_OK;
    FILE *file = fopen(path, "w");
    CHECK(file, STATUS_ERROR, "cannot write '%s': %s", path, strerror(errno));
    trace_put(file, p, ranks);
    bool is_bad = ferror(file) != 0;
    is_bad = fclose(file) != 0 || is_bad;
    CHECK(!is_bad, STATUS_ERROR, "cannot write '%s': %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status gather(const struct profile *p, struct ranks *ranks, struct lap_event **mine)
{
    size_t n = 0, total = 0, size = (size_t)p->group->size, bytes;
    for (int i = 0; i < p->n_lanes; i++)
        n += p->lanes[i].n_events;
    enum status status = memory_alloc(mine, n, sizeof **mine, "events of the profile");
    if (status == STATUS_OK)
        status = memory_alloc(&ranks->bytes, size, sizeof *ranks->bytes, "events of the profile");
    if (status == STATUS_OK)
        status = memory_alloc(&ranks->hosts, size, sizeof *ranks->hosts, "events of the profile");
    TRY(group_agree(p->group, status));
    struct lap_event *to = *mine;
    for (int i = 0; i < p->n_lanes; to += p->lanes[i++].n_events)
        memcpy(to, p->lanes[i].events, p->lanes[i].n_events * sizeof *to);
    bytes = n * sizeof *to;
    group_allgather(p->group, &bytes, sizeof bytes, ranks->bytes);
    group_allgather(p->group, p->group->host, sizeof *ranks->hosts, ranks->hosts);
    for (size_t r = 0; r < size; r++)
        total += ranks->bytes[r];
    TRY(group_agree(p->group, memory_alloc(&ranks->events, total, 1, "events of the profile")));
    group_allgatherv(p->group, *mine, ranks->bytes, ranks->events);
    return STATUS_OK;
}

enum status profile_trace_write(const struct profile *p, const char *path)
{
    struct ranks ranks = {0};
    struct lap_event *mine = NULL;
    enum status status = gather(p, &ranks, &mine);
    if (status == STATUS_OK)
        status = group_agree(p->group, file_write(p, path, &ranks));
    free(mine);
    free(ranks.bytes);
    free(ranks.hosts);
    free(ranks.events);
    return status;
}
