/*
 * test_blas_check.c
 *		The self-check accepts right products and finds wrong ones.
 */
#include <stdio.h>

#include "math/blas_check.h"

static int passed;
static int failed;

static void
check(int ok, const char *what)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s\n", what);
	}
}

/* wrong in the last column of widths that are no multiple of four */
static void
bad_tail(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
		 const float *a, int lda, const float *b, int ldb, float beta, float *c,
		 int ldc)
{
	blas.sgemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	if (n % 4 == 3)
		c[(m - 1) * ldc + n - 1] *= 1.01f;
}

/* keeps what was in C, so NaN survives beta 0 */
static void
bad_beta(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
		 const float *a, int lda, const float *b, int ldb, float beta, float *c,
		 int ldc)
{
	float old = c[0];

	blas.sgemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	if (beta == 0)
		c[0] += old * 0;
}

static void
bad_syrk(bool trans, int n, int k, float alpha, const float *a, int lda,
		 float beta, float *c, int ldc)
{
	blas.ssyrk(trans, n, k, alpha, a, lda, beta, c, ldc);
	if (trans && n > 64)
		c[64 * ldc + 3] = 0;
}

int
main(void)
{
	BlasOps ops = blas;

	check(blas_check(&ops) == NULL, "plain C is right");
	ops.sgemm = bad_tail;
	check(blas_check(&ops) != NULL, "a wrong tail is found");
	ops.sgemm = bad_beta;
	check(blas_check(&ops) != NULL, "NaN that survives is found");
	ops = blas;
	ops.ssyrk = bad_syrk;
	check(blas_check(&ops) != NULL, "a wrong ssyrk is found");
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
