// SPDX-License-Identifier: MIT
// Which layer of the file is which of the recipe, and the way of the weights from one's order to
// the other's. See import_foreign.h.
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "models/network.h"
#include "trainer/import_foreign.h"

void foreign_free(struct foreign_net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        free(net->layers[i].weight);
        free(net->layers[i].bias);
        free(net->layers[i].mean);
        free(net->layers[i].variance);
    }
    free(net->layers);
    *net = (struct foreign_net){0};
}

enum status foreign_add(struct foreign_net *net, const char *path, struct foreign_layer **layer)
{
    CHECK(net->n < FOREIGN_LAYERS_MAX, STATUS_DATA, "%s has more than %zu layers", path,
          FOREIGN_LAYERS_MAX);
    if (net->n == net->capacity) {
        size_t capacity = net->capacity ? 2 * net->capacity : 64;
        void *grown = realloc(net->layers, capacity * sizeof *net->layers);
        CHECK(grown, STATUS_ERROR, "out of memory: %zu layers", capacity);
        net->layers = grown;
        net->capacity = capacity;
    }
    *layer = &net->layers[net->n++];
    **layer = (struct foreign_layer){.kind = FOREIGN_CONV};
    return STATUS_OK;
}

const char *foreign_kind_name(enum foreign_kind kind, bool is_many)
{
    static const char *const names[][2] = {{"convolution", "convolutions"},
                                           {"dense layer", "dense layers"},
                                           {"batch-norm", "batch-norms"}};
    return names[kind][is_many];
}

struct matcher {
    const struct foreign_net *net;
    const struct foreign_config *config;
    const struct model *model;
    float *params;
    struct foreign_pair *pairs; // (n_pairs)
    size_t n_pairs;
    bool *is_skipped; // (n_pairs) by --skip
    bool *is_used;    // (net->n) by --map, or ignored
};

static bool kind_of(const struct layer *layer, enum foreign_kind *kind)
{
    static const struct {
        const char *name;
        enum foreign_kind kind;
    } table[] = {{"conv", FOREIGN_CONV},
                 {"whiten", FOREIGN_CONV},
                 {"filterbank", FOREIGN_CONV},
                 {"dense", FOREIGN_DENSE},
                 {"batchnorm", FOREIGN_NORM}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(layer->ops->name, table[i].name) == 0) {
            *kind = table[i].kind;
            return true;
        }
    return false;
}

static const struct layer *layer_of(const struct matcher *m, size_t pair)
{
    return model_layer(m->model, m->pairs[pair].layer);
}

static bool is_free(const struct matcher *m, size_t pair, enum foreign_kind kind)
{
    enum foreign_kind own;
    return kind_of(layer_of(m, pair), &own) && own == kind && !m->pairs[pair].from &&
           !m->is_skipped[pair];
}

// ---- patterns

static enum status skips_apply(struct matcher *m)
{
    const struct option_strings *skip = &m->config->skip, *ignore = &m->config->ignore;
    const struct network_node *nodes = model_network(m->model)->nodes;
    for (size_t k = 0; k < skip->n; k++) {
        bool fits = false;
        for (size_t i = 0; i < m->n_pairs; i++)
            if (network_fits(&nodes[m->pairs[i].layer], skip->v[k]))
                fits = m->is_skipped[i] = true;
        CHECK(fits, STATUS_USAGE, "--skip '%s' fits no layer of the recipe that has weights",
              skip->v[k]);
    }
    for (size_t k = 0; k < ignore->n; k++) {
        bool fits = false;
        for (size_t i = 0; i < m->net->n; i++)
            if (fnmatch(ignore->v[k], m->net->layers[i].name, 0) == 0)
                fits = m->is_used[i] = true;
        CHECK(fits, STATUS_USAGE, "--ignore '%s' fits no layer of the file", ignore->v[k]);
    }
    return STATUS_OK;
}

static enum status map_apply(struct matcher *m, const char *text)
{
    const char *equal = strrchr(text, '=');
    size_t from = m->net->n, to = m->n_pairs;
    CHECK(equal && equal > text && equal[1], STATUS_USAGE,
          "--map '%s' is not a layer of the file and one of the recipe, as layer1.0.conv1=conv2",
          text);
    for (size_t i = 0; i < m->net->n; i++)
        if (strncmp(m->net->layers[i].name, text, (size_t)(equal - text)) == 0 &&
            !m->net->layers[i].name[equal - text])
            from = i;
    for (size_t i = 0; i < m->n_pairs; i++)
        if (strcmp(layer_of(m, i)->name, equal + 1) == 0)
            to = i;
    CHECK(from < m->net->n, STATUS_USAGE, "--map '%s': the file has no layer '%.*s'", text,
          (int)(equal - text), text);
    CHECK(to < m->n_pairs, STATUS_USAGE, "--map '%s': the recipe has no layer '%s' with weights",
          text, equal + 1);
    enum foreign_kind kind;
    bool is_same = kind_of(layer_of(m, to), &kind) && kind == m->net->layers[from].kind;
    CHECK(is_same && !m->pairs[to].from, STATUS_USAGE,
          "--map '%s': they are of different kinds, or one is mapped twice", text);
    m->pairs[to].from = &m->net->layers[from];
    m->is_used[from] = true;
    return STATUS_OK;
}

// ---- pairs

// Does every free layer of this kind find its name in the file?
static bool names_pair(struct matcher *m, enum foreign_kind kind, bool is_done)
{
    for (size_t i = 0; i < m->n_pairs; i++) {
        bool found = false;
        for (size_t j = 0; j < m->net->n && is_free(m, i, kind) && !found; j++) {
            const struct foreign_layer *layer = &m->net->layers[j];
            found = !m->is_used[j] && layer->kind == kind &&
                    strcmp(layer->name, layer_of(m, i)->name) == 0;
            if (found && is_done) {
                m->pairs[i].from = layer;
                m->is_used[j] = true;
            }
        }
        if (!found && is_free(m, i, kind))
            return false;
    }
    return true;
}

// In order: the file's layers of this kind and the recipe's, with or without the skipped ones.
static enum status order_pair(struct matcher *m, enum foreign_kind kind)
{
    size_t n_from = 0, n_to = 0, n_skipped = 0, j = 0;
    for (size_t i = 0; i < m->net->n; i++)
        n_from += m->net->layers[i].kind == kind && !m->is_used[i];
    for (size_t i = 0; i < m->n_pairs; i++) {
        enum foreign_kind own;
        n_to += is_free(m, i, kind);
        n_skipped += m->is_skipped[i] && kind_of(layer_of(m, i), &own) && own == kind;
    }
    bool counts_skipped = n_skipped > 0 && n_from == n_to + n_skipped;
    CHECK(n_from == n_to || counts_skipped || n_to == 0, STATUS_USAGE,
          "the file has %zu %s to give, the recipe has %zu to fill: name pairs by --map, leave out "
          "layers of the file by --ignore, or of the recipe by --skip",
          n_from, foreign_kind_name(kind, n_from != 1), n_to);
    for (size_t i = 0; i < m->n_pairs && n_to > 0; i++) {
        enum foreign_kind own;
        bool is_passed =
            counts_skipped && m->is_skipped[i] && kind_of(layer_of(m, i), &own) && own == kind;
        if (!is_free(m, i, kind) && !is_passed)
            continue;
        while (m->net->layers[j].kind != kind || m->is_used[j])
            j++;
        m->is_used[j] = true;
        m->pairs[i].from = is_passed ? NULL : &m->net->layers[j];
        j++;
    }
    return STATUS_OK;
}

// ---- weights

static void shape_text(const size_t *dim, int rank, char out[96])
{
    size_t used = 0;
    out[0] = 0;
    for (int d = 0; d < rank; d++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%zu", d ? " x " : "", dim[d]);
}

static enum status shape_check(const struct foreign_layer *from, const struct layer *layer)
{
    const size_t *dim = layer->param[0].dim;
    const size_t conv[] = {dim[3], dim[2], dim[0], dim[1]}, dense[] = {dim[1], dim[0]};
    const size_t *want = from->kind == FOREIGN_CONV    ? conv
                         : from->kind == FOREIGN_DENSE ? dense
                                                       : dim;
    const int rank = from->kind == FOREIGN_CONV ? 4 : from->kind == FOREIGN_DENSE ? 2 : 1;
    char got_text[96], want_text[96];
    shape_text(from->dim, rank, got_text);
    shape_text(want, rank, want_text);
    CHECK(memcmp(from->dim, want, (size_t)rank * sizeof *want) == 0, STATUS_USAGE,
          "%s '%s' of the file is %s, layer '%s' of the recipe %s%s: --skip %s leaves it as it "
          "starts",
          foreign_kind_name(from->kind, false), from->name, got_text, layer->name, want_text,
          rank == 4   ? " (out, in, height, width)"
          : rank == 2 ? " (out, in)"
                      : "",
          layer->name);
    return STATUS_OK;
}

// A bias that the recipe has and the file has not is zero; the other way round nothing fits.
static enum status bias_take(const struct foreign_layer *from, const struct layer *layer,
                             float *params)
{
    const size_t n = from->dim[0];
    float *to = layer->n_params > 1 ? params + layer->param[1].offset : NULL;
    for (size_t k = 0; !to && from->bias && k < n; k++)
        CHECK(from->bias[k] == 0, STATUS_USAGE,
              "%s '%s' of the file has a bias, layer '%s' of the recipe none: give it bias: true",
              foreign_kind_name(from->kind, false), from->name, layer->name);
    for (size_t k = 0; to && k < n; k++)
        to[k] = from->bias ? from->bias[k] : 0;
    return STATUS_OK;
}

static void conv_take(const struct foreign_layer *from, float *to)
{
    const size_t O = from->dim[0], I = from->dim[1], taps = from->dim[2] * from->dim[3];
    for (size_t k = 0; k < O; k++)
        for (size_t c = 0; c < I; c++)
            for (size_t t = 0; t < taps; t++)
                to[(t * I + c) * O + k] = from->weight[(k * I + c) * taps + t];
}

// Our number of the file's input j, where an image of shape `flat` was made flat before.
static size_t input_of(const struct foreign_layer *from, struct shape flat, size_t n, size_t j)
{
    const size_t pixels = flat.h * flat.w;
    return from->is_hwc || pixels * flat.c != n ? j : j % pixels * flat.c + j / pixels;
}

static void dense_take(const struct foreign_layer *from, struct shape flat, float *to)
{
    const size_t K = from->dim[0], C = from->dim[1];
    for (size_t j = 0; j < C; j++) {
        size_t c = input_of(from, flat, C, j);
        for (size_t k = 0; k < K; k++)
            to[c * K + k] = from->is_in_out ? from->weight[j * K + k] : from->weight[k * C + j];
    }
}

static void norm_take(const struct foreign_layer *from, struct shape flat,
                      const struct layer *layer, float *params)
{
    const float *vectors[] = {from->weight, from->bias, from->mean, from->variance};
    const size_t n = from->dim[0];
    for (int i = 0; i < 4; i++)
        for (size_t k = 0; k < n; k++)
            params[layer->param[i].offset + input_of(from, flat, n, k)] =
                vectors[i] ? vectors[i][k] : (i == 0 ? 1.0f : 0.0f);
}

static void eps_check(const struct foreign_layer *from, const struct layer *layer)
{
    for (size_t i = 0; i < layer->ops->n_options; i++) {
        const struct option *option = &layer->ops->options[i];
        if (strcmp(option->name, "eps") != 0)
            continue;
        double eps = *(const double *)(const void *)((const char *)layer->args + option->offset);
        if (from->has_eps && fabs(eps - (double)from->eps) > 1e-3 * eps)
            log_warn("batch-norm '%s' of the file has epsilon %g, layer '%s' of the recipe eps %g: "
                     "scores will differ",
                     from->name, (double)from->eps, layer->name, eps);
    }
}

// The image that was made flat for this layer, through layers that work on each value.
static struct shape flat_shape(const struct model *model, size_t i)
{
    const struct network *network = model_network(model);
    int at = network->nodes[i].from[0];
    while (at >= 0) {
        const struct layer *layer = model_layer(model, (size_t)at);
        struct shape x = {layer->x[0].h, layer->x[0].w, layer->x[0].c};
        if (strcmp(layer->ops->name, "flatten") == 0 && x.h * x.w > 1)
            return x;
        bool is_norm = strcmp(layer->ops->name, "batchnorm") == 0;
        if ((layer->n_params > 0 && !is_norm) || layer->y.h * layer->y.w > 1)
            break;
        at = network->nodes[at].from[0];
    }
    return (struct shape){1, 1, 0};
}

static enum status pair_take(const struct matcher *m, const struct foreign_pair *pair)
{
    const struct layer *layer = model_layer(m->model, pair->layer);
    struct foreign_layer from = *pair->from;
    from.is_hwc = from.is_hwc || m->config->is_hwc;
    TRY(shape_check(&from, layer));
    if (from.kind == FOREIGN_NORM) {
        eps_check(&from, layer);
        norm_take(&from, flat_shape(m->model, pair->layer), layer, m->params);
        return STATUS_OK;
    }
    TRY(bias_take(&from, layer, m->params));
    if (from.kind == FOREIGN_CONV)
        conv_take(&from, m->params + layer->param[0].offset);
    else
        dense_take(&from, flat_shape(m->model, pair->layer), m->params + layer->param[0].offset);
    return STATUS_OK;
}

static enum status finite_check(const struct foreign_net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        const struct foreign_layer *layer = &net->layers[i];
        size_t n = layer->kind == FOREIGN_NORM ? layer->dim[0]
                   : layer->kind == FOREIGN_DENSE
                       ? layer->dim[0] * layer->dim[1]
                       : layer->dim[0] * layer->dim[1] * layer->dim[2] * layer->dim[3];
        for (size_t k = 0; layer->weight && k < n; k++)
            CHECK(isfinite(layer->weight[k]), STATUS_DATA,
                  "number %zu of the weight of '%s' is not finite", k, layer->name);
    }
    return STATUS_OK;
}

static enum status pairs_make(struct matcher *m)
{
    enum foreign_kind kind;
    TRY(memory_alloc(&m->pairs, model_n_layers(m->model), sizeof *m->pairs, "pairs of layers"));
    TRY(memory_alloc(&m->is_skipped, model_n_layers(m->model), sizeof(bool), "pairs of layers"));
    TRY(memory_alloc(&m->is_used, m->net->n, sizeof(bool), "pairs of layers"));
    for (size_t i = 0; i < model_n_layers(m->model); i++) {
        const struct layer *layer = model_layer(m->model, i);
        CHECK(kind_of(layer, &kind) || layer->n_params == 0, STATUS_USAGE,
              "layer '%s' is a %s, whose weights cannot be imported", layer->name,
              layer->ops->name);
        if (layer->n_params > 0)
            m->pairs[m->n_pairs++] = (struct foreign_pair){.layer = i};
    }
    TRY(skips_apply(m));
    for (size_t k = 0; k < m->config->map.n; k++)
        TRY(map_apply(m, m->config->map.v[k]));
    for (int k = 0; k < FOREIGN_KINDS; k++) {
        if (names_pair(m, (enum foreign_kind)k, false))
            names_pair(m, (enum foreign_kind)k, true);
        else
            TRY(order_pair(m, (enum foreign_kind)k));
    }
    for (size_t i = 0; i < m->net->n; i++)
        if (!m->is_used[i])
            log_warn("%s '%s' of the file is not used",
                     foreign_kind_name(m->net->layers[i].kind, 0), m->net->layers[i].name);
    for (size_t i = 0; i < m->n_pairs; i++)
        if (m->pairs[i].from)
            TRY(pair_take(m, &m->pairs[i]));
    return STATUS_OK;
}

enum status foreign_match(const struct foreign_net *net, const struct foreign_config *config,
                          const struct model *model, float *params, struct foreign_pair **pairs,
                          size_t *n_pairs)
{
    struct matcher m = {.net = net, .config = config, .model = model, .params = params};
    enum status status = finite_check(net);
    if (status == STATUS_OK)
        status = pairs_make(&m);
    free(m.is_skipped);
    free(m.is_used);
    *pairs = status == STATUS_OK ? m.pairs : NULL;
    *n_pairs = m.n_pairs;
    if (status != STATUS_OK)
        free(m.pairs);
    return status;
}
