// SPDX-License-Identifier: MIT
// What must not change between two steps (digests of weights and optimiser state), and a second
// place in which this rank's part of the update is done once more.
#include <stdlib.h>
#include <string.h>

#include "comm/digest.h"
#include "comm/fault.h"
#include "comm/memory.h"
#include "trainer/audit_private.h"

enum status audit_memory_init(struct audit *a)
{
    const struct session *s = a->s;
    const struct update *u = s->update;
    a->n_state = (size_t)u->n_states * u->n_segments;
    TRY(memory_alloc(&a->weights, s->n_list, sizeof(uint64_t), "digests"));
    TRY(memory_alloc(&a->weights_now, s->n_list, sizeof(uint64_t), "digests"));
    TRY(memory_alloc(&a->state, a->n_state, sizeof(uint64_t), "digests"));
    TRY(memory_alloc(&a->state_now, a->n_state, sizeof(uint64_t), "digests"));
    TRY(memory_alloc(&a->spare, 2 * a->width, sizeof(uint64_t), "digests"));
    if (a->config.rate <= 0)
        return STATUS_OK;
    TRY(memory_alloc(&a->copy.params, s->n, sizeof(float), "weights of the audit"));
    for (int i = 0; i < u->n_states; i++)
        TRY(memory_alloc(&a->copy.state[i], u->n_local, sizeof(float), "state of the audit"));
    return STATUS_OK;
}

void audit_memory_free(struct audit *a)
{
    free(a->weights);
    free(a->weights_now);
    free(a->state);
    free(a->state_now);
    free(a->spare);
    free(a->copy.params);
    for (int i = 0; i < UPDATE_STATES_MAX; i++)
        free(a->copy.state[i]);
}

void audit_digest_weights(const struct audit *a, uint64_t *digests)
{
    const struct session *s = a->s;
    for (size_t t = 0; t < s->n_list; t++) {
        const struct param *param = s->list[t].param;
        digests[t] =
            digest_span(s->params + param->offset, param->offset, span_round(param->count), 0);
    }
}

void audit_digest_state(const struct audit *a, float *const *state, uint64_t *digests)
{
    const struct update *u = a->s->update;
    for (int i = 0; i < u->n_states; i++)
        for (size_t k = 0; k < u->n_segments; k++) {
            const struct segment *segment = &u->segments[k];
            const float *at = (state ? state[i] : u->state[i]) + segment->local;
            *digests++ = digest_span(at, segment->offset, span_round(segment->count), 0);
        }
}

uint64_t audit_digest_slices(const struct audit *a)
{
    const struct update *u = a->s->update;
    uint64_t sum = 0;
    for (size_t i = 0; i < u->n_spans; i++)
        sum += digest_span(a->s->params + u->spans[i].offset, u->spans[i].offset, u->spans[i].count,
                           0);
    return sum;
}

void audit_copy_take(struct audit *a)
{
    const struct update *u = a->s->update;
    for (size_t i = 0; i < u->n_spans; i++)
        memcpy(a->copy.params + u->spans[i].offset, a->s->params + u->spans[i].offset,
               u->spans[i].count * sizeof(float));
    for (int i = 0; i < u->n_states; i++)
        memcpy(a->copy.state[i], u->state[i], u->n_local * sizeof(float));
}

// The update's own states and the copy's change places.
static void swap(struct audit *a)
{
    struct update *u = a->s->update;
    for (int i = 0; i < u->n_states; i++) {
        float *real = u->state[i];
        u->slow = u->slow == real ? a->copy.state[i] : u->slow;
        u->ema = u->ema == real ? a->copy.state[i] : u->ema;
        u->state[i] = a->copy.state[i];
        a->copy.state[i] = real;
    }
}

enum status audit_copy_update(struct audit *a, double lr)
{
    swap(a);
    enum status status =
        update_compute(a->s->update, a->copy.params, reduce_sum(a->twin), lr, a->global);
    swap(a);
    return status;
}

void audit_copy_compare(const struct audit *a, int *tensor, int *state)
{
    const struct update *u = a->s->update;
    *tensor = *state = -1;
    for (size_t k = 0; k < u->n_segments; k++) {
        const struct segment *segment = &u->segments[k];
        size_t bytes = span_round(segment->count) * sizeof(float);
        bool differs =
            memcmp(a->s->params + segment->offset, a->copy.params + segment->offset, bytes) != 0;
        for (int i = 0; i < u->n_states && !differs; i++) {
            differs =
                memcmp(u->state[i] + segment->local, a->copy.state[i] + segment->local, bytes) != 0;
            *state = differs ? i : -1;
        }
        if (differs) {
            *tensor = (int)segment->tensor;
            return;
        }
    }
}

bool audit_sums_differ(const struct audit *a)
{
    const struct update *u = a->s->update;
    const float *sum = reduce_sum(a->s->reduce), *twin = reduce_sum(a->twin);
    bool differ = false;
    for (size_t i = 0; i < u->n_spans; i++)
        differ |= memcmp(sum + u->spans[i].offset, twin + u->spans[i].offset,
                         u->spans[i].count * sizeof(float)) != 0;
    return differ;
}

void audit_faults(const struct session *s)
{
    const struct update *u = s->update;
    if (!fault_hook)
        return;
    fault_point(FAULT_WEIGHTS, s->params, s->n * sizeof(float));
    for (int i = 0; i < u->n_states; i++)
        fault_point(FAULT_STATE, u->state[i], u->n_local * sizeof(float));
    for (size_t i = 0; i < u->n_spans; i++)
        fault_point(FAULT_SUM, reduce_sum(s->reduce) + u->spans[i].offset,
                    u->spans[i].count * sizeof(float));
}
