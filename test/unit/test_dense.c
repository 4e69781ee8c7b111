/*
 * test_dense.c
 *		Kernels of small systems (src/math/dense.h) at every level that the
 *		processor has, against plain loops in double. Where a check fails, its
 *		"line" is the size.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/dense.h"
#include "math/rng.h"

#define MOST 150
#define WIDE (MOST / 16 * 16 + 48)

static float a[WIDE * WIDE];
static double whole[MOST][MOST];

static int
up16(int n)
{
	return (n + 15) / 16 * 16;
}

/* a random positive definite system of n rows, of about this condition */
static void
make_system(Rng *rng, int n, int lda, double condition, float *b)
{
	double axis[MOST];

	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			whole[i][j] = i == j;
	for (int k = 0; k < n; k++)
	{
		double square = 0;
		double weight = pow(condition, rng_uniform(rng));

		for (int i = 0; i < n; i++)
		{
			axis[i] = rng_normal(rng);
			square += axis[i] * axis[i];
		}
		for (int i = 0; i < n; i++)
			for (int j = 0; j < n; j++)
				whole[i][j] += weight * axis[i] * axis[j] / square;
	}
	memset(a, 0, sizeof(a));
	for (int i = 0; i < n; i++)
	{
		/* what lies below the diagonal is not read */
		for (int j = 0; j < i; j++)
			a[i * lda + j] = NAN;
		for (int j = i; j < n; j++)
		{
			a[i * lda + j] = (float) whole[i][j];
			whole[i][j] = whole[j][i] = a[i * lda + j];
		}
		b[i] = (float) rng_normal(rng);
	}
}

static void
test_solve(Rng *rng)
{
	float b[WIDE];
	float x[WIDE];

	for (int n = 1; n <= MOST; n++)
	{
		int lda = up16(n + 1);
		double worst = 0;

		make_system(rng, n, lda, n % 2 ? 10 : 1000, b);
		memset(x, 0x7f, sizeof(x));
		memcpy(x, b, sizeof(float) * (size_t) n);
		check_one(dense.solve(a, n, lda, x), "solved", n);
		for (int i = 0; i < n; i++)
		{
			double rest = b[i];

			for (int j = 0; j < n; j++)
				rest -= whole[i][j] * x[j];
			worst = fmax(worst, fabs(rest));
		}
		check_one(worst < 1e-3, "rest", n);
	}
}

/* at every pivot, by a negative or missing diagonal or one that is no number */
static void
test_not_definite(Rng *rng)
{
	static const float bad[] = {-1, 0, NAN, INFINITY};
	float b[WIDE];

	for (int n = 1; n <= 40; n++)
		for (int k = 0; k < n; k++)
		{
			int lda = up16(n + 1);

			make_system(rng, n, lda, 10, b);
			a[k * lda + k] = bad[(n + k) % 4];
			check_one(!dense.solve(a, n, lda, b), "refused", n * 100 + k);
		}
}

static void
test_pack(Rng *rng)
{
	enum
	{
		ROWS = 70,
		D = 48
	};
	static float h[ROWS * D], xt[D * WIDE], x[ROWS * D];
	float scale[D], weight[ROWS];
	int32_t rows[ROWS];

	for (int i = 0; i < ROWS * D; i++)
		h[i] = (float) rng_normal(rng);
	for (int k = 0; k < D; k++)
		scale[k] = (float) rng_normal(rng);
	for (int n = 1; n <= ROWS; n++)
	{
		int ldx = up16(n);
		const float *w = n % 2 ? weight : NULL;
		int right = 1;

		for (int i = 0; i < n; i++)
		{
			rows[i] = (int32_t) rng_below(rng, ROWS);
			weight[i] = (float) rng_normal(rng);
		}
		dense.pack_columns(h, D, rows, n, D, scale, w, xt, ldx);
		dense.pack_rows(h, D, rows, n, D, scale, w, x);
		for (int i = 0; i < ldx; i++)
			for (int k = 0; k < D; k++)
			{
				float want = i < n ? h[rows[i] * D + k] * scale[k] *
										 (w != NULL ? w[i] : 1)
								   : 0;

				right &= fabsf(xt[k * ldx + i] - want) <= 1e-5f;
				right &= i >= n || fabsf(x[i * D + k] - want) <= 1e-5f;
			}
		check_one(right, "packed", n);
	}
}

static void
test_gram(Rng *rng)
{
	for (int d = 16; d <= 80; d += 16)
		for (int n = 1; n <= 40; n += 13)
		{
			static float x[40 * 80], g[80 * 96];
			int right = 1;

			for (int i = 0; i < n * d; i++)
				x[i] = (float) rng_normal(rng);
			for (int i = 0; i < d * (d + 16); i++)
				g[i] = 1;
			dense.gram(x, n, d, g, d + 16);
			for (int i = 0; i < d; i++)
				for (int j = i; j < d; j++)
				{
					double want = 1;

					for (int k = 0; k < n; k++)
						want += (double) x[k * d + i] * x[k * d + j];
					right &= fabs(g[i * (d + 16) + j] - want) < 1e-3;
				}
			check_one(right, "gram", d * 100 + n);
		}
}

int
main(void)
{
	for (int level = 0; level <= 2; level++)
	{
		Rng rng;

		if (dense_init(level) != level)
			continue;
		rng_init(&rng, 7, 0);
		test_solve(&rng);
		test_not_definite(&rng);
		test_pack(&rng);
		test_gram(&rng);
	}
	dense_init(-1);
	return check_summary();
}
