// SPDX-License-Identifier: MIT
// Batch-norms that follow a convolution or a dense layer directly become part of its weights: with
// s = weight / sqrt(variance + eps), w' = w s and b' = (b - mean) s + bias. In double, rounded
// once. And what is not arithmetic: names, counts. See export.h.
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "comm/memory.h"
#include "trainer/export.h"

static enum status folded_alloc(struct export_net *net, size_t count, float **out)
{
    TRY(memory_alloc(out, count, sizeof **out, "folded weights"));
    net->folded[net->n_folded++] = *out;
    return STATUS_OK;
}

static enum status norm_fold(struct export_net *net, struct export_node *into,
                             const struct export_node *norm)
{
    const size_t count = export_weight_count(into), k_count = into->y.c;
    float *weight, *bias;
    TRY(folded_alloc(net, count, &weight));
    TRY(folded_alloc(net, k_count, &bias));
    for (size_t k = 0; k < k_count; k++) {
        double s = (double)norm->weight[k] / sqrt((double)norm->variance[k] + norm->value);
        double b = into->bias ? (double)into->bias[k] : 0;
        for (size_t i = k; i < count; i += k_count)
            weight[i] = (float)((double)into->weight[i] * s);
        bias[k] = (float)((b - (double)norm->mean[k]) * s + (double)norm->bias[k]);
    }
    into->weight = weight;
    into->bias = bias;
    return STATUS_OK;
}

// Takes node i out; whoever read it reads what it read.
static void node_remove(struct export_net *net, size_t i)
{
    int source = net->nodes[i].from[0];
    memmove(&net->nodes[i], &net->nodes[i + 1], (net->n - i - 1) * sizeof *net->nodes);
    net->n--;
    for (size_t j = i; j < net->n; j++)
        for (int k = 0; k < net->nodes[j].n_from; k++) {
            int *from = &net->nodes[j].from[k];
            *from = *from == (int)i ? source : *from > (int)i ? *from - 1 : *from;
        }
}

enum status export_net_fold(struct export_net *net)
{
    for (size_t i = 0; i < net->n;) {
        const struct export_node *norm = &net->nodes[i];
        int at = norm->from[0];
        bool is_foldable =
            norm->kind == EXPORT_NORM && at >= 0 && export_readers(net, at) == 1 &&
            (net->nodes[at].kind == EXPORT_CONV || net->nodes[at].kind == EXPORT_DENSE);
        if (!is_foldable) {
            i++;
            continue;
        }
        TRY(norm_fold(net, &net->nodes[at], norm));
        node_remove(net, i);
    }
    return STATUS_OK;
}

void export_identifier(char out[EXPORT_IDENT_MAX], const char *from, const char *prefix)
{
    bool is_letter = isalpha((unsigned char)from[0]);
    int n = snprintf(out, EXPORT_IDENT_MAX, "%s%.64s", is_letter ? "" : prefix, from);
    for (int i = 0; i < n && i < EXPORT_IDENT_MAX; i++)
        if (!isalnum((unsigned char)out[i]))
            out[i] = '_';
}

void export_net_name(struct export_net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        char *ident = net->nodes[i].ident;
        export_identifier(ident, net->nodes[i].name, "layer_");
        size_t used = strlen(ident);
        for (size_t j = 0, again = 2; j < i;) {
            bool is_taken = strcmp(ident, net->nodes[j].ident) == 0;
            if (is_taken)
                snprintf(ident + used, EXPORT_IDENT_MAX - used, "_%zu", again++);
            j = is_taken ? 0 : j + 1;
        }
    }
}

size_t export_readers(const struct export_net *net, int node)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n; i++)
        for (int k = 0; k < net->nodes[i].n_from; k++)
            n += net->nodes[i].from[k] == node;
    return n;
}

size_t export_weight_count(const struct export_node *node)
{
    const struct export_window *w = &node->window;
    switch (node->kind) {
    case EXPORT_CONV:
        return w->kernel_h * w->kernel_w * (node->x.c / w->groups) * node->y.c;
    case EXPORT_DENSE:
        return node->x.c * node->y.c;
    case EXPORT_NORM:
        return node->x.c;
    default:
        return 0;
    }
}
