// SPDX-License-Identifier: MIT
#include "trainer/tta.h"

#include <stdlib.h>
#include <string.h>

#include "comm/memory.h"

struct view {
    bool is_flipped;
    int shift; // pixels down and right
    float weight;
};

static const struct view flip_views[] = {{false, 0, 0.5f}, {true, 0, 0.5f}};
static const struct view shift_views[] = {{false, 0, 0.25f},   {true, 0, 0.25f},
                                          {false, -1, 0.125f}, {true, -1, 0.125f},
                                          {false, 1, 0.125f},  {true, 1, 0.125f}};

struct tta {
    struct model *model;
    struct shape input;
    const struct view *views; // (n_views)
    size_t n_views;
    float *x;      // (n, h, w, c) one view
    float *logits; // (n, outputs) sums
};

static const char *const names[] = {"off", "flip", "shift"};

const char *tta_name(enum tta_kind kind)
{
    return names[kind];
}

enum status tta_find(const char *option, const char *name, enum tta_kind *kind)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum tta_kind)i;
            return STATUS_OK;
        }
    FAIL(STATUS_USAGE, "%s: '%s' is not one of off, flip, shift", option, name);
}

static size_t outputs_count(const struct model *model)
{
    const struct tensor *y = model_output(model);
    return y->h * y->w * y->c;
}

static enum status buffers_init(struct tta *tta, size_t n)
{
    struct shape s = tta->input;
    TRY(memory_alloc(&tta->x, n * s.h * s.w * s.c, sizeof *tta->x, "views of samples"));
    return memory_alloc(&tta->logits, n * outputs_count(tta->model), sizeof *tta->logits,
                        "logits of views");
}

enum status tta_init(struct tta **out, enum tta_kind kind, struct model *model, struct shape input,
                     size_t n)
{
    *out = NULL;
    ASSERT(kind == TTA_FLIP || kind == TTA_SHIFT);
    CHECK(kind == TTA_FLIP || (input.h > 1 && input.w > 1), STATUS_USAGE,
          "tta: shift moves images, these are %zu x %zu; use flip or off", input.h, input.w);
    struct tta *tta = NULL;
    TRY(memory_alloc(&tta, 1, sizeof *tta, "test-time averaging"));
    *tta = (struct tta){.model = model,
                        .input = input,
                        .views = kind == TTA_FLIP ? flip_views : shift_views,
                        .n_views = kind == TTA_FLIP ? 2 : 6};
    enum status status = buffers_init(tta, n);
    if (status != STATUS_OK)
        tta_free(tta);
    else
        *out = tta;
    return status;
}

void tta_free(struct tta *tta)
{
    if (!tta)
        return;
    free(tta->x);
    free(tta->logits);
    free(tta);
}

size_t tta_bytes(enum tta_kind kind, struct shape s, size_t n_outputs, size_t n)
{
    return kind == TTA_OFF ? 0 : n * (s.h * s.w * s.c + n_outputs) * sizeof(float);
}

// Where pixel i of a side of n comes from when the image is moved by `shift` (-1, 0 or 1).
static size_t source(size_t i, int shift, size_t n)
{
    if (shift > 0)
        return i == 0 ? 1 : i - 1;
    if (shift < 0)
        return i + 1 == n ? n - 2 : i + 1;
    return i;
}

static void view_make(const struct tta *tta, const struct view *view, size_t n, const float *x)
{
    struct shape s = tta->input;
    float *to = tta->x;
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < s.h; h++) {
            const float *row = x + (i * s.h + source(h, view->shift, s.h)) * s.w * s.c;
            for (size_t w = 0; w < s.w; w++, to += s.c) {
                size_t from = source(view->is_flipped ? s.w - 1 - w : w, view->shift, s.w);
                memcpy(to, row + from * s.c, s.c * sizeof *to);
            }
        }
}

// A dense tensor, as model_output's is.
static void logits_add(struct tta *tta, size_t n, float weight, bool is_first)
{
    const float *y = model_output(tta->model)->at;
    for (size_t i = 0; i < n; i++)
        tta->logits[i] = weight * y[i] + (is_first ? 0 : tta->logits[i]);
}

void tta_forward(struct tta *tta, const struct pass *pass, const float *x)
{
    size_t n = pass->n * outputs_count(tta->model);
    for (size_t v = 0; v < tta->n_views; v++) {
        view_make(tta, &tta->views[v], pass->n, x);
        model_forward(tta->model, pass, tta->x);
        logits_add(tta, n, tta->views[v].weight, v == 0);
    }
    memcpy(model_output(tta->model)->at, tta->logits, n * sizeof *tta->logits);
}
