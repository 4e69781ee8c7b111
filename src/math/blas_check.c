/*
 * blas_check.c
 *		Whether a set of dense products computes what it should.
 *
 * Old builds of OpenBLAS pick kernels by the processor's family and have
 * been wrong on newer processors, often in the tails of the tiles only.
 */
#include "math/blas_check.h"

#include <math.h>

#include "math/hooks.h"

#define MOST 97 /* rows, columns and inner size */
#define LD (MOST + 3)

typedef struct Shape
{
	int m;
	int n;
	int k;
} Shape;

static const Shape shapes[] = {{1, 1, 1},   {3, 5, 7},    {16, 16, 16},
							   {17, 33, 9}, {48, 31, 65}, {64, 64, 64},
							   {65, 2, 97}, {2, 97, 13},  {97, 95, 96}};

typedef struct Check
{
	const BlasOps *ops;
	float *a;
	float *b;
	float *c;
	double worst;
} Check;

static float
value(int i)
{
	return (float) ((i * 7919 + 13) % 2003) / 1001.5f - 1;
}

static double
entry(const float *x, bool trans, int row, int col)
{
	return trans ? x[col * LD + row] : x[row * LD + col];
}

static void
note(Check *t, double got, double want, int k)
{
	double error = fabs(got - want) / (1 + sqrt((double) k));

	/* a NaN is an error, too */
	if (!(error <= t->worst))
		t->worst = isnan(error) ? INFINITY : error;
}

static void
check_gemm(Check *t, const Shape *s, bool ta, bool tb, float beta)
{
	for (int i = 0; i < MOST * LD; i++)
		t->c[i] = beta == 0 ? NAN : 0.5f;
	t->ops->sgemm(ta, tb, s->m, s->n, s->k, 0.75f, t->a, LD, t->b, LD, beta,
				  t->c, LD);
	for (int i = 0; i < s->m; i++)
		for (int j = 0; j < s->n; j++)
		{
			double sum = 0;

			for (int l = 0; l < s->k; l++)
				sum += entry(t->a, ta, i, l) * entry(t->b, tb, l, j);
			note(t, t->c[i * LD + j], 0.75 * sum + (beta == 0 ? 0 : beta * 0.5),
				 s->k);
		}
	/* nothing beside C may be written */
	if (s->n < MOST)
		note(t, isnan(t->c[s->n]) ? 0.5 : t->c[s->n], 0.5, 1);
}

static void
check_syrk(Check *t, const Shape *s, bool trans)
{
	for (int i = 0; i < MOST * LD; i++)
		t->c[i] = NAN;
	t->ops->ssyrk(trans, s->n, s->k, 1, t->a, LD, 0, t->c, LD);
	for (int i = 0; i < s->n; i++)
		for (int j = 0; j <= i; j++)
		{
			double sum = 0;

			for (int l = 0; l < s->k; l++)
				sum += entry(t->a, trans, i, l) * entry(t->a, trans, j, l);
			note(t, t->c[i * LD + j], sum, s->k);
		}
}

const char *
blas_check(const BlasOps *ops)
{
	Check t = {.ops = ops};
	size_t size = (size_t) MOST * LD * sizeof(float);
	const char *why = NULL;

	t.a = math_alloc(size);
	t.b = math_alloc(size);
	t.c = math_alloc(size);
	if (t.a == NULL || t.b == NULL || t.c == NULL)
		why = "no memory for its self-check";
	for (int i = 0; why == NULL && i < MOST * LD; i++)
	{
		t.a[i] = value(i);
		t.b[i] = value(i + 31);
	}
	for (size_t k = 0; why == NULL && k < sizeof(shapes) / sizeof(Shape); k++)
	{
		for (int kind = 0; kind < 8; kind++)
			check_gemm(&t, &shapes[k], kind & 1, kind & 2,
					   kind & 4 ? 1.0f : 0.0f);
		check_syrk(&t, &shapes[k], false);
		check_syrk(&t, &shapes[k], true);
		if (t.worst > 1e-5)
			why = "its products are wrong on this processor";
	}
	math_release(t.a);
	math_release(t.b);
	math_release(t.c);
	return why;
}
