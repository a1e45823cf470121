// SPDX-License-Identifier: MIT
#include "trainer/finetune.h"

#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "models/network.h"
#include "trainer/checkpoint.h"

static enum status skip_check(const struct session *s)
{
    const struct option_strings *skip = &s->recipe->train.init_skip;
    for (size_t k = 0; k < skip->n; k++) {
        bool fits = false;
        for (size_t i = 0; i < model_n_layers(s->model); i++)
            fits = fits || network_fits(&model_network(s->model)->nodes[i], skip->v[k]);
        CHECK(fits, STATUS_USAGE,
              "%s: train.init_skip: '%s' fits no layer (names as sw2-train --plan shows them, or "
              "features, head)",
              s->recipe->yaml->name, skip->v[k]);
    }
    return STATUS_OK;
}

static bool is_skipped(const struct session *s, const struct layer *layer)
{
    const struct network_node *nodes = model_network(s->model)->nodes;
    const struct option_strings *skip = &s->recipe->train.init_skip;
    for (size_t k = 0; k < skip->n; k++)
        if (network_fits(&nodes[layer->index], skip->v[k]))
            return true;
    return false;
}

static enum status weights_take(struct session *s, struct checkpoint *file,
                                struct model_param *wanted)
{
    bool is_ema = checkpoint_has_state(file, "ema");
    size_t n = 0;
    for (size_t t = 0; t < s->n_list; t++)
        if (!is_skipped(s, s->list[t].layer))
            wanted[n++] = s->list[t];
    enum status status =
        checkpoint_load_some(file, is_ema ? "ema" : NULL, wanted, n, s->params, s->n);
    if (status == STATUS_USAGE)
        error_add(status, "train.init_skip names layers that start anew");
    TRY(status);
    log_line("weights from %s%s: %zu of %zu arrays%s", checkpoint_path(file),
             is_ema ? " (EMA)" : "", n, s->n_list,
             n < s->n_list ? ", the others start anew (init_skip)" : "");
    return STATUS_OK;
}

void finetune_averages(struct session *s)
{
    for (int i = 0; i < update_n_states(s->update); i++) {
        const char *name = update_state_name(s->update, i);
        if (strcmp(name, "ema") != 0 && strcmp(name, "lookahead") != 0)
            continue;
        memcpy(update_state_buffer(s->update), s->params, s->n * sizeof *s->params);
        update_state_scatter(s->update, i);
    }
}

enum status finetune_start(struct session *s)
{
    const char *path = s->recipe->train.init_from;
    struct checkpoint *file = NULL;
    struct model_param *wanted = NULL;
    TRY(group_agree(s->group, skip_check(s)));
    if (!path[0])
        return STATUS_OK;
    TRY(checkpoint_open(&file, s->group, path));
    CHECK(file, STATUS_DATA, "train.init_from: no checkpoint in '%s'", path);
    enum status status = group_agree(
        s->group, memory_alloc(&wanted, s->n_list, sizeof *wanted, "list of parameters"));
    if (status == STATUS_OK)
        status = weights_take(s, file, wanted);
    if (status == STATUS_OK)
        finetune_averages(s);
    free(wanted);
    checkpoint_close(file);
    return status;
}
