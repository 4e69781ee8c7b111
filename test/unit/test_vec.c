/*
 * test_vec.c
 *		Every variant of the kernels against sums in float64, within the bound
 *		that vec.h states; ends of arrays; special values.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/rng.h"
#include "math/vec.h"

#define MAX_N 5000
#define GUARD 12345.0f

static Rng rng;

static void
fill(float *x, int n, double scale)
{
	for (int i = 0; i < n; i++)
		x[i] = (float) (rng_normal(&rng) * scale);
}

/* against the exact value; the sum of |terms| decides the bound */
static int
near(double value, double exact, double magnitude, int n)
{
	return fabs(value - exact) <= (n + 8) * (double) FLT_EPSILON * magnitude;
}

/* the sums of n terms, at an address that is not aligned */
static void
test_sums(const VecOps *ops, int n, double scale)
{
	float *mem = malloc(sizeof(float) * (2 * (size_t) n + 3));
	float *a = mem + 1, *b = a + n + 2;
	double ab = 0, aa = 0, bb = 0, l1 = 0, l2 = 0, magnitude = 0;
	float got[3];

	fill(a, n, scale);
	fill(b, n, scale);
	for (int i = 0; i < n; i++)
	{
		double d = (double) a[i] - b[i];

		ab += (double) a[i] * b[i];
		magnitude += fabs((double) a[i] * b[i]);
		aa += (double) a[i] * a[i];
		bb += (double) b[i] * b[i];
		l1 += fabs(d);
		l2 += d * d;
	}
	CHECK(near(ops->dot(a, b, n), ab, magnitude, n));
	CHECK(near(ops->l1(a, b, n), l1, l1, n));
	CHECK(near(ops->l2_squared(a, b, n), l2, l2, n));
	ops->cosine_sums(a, b, n, &got[0], &got[1], &got[2]);
	CHECK(near(got[0], ab, magnitude, n));
	CHECK(near(got[1], aa, aa, n));
	CHECK(near(got[2], bb, bb, n));
	CHECK(ops->dot(a, b, n) == ops->dot(b, a, n));
	CHECK(ops->l2_squared(a, a, n) == 0 && ops->l1(a, a, n) == 0);
	free(mem);
}

static void
test_axpy(const VecOps *ops, int n)
{
	float x[100], y[100], z[100];

	fill(x, n, 1);
	fill(y, n + 1, 1);
	memcpy(z, y, sizeof(z));
	ops->axpy(0.3f, x, y, n);
	CHECK(y[n] == z[n]);
	for (int i = 0; i < n; i++)
		CHECK(fabsf(y[i] - (z[i] + 0.3f * x[i])) <=
			  4 * FLT_EPSILON * (fabsf(z[i]) + fabsf(x[i])));
}

/* the product of blocks and of one query; nothing is written beside it */
static void
test_products(const VecOps *ops, int nq, int nr, int dim)
{
	int ldq = dim + 3, ldr = dim + 1, ldo = nr + 2;
	/* they end with the last coordinate, for a sanitizer to see */
	int size_q = nq > 0 ? (nq - 1) * ldq + dim : 0;
	int size_rows = nr > 0 ? (nr - 1) * ldr + dim : 0;
	float *q = malloc(sizeof(float) * (size_t) (size_q + !size_q));
	float *rows = malloc(sizeof(float) * (size_t) (size_rows + !size_rows));
	float *out = malloc(sizeof(float) * ((size_t) nq * ldo + nr + 1));
	float *one = out + (size_t) nq * ldo;
	int good = 1;

	fill(q, size_q, 1);
	fill(rows, size_rows, 1);
	for (int i = 0; i < nq * ldo + nr + 1; i++)
		out[i] = GUARD;
	ops->gemm_nt(q, nq, ldq, rows, nr, ldr, dim, out, ldo);
	if (nq > 0)
		ops->dot_many(q, rows, nr, dim, ldr, one);
	for (int i = 0; i < nq; i++)
	{
		for (int j = 0; j < nr; j++)
		{
			double exact = 0, magnitude = 0;

			for (int k = 0; k < dim; k++)
			{
				double term =
					(double) q[i * ldq + k] * rows[(size_t) j * ldr + k];

				exact += term;
				magnitude += fabs(term);
			}
			good &= near(out[i * ldo + j], exact, magnitude, dim);
			if (i == 0)
				good &= near(one[j], exact, magnitude, dim);
		}
		good &= out[i * ldo + nr] == GUARD && out[i * ldo + nr + 1] == GUARD;
	}
	good &= one[nr] == GUARD;
	CHECK(good);
	if (!good)
		printf("%s: %d x %d x %d\n", ops->name, nq, nr, dim);
	free(q);
	free(rows);
	free(out);
}

static void
test_exp(const VecOps *ops)
{
	float x[MAX_N + 1], y[MAX_N + 1];
	double worst = 0;

	for (int round = 0; round < 200; round++)
	{
		int n = 1 + (int) rng_below(&rng, MAX_N);
		float max = (float) (rng_normal(&rng) * 10);
		double sum = 0, error;
		float got;

		for (int i = 0; i < n; i++)
			x[i] = max + (float) (-86.9 + rng_uniform(&rng) * 175.5);
		y[n] = GUARD;
		got = ops->exp_sum(x, n, max, y);
		CHECK(y[n] == GUARD);
		for (int i = 0; i < n; i++)
		{
			float d = x[i] - max;

			if (d < -86.9f)
				continue;
			error = fabs(y[i] / exp((double) d) - 1);
			worst = error > worst ? error : worst;
		}
		for (int i = 0; i < n; i++)
			sum += y[i];
		CHECK(isinf(got) || fabs(got / sum - 1) <= (n + 8) * FLT_EPSILON);
		ops->exp_sum(x, n, max, x);
		CHECK(memcmp(x, y, sizeof(float) * (size_t) n) == 0);
	}
	CHECK(worst <= 3e-7);
	printf("%s: relative error of exp at most %.2g\n", ops->name, worst);
}

static void
test_exp_special(const VecOps *ops)
{
	for (int n = 1; n <= 40; n++)
	{
		float x[41], y[41];

		for (int i = 0; i < n; i++)
			x[i] = 0;
		CHECK(ops->exp_sum(x, n, 0, y) == (float) n);
		CHECK(y[0] == 1 && y[n - 1] == 1);
		x[n - 1] = -INFINITY;
		CHECK(ops->exp_sum(x, n, 0, y) == (float) (n - 1) && y[n - 1] == 0);
		x[n - 1] = -100;
		CHECK(ops->exp_sum(x, n, 0, y) == (float) (n - 1) && y[n - 1] == 0);
		x[n - 1] = 88.7f;
		CHECK(ops->exp_sum(x, n, 0, y) > 3e38f && y[n - 1] < INFINITY);
		x[n - 1] = 89;
		CHECK(ops->exp_sum(x, n, 0, y) == INFINITY && y[n - 1] == INFINITY);
		x[n - 1] = INFINITY;
		CHECK(ops->exp_sum(x, n, 0, y) == INFINITY && y[n - 1] == INFINITY);
		x[n - 1] = NAN;
		CHECK(isnan(ops->exp_sum(x, n, 0, y)) && isnan(y[n - 1]));
		CHECK(n == 1 || y[n - 2] == 1);
	}
}

static void
test_special(const VecOps *ops)
{
	float a[70], b[70], got[3];

	for (int n = 1; n <= 70; n++)
		for (int at = 0; at < n; at++)
		{
			for (int i = 0; i < n; i++)
				a[i] = b[i] = 1;
			a[at] = NAN;
			CHECK(isnan(ops->dot(a, b, n)) && isnan(ops->l1(a, b, n)) &&
				  isnan(ops->l2_squared(a, b, n)));
			a[at] = INFINITY;
			CHECK(ops->dot(a, b, n) == INFINITY &&
				  ops->l1(a, b, n) == INFINITY &&
				  ops->l2_squared(a, b, n) == INFINITY);
			a[at] = 3e38f;
			b[at] = -3e38f;
			CHECK(ops->dot(a, b, n) == -INFINITY &&
				  ops->l1(a, b, n) == INFINITY);
			/* one denormal term among zeros: nothing flushes it */
			memset(a, 0, sizeof(a));
			memset(b, 0, sizeof(b));
			a[at] = 1e-40f;
			b[at] = 1;
			CHECK(ops->dot(a, b, n) == 1e-40f);
			b[at] = 0;
			CHECK(ops->l1(a, b, n) == 1e-40f);
			ops->cosine_sums(a, b, n, &got[0], &got[1], &got[2]);
			CHECK(got[0] == 0 && got[1] == 0 && got[2] == 0);
		}
}

static void
test_variant(const VecOps *ops)
{
	static const int large[] = {127, 128,  255,  256,  257,  511,
								768, 1000, 1536, 3072, 4001, 16000};
	static const int blocks[] = {0, 1, 2, 3, 4, 5, 11, 12, 13, 24, 33, 64, 97};
	int count = sizeof(blocks) / sizeof(blocks[0]);

	for (int n = 0; n <= 70; n++)
		for (int round = 0; round < 5; round++)
			test_sums(ops, n, round == 0 ? 1e-3 : round == 1 ? 1e8 : 1);
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
		test_sums(ops, large[i], 1);
	for (int n = 0; n <= 70; n++)
		test_axpy(ops, n);
	for (int dim = 0; dim <= 70; dim++)
		test_products(ops, 13, 37, dim);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < count; j++)
			test_products(ops, blocks[i], blocks[j], 19);
	test_products(ops, 300, 70, 255);
	test_products(ops, 70, 300, 256);
	test_products(ops, 70, 50, 257);
	test_products(ops, 17, 40, 1537);
	test_exp(ops);
	test_exp_special(ops);
	test_special(ops);
}

/* what is not dispatched, against its definition */
static void
test_elementwise(int n)
{
	const VecOps *list[VEC_MAX_VARIANTS];
	float a[100], b[100], y[100];
	uint8_t bits[13] = {0};
	double dot = 0, magnitude = 0;
	bool lost = false;

	fill(a, n + 1, 1);
	fill(b, n + 1, 1);
	y[n] = GUARD;
	vec_add(a, b, y, n);
	for (int i = 0; i < n; i++)
		CHECK(y[i] == a[i] + b[i]);
	vec_sub(a, b, y, n);
	for (int i = 0; i < n; i++)
		CHECK(y[i] == a[i] - b[i]);
	if (n > 0 && n % 3 == 0)
		a[n - 1] = b[n / 2] = 1e-30f;
	if (n > 0 && n % 5 == 0)
		a[n / 2] = 0;
	for (int i = 0; i < n; i++)
		lost |= a[i] * b[i] == 0 && a[i] != 0 && b[i] != 0;
	CHECK(vec_mul(a, b, y, n) == lost);
	for (int i = 0; i < n; i++)
	{
		CHECK(y[i] == a[i] * b[i]);
		dot += (double) a[i] * b[i];
		magnitude += fabs((double) a[i] * b[i]);
	}
	CHECK(y[n] == GUARD);
	for (int i = 0; i < vec_variants(list); i++)
	{
		CHECK(fabs(list[i]->dot_double(a, b, n) - dot) <= 1e-14 * magnitude);
		CHECK(list[i]->squares_double(a, n) == list[i]->dot_double(a, a, n));
	}
	vec_sign_bits(a, n, bits);
	for (int i = 0; i < 100; i++)
		CHECK((bits[i / 8] >> (7 - i % 8) & 1) == (i < n && a[i] > 0));

	memcpy(b, a, sizeof(a));
	CHECK(vec_first_difference(a, b, n) == n);
	for (int at = 0; at < n; at++)
	{
		memcpy(b, a, sizeof(a));
		b[at] += 1;
		b[n - 1] += 1;
		CHECK(vec_first_difference(a, b, n) == at);
		a[at] = 0;
		b[at] = -0.0f;
		CHECK(vec_first_difference(a, b, n) == (at < n - 1 ? n - 1 : n));
	}
}

static void
test_underflow(void)
{
	for (int n = 1; n <= 40; n++)
	{
		float a[40], b[40], y[40];

		for (int i = 0; i < n; i++)
			a[i] = b[i] = 1;
		a[n - 1] = b[n - 1] = 1e-30f;
		CHECK(vec_mul(a, b, y, n));
		a[n - 1] = 0;
		CHECK(!vec_mul(a, b, y, n));
	}
}

int
main(void)
{
	const VecOps *list[VEC_MAX_VARIANTS];
	int n = vec_variants(list);

	rng_init(&rng, 7, 0);
	for (int i = 0; i < n; i++)
		test_variant(list[i]);
	for (int length = 0; length <= 70; length++)
		test_elementwise(length);
	test_underflow();
	CHECK(strcmp(vec_ops.name, list[n - 1]->name) == 0);
	return check_summary();
}
