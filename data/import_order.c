// SPDX-License-Identifier: MIT
// Owns: which rows become /test and in which order rows are written: pure functions of the labels,
// the split and the seed (RANDOM_IMPORT; sub 0: split, 1: order of /train, 2: order of /test).
#include <stdlib.h>

#include "comm/memory.h"
#include "comm/random.h"
#include "data/import_private.h"

// Rows of the test part: the fraction rounded up, or the count.
static enum status test_rows(double split, uint64_t n, uint64_t *out)
{
    CHECK(split >= 0 && (split < 1 || split == (double)(uint64_t)split), STATUS_USAGE,
          "--split %g: expected a fraction below 1, or a whole number of rows", split);
    double exact = split < 1 ? split * (double)n : split;
    uint64_t rows = (uint64_t)exact;
    rows += exact - (double)rows > 1e-9;
    CHECK(rows < n || rows == 0, STATUS_USAGE, "--split %g leaves no training row of %zu", split,
          (size_t)n);
    *out = rows;
    return STATUS_OK;
}

// Rows of each class to take: the sum is n_test, each is within 1 of its share (running totals
// rounded down).
static void class_quotas(const struct import_source *source, uint64_t n_test, uint64_t *quota)
{
    size_t n_classes = source->labels ? source->target.n_classes : 1;
    uint64_t total = 0, given = 0;
    for (uint64_t i = 0; i < source->n_rows; i++)
        quota[source->labels ? source->labels[i] : 0]++;
    for (size_t k = 0; k < n_classes; k++) {
        total += quota[k];
        uint64_t upto = total * n_test / source->n_rows; // both below 2^32
        quota[k] = upto - given;
        given = upto;
    }
    ASSERT(given == n_test);
}

// Marks the rows of the test part: the first of each class in a random order of all rows.
static enum status choose_test(const struct import_source *source, struct random_key key,
                               uint64_t n_test, bool *is_test)
{
    uint64_t *quota = NULL;
    uint32_t *random = NULL;
    size_t n_classes = source->labels ? source->target.n_classes : 1;
    TRY(memory_alloc(&quota, n_classes, sizeof *quota, "class counts"));
    enum status status = memory_alloc(&random, source->n_rows, sizeof *random, "row order");
    if (status == STATUS_OK) {
        class_quotas(source, n_test, quota);
        random_permutation(key, 0, source->n_rows, random);
        for (uint64_t i = 0; i < source->n_rows; i++) {
            uint64_t *left = &quota[source->labels ? source->labels[random[i]] : 0];
            is_test[random[i]] = *left > 0;
            *left -= *left > 0;
        }
    }
    free(quota);
    free(random);
    return status;
}

// Shuffles rows[0..n).
static enum status shuffle(struct random_key key, uint32_t sub, uint32_t *rows, uint64_t n)
{
    uint32_t *random = NULL;
    TRY(memory_alloc(&random, n, sizeof *random, "row order"));
    random_permutation(key, sub, n, random);
    for (uint64_t i = 0; i < n; i++)
        random[i] = rows[random[i]];
    for (uint64_t i = 0; i < n; i++)
        rows[i] = random[i];
    free(random);
    return STATUS_OK;
}

static enum status fill_order(struct import_order *order, const struct import_source *source,
                              const struct import_config *config, bool *is_test)
{
    struct random_key key = {.seed = config->seed, .purpose = RANDOM_IMPORT};
    uint64_t n = source->n_rows, train = 0, test = order->n_train;
    if (order->n_train > 0 && order->n_test > 0)
        TRY(choose_test(source, key, order->n_test, is_test));
    for (uint64_t i = 0; i < n; i++)
        order->row[order->n_train == 0 || is_test[i] ? test++ : train++] = (uint32_t)i;
    if (config->is_shuffled) {
        TRY(shuffle(key, 1, order->row, order->n_train));
        TRY(shuffle(key, 2, order->row + order->n_train, order->n_test));
    }
    for (uint64_t i = 0; i < n; i++)
        order->place[order->row[i]] = (uint32_t)i;
    return STATUS_OK;
}

enum status import_order_init(struct import_order *order, const struct import_source *source,
                              const struct import_config *config, bool is_test)
{
    uint64_t n = source->n_rows;
    *order = (struct import_order){0};
    CHECK(n > 0 && n <= IMPORT_ROWS_MAX, STATUS_DATA, "%zu rows, expected 1 to %zu", (size_t)n,
          (size_t)IMPORT_ROWS_MAX);
    order->n_test = n;
    if (!is_test)
        TRY(test_rows(config->split, n, &order->n_test));
    order->n_train = n - order->n_test;
    bool *flags = NULL;
    TRY(memory_alloc(&order->row, n, sizeof *order->row, "row order"));
    TRY(memory_alloc(&order->place, n, sizeof *order->place, "row order"));
    TRY(memory_alloc(&flags, n, sizeof *flags, "row order"));
    enum status status = fill_order(order, source, config, flags);
    free(flags);
    return status;
}

void import_order_free(struct import_order *order)
{
    free(order->row);
    free(order->place);
    *order = (struct import_order){0};
}
