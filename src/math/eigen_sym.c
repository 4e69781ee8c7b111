/*
 * eigen_sym.c
 *		Eigenvalues and eigenvectors of a symmetric matrix.
 *
 * Householder reflections to tridiagonal form, then QL steps with implicit
 * shifts (Golub, Van Loan: Matrix Computations, 8.3). The reflections are
 * kept in the rows of A and multiplied out afterwards. Eigenvectors are
 * worked on as rows, since rows lie together in memory.
 */
#include "math/eigen_sym.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#include "math/hooks.h"

#define MAX_STEPS 60

/*
 * Column k below the diagonal becomes (0 .. 0, e[k]) by the reflection
 * I - 2 v v^T / |v|^2, v in rows k+1 .. n-1; v is left in row k right of
 * the diagonal, scaled so that |v|^2 = 2 (or 0: no reflection).
 */
static void
reflect(double *a, int n, int k, double *e, double *p)
{
	double *v = a + (size_t) k * (size_t) n;
	double norm = 0;
	double alpha;
	double scale;
	double vp = 0;

	for (int i = k + 1; i < n; i++)
		norm += v[i] * v[i];
	norm = sqrt(norm);
	alpha = v[k + 1] > 0 ? -norm : norm;
	e[k] = alpha;
	if (norm <= DBL_MIN)
	{
		for (int i = k + 1; i < n; i++)
			v[i] = 0;
		return;
	}
	v[k + 1] -= alpha;
	scale = 1 / sqrt(norm * (norm + fabs(v[k + 1] + alpha)));
	for (int i = k + 1; i < n; i++)
		v[i] *= scale;
	/* B <- H B H for the rest B: B - v w^T - w v^T */
	for (int i = k + 1; i < n; i++)
	{
		const double *row = a + (size_t) i * (size_t) n;
		double s = 0;

		for (int j = k + 1; j < n; j++)
			s += row[j] * v[j];
		p[i] = s;
		vp += s * v[i];
	}
	for (int i = k + 1; i < n; i++)
		p[i] -= vp / 2 * v[i];
	for (int i = k + 1; i < n; i++)
	{
		double *row = a + (size_t) i * (size_t) n;
		double vi = v[i];
		double pi = p[i];

		for (int j = k + 1; j < n; j++)
			row[j] -= vi * p[j] + pi * v[j];
	}
}

/* from the reflections in the rows of A to their product, in A */
static bool
multiply_out(double *a, int n, double *p)
{
	for (int k = n - 1; k >= 0; k--)
	{
		double *v = a + (size_t) k * (size_t) n;

		if (math_interrupted())
			return false;
		/* rows and columns > k hold the product so far; V <- H V */
		if (k < n - 2)
		{
			for (int j = k + 1; j < n; j++)
				p[j] = 0;
			for (int i = k + 1; i < n; i++)
			{
				const double *row = a + (size_t) i * (size_t) n;

				for (int j = k + 1; j < n; j++)
					p[j] += v[i] * row[j];
			}
			for (int i = k + 1; i < n; i++)
			{
				double *row = a + (size_t) i * (size_t) n;

				for (int j = k + 1; j < n; j++)
					row[j] -= v[i] * p[j];
			}
		}
		for (int j = k + 1; j < n; j++)
			v[j] = a[(size_t) j * (size_t) n + (size_t) k] = 0;
		v[k] = 1;
	}
	return true;
}

static void
transpose(double *a, int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
		{
			double t = a[(size_t) i * (size_t) n + (size_t) j];

			a[(size_t) i * (size_t) n + (size_t) j] =
				a[(size_t) j * (size_t) n + (size_t) i];
			a[(size_t) j * (size_t) n + (size_t) i] = t;
		}
}

/* one QL step on rows l .. m of the tridiagonal matrix (d, e) */
static void
ql_step(double *d, double *e, double *v, int n, int l, int m)
{
	double g = (d[l + 1] - d[l]) / (2 * e[l]);
	double r = hypot(g, 1);
	double s = 1;
	double c = 1;
	double p = 0;

	g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
	for (int i = m - 1; i >= l; i--)
	{
		double f = s * e[i];
		double b = c * e[i];
		double *v0 = v + (size_t) i * (size_t) n;
		double *v1 = v0 + n;

		r = hypot(f, g);
		e[i + 1] = r;
		if (r == 0)
		{
			d[i + 1] -= p;
			e[m] = 0;
			return;
		}
		s = f / r;
		c = g / r;
		g = d[i + 1] - p;
		r = (d[i] - g) * s + 2 * c * b;
		p = s * r;
		d[i + 1] = g + p;
		g = c * r - b;
		for (int k = 0; k < n; k++)
		{
			f = v1[k];
			v1[k] = s * v0[k] + c * f;
			v0[k] = c * v0[k] - s * f;
		}
	}
	d[l] -= p;
	e[l] = g;
	e[m] = 0;
}

static void
sort_falling(double *d, double *v, int n)
{
	for (int i = 0; i < n - 1; i++)
	{
		int best = i;
		double t;

		for (int j = i + 1; j < n; j++)
			if (d[j] > d[best])
				best = j;
		if (best == i)
			continue;
		t = d[i];
		d[i] = d[best];
		d[best] = t;
		for (int k = 0; k < n; k++)
		{
			t = v[(size_t) i * (size_t) n + (size_t) k];
			v[(size_t) i * (size_t) n + (size_t) k] =
				v[(size_t) best * (size_t) n + (size_t) k];
			v[(size_t) best * (size_t) n + (size_t) k] = t;
		}
	}
}

bool
eigen_sym(double *a, int n, double *value, double *work)
{
	double *e = work;
	double tiny = 0;

	if (n == 1)
	{
		value[0] = a[0];
		a[0] = 1;
		return !isnan(value[0]);
	}
	for (int k = 0; k < n - 2; k++)
	{
		if (math_interrupted())
			return false;
		reflect(a, n, k, e, value);
	}
	e[n - 2] = a[(size_t) (n - 2) * (size_t) n + (size_t) (n - 1)];
	e[n - 1] = 0;
	for (int k = 0; k < n; k++)
	{
		value[k] = a[(size_t) k * (size_t) n + (size_t) k];
		/* a rank-deficient matrix has values that are nothing but rounding */
		tiny = fmax(tiny, (fabs(value[k]) + fabs(e[k])) / 16);
	}
	if (!multiply_out(a, n, work + n))
		return false;
	transpose(a, n);
	for (int l = 0; l < n; l++)
		for (int step = 0;; step++)
		{
			int m = l;

			for (; m < n - 1; m++)
				if (fabs(e[m]) <=
					DBL_EPSILON * (fabs(value[m]) + fabs(value[m + 1]) + tiny))
					break;
			if (m == l)
				break;
			if (step == MAX_STEPS || isnan(value[l]) || isnan(e[l]) ||
				math_interrupted())
				return false;
			ql_step(value, e, a, n, l, m);
		}
	sort_falling(value, a, n);
	transpose(a, n);
	return true;
}
