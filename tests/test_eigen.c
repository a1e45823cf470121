// SPDX-License-Identifier: MIT
// models/kernels/eigen: matrices with known eigenvalues; A v = lambda v, orthonormal rows and order
// for made-up ones of many sizes, singular and diagonal ones among them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "models/kernels/eigen.h"
#include "tests/support/fake_model.h"

#define MOST 48

static double matrix[MOST * MOST], a[MOST * MOST], values[MOST], vectors[MOST * MOST];

static void near(const char *what, size_t n, size_t i, size_t j, double got, double want)
{
    if (!(fabs(got - want) <= 1e-11))
        fail_msg("%s of %zu x %zu at %zu, %zu: got %.15g, expected %.15g, tolerance 1e-11", what, n,
                 n, i, j, got, want);
}

// Of the matrix in `matrix`, whatever it is.
static void check(size_t n)
{
    memcpy(a, matrix, sizeof a);
    eigen_symmetric(n, a, values, vectors);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || values[i - 1] >= values[i]);
        size_t largest = 0;
        for (size_t j = 0; j < n; j++) {
            double product = 0, dot = 0;
            for (size_t k = 0; k < n; k++) {
                product += matrix[j * n + k] * vectors[i * n + k];
                dot += vectors[i * n + k] * vectors[j * n + k];
            }
            near("A v - lambda v", n, i, j, product, values[i] * vectors[i * n + j]);
            near("v . v", n, i, j, dot, i == j);
            largest = fabs(vectors[i * n + j]) > fabs(vectors[i * n + largest]) ? j : largest;
        }
        assert_true(vectors[i * n + largest] > 0);
    }
}

static void test_known(void **state)
{
    (void)state;
    // [[2, 1], [1, 2]]: 3 and 1.
    memcpy(matrix, (double[]){2, 1, 1, 2}, 4 * sizeof *matrix);
    check(2);
    near("lambda", 2, 0, 0, values[0], 3);
    near("lambda", 2, 1, 1, values[1], 1);
    // The second difference of n points: 2 - 2 cos(k pi / (n + 1)).
    const size_t n = 9;
    for (size_t i = 0; i < n * n; i++)
        matrix[i] = i / n == i % n ? 2 : i / n + 1 == i % n || i % n + 1 == i / n ? -1 : 0;
    check(n);
    for (size_t k = 0; k < n; k++)
        near("lambda", n, k, k, values[k],
             2 - 2 * cos((double)(n - k) * 3.14159265358979323846 / (double)(n + 1)));
}

static void test_any(void **state)
{
    (void)state;
    for (size_t n = 1; n <= MOST; n += 1 + n / 4)
        for (size_t kind = 0; kind < 3; kind++) { // full, diagonal, of rank one
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j <= i; j++) {
                    double x = (double)fake_value(kind * 100 + n, i * n + j);
                    double u = (double)fake_value(n, i), v = (double)fake_value(n, j);
                    x = kind == 0 ? x : kind == 1 ? (i == j ? x : 0) : u * v;
                    matrix[i * n + j] = matrix[j * n + i] = x;
                }
            check(n);
        }
    memset(matrix, 0, sizeof matrix);
    check(5);
    assert_true(values[0] == 0 && vectors[0] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
