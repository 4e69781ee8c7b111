/*
 * eigen_sym.h
 *		Eigenvalues and eigenvectors of a symmetric matrix.
 */
#ifndef RECSYS_EIGEN_SYM_H
#define RECSYS_EIGEN_SYM_H

#include <stdbool.h>

/*
 * A (n, n), symmetric, row-major: A = V diag(value) V^T. On return column k
 * of A is the eigenvector of value[k]; values fall. work (2 n) is scratch.
 * False when the iteration does not converge (NaN in A), or is interrupted.
 */
extern bool eigen_sym(double *a, int n, double *value, double *work);

#endif
