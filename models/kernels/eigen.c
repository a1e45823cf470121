// SPDX-License-Identifier: MIT
// Jacobi's method; see eigen.h. Owns nothing. Called by layers/whiten.c.
#include "models/kernels/eigen.h"

#include <math.h>
#include <string.h>

#define SWEEPS_MAX 64 // it converges quadratically: ten are many

// Sum of squares off the diagonal, and on it.
static double squares(size_t n, const double *a, double *diagonal)
{
    double off = 0;
    *diagonal = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            *(i == j ? diagonal : &off) += a[i * n + j] * a[i * n + j];
    return off;
}

// Rows p and q of m (n, n): (p, q) <- (c p - s q, s p + c q).
static void rows_turn(size_t n, double *m, size_t p, size_t q, double c, double s)
{
    for (size_t k = 0; k < n; k++) {
        double x = m[p * n + k], y = m[q * n + k];
        m[p * n + k] = c * x - s * y;
        m[q * n + k] = s * x + c * y;
    }
}

static void columns_turn(size_t n, double *m, size_t p, size_t q, double c, double s)
{
    for (size_t k = 0; k < n; k++) {
        double x = m[k * n + p], y = m[k * n + q];
        m[k * n + p] = c * x - s * y;
        m[k * n + q] = s * x + c * y;
    }
}

// The rotation that makes a[p][q] zero, the smaller of the two.
static void pair_turn(size_t n, double *a, double *vectors, size_t p, size_t q)
{
    if (a[p * n + q] == 0)
        return;
    double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    rows_turn(n, a, p, q, c, s);
    columns_turn(n, a, p, q, c, s);
    a[p * n + q] = a[q * n + p] = 0;
    rows_turn(n, vectors, p, q, c, s);
}

static void swap(double *a, double *b)
{
    double x = *a;
    *a = *b;
    *b = x;
}

// Descending; signs as eigen.h says.
static void order(size_t n, double *values, double *vectors)
{
    for (size_t i = 0; i < n; i++) {
        size_t top = i, largest = 0;
        for (size_t j = i + 1; j < n; j++)
            top = values[j] > values[top] ? j : top;
        swap(&values[i], &values[top]);
        for (size_t k = 0; k < n && top != i; k++)
            swap(&vectors[i * n + k], &vectors[top * n + k]);
        double *row = vectors + i * n;
        for (size_t k = 1; k < n; k++)
            largest = fabs(row[k]) > fabs(row[largest]) ? k : largest;
        for (size_t k = 0, is_negative = row[largest] < 0; k < n && is_negative; k++)
            row[k] = -row[k];
    }
}

void eigen_symmetric(size_t n, double *a, double *values, double *vectors)
{
    double diagonal;
    memset(vectors, 0, n * n * sizeof *vectors);
    for (size_t i = 0; i < n; i++)
        vectors[i * n + i] = 1;
    for (int sweep = 0; sweep < SWEEPS_MAX && squares(n, a, &diagonal) > 1e-30 * diagonal; sweep++)
        for (size_t p = 0; p + 1 < n; p++)
            for (size_t q = p + 1; q < n; q++)
                pair_turn(n, a, vectors, p, q);
    for (size_t i = 0; i < n; i++)
        values[i] = a[i * n + i];
    order(n, values, vectors);
}
