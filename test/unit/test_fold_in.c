/*
 * test_fold_in.c
 *		The folded-in vector solves its normal equations, block by block.
 */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "math/rng.h"
#include "model/fold_in.h"

#define N 300
#define DIM 24

static float items[N * DIM];
static float mean[DIM];

/* the residual of the equations of one block, relative to its right side */
static double
residual(const FoldIn *f, const float *history, int m, const float *user,
		 int block)
{
	int d = DIM / f->blocks;
	double worst = 0;
	double scale = 0;

	for (int a = 0; a < d; a++)
	{
		double left = 0;
		double right = 0;
		double alpha0 = f->activity > 0
							? f->alpha0 * pow(m / f->usual, f->activity)
							: f->alpha0;
		double ridge = f->lambda * (m + alpha0 * N);

		for (int b = 0; b < d; b++)
		{
			double w = (double) user[block * d + b] * f->blocks;
			double g = a == b ? ridge : 0;

			for (int i = 0; i < N; i++)
				g += alpha0 * items[i * DIM + block * d + a] *
					 items[i * DIM + block * d + b];
			for (int i = 0; i < m; i++)
				g += (double) history[i * DIM + block * d + a] *
					 history[i * DIM + block * d + b];
			left += g * w;
		}
		for (int i = 0; i < m; i++)
			right += history[i * DIM + block * d + a];
		right += ridge * mean[block * d + a];
		worst = fmax(worst, fabs(left - right));
		scale = fmax(scale, fabs(right));
	}
	return worst / fmax(scale, 1e-9);
}

static void
check_case(double lambda, double alpha0, int blocks, double activity, int m)
{
	FoldIn f = {lambda, alpha0, blocks, mean, activity, 30};
	double gram[DIM * DIM];
	float user[DIM];

	CHECK(fold_in_gram(&f, items, N, DIM, gram) == RS_OK);
	CHECK(fold_in_user(&f, gram, N, items, m, DIM, user) == RS_OK);
	for (int b = 0; b < blocks; b++)
		CHECK(residual(&f, items, m, user, b) < 1e-5);
}

int
main(void)
{
	Rng rng;
	double gram[DIM * DIM] = {0};
	float zero[DIM] = {0};
	FoldIn singular = {1e-300, 0, 1, zero};
	float user[DIM];

	rng_init(&rng, 7, 0);
	for (int i = 0; i < N * DIM; i++)
		items[i] = (float) rng_normal(&rng);
	for (int k = 0; k < DIM; k++)
		mean[k] = (float) rng_normal(&rng);
	for (int m = 1; m <= 200; m += 40)
	{
		check_case(0.01, 0.3, 1, 0, m);
		check_case(0.01, 0.3, 2, 0.5, m);
		check_case(0.1, 0, 3, 0, m);
		check_case(3, 1, 24, 0.7, m);
	}
	/* an empty history among items that say nothing is the mean */
	CHECK(fold_in_user(&(FoldIn){0.1, 0.3, 1, mean}, gram, N, items, 0, DIM,
					   user) == RS_OK);
	for (int k = 0; k < DIM; k++)
		CHECK(fabsf(user[k] - mean[k]) < 1e-6f);
	/* no ridge to speak of and nothing else: refused, not NaN */
	CHECK(fold_in_user(&singular, gram, 0, zero, 0, DIM, user) == RS_DIVERGED);
	return check_summary();
}
