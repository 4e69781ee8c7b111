/*
 * vec_scalar.c
 *		The kernels in plain C: what the fast ones are tested against.
 */
#include "math/vec.h"

#include <math.h>

static float
scalar_dot(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += a[i] * b[i];
	return s;
}

static float
scalar_l2_squared(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += (a[i] - b[i]) * (a[i] - b[i]);
	return s;
}

static float
scalar_l1(const float *a, const float *b, int n)
{
	float s = 0;

	for (int i = 0; i < n; i++)
		s += fabsf(a[i] - b[i]);
	return s;
}

static void
scalar_cosine_sums(const float *a, const float *b, int n, float *ab, float *aa,
				   float *bb)
{
	*ab = scalar_dot(a, b, n);
	*aa = scalar_dot(a, a, n);
	*bb = scalar_dot(b, b, n);
}

static void
scalar_dot_many(const float *q, const float *rows, int n_rows, int dim,
				int stride, float *out)
{
	for (int r = 0; r < n_rows; r++)
		out[r] = scalar_dot(q, rows + (size_t) r * stride, dim);
}

static void
scalar_gemm_nt(const float *q, int nq, int ldq, const float *rows, int nr,
			   int ldr, int dim, float *out, int ldo)
{
	for (int i = 0; i < nq; i++)
		scalar_dot_many(q + (size_t) i * ldq, rows, nr, dim, ldr,
						out + (size_t) i * ldo);
}

static float
scalar_exp_sum(const float *x, int n, float max, float *out)
{
	double s = 0;

	for (int i = 0; i < n; i++)
	{
		float d = x[i] - max;

		out[i] = d < -86.9f ? 0 : expf(d);
		s += out[i];
	}
	return (float) s;
}

static void
scalar_axpy(float alpha, const float *x, float *y, int n)
{
	for (int i = 0; i < n; i++)
		y[i] += alpha * x[i];
}

static double
scalar_dot_double(const float *a, const float *b, int n)
{
	double s = 0;

	for (int i = 0; i < n; i++)
		s += (double) a[i] * b[i];
	return s;
}

static double
scalar_squares_double(const float *a, int n)
{
	return scalar_dot_double(a, a, n);
}

const VecOps vec_ops_scalar = {
	"scalar",           scalar_dot,        scalar_l2_squared,    scalar_l1,
	scalar_cosine_sums, scalar_dot_many,   scalar_gemm_nt,       scalar_exp_sum,
	scalar_axpy,        scalar_dot_double, scalar_squares_double};
