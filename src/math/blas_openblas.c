/*
 * blas_openblas.c
 *		OpenBLAS behind the table of blas.h. Part of recsys_train.so only.
 *
 * OPENBLAS_NUM_THREADS=1 must be in the environment before this object is
 * loaded: OpenBLAS starts its threads when the loader maps it.
 */
#include "math/blas.h"

#include <cblas.h>

#include "math/blas_check.h"

static void
openblas_sgemm(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
			   const float *a, int lda, const float *b, int ldb, float beta,
			   float *c, int ldc)
{
	cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans,
				trans_b ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, lda, b,
				ldb, beta, c, ldc);
}

static void
openblas_ssyrk(bool trans, int n, int k, float alpha, const float *a, int lda,
			   float beta, float *c, int ldc)
{
	cblas_ssyrk(CblasRowMajor, CblasLower, trans ? CblasTrans : CblasNoTrans, n,
				k, alpha, a, lda, beta, c, ldc);
}

const char *
blas_use_openblas(void)
{
	BlasOps ops = {openblas_get_config(), openblas_sgemm, openblas_ssyrk};
	const char *why = blas_check(&ops);

	if (why == NULL)
		blas = ops;
	return why;
}
