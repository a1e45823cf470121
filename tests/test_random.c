// SPDX-License-Identifier: MIT
// Philox against Random123's known answers; permutations, bounds and normals.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "comm/random.h"

// The three "philox4x32 10" lines of tests/kat_vectors in Random123 1.14 (Salmon et al. 2011):
// counter and key are placed as random.h says.
static void words_are_philox(void **state)
{
    (void)state;
    static const struct {
        struct random_key key;
        uint64_t index;
        uint32_t sub, expected[4];
    } cases[] = {
        {{0, 0, 0}, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT64_MAX, 0xff, 0xffffff},
         UINT64_MAX,
         UINT32_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x299f31d0a4093822, 0x03, 0x707344},
         0x85a308d3243f6a88,
         0x13198a2e,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t words[4];
        random_words(cases[i].key, cases[i].index, cases[i].sub, words);
        assert_memory_equal(words, cases[i].expected, sizeof words);
    }
}

static void uniform_stays_below_one(void **state)
{
    (void)state;
    assert_true(random_uniform(0) == 0);
    assert_true(random_uniform(UINT32_MAX) < 1);
    assert_true(random_uniform(0x80000000) == 0.5f);
    for (uint32_t n = 1; n < 1000; n = 3 * n + 1) {
        assert_int_equal(random_below(0, n), 0);
        assert_int_equal(random_below(UINT32_MAX, n), n - 1);
    }
}

static void permutations_hold_every_number_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 256, 1000, 60000};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t n = sizes[s];
        uint32_t *p = calloc(n + 1, sizeof *p);
        unsigned char *seen = calloc(n + 1, 1);
        p[n] = 12345; // must not be touched
        random_permutation((struct random_key){1, RANDOM_BLOCKS, 2}, 3, n, p);
        for (size_t i = 0; i < n; i++) {
            assert_true(p[i] < n && !seen[p[i]]);
            seen[p[i]] = 1;
        }
        assert_int_equal(p[n], 12345);
        free(p);
        free(seen);
    }
}

static void permutations_differ_by_every_part_of_the_key(void **state)
{
    (void)state;
    uint32_t base[64], other[64];
    struct random_key key = {5, RANDOM_BLOCKS, 7};
    random_permutation(key, 0, 64, base);
    random_permutation(key, 0, 64, other);
    assert_memory_equal(base, other, sizeof base);
    const struct random_key keys[] = {{6, RANDOM_BLOCKS, 7},
                                      {5 + (1ull << 32), RANDOM_BLOCKS, 7},
                                      {5, RANDOM_WINDOW, 7},
                                      {5, RANDOM_BLOCKS, 8}};
    for (size_t i = 0; i < 4; i++) {
        random_permutation(keys[i], 0, 64, other);
        assert_memory_not_equal(base, other, sizeof base);
    }
    random_permutation(key, 1, 64, other);
    assert_memory_not_equal(base, other, sizeof base);
}

// Every order of 4 comes about equally often: 24,000 draws, 1,000 expected for each, standard
// deviation 31.
static void permutations_are_uniform(void **state)
{
    (void)state;
    int seen[256] = {0};
    for (uint32_t epoch = 0; epoch < 24000; epoch++) {
        uint32_t p[4];
        random_permutation((struct random_key){9, RANDOM_BLOCKS, epoch}, 0, 4, p);
        seen[p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6]++;
    }
    int orders = 0;
    for (size_t i = 0; i < 256; i++) {
        orders += seen[i] > 0;
        assert_true(seen[i] == 0 || (seen[i] > 850 && seen[i] < 1150));
    }
    assert_int_equal(orders, 24);
}

static void normals_do_not_depend_on_the_piece(void **state)
{
    (void)state;
    struct random_key key = {11, RANDOM_INIT, 0};
    float whole[100], piece[100];
    random_normal(key, 2, 0, 100, whole);
    for (size_t first = 0; first < 100; first++) {
        for (size_t n = 0; first + n <= 100; n += 1 + n / 2) {
            random_normal(key, 2, first, n, piece);
            assert_memory_equal(piece, whole + first, n * sizeof(float));
        }
    }
}

// Moments of 2^17 numbers: mean 0, variance 1, fourth moment 3 within five standard errors.
static void normals_are_normal(void **state)
{
    (void)state;
    size_t n = 1 << 17;
    float *x = malloc(n * sizeof *x);
    random_normal((struct random_key){3, RANDOM_INIT, 0}, 0, 0, n, x);
    double mean = 0, square = 0, fourth = 0, neighbours = 0;
    for (size_t i = 0; i < n; i++) {
        double v = x[i];
        mean += v;
        square += v * v;
        fourth += v * v * v * v;
        neighbours += i > 0 ? v * x[i - 1] : 0;
    }
    double error = 5 / sqrt((double)n);
    assert_true(fabs(mean / (double)n) < error);
    assert_true(fabs(square / (double)n - 1) < error * sqrt(2));
    assert_true(fabs(fourth / (double)n - 3) < error * sqrt(96));
    assert_true(fabs(neighbours / (double)n) < error);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_philox),
        cmocka_unit_test(uniform_stays_below_one),
        cmocka_unit_test(permutations_hold_every_number_once),
        cmocka_unit_test(permutations_differ_by_every_part_of_the_key),
        cmocka_unit_test(permutations_are_uniform),
        cmocka_unit_test(normals_do_not_depend_on_the_piece),
        cmocka_unit_test(normals_are_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
