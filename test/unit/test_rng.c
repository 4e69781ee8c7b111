/*
 * test_rng.c
 *		Random numbers: the same everywhere, and of the right distribution.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "math/rng.h"

#define N 200000

static void
test_streams(void)
{
	Rng a, b, c;
	int same = 0;

	rng_init(&a, 42, 1);
	rng_init(&b, 42, 1);
	rng_init(&c, 42, 2);
	for (int i = 0; i < 100; i++)
	{
		uint64_t x = rng_next(&a);

		CHECK(x == rng_next(&b));
		same += x == rng_next(&c);
	}
	CHECK(same == 0);
}

static void
test_moments(void)
{
	Rng rng;
	double normal = 0, square = 0, uniform = 0, gamma = 0;

	rng_init(&rng, 7, 0);
	for (int i = 0; i < N; i++)
	{
		double x = rng_normal(&rng);
		double u = rng_uniform(&rng);

		normal += x;
		square += x * x;
		uniform += u;
		gamma += rng_gamma(&rng, 2.5);
		if (u < 0 || u >= 1)
			CHECK(!"uniform outside [0, 1)");
	}
	/* five standard errors */
	CHECK(fabs(normal / N) < 5 / sqrt(N));
	CHECK(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
	CHECK(fabs(uniform / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
	CHECK(fabs(gamma / N - 2.5) < 5 * sqrt(2.5 / N));
}

static void
test_permutation(void)
{
	enum
	{
		n = 1000
	};
	static int64_t perm[n];
	static char seen[n];
	int fixed = 0;
	Rng rng;

	rng_init(&rng, 1, 1);
	rng_permutation(&rng, perm, n);
	for (int i = 0; i < n; i++)
	{
		CHECK(perm[i] >= 0 && perm[i] < n && !seen[perm[i]]);
		seen[perm[i]] = 1;
		fixed += perm[i] == i;
	}
	CHECK(fixed < 10);
}

static void
test_below(void)
{
	int count[7] = {0};
	Rng rng;

	rng_init(&rng, 3, 3);
	for (int i = 0; i < 70000; i++)
		count[rng_below(&rng, 7)]++;
	for (int i = 0; i < 7; i++)
		CHECK(abs(count[i] - 10000) < 500);
}

int
main(void)
{
	test_streams();
	test_moments();
	test_permutation();
	test_below();
	return check_summary();
}
