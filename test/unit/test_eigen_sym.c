/*
 * test_eigen_sym.c
 *		A V = V diag(value), V orthogonal, values falling.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/eigen_sym.h"
#include "math/hooks.h"
#include "math/rng.h"

static int passed;
static int failed;

static void
check(int ok, const char *what, int n, double x)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s, n = %d: %g\n", what, n, x);
	}
}

static void
test_size(int n, int rank, double scale)
{
	double *a = calloc((size_t) n * n, sizeof(double));
	double *b = malloc(sizeof(double) * n * n);
	double *x = malloc(sizeof(double) * n * (rank + 1));
	double *value = malloc(sizeof(double) * n);
	double *work = malloc(sizeof(double) * 2 * n);
	double worst = 0;
	double ortho = 0;
	int falling = 1;
	Rng rng;

	rng_init(&rng, 1, (uint64_t) n);
	for (int i = 0; i < n * rank; i++)
		x[i] = rng_normal(&rng) * scale;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			for (int k = 0; k < rank; k++)
				a[i * n + j] += x[i * rank + k] * x[j * rank + k];
	memcpy(b, a, sizeof(double) * n * n);
	check(eigen_sym(b, n, value, work), "converges", n, 0);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < n; k++)
		{
			double s = 0;
			double o = 0;

			for (int j = 0; j < n; j++)
			{
				s += a[i * n + j] * b[j * n + k];
				o += b[j * n + i] * b[j * n + k];
			}
			worst = fmax(worst, fabs(s - value[k] * b[i * n + k]));
			ortho = fmax(ortho, fabs(o - (i == k)));
		}
	for (int k = 1; k < n; k++)
		falling &= value[k] <= value[k - 1];
	check(worst <= 1e-12 * n * (value[0] + 1e-300), "A V = V D", n, worst);
	check(ortho <= 1e-12 * n, "V is orthogonal", n, ortho);
	check(falling, "values fall", n, 0);
	free(a);
	free(b);
	free(x);
	free(value);
	free(work);
}

static int calls_left;

static bool
interrupt(void)
{
	return calls_left-- <= 0;
}

/* how often eigen_sym asks: the least number of calls after which it ends */
static int
count_calls(double off)
{
	enum
	{
		N = 60
	};
	static double a[N * N];
	double value[N];
	double work[2 * N];

	for (int calls = 0;; calls++)
	{
		calls_left = calls;
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j++)
				a[i * N + j] = i == j ? i : off / (1 + i + j);
		if (eigen_sym(a, N, value, work))
			return calls;
	}
}

/* a cancel must not wait for the eigenvectors of 2,048 dimensions */
static void
test_interrupt(void)
{
	bool (*before)(void) = math_hooks.interrupt;
	int none;
	int full;

	math_hooks.interrupt = interrupt;
	none = count_calls(0);
	full = count_calls(1);
	math_hooks.interrupt = before;
	check(none == 58 + 60, "reflections and their product ask", 60, none);
	check(full > none + 30, "the iteration asks", 60, full);
}

int
main(void)
{
	const int sizes[] = {1, 2, 3, 5, 16, 33, 64, 128};
	double bad[4] = {NAN, 1, 1, 2};
	double value[2];
	double work[4];

	for (int k = 0; k < 8; k++)
	{
		test_size(sizes[k], sizes[k], 1);
		test_size(sizes[k], (sizes[k] + 1) / 2, 1e-3);
		test_size(sizes[k], 0, 1);
		test_size(sizes[k], 1, 1e5);
	}
	test_interrupt();
	check(!eigen_sym(bad, 2, value, work), "NaN is refused", 2, 0);
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
