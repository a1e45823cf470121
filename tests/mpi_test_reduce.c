// SPDX-License-Identifier: MIT
// The canonical sum against a serial tree written down naively, bit for bit, at this number of
// ranks: lengths x grains x bucket sizes x ways to push x workers of a rank, by shared memory and
// by messages, several steps each. Then the all-gathers.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/group.h"
#include "comm/log.h"
#include "comm/reduce.h"
#include "comm/tree.h"
#include "comm/workers.h"

#define N_MAX (40 * SPAN_BLOCK)
#define GRAINS_MAX 32
#define WORKERS_MAX 3
#define STEPS 3
#define RANGES_MAX 8

struct test_case {
    size_t n;
    int grains;
    size_t bucket_bytes;
    unsigned variant; // of pushing
    int workers;
    bool is_shared;
    bool adds; // grains add some ranges to the sum themselves
};

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

// Places that no grain writes: the end of every third block, and all of block 4.
static int is_padding(size_t i)
{
    size_t block = i / SPAN_BLOCK;
    return block == 4 || (block % 3 == 0 && i % SPAN_BLOCK >= 200);
}

// Values whose sums round differently in every order: 24 bits, both signs, magnitudes from 2^-6 to
// 2^9.
static float value_of(int step, int grain, size_t i)
{
    if (is_padding(i))
        return 0;
    uint64_t bits = mix(mix((uint64_t)step * 64 + (uint64_t)grain) + i);
    float magnitude = (float)(bits >> 40) * 0x1p-24f + 1;
    float scale = (float)(1u << (bits >> 8 & 15)) * 0x1p-6f;
    return bits & 1 ? -magnitude * scale : magnitude * scale;
}

static float tree_value(int step, int first, int count, size_t i)
{
    if (count == 1)
        return value_of(step, first, i);
    float left = tree_value(step, first, count / 2, i);
    float right = tree_value(step, first + count / 2, count / 2, i);
    return left + right;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#define CASE_FORMAT                                                                                \
    "(%zu floats, %d grains, buckets of %zu bytes, variant %u, %d workers, shared %d, step %d)"
#define CASE_VALUES(c, step)                                                                       \
    (c)->n, (c)->grains, (c)->bucket_bytes, (c)->variant, (c)->workers, (c)->is_shared, step

// Element i must have the very bits of `expected`.
static enum status check_value(const struct test_case *c, int step, const char *what, size_t i,
                               float value, float expected)
{
    CHECK(bits_of(value) == bits_of(expected), STATUS_VERIFY,
          "%s: element %zu is %.9g (%08x), expected %.9g (%08x) " CASE_FORMAT, what, i,
          (double)value, bits_of(value), (double)expected, bits_of(expected), CASE_VALUES(c, step));
    return STATUS_OK;
}

// Ranges that grains add to the sum themselves: of any length, some next to each other.
static size_t ranges_make(const struct test_case *c, struct span *ranges)
{
    size_t n = 0, at = c->n / 9;
    for (size_t count = 1; c->adds && at < c->n; at += count, n++) {
        count = 1 + mix(n + c->n) % (c->n / 4 + 1);
        count = count < c->n - at ? count : c->n - at;
        ranges[n] = (struct span){at, count};
        at += mix(n) % 3 == 0 ? 0 : 1 + mix(count) % 300;
        if (n + 1 == RANGES_MAX)
            return n + 1;
    }
    return n;
}

static bool is_in_range(const struct span *ranges, size_t n, size_t i)
{
    for (size_t r = 0; r < n; r++)
        if (i >= ranges[r].offset && i < ranges[r].offset + ranges[r].count)
            return true;
    return false;
}

// Fills and pushes one grain: all at once, or in random pieces that know no block or bucket.
static enum status push_grain(struct reduce *reduce, const struct test_case *c, int worker,
                              int step, int grain)
{
    struct span ranges[RANGES_MAX];
    size_t n_ranges = grain / 2 % 3 == 1 ? 0 : ranges_make(c, ranges); // some grains leave it
    float *x = reduce_grain(reduce, worker);
    float *sum = n_ranges > 0 ? reduce_grain_sum(reduce, worker) : NULL;
    for (size_t i = 0; i < c->n; i++)
        if (is_padding(i))
            TRY(check_value(c, step, "padding of a fresh grain", i, x[i], 0));
    uint64_t random = mix((uint64_t)(step * 1000 + grain) + c->n);
    size_t end = c->n;
    while (end > 0) {
        random = mix(random);
        size_t piece = c->variant == 0 ? end : random % (c->n / 3 + 2);
        size_t begin = piece < end ? end - piece : 0;
        for (size_t i = begin; i < end; i++)
            if (!is_padding(i) && sum && is_in_range(ranges, n_ranges, i)) {
                sum[i] += value_of(step, grain, i);
                x[i] = NAN; // nobody reads it
            } else if (!is_padding(i)) {
                x[i] = value_of(step, grain, i);
            }
        reduce_push(reduce, worker, begin);
        end = begin;
        if (c->variant == 2 && random % 8 == 0)
            usleep((unsigned)(random >> 32) % 300); // ranks drift apart
    }
    if (c->n == 0 || c->variant > 0) // layers without parameters before the first that has some
        reduce_push(reduce, worker, 0);
    return STATUS_OK;
}

static enum status check_slices(struct reduce *reduce, const struct group *group,
                                const struct test_case *c)
{
    int owners[N_MAX / SPAN_BLOCK] = {0};
    for (int rank = 0; rank < group->size; rank++) {
        const struct span *spans;
        size_t n = reduce_slices(reduce, rank, &spans), end = 0;
        for (size_t s = 0; s < n; end = spans[s].offset + spans[s].count, s++) {
            CHECK(spans[s].offset % SPAN_BLOCK == 0 && spans[s].count % SPAN_BLOCK == 0 &&
                      spans[s].count > 0 && spans[s].offset >= end &&
                      spans[s].offset + spans[s].count <= c->n,
                  STATUS_VERIFY, "slice %zu of rank %d is [%zu, + %zu) " CASE_FORMAT, s, rank,
                  spans[s].offset, spans[s].count, CASE_VALUES(c, 0));
            for (size_t b = 0; b < spans[s].count / SPAN_BLOCK; b++)
                owners[spans[s].offset / SPAN_BLOCK + b]++;
        }
    }
    for (size_t b = 0; b < c->n / SPAN_BLOCK; b++)
        CHECK(owners[b] == 1, STATUS_VERIFY, "block %zu has %d owners " CASE_FORMAT, b, owners[b],
              CASE_VALUES(c, 0));
    return STATUS_OK;
}

// Own slices hold the sum; then everything on all ranks after the all-gather.
static enum status check_sum(struct reduce *reduce, const struct group *group,
                             const struct test_case *c, int step, const float *expected,
                             float *vector)
{
    const struct span *spans;
    size_t n = reduce_slices(reduce, group->rank, &spans);
    float *sum = reduce_sum(reduce);
    for (size_t i = 0; i < c->n; i++)
        vector[i] = -7; // other ranks' slices must come from them
    for (size_t s = 0; s < n; s++) {
        for (size_t i = spans[s].offset; i < spans[s].offset + spans[s].count; i++) {
            TRY(check_value(c, step, "sum", i, sum[i], expected[i]));
            vector[i] = sum[i];
            sum[i] *= 3; // the caller's to change
        }
    }
    float *weights = reduce_weights(reduce);
    for (size_t s = 0; s < n; s++) // each step changes them: nobody may see those of another
        for (size_t i = spans[s].offset; i < spans[s].offset + spans[s].count; i++)
            weights[i] = vector[i] + (float)step;
    if (step == 0 && c->variant == 2) // the next step may follow at once
        return STATUS_OK;
    reduce_allgather(reduce, vector);
    for (size_t i = 0; i < c->n; i++)
        TRY(check_value(c, step, "all-gather", i, vector[i], expected[i]));
    reduce_allgather(reduce, weights);
    for (size_t i = 0; i < c->n; i++)
        TRY(check_value(c, step, "weights", i, weights[i], expected[i] + (float)step));
    if (step == 1) { // in the sum's own memory, twice in a row
        for (int again = 1; again <= 2; again++) {
            for (size_t s = 0; s < n; s++)
                for (size_t i = spans[s].offset; i < spans[s].offset + spans[s].count; i++)
                    sum[i] = expected[i] * (float)again;
            reduce_allgather(reduce, sum);
            for (size_t i = 0; i < c->n; i++)
                TRY(check_value(c, step, "sum gathered", i, sum[i], expected[i] * (float)again));
        }
    }
    return STATUS_OK;
}

static enum status check_blocks(struct reduce *reduce, const struct group *group,
                                const struct test_case *c)
{
    double blocks[N_MAX / SPAN_BLOCK + 1];
    for (size_t b = 0; b <= c->n / SPAN_BLOCK; b++)
        blocks[b] = -1;
    const struct span *spans;
    size_t n = reduce_slices(reduce, group->rank, &spans);
    for (size_t s = 0; s < n; s++)
        for (size_t b = 0; b < spans[s].count / SPAN_BLOCK; b++)
            blocks[spans[s].offset / SPAN_BLOCK + b] =
                0.1 * (double)(spans[s].offset / SPAN_BLOCK + b);
    reduce_allgather_blocks(reduce, blocks);
    for (size_t b = 0; b < c->n / SPAN_BLOCK; b++)
        CHECK(blocks[b] == 0.1 * (double)b, STATUS_VERIFY,
              "all-gather of blocks: block %zu is %g, expected %g " CASE_FORMAT, b, blocks[b],
              0.1 * (double)b, CASE_VALUES(c, 0));
    CHECK(blocks[c->n / SPAN_BLOCK] == -1, STATUS_VERIFY, "wrote past the blocks " CASE_FORMAT,
          CASE_VALUES(c, 0));
    return STATUS_OK;
}

struct job {
    struct reduce *reduce;
    const struct group *group;
    const struct test_case *c;
    int step;
};

static struct workers *pools[WORKERS_MAX + 1];

// One step of one worker: its part of the rank's grains.
static enum status step_work(void *context, int worker)
{
    const struct job *job = context;
    struct tree_run run = tree_run_of(job->c->grains, job->group->size, job->group->rank);
    run = tree_run_part(run, job->c->workers, worker);
    for (int grain = run.first; grain < run.first + run.count; grain++) {
        enum status status = push_grain(job->reduce, job->c, worker, job->step, grain);
        if (status != STATUS_OK) // the others wait for this worker
            group_abort((struct group *)(uintptr_t)job->group, status);
    }
    if (worker == 0)
        reduce_wait(job->reduce);
    else
        reduce_help(job->reduce, worker);
    return STATUS_OK;
}

static enum status run_steps(struct reduce *reduce, struct group *group, const struct test_case *c,
                             const float *expected, float *vector)
{
    TRY(check_slices(reduce, group, c));
    for (int step = 0; step < STEPS; step++) {
        struct job job = {reduce, group, c, step};
        TRY(workers_run(pools[c->workers], step_work, &job));
        TRY(check_sum(reduce, group, c, step, expected + (size_t)step * N_MAX, vector));
    }
    return check_blocks(reduce, group, c);
}

static enum status check_case(struct group *group, const struct test_case *c, const float *expected)
{
    static float vector[N_MAX];
    struct reduce *reduce;
    setenv("SW2_SHARED", c->is_shared ? "on" : "off", 1);
    TRY(reduce_init(&reduce, group, c->n, c->grains, c->workers, c->bucket_bytes));
    CHECK(reduce_is_shared(reduce) == (c->is_shared && group->size > 1), STATUS_VERIFY,
          "memory is%s shared " CASE_FORMAT, reduce_is_shared(reduce) ? "" : " not",
          CASE_VALUES(c, 0));
    struct span ranges[RANGES_MAX];
    reduce_set_added(reduce, ranges, ranges_make(c, ranges));
    enum status status = run_steps(reduce, group, c, expected, vector);
    if (status != STATUS_OK)
        group_abort(group, status); // others may wait for this rank's messages
    reduce_free(reduce);
    return status;
}

static enum status check_all(struct group *group)
{
    static const size_t blocks[] = {0, 1, 2, 3, 5, 7, 8, 9, 16, 33, 40};
    static const size_t buckets[] = {1, 1024, 3 * 1024, 8 * 1024 - 1, 8 * 1024 + 1, 1 << 30};
    static float expected[STEPS * N_MAX];
    size_t n_cases = 0;
    for (int grains = 1; grains <= GRAINS_MAX; grains *= 2) {
        if (grains < group->size)
            continue;
        for (size_t i = 0; i < STEPS * N_MAX; i++) // a value knows nothing of the vector's length
            expected[i] = tree_value((int)(i / N_MAX), 0, grains, i % N_MAX);
        for (size_t l = 0; l < sizeof blocks / sizeof blocks[0]; l++) {
            for (size_t b = 0; b < sizeof buckets / sizeof buckets[0]; b++, n_cases++) {
                struct test_case c = {blocks[l] * SPAN_BLOCK,  grains, buckets[b],
                                      (unsigned)(n_cases % 3), 1,      true,
                                      n_cases % 5 < 3};
                for (int i = 0; i < 2 * WORKERS_MAX; i++) {
                    c.workers = 1 + i / 2;
                    c.is_shared = i % 2;
                    // With several workers each way in turn.
                    if (group->size * c.workers <= grains &&
                        (i < 2 || (n_cases + (size_t)i) % 8 == 0))
                        TRY(check_case(group, &c, expected));
                }
            }
        }
    }
    log_line("%zu cases on %d ranks", n_cases, group->size);
    return STATUS_OK;
}

static enum status check_refusal(struct group *group)
{
    struct reduce *reduce;
    enum status status = reduce_init(&reduce, group, SPAN_BLOCK, 12, 1, 1024);
    CHECK(status == STATUS_USAGE && !reduce, STATUS_VERIFY, "12 grains: status %d", (int)status);
    int grains = 1;
    while (grains < group->size)
        grains *= 2;
    status = reduce_init(&reduce, group, SPAN_BLOCK, grains, grains / group->size + 1, 1024);
    CHECK(status == STATUS_USAGE && !reduce && strstr(error_text(), "more threads than grains"),
          STATUS_VERIFY, "too many workers: status %d, %s", (int)status, error_text());
    if (group->size == 1)
        return STATUS_OK;
    status = reduce_init(&reduce, group, SPAN_BLOCK, 1, 1, 1024);
    CHECK(status == STATUS_USAGE && !reduce && strstr(error_text(), "more ranks than grains"),
          STATUS_VERIFY, "1 grain: status %d, %s", (int)status, error_text());
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct group *group;
    enum status status = group_init(&group, "mpi_test_reduce", &argc, &argv);
    if (status == STATUS_OK)
        status = check_refusal(group);
    for (int n = 1; n <= WORKERS_MAX && status == STATUS_OK; n++)
        status = workers_init(&pools[n], group, n);
    if (status == STATUS_OK)
        status = check_all(group);
    for (int n = 1; n <= WORKERS_MAX; n++)
        workers_free(pools[n]);
    return group_finish(group, status);
}
