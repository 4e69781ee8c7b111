/*
 * blas.h
 *		Dense linear algebra of the learners: OpenBLAS, or plain C.
 *
 * All matrices are row-major float32 with leading dimensions in elements.
 * The calls go through one table. It starts with plain C (blas_plain.c),
 * which is all that recsys.so has; blas_openblas.c, the only file that sees
 * cblas.h and part of recsys_train.so alone, installs OpenBLAS after a
 * self-check. beta 0 overwrites C, NaN in it included; alpha 0 is not
 * allowed. Every single call should stay below 0.5 GFLOP, since it cannot be
 * interrupted: callers cut larger products into tiles.
 */
#ifndef RECSYS_BLAS_H
#define RECSYS_BLAS_H

#include <stdbool.h>

typedef struct BlasOps
{
	const char *name; /* "plain C", or OpenBLAS's version and core */
	/* C (m, n) = alpha op(A) op(B) + beta C; op(A) is (m, k) */
	void (*sgemm)(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
				  const float *a, int lda, const float *b, int ldb, float beta,
				  float *c, int ldc);
	/* lower triangle of C (n, n) = alpha op(A) op(A)^T + beta C; A^T (k, n)
	 * when trans */
	void (*ssyrk)(bool trans, int n, int k, float alpha, const float *a,
				  int lda, float beta, float *c, int ldc);
} BlasOps;

extern BlasOps blas;

/* in recsys_train.so: NULL, or why plain C stays in use */
extern const char *blas_use_openblas(void);

#endif
