/*
 * blas_plain.c
 *		Plain C versions of the dense products: reference and fallback.
 */
#include "math/blas.h"

static void
plain_sgemm(bool trans_a, bool trans_b, int m, int n, int k, float alpha,
			const float *a, int lda, const float *b, int ldb, float beta,
			float *c, int ldc)
{
	for (int i = 0; i < m; i++)
	{
		float *row = c + (long) i * ldc;

		for (int j = 0; j < n; j++)
			row[j] = beta == 0 ? 0 : beta * row[j];
		for (int l = 0; l < k; l++)
		{
			float x = alpha *
					  (trans_a ? a[(long) l * lda + i] : a[(long) i * lda + l]);

			if (trans_b)
				for (int j = 0; j < n; j++)
					row[j] += x * b[(long) j * ldb + l];
			else
				for (int j = 0; j < n; j++)
					row[j] += x * b[(long) l * ldb + j];
		}
	}
}

static void
plain_ssyrk(bool trans, int n, int k, float alpha, const float *a, int lda,
			float beta, float *c, int ldc)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j <= i; j++)
		{
			float s = 0;

			for (int l = 0; l < k; l++)
				s += trans ? a[(long) l * lda + i] * a[(long) l * lda + j]
						   : a[(long) i * lda + l] * a[(long) j * lda + l];
			c[(long) i * ldc + j] =
				alpha * s + (beta == 0 ? 0 : beta * c[(long) i * ldc + j]);
		}
}

BlasOps blas = {"plain C", plain_sgemm, plain_ssyrk};
