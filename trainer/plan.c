// SPDX-License-Identifier: MIT
#include "trainer/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/isa.h"
#include "comm/log.h"
#include "comm/memory.h"
#include "comm/shared.h"
#include "models/kernels/gemm.h"
#include "trainer/checkpoint.h"
#include "trainer/optimizer.h"
#include "trainer/progress.h"

const char *plan_bytes_text(double bytes, char text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 32, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

static size_t state_vectors(const struct session *s)
{
    const struct train_config *train = &s->recipe->train;
    return (size_t)optimizer_at(train->optimizer)->n_states + (train->ema > 0) +
           (train->lookahead > 0);
}

static struct loader_config loader_of(const struct session *s)
{
    return (struct loader_config){
        .dataset = s->train_set,
        .transforms = s->transforms,
        .order = &s->order,
        .first_grain = s->grains.first,
        .n_grains = s->grains.count,
        .workers = (int)s->recipe->train.threads,
        .slots = (size_t)s->recipe->train.slots,
    };
}

// HDF5's own structures while rank 0 writes a checkpoint: measured with HDF5 1.10.8 on networks of
// 14 to 480 saved tensors.
static size_t saving_bytes(const struct session *s)
{
    const size_t once = (size_t)1 << 19, a_tensor = (size_t)14 << 10;
    return s->group->rank == 0 ? once + a_tensor * s->n_list * (1 + state_vectors(s)) : 0;
}

// Code and tables of the program and its libraries that only training touches: measured, x86-64.
static const size_t touched_later = (size_t)1 << 20;

// The most, when all is audited. The gradients of a grain for each thread, a second sum and one
// vector of gradients more, as the first sum's last is the model's; weights and state of this
// rank's part of the update; the batches of other ranks' grains, one a thread. Sums between ranks
// of a host are shared memory: what is read of the others' is resident here, too.
static size_t audit_bytes(const struct session *s, const struct plan_memory *m,
                          const struct loader_config *loader)
{
    struct loader_config again = *loader;
    again.slots = 1;
    size_t params = s->n * sizeof(float);
    return ((size_t)s->recipe->train.threads + 1) * params + m->sums + m->shared +
           params / (size_t)s->group->size + m->state + loader_bytes(&again) +
           dataset_cache_bytes(s->train_set);
}

struct plan_memory plan_memory(const struct session *s)
{
    const struct train_config *train = &s->recipe->train;
    struct model_memory model = model_memory(s->model);
    struct update_config update = train_config_update(train);
    struct loader_config loader = loader_of(s);
    size_t threads = (size_t)train->threads; // each has its own model, but for the weights
    struct plan_memory m = {
        .activations = threads * model.activations,
        .gradients = threads * model.gradients,
        .work = threads * model.work,
        .weights = s->n * sizeof(float) * (train->ema > 0 ? 2 : 1),
        .sums = reduce_bytes(s->n, s->order.grains, s->group->size, s->group->rank, (int)threads,
                             (size_t)train->bucket_kib << 10, shared_is_wanted(s->group)),
        .state = update_bytes(&update, s->n, s->n_list, s->group->size),
        .snapshot =
            s->group->rank == 0 ? checkpoint_writer_bytes(s->list, s->n_list, state_vectors(s)) : 0,
        .data = loader_bytes(&loader) + dataset_cache_bytes(s->train_set),
        .base = s->base_bytes + touched_later + saving_bytes(s),
    };
    if (s->test_set)
        m.data += evaluator_bytes(s->group, s->test_set, s->transforms, s->order.grain,
                                  model_loss(s->model)->ops->n_metrics, (int)threads) +
                  dataset_cache_bytes(s->test_set);
    const struct tensor *y = model_output(s->model);
    m.data += threads * tta_bytes((enum tta_kind)train->tta, session_input(s->train_set),
                                  y->h * y->w * y->c, s->test_set ? s->order.grain : 0);
    if (shared_is_wanted(s->group))
        m.shared =
            reduce_shared_bytes(s->n, s->order.grains, s->group->size, s->group->rank, (int)threads,
                                (size_t)train->bucket_kib << 10, state_vectors(s) > 0);
    if (s->audit > 0)
        m.audit = audit_bytes(s, &m, &loader);
    m.total = m.activations + m.gradients + m.work + m.weights + m.sums + m.state + m.snapshot +
              m.data + m.base + m.shared + m.audit;
    m.total = m.total > s->base_peak ? m.total : s->base_peak;
    return m;
}

uint64_t plan_checkpoint_bytes(const struct session *s)
{
    uint64_t numbers = 0;
    for (size_t i = 0; i < s->n_list; i++)
        numbers += s->list[i].param->count;
    return numbers * sizeof(float) * (1 + state_vectors(s));
}

static void number_text(double n, char text[32])
{
    if (n >= 1e9)
        snprintf(text, 32, "%.2f G", n / 1e9);
    else if (n >= 1e6)
        snprintf(text, 32, "%.2f M", n / 1e6);
    else if (n >= 1e4)
        snprintf(text, 32, "%.1f K", n / 1e3);
    else
        snprintf(text, 32, "%.0f", n);
}

static size_t layer_numbers(const struct layer *layer)
{
    size_t n = 0;
    for (int i = 0; i < layer->n_params; i++)
        if (layer->param[i].kind != PARAM_STATE)
            n += layer->param[i].count;
    return n;
}

static void layer_show(const struct layer *layer)
{
    char shape[48], params[32], flops[32];
    snprintf(shape, sizeof shape, "%zu x %zu x %zu", layer->y.h, layer->y.w, layer->y.c);
    number_text((double)layer_numbers(layer), params);
    number_text(layer->flops, flops);
    bool is_frozen = layer->n_params > 0 && layer->param[0].kind == PARAM_FROZEN;
    log_line("  %-18s %-16s %10s %10s%s", layer->name, shape, layer_numbers(layer) ? params : "",
             layer->flops > 0 ? flops : "", is_frozen ? "  frozen" : "");
}

static void network_show(const struct session *s)
{
    char params[32], flops[32];
    struct shape x = session_input(s->train_set);
    log_line("  %-18s %-16s %10s %10s", "layer", "output", "parameters", "FLOP");
    log_line("  %-18s %zu x %zu x %zu", "input", x.h, x.w, x.c);
    for (size_t i = 0; i < model_n_layers(s->model); i++)
        layer_show(model_layer(s->model, i));
    number_text((double)model_n_trained(s->model), params);
    number_text(model_flops(s->model), flops);
    log_line("  %s trained parameters, %sFLOP an image forward, about three times that a training "
             "step; loss %s",
             params, flops, model_loss(s->model)->ops->name);
}

// One line "title  text", or more where the text has more; frees it.
static void text_show(const char *title, char *text)
{
    for (char *line = text, *end; line && *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        log_line("%-6s %s", title, line);
        title = "";
    }
    free(text);
}

static void data_show(const struct session *s)
{
    text_show("train", dataset_describe(s->train_set));
    if (s->test_set)
        text_show("test", dataset_describe(s->test_set));
    text_show("input", transforms_describe(s->transforms));
}

static void memory_show(const struct session *s)
{
    struct plan_memory m = plan_memory(s);
    char t[12][32];
    log_line("memory a rank: %s: activations %s, their gradients %s, weights %s, packed weights "
             "and scratch %s, sums %s, optimiser %s, data %s, program and libraries %s%s%s%s%s%s%s",
             plan_bytes_text((double)m.total, t[0]), plan_bytes_text((double)m.activations, t[1]),
             plan_bytes_text((double)m.gradients, t[2]), plan_bytes_text((double)m.weights, t[3]),
             plan_bytes_text((double)m.work, t[4]), plan_bytes_text((double)m.sums, t[5]),
             plan_bytes_text((double)m.state, t[6]), plan_bytes_text((double)m.data, t[7]),
             plan_bytes_text((double)m.base, t[8]), m.shared > 0 ? ", read of other ranks " : "",
             m.shared > 0 ? plan_bytes_text((double)m.shared, t[9]) : "",
             m.snapshot > 0 ? ", snapshot for checkpoints " : "",
             m.snapshot > 0 ? plan_bytes_text((double)m.snapshot, t[10]) : "",
             m.audit > 0 ? ", audit " : "",
             m.audit > 0 ? plan_bytes_text((double)m.audit, t[11]) : "");
    double read =
        (double)s->grains.count * (double)s->order.grain * (double)dataset_row_bytes(s->train_set);
    double sent = (double)reduce_sent_bytes(s->n, s->order.grains, s->group->size, s->group->rank);
    log_line("a step: a rank reads %s and sends %s; a checkpoint takes %s",
             plan_bytes_text(read, t[0]), plan_bytes_text(sent, t[1]),
             plan_bytes_text((double)plan_checkpoint_bytes(s), t[2]));
}

void plan_show(const struct session *s)
{
    const struct train_config *train = &s->recipe->train;
    log_line("recipe %s (%s)", s->recipe->name, s->recipe->yaml->name);
    data_show(s);
    network_show(s);
    log_line("global %zu = %d grains x %zu on %d rank%s, %lld thread%s each; %s, %s",
             s->order.batch, s->order.grains, s->order.grain, s->group->size,
             s->group->size > 1 ? "s" : "", (long long)train->threads,
             train->threads > 1 ? "s" : "", isa_name(isa_current()), gemm_backend_name());
    log_line("%llu steps: %.4g epochs of %llu; optimizer %s, learning rate %g, seed %lld",
             (unsigned long long)s->steps, (double)s->steps / (double)s->order.steps,
             (unsigned long long)s->order.steps, optimizer_at(train->optimizer)->name, train->lr,
             (long long)train->seed);
    memory_show(s);
}

enum status plan_show_measured(const struct session *s)
{
    struct pair {
        uint64_t measured, planned;
    } mine = {memory_peak(), plan_memory(s).total}, *all, most;
    TRY(group_agree(s->group,
                    memory_alloc(&all, (size_t)s->group->size, sizeof *all, "memory of ranks")));
    group_allgather(s->group, &mine, sizeof mine, all);
    most = all[0];
    for (int r = 1; r < s->group->size; r++)
        most = all[r].measured > most.measured ? all[r] : most;
    free(all);
    const double mib = 1 << 20, measured = (double)most.measured, planned = (double)most.planned;
    if (measured > 0)
        log_line("peak memory a rank: %.1f MiB, planned %.1f MiB (%+.1f %%)", measured / mib,
                 planned / mib, 100 * (planned / measured - 1));
    return STATUS_OK;
}

// Bytes from a line "MemAvailable: 123 kB" or a file that holds one number; 0: unknown.
static double number_from(const char *path, const char *key)
{
    FILE *file = fopen(path, "r");
    char line[256];
    double found = 0;
    while (file && found == 0 && fgets(line, sizeof line, file)) {
        if (key && strncmp(line, key, strlen(key)) == 0)
            found = strtod(line + strlen(key), NULL) * 1024;
        else if (!key)
            found = strtod(line, NULL); // "max": 0
    }
    if (file)
        fclose(file);
    return found;
}

static enum status memory_check(const struct session *s)
{
    double available = number_from("/proc/meminfo", "MemAvailable:");
    double limit = number_from("/sys/fs/cgroup/memory.max", NULL);
    double most = limit > 0 && (available == 0 || limit < available) ? limit : available;
    struct plan_memory m = plan_memory(s);
    double needed = (double)(m.total - m.shared) * s->group->local_size;
    char a[32], b[32], c[32];
    CHECK(most == 0 || needed <= most, STATUS_ERROR,
          "%d rank%s on this host need %s, it has %s: one grain's activations take %s a rank; "
          "use more grains (train.grains) or a smaller train.batch",
          s->group->local_size, s->group->local_size > 1 ? "s" : "", plan_bytes_text(needed, a),
          plan_bytes_text(most, b), plan_bytes_text((double)m.activations, c));
    return STATUS_OK;
}

enum status plan_check_memory(const struct session *s)
{
    return group_agree(s->group, memory_check(s));
}
