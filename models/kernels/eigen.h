// SPDX-License-Identifier: MIT
// Eigenvalues and eigenvectors of a small symmetric matrix.
#ifndef SW2_MODELS_KERNELS_EIGEN_H
#define SW2_MODELS_KERNELS_EIGEN_H

#include <stddef.h>

// a (n, n) symmetric, destroyed. values (n) descending; vectors (n, n): row i is the unit
// eigenvector of values[i], its largest element (the first of equals) positive. Cyclic Jacobi
// rotations (Golub and Van Loan, section 8.5); no libm but sqrt.
void eigen_symmetric(size_t n, double *a, double *values, double *vectors);

#endif
