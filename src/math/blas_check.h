/*
 * blas_check.h
 *		Whether a set of dense products computes what it should.
 */
#ifndef RECSYS_BLAS_CHECK_H
#define RECSYS_BLAS_CHECK_H

#include "math/blas.h"

/*
 * NULL when ops agrees with sums in double over shapes with every kind of
 * tail, both transpositions, alpha, beta and NaN under beta 0; else what
 * went wrong. Takes a few milliseconds.
 */
extern const char *blas_check(const BlasOps *ops);

#endif
