/*
 * fold_in.c
 *		The vector of a new user of an implicit ALS model, in closed form.
 */
#include "model/fold_in.h"

#include <math.h>
#include <string.h>

#include "math/hooks.h"

#define INTERRUPT_ROWS 1024

/* g (d, d) lower += h h^T */
static void
add_outer(double *g, const float *h, int d)
{
	for (int a = 0; a < d; a++)
	{
		double x = h[a];
		double *row = g + (size_t) a * (size_t) d;

		for (int b = 0; b <= a; b++)
			row[b] += x * h[b];
	}
}

RsStatus
fold_in_gram(const FoldIn *fold, const float *rows, int32_t n, int dim,
			 double *gram)
{
	int d = dim / fold->blocks;
	size_t size = (size_t) d * (size_t) d;

	memset(gram, 0, sizeof(double) * size * (size_t) fold->blocks);
	for (int32_t i = 0; i < n; i++)
	{
		const float *h = rows + (size_t) i * (size_t) dim;

		if (i % INTERRUPT_ROWS == 0 && math_interrupted())
			return RS_CANCELLED;
		for (int b = 0; b < fold->blocks; b++)
			add_outer(gram + (size_t) b * size, h + (size_t) b * (size_t) d, d);
	}
	return RS_OK;
}

/* in place, lower triangle; false when a is not positive definite */
static bool
cholesky(double *a, int d)
{
	for (int j = 0; j < d; j++)
	{
		double *rj = a + (size_t) j * (size_t) d;

		for (int i = j; i < d; i++)
		{
			double *ri = a + (size_t) i * (size_t) d;
			double s = ri[j];

			for (int k = 0; k < j; k++)
				s -= ri[k] * rj[k];
			if (i > j)
				ri[j] = s / rj[j];
			else if (s > 0 && isfinite(s))
				rj[j] = sqrt(s);
			else
				return false;
		}
	}
	return true;
}

/* x = (L L^T)^-1 x */
static void
substitute(const double *l, int d, double *x)
{
	for (int i = 0; i < d; i++)
	{
		for (int k = 0; k < i; k++)
			x[i] -= l[(size_t) i * (size_t) d + (size_t) k] * x[k];
		x[i] /= l[(size_t) i * (size_t) d + (size_t) i];
	}
	for (int i = d - 1; i >= 0; i--)
	{
		for (int k = i + 1; k < d; k++)
			x[i] -= l[(size_t) k * (size_t) d + (size_t) i] * x[k];
		x[i] /= l[(size_t) i * (size_t) d + (size_t) i];
	}
}

static bool
solve_block(const FoldIn *fold, const double *gram, int32_t n,
			const float *history, int m, int dim, int from, double *a,
			double *x)
{
	int d = dim / fold->blocks;
	double alpha0 = fold->alpha0;

	if (fold->activity > 0)
		alpha0 *= pow((m > 0 ? m : 1) / fold->usual, fold->activity);
	for (size_t i = 0; i < (size_t) d * (size_t) d; i++)
		a[i] = alpha0 * gram[i];
	memset(x, 0, sizeof(double) * (size_t) d);
	for (int j = 0; j < m; j++)
	{
		const float *h = history + (size_t) j * (size_t) dim + from;

		add_outer(a, h, d);
		for (int k = 0; k < d; k++)
			x[k] += h[k];
	}
	for (int k = 0; k < d; k++)
	{
		double pull = fold->lambda * (m + alpha0 * n);

		a[(size_t) k * (size_t) d + (size_t) k] += pull;
		x[k] += pull * fold->mean[from + k];
	}
	if (!cholesky(a, d))
		return false;
	substitute(a, d, x);
	return true;
}

RsStatus
fold_in_user(const FoldIn *fold, const double *gram, int32_t n,
			 const float *history, int m, int dim, float *user)
{
	int d = dim / fold->blocks;
	size_t size = (size_t) d * (size_t) d;
	double *a = math_alloc_array(size + (size_t) d, sizeof(double));
	double *x = a + size;
	bool ok = true;

	if (a == NULL)
		return RS_NO_MEMORY;
	for (int b = 0; b < fold->blocks && ok; b++)
	{
		ok = solve_block(fold, gram + (size_t) b * size, n, history, m, dim,
						 b * d, a, x);
		for (int k = 0; k < d && ok; k++)
			user[b * d + k] = (float) (x[k] / fold->blocks);
	}
	math_release(a);
	return ok ? RS_OK : RS_DIVERGED;
}
