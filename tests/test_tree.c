// SPDX-License-Identifier: MIT
// The tree over grains: runs cover the grains, nodes cover the runs and are maximal, the fold of
// doubles has the tree's shape. Also the pure part of reduce: slices and buckets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "comm/reduce_private.h"
#include "comm/tree.h"

static void check_refuses_what_makes_no_tree(void **state)
{
    (void)state;
    static const struct {
        int grains, size;
        enum status expected;
    } cases[] = {{1, 1, STATUS_OK},     {8, 8, STATUS_OK},    {8, 5, STATUS_OK},
                 {8, 9, STATUS_USAGE},  {0, 1, STATUS_USAGE}, {12, 2, STATUS_USAGE},
                 {-8, 1, STATUS_USAGE}, {1024, 1, STATUS_OK}, {1, 2, STATUS_USAGE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(tree_check(cases[i].grains, cases[i].size), cases[i].expected);
}

static void runs_cover_the_grains(void **state)
{
    (void)state;
    for (int grains = 1; grains <= 64; grains *= 2) {
        for (int size = 1; size <= grains; size++) {
            int next = 0;
            for (int rank = 0; rank < size; rank++) {
                struct tree_run run = tree_run_of(grains, size, rank);
                assert_int_equal(run.first, next);
                assert_int_equal(run.count, grains / size + (rank < grains % size));
                next += run.count;
            }
            assert_int_equal(next, grains);
        }
    }
}

static void nodes_are_the_maximal_subtrees(void **state)
{
    (void)state;
    for (int first = 0; first < 64; first++) {
        for (int count = 0; first + count <= 64; count++) {
            struct tree_node nodes[TREE_NODES_MAX];
            int n = tree_nodes((struct tree_run){first, count}, nodes);
            int next = first, end = first + count;
            for (int i = 0; i < n; i++) {
                struct tree_node node = nodes[i];
                assert_int_equal(node.first, next);
                assert_int_equal(node.count & (node.count - 1), 0);
                assert_int_equal(node.first % node.count, 0);
                // Its parent does not fit into the run.
                int parent = node.first / (2 * node.count) * (2 * node.count);
                assert_true(parent < first || parent + 2 * node.count > end);
                next += node.count;
            }
            assert_int_equal(next, end);
        }
    }
}

static void sum_has_the_shape_of_the_tree(void **state)
{
    (void)state;
    // 1 is half a unit in the last place of 2^53: alone beside it, it is lost (ties to even); two
    // of them together are not.
    const double big = 0x1p53;
    const double pairs[4] = {big, 1, 1, 1}, tail[4] = {1, 1, big, 0};
    assert_true(tree_sum(pairs, 4) == big + 2); // in sequence: big
    assert_true(tree_sum(tail, 4) == big + 2);
    const double eight[8] = {big, 1, 1, 1, 1, 1, 1, 1};
    assert_true(tree_sum(eight, 8) == ((big + 1) + 2) + 4);
    const double one[1] = {3};
    assert_true(tree_sum(one, 1) == 3);
}

static void slices_cover_the_vector(void **state)
{
    (void)state;
    static const size_t blocks[] = {0, 1, 2, 5, 16, 33}, buckets[] = {1, 1024, 1025, 5000, 1 << 30};
    for (size_t i = 0; i < 6 * 5 * 8; i++) {
        size_t n = blocks[i % 6] * SPAN_BLOCK, bytes = buckets[i / 6 % 5];
        int size = (int)(i / 30) + 1;
        int owners[33] = {0};
        size_t own = 0;
        for (int rank = 0; rank < size; rank++) {
            struct reduce_plan plan = reduce_plan_make(n, 8, size, rank, 1, bytes);
            assert_true(plan.bucket * sizeof(float) >= bytes || plan.bucket >= n);
            assert_int_equal(plan.bucket % SPAN_BLOCK, 0);
            struct span spans[33];
            size_t n_spans = reduce_list_slices(&plan, rank, spans), end = 0;
            assert_int_equal(n_spans, reduce_list_slices(&plan, rank, NULL));
            for (size_t s = 0; s < n_spans; s++) {
                assert_true(spans[s].count > 0 && spans[s].count % SPAN_BLOCK == 0);
                assert_true(spans[s].offset % SPAN_BLOCK == 0);
                assert_true(s == 0 || spans[s].offset > end);
                end = spans[s].offset + spans[s].count;
                for (size_t at = spans[s].offset; at < end; at += SPAN_BLOCK)
                    owners[at / SPAN_BLOCK]++;
            }
            own += plan.own_floats;
        }
        assert_int_equal(own, n);
        for (size_t b = 0; b < blocks[i % 6]; b++)
            assert_int_equal(owners[b], 1);
    }
}

static void sent_bytes_are_optimal_for_powers_of_two(void **state)
{
    (void)state;
    size_t n = 1024 * SPAN_BLOCK;
    assert_int_equal(reduce_sent_bytes(n, 8, 1, 0), 0);
    for (int size = 2; size <= 8; size *= 2) // sum and gather: twice (P - 1) / P of the vector
        assert_int_equal(reduce_sent_bytes(n, 8, size, size - 1),
                         2 * n * sizeof(float) / (size_t)size * (size_t)(size - 1));
    // 3 ranks, 8 grains: rank 0 has nodes 0-1 and 2; a third stays, and is then sent to two.
    struct reduce_plan plan = reduce_plan_make(n, 8, 3, 0, 1, n * sizeof(float));
    assert_int_equal(plan.n_nodes, 2);
    assert_int_equal(reduce_sent_bytes(n, 8, 3, 0),
                     (2 * (n - plan.own_floats) + 2 * plan.own_floats) * sizeof(float));
}

static void vectors_are_as_many_as_the_stack_needs(void **state)
{
    (void)state;
    static const struct {
        int grains, size, rank, buffers;
    } cases[] = {{1, 1, 0, 1}, {8, 1, 0, 4}, {16, 1, 0, 5}, {8, 2, 1, 3},
                 {8, 8, 3, 2}, {8, 3, 0, 2}, {8, 5, 4, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reduce_plan plan =
            reduce_plan_make(4096, cases[i].grains, cases[i].size, cases[i].rank, 1, 4096);
        assert_int_equal(plan.n_buffers, cases[i].buffers);
        assert_true(reduce_bytes(4096, cases[i].grains, cases[i].size, cases[i].rank, 1, 4096,
                                 false) >= (size_t)cases[i].buffers * 4096 * sizeof(float));
    }
}

// Two ranks read half of a vector each for the sum, the weights and the state; four a quarter of
// three, and three quarters. Beside that, what Linux maps around.
static void others_memory_is_read(void **state)
{
    (void)state;
    const size_t n = (size_t)1 << 20, v = n * sizeof(float), around = (size_t)64 << 10;
    assert_int_equal(reduce_shared_bytes(n, 8, 2, 0, 1, v, false), v + around);
    assert_int_equal(reduce_shared_bytes(n, 8, 2, 1, 1, v, true), v + v / 2 + around);
    assert_int_equal(reduce_shared_bytes(n, 8, 2, 1, 2, v, false), v + v / 2 + around);
    assert_int_equal(reduce_shared_bytes(n, 8, 4, 2, 1, v, true), 9 * v / 4 + 9 * around);
    assert_int_equal(reduce_shared_bytes(n, 8, 2, 0, 1, v / 4, false), v + 4 * around);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_refuses_what_makes_no_tree),
        cmocka_unit_test(runs_cover_the_grains),
        cmocka_unit_test(nodes_are_the_maximal_subtrees),
        cmocka_unit_test(sum_has_the_shape_of_the_tree),
        cmocka_unit_test(slices_cover_the_vector),
        cmocka_unit_test(sent_bytes_are_optimal_for_powers_of_two),
        cmocka_unit_test(others_memory_is_read),
        cmocka_unit_test(vectors_are_as_many_as_the_stack_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
