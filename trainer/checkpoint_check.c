// SPDX-License-Identifier: MIT
// Does a checkpoint belong to this run? Recipe, data and instruction set, the same answer on all
// ranks. Owns the comparison of two recipes; nothing else.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/log.h"
#include "comm/yaml.h"
#include "trainer/checkpoint_private.h"
#include "trainer/recipe.h"

#define PATH_MAX_BYTES 256
#define DEPTH_MAX 64

struct difference {
    char path[PATH_MAX_BYTES];
    const char *there, *here; // borrowed texts
};

static const char *node_text(const struct yaml_node *node)
{
    if (!node)
        return "nothing";
    return node->kind == YAML_SCALAR ? node->text : node->kind == YAML_LIST ? "a list" : "a map";
}

static void path_add(char path[PATH_MAX_BYTES], const struct yaml_node *node, size_t i)
{
    size_t used = strlen(path);
    const char *dot = used ? "." : "";
    if (node->key)
        snprintf(path + used, PATH_MAX_BYTES - used, "%s%s", dot, node->key);
    else
        snprintf(path + used, PATH_MAX_BYTES - used, "%s%zu", dot, i);
}

// Keys that change no bits: a run may go on with others.
static bool is_free(const char *path)
{
    static const char *const keys[] = {"train.bucket_kib", "train.recompute", "train.slots",
                                       "train.threads"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(path, keys[i]) == 0)
            return true;
    return false;
}

static bool node_differs(const struct yaml_node *there, const struct yaml_node *here, int depth,
                         struct difference *out);

// A child of one side against its partner (NULL: none) on the other.
static bool child_differs(const struct yaml_node *there, const struct yaml_node *here, size_t i,
                          int depth, struct difference *out)
{
    size_t used = strlen(out->path);
    path_add(out->path, there ? there : here, i);
    if (!is_free(out->path) && node_differs(there, here, depth + 1, out))
        return true;
    out->path[used] = '\0';
    return false;
}

static bool map_differs(const struct yaml_node *there, const struct yaml_node *here, int depth,
                        struct difference *out)
{
    for (const struct yaml_node *child = there->first; child; child = child->next)
        if (child_differs(child, yaml_find(here, child->key), 0, depth, out))
            return true;
    for (const struct yaml_node *child = here->first; child; child = child->next)
        if (!yaml_find(there, child->key) && child_differs(NULL, child, 0, depth, out))
            return true;
    return false;
}

static bool list_differs(const struct yaml_node *there, const struct yaml_node *here, int depth,
                         struct difference *out)
{
    const struct yaml_node *a = there->first, *b = here->first;
    for (size_t i = 0; a || b; i++) {
        if (child_differs(a, b, i, depth, out))
            return true;
        a = a ? a->next : NULL;
        b = b ? b->next : NULL;
    }
    return false;
}

// The first difference in document order.
static bool node_differs(const struct yaml_node *there, const struct yaml_node *here, int depth,
                         struct difference *out)
{
    out->there = node_text(there);
    out->here = node_text(here);
    if (!there || !here || there->kind != here->kind || depth > DEPTH_MAX)
        return true;
    if (there->kind == YAML_SCALAR)
        return strcmp(there->text, here->text) != 0;
    return there->kind == YAML_MAP ? map_differs(there, here, depth, out)
                                   : list_differs(there, here, depth, out);
}

static enum status differs(const struct checkpoint *c, const char *field, const char *there,
                           const char *here, bool force)
{
    const char *path = checkpoint_path(c);
    if (force) {
        log_warn("checkpoint %s was made with %s %s, this run has %s: going on as told", path,
                 field, there, here);
        return STATUS_OK;
    }
    FAIL(STATUS_USAGE, "checkpoint %s was made with %s %s, this run has %s", path, field, there,
         here);
}

static enum status texts_check(const struct checkpoint *c, const char *saved, const char *recipe,
                               bool force)
{
    struct yaml *there = NULL, *here = NULL;
    struct difference difference = {"", "another text", "this one"};
    enum status status = yaml_parse(&there, "recipe of the checkpoint", saved, strlen(saved));
    if (status == STATUS_OK)
        status = yaml_parse(&here, "recipe of this run", recipe, strlen(recipe));
    if (status == STATUS_OK && node_differs(there->root, here->root, 0, &difference)) {
        char field[PATH_MAX_BYTES + 16];
        snprintf(field, sizeof field, "recipe key %s:", difference.path);
        status = differs(c, field, difference.there, difference.here, force);
    }
    yaml_free(there);
    yaml_free(here);
    return status;
}

// Keys that came into the world after the checkpoint have their defaults in its recipe.
static enum status recipe_check(const struct checkpoint *c, const char *recipe, bool force)
{
    const char *saved = checkpoint_meta(c)->recipe;
    struct recipe old;
    if (strcmp(saved, recipe) == 0)
        return STATUS_OK;
    bool is_known = recipe_parse(&old, "recipe of the checkpoint", saved, NULL) == STATUS_OK;
    enum status status = texts_check(c, is_known ? old.resolved : saved, recipe, force);
    recipe_free(&old);
    return status;
}

static enum status text_check(const struct checkpoint *c, const char *field, const char *there,
                              const char *here, bool force)
{
    if (!here || strcmp(there, here) == 0)
        return STATUS_OK;
    return differs(c, field, *there ? there : "none", *here ? here : "none", force);
}

enum status checkpoint_check(const struct checkpoint *checkpoint,
                             const struct checkpoint_expect *expect)
{
    const struct checkpoint_meta *meta = checkpoint_meta(checkpoint);
    bool force = expect->force;
    if (expect->recipe)
        TRY(recipe_check(checkpoint, expect->recipe, force));
    TRY(text_check(checkpoint, "training data of fingerprint", meta->train, expect->train, force));
    TRY(text_check(checkpoint, "test data of fingerprint", meta->test, expect->test, force));
    enum status status = text_check(checkpoint, "instruction set", meta->isa, expect->isa, force);
    if (status != STATUS_OK)
        error_add(status, "other instructions or kernels give other bits: set SW2_ISA, SW2_GEMM");
    return status;
}
