// SPDX-License-Identifier: MIT
// The table of a profile: a row a layer, sums by kind of work, and the rest of a step. Called by
// profile.c.
#include <stdlib.h>
#include <string.h>

#include "trainer/profile_private.h"

#define KINDS_MAX 48

struct table {
    const struct profile *profile;
    const struct profile_sums *sums;
    FILE *file;
    double step; // seconds of all steps of this rank, all threads
};

// A line of the sums by kind.
struct kind {
    const char *name;
    double seconds, low, high;
    bool is_product; // convolution or dense
};

struct kinds {
    struct kind all[KINDS_MAX];
    size_t n;
};

static bool is_outside(enum profile_slot slot)
{
    return slot == PROFILE_BETWEEN || slot == PROFILE_EVALUATE || slot == PROFILE_CHECKPOINT ||
           slot == PROFILE_STEP || slot == PROFILE_FLIGHT;
}

static double slot_seconds(const struct table *t, size_t slot)
{
    return t->sums->slots[slot].seconds;
}

static double microseconds(const struct table *t, double seconds)
{
    return t->sums->images > 0 ? 1e6 * seconds / t->sums->images : 0;
}

static double percent(const struct table *t, double seconds)
{
    return t->step > 0 ? 100 * seconds / t->step : 0;
}

// Time and rate of one part: two columns, blank where there is nothing.
static void part_put(const struct table *t, const struct layer *layer, enum layer_part part)
{
    const struct lap_slot *slot =
        &t->sums->slots[(size_t)layer->index * LAYER_PARTS + (size_t)part];
    double flops = model_part_flops(layer, part) * (double)slot->calls * (double)t->profile->grain;
    if (slot->calls == 0)
        fprintf(t->file, "%9s%6s", "", "");
    else if (flops > 0)
        fprintf(t->file, "%9.2f%6.0f", microseconds(t, slot->seconds),
                flops / slot->seconds * 1e-9);
    else
        fprintf(t->file, "%9.2f%6s", microseconds(t, slot->seconds), "");
}

static void layer_put(const struct table *t, const struct layer *layer)
{
    const struct lap_slot *slots = t->sums->slots + (size_t)layer->index * LAYER_PARTS;
    double seconds = 0, busy = 0, flops = 0, bytes = 0;
    for (int part = 0; part < LAYER_PARTS; part++) {
        double work = model_part_flops(layer, (enum layer_part)part) * (double)slots[part].calls *
                      (double)t->profile->grain;
        seconds += slots[part].seconds;
        flops += work;
        busy += work > 0 ? slots[part].seconds : 0;
        bytes += model_part_bytes(layer, (enum layer_part)part) * (double)slots[part].calls;
    }
    if (seconds <= 0)
        return; // fused into another, or no more than another view
    char shape[32], peak[16] = "";
    snprintf(shape, sizeof shape, "%zux%zux%zu", layer->y.h, layer->y.w, layer->y.c);
    if (flops > 0 && t->profile->peak > 0)
        snprintf(peak, sizeof peak, "%.0f %%", 100 * flops / busy / t->profile->peak);
    fprintf(t->file, "%-16.16s %-11.11s", layer->name, shape);
    part_put(t, layer, PART_FORWARD);
    part_put(t, layer, PART_WEIGHTS);
    part_put(t, layer, PART_BACKWARD);
    fprintf(t->file, "%7.2f%6.1f%%%6s%6.1f\n",
            microseconds(t, slots[PART_PREPARE].seconds + slots[PART_FUSED].seconds),
            percent(t, seconds), peak, bytes / seconds * 1e-9);
}

static void layers_put(const struct table *t)
{
    fprintf(t->file, "%-16s %-11s%9s%6s%9s%6s%9s%6s%7s%7s%6s%6s\n", "us an image", "output",
            "forward", "GF/s", "weights", "GF/s", "backward", "GF/s", "other", "share", "peak",
            "GB/s");
    for (size_t i = 0; i < model_n_layers(t->profile->model); i++)
        layer_put(t, model_layer(t->profile->model, i));
}

static void kind_add(struct kinds *kinds, const struct table *t, const char *name, size_t slot,
                     bool is_product)
{
    size_t i = 0;
    if (t->sums->slots[slot].calls == 0 && t->sums->high[slot] <= 0)
        return;
    while (i < kinds->n && strcmp(kinds->all[i].name, name) != 0)
        i++;
    ASSERT(i < KINDS_MAX);
    if (i == kinds->n)
        kinds->all[kinds->n++] = (struct kind){.name = name, .is_product = is_product};
    kinds->all[i].seconds += slot_seconds(t, slot);
    kinds->all[i].low += t->sums->low[slot];
    kinds->all[i].high += t->sums->high[slot];
}

static void layer_kinds(struct kinds *kinds, const struct table *t, const struct layer *layer)
{
    size_t first = (size_t)layer->index * LAYER_PARTS;
    bool is_product = layer->ops->marks_laps;
    const char *name = is_product ? "convolution and dense" : layer->ops->name;
    kind_add(kinds, t, "packing of weights", first + PART_PREPARE, false);
    kind_add(kinds, t, name, first + PART_FORWARD, is_product);
    kind_add(kinds, t, name, first + PART_WEIGHTS, is_product);
    kind_add(kinds, t, name, first + PART_BACKWARD, is_product);
    kind_add(kinds, t, "bias and ReLU of convolutions", first + PART_FUSED, false);
}

static int kind_order(const void *a, const void *b)
{
    double x = ((const struct kind *)a)->seconds, y = ((const struct kind *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void kind_put(const struct table *t, const char *name, double seconds, double low,
                     double high)
{
    fprintf(t->file, "  %-34s%10.2f%7.1f%%", name, microseconds(t, seconds), percent(t, seconds));
    if (t->profile->group->size > 1)
        fprintf(t->file, "%12.2f%10.2f", microseconds(t, low), microseconds(t, high));
    fputc('\n', t->file);
}

static void kinds_put(const struct table *t)
{
    static char names[PROFILE_SLOTS + MODEL_LAPS][PROFILE_NAME_MAX];
    const struct profile *p = t->profile;
    struct kinds kinds = {.n = 0};
    size_t layers = model_n_layers(p->model), model = profile_model_slots(p), n = 0;
    for (size_t i = 0; i < layers; i++)
        layer_kinds(&kinds, t, model_layer(p->model, i));
    for (size_t i = layers * LAYER_PARTS; i < p->n_slots; i++)
        if (i < model || !is_outside((enum profile_slot)(i - model)))
            kind_add(&kinds, t, profile_slot_name(p, i, names[n++]), i, false);
    qsort(kinds.all, kinds.n, sizeof *kinds.all, kind_order);
    fprintf(t->file, "%-36s%10s%8s", "by kind of work", "us/image", "share");
    fprintf(t->file, p->group->size > 1 ? "%12s%10s\n" : "\n", "least rank", "most");
    double product = 0;
    for (size_t i = 0; i < kinds.n; i++) {
        const struct kind *k = &kinds.all[i];
        kind_put(t, k->name, k->seconds, k->low, k->high);
        product += k->is_product ? k->seconds : 0;
    }
    fprintf(t->file, "  %-34s%10.2f%7.1f%%\n", "the step", microseconds(t, t->step), 100.0);
    fprintf(t->file, "everything that is not convolution or dense: %.1f %% of the step, %.1f us\n",
            percent(t, t->step - product), microseconds(t, t->step - product));
}

static void reduction_put(const struct table *t)
{
    const struct profile *p = t->profile;
    double exposed = slot_seconds(t, profile_slot_at(p, PROFILE_WAIT));
    double hidden = t->sums->flight - exposed;
    if (p->group->size == 1)
        return;
    fprintf(t->file,
            "sum over ranks: under way for %.2f us an image, %.2f of them hidden behind backward;\n"
            "%.2f not, or %.1f %% of the step (waiting for slower ranks is part of it)\n",
            microseconds(t, t->sums->flight), microseconds(t, hidden > 0 ? hidden : 0),
            microseconds(t, exposed), percent(t, exposed));
}

static void outside_put(const struct table *t)
{
    const struct profile *p = t->profile;
    static const enum profile_slot slots[] = {PROFILE_BETWEEN, PROFILE_EVALUATE,
                                              PROFILE_CHECKPOINT};
    fputs("beside the steps:", t->file);
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        char name[PROFILE_NAME_MAX];
        size_t slot = profile_slot_at(p, slots[i]);
        fprintf(t->file, "%s %s %.3f s", i ? "," : "", profile_slot_name(p, slot, name),
                slot_seconds(t, slot));
    }
    fputc('\n', t->file);
}

void profile_table_write(const struct profile *p, const struct profile_sums *sums, FILE *file)
{
    struct table t = {.profile = p, .sums = sums, .file = file};
    size_t model = profile_model_slots(p);
    for (size_t i = 0; i < p->n_slots; i++)
        if (i < model || !is_outside((enum profile_slot)(i - model)))
            t.step += slot_seconds(&t, i);
    uint64_t steps = p->steps > 1 ? p->steps - 1 : p->steps;
    fprintf(file,
            "profile of rank 0: %llu steps, %.0f images in grains of %zu, %d thread%s; one "
            "core's FMA peak\n%.1f GFLOP/s (fp32). Above 100 %% of it: Winograd, bf16, and "
            "products with padding,\nwhich are counted but not done. GB/s: each operand once.\n",
            (unsigned long long)steps, sums->images, p->grain, p->n_lanes,
            p->n_lanes > 1 ? "s" : "", p->peak * 1e-9);
    layers_put(&t);
    kinds_put(&t);
    reduction_put(&t);
    outside_put(&t);
}
