/*
 * test_gibbs.c
 *		The Gibbs sampler: its small systems and random numbers against plain
 *		ones, what is stored against the average over samples.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/gibbs_lanes.h"
#include "model/rank_gibbs.h"

#define D 9

/* ---- sixteen systems at once ---- */

static void
random_matrix(double a[D][D], int lane)
{
	double b[D][D];
	Rng rng;

	rng_init(&rng, 11, (uint64_t) lane);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
			b[i][j] = rng_normal(&rng);
	for (int i = 0; i < D; i++)
		for (int j = 0; j < D; j++)
		{
			a[i][j] = i == j ? 2 : 0;
			for (int k = 0; k < D; k++)
				a[i][j] += b[i][k] * b[j][k];
		}
}

static void
test_lanes(void)
{
	static Lanes l[D * (D + 1) / 2];
	static Lanes inverse[D * (D + 1) / 2];
	static Lanes scratch[D * (D + 1) / 2];
	static Lanes x[D];
	static Lanes y[D];
	double worst_solve = 0;
	double worst_inverse = 0;

	for (int lane = 0; lane < LANES; lane++)
	{
		double a[D][D];

		random_matrix(a, lane);
		for (int i = 0; i < D; i++)
			for (int j = 0; j <= i; j++)
				l[lanes_at(i, j)][lane] = (float) a[i][j];
		for (int i = 0; i < D; i++)
			x[i][lane] = (float) (i + lane);
	}
	lanes_cholesky(D, l);
	lanes_inverse(D, l, inverse, scratch);
	lanes_symmetric_times(D, inverse, x, y);
	lanes_solve_lower(D, l, x);
	lanes_solve_upper(D, l, x);
	for (int lane = 0; lane < LANES; lane++)
	{
		double a[D][D];

		random_matrix(a, lane);
		for (int i = 0; i < D; i++)
		{
			double s = -(i + lane);
			double t = -(i + lane);

			for (int j = 0; j < D; j++)
			{
				s += a[i][j] * x[j][lane];
				t += a[i][j] * y[j][lane];
			}
			worst_solve = fmax(worst_solve, fabs(s));
			worst_inverse = fmax(worst_inverse, fabs(t));
		}
	}
	CHECK(worst_solve < 1e-3);
	CHECK(worst_inverse < 1e-3);
}

/* rank one only: Cholesky gives zero columns and no NaN */
static void
test_semidefinite(void)
{
	static Lanes l[6];
	static Lanes x[3];
	static Lanes y[3];

	for (int i = 0; i < 3; i++)
	{
		for (int j = 0; j <= i; j++)
			for (int lane = 0; lane < LANES; lane++)
				l[lanes_at(i, j)][lane] = (float) ((i + 1) * (j + 1) * lane);
		for (int lane = 0; lane < LANES; lane++)
			x[i][lane] = 1;
	}
	lanes_cholesky(3, l);
	lanes_add_lower_times(3, l, x, y);
	for (int lane = 0; lane < LANES; lane++)
		for (int i = 0; i < 3; i++)
			CHECK(fabsf(y[i][lane] - (float) (i + 1) * sqrtf((float) lane)) <
				  0.01f);
}

static void
test_normals(void)
{
	enum
	{
		N = 200000
	};
	float *x = malloc(sizeof(float) * N);
	double moment[5] = {0};
	double lag = 0;
	int beyond[4] = {0};

	lanes_normals(3, 5, x, N);
	for (int k = 0; k < N; k++)
	{
		for (int m = 1; m < 5; m++)
			moment[m] += pow(x[k], m) / N;
		for (int b = 1; b < 4; b++)
			beyond[b] += fabsf(x[k]) > (float) b;
		lag += k > 0 ? x[k] * x[k - 1] / N : 0;
	}
	CHECK(fabs(moment[1]) < 0.01);
	CHECK(fabs(moment[2] - 1) < 0.02);
	CHECK(fabs(moment[3]) < 0.04);
	CHECK(fabs(moment[4] - 3) < 0.1);
	CHECK(fabs(lag) < 0.01);
	CHECK(fabs(beyond[1] / (double) N - 0.3173) < 0.005);
	CHECK(fabs(beyond[2] / (double) N - 0.0455) < 0.003);
	CHECK(fabs(beyond[3] / (double) N - 0.0027) < 0.0008);
	free(x);
}

/* ---- whole trainings ---- */

/* what is stored predicts as the average over the samples does */
static void
test_served(JobLoss loss)
{
	TestRatings x = test_ratings(80, 90, 3000, 9, loss == LOSS_ORDINAL);
	JobConfig c = test_config();
	GibbsProbe probe = {.n = x.n, .user = x.user, .item = x.item};
	double worst = 0;
	double mean = 0;
	JobShared *job;

	probe.sum = calloc((size_t) x.n, sizeof(double));
	probe.score = calloc((size_t) x.n, sizeof(double));
	probe.square = calloc((size_t) x.n, sizeof(double));
	c.ranking_loss = loss;
	c.epochs = 60;
	c.dim = 3;
	c.valid_fraction = 0;
	job = test_job(&x, &c, 1);
	gibbs_probe = &probe;
	CHECK(test_run(job) == RS_OK);
	gibbs_probe = NULL;
	for (int64_t r = 0; r < x.n; r++)
	{
		double y = probe.sum[r] / probe.samples;
		double p = test_predict(job, x.user[r], x.item[r]);

		worst = fmax(worst, fabs(fmin(fmax(y, 1), 5) - p));
		mean += fabs(fmin(fmax(y, 1), 5) - p) / (double) x.n;
	}
	CHECK(probe.samples == 40);
	/* one inner product is exact, the ordinal link an approximation */
	CHECK(worst < (loss == LOSS_GIBBS ? 0.02 : 0.2));
	CHECK(mean < (loss == LOSS_GIBBS ? 0.002 : 0.02));
	free(probe.sum);
	free(probe.score);
	free(probe.square);
	free(job);
	test_free(&x);
}

int
main(void)
{
	test_lanes();
	test_semidefinite();
	test_normals();
	test_served(LOSS_GIBBS);
	test_served(LOSS_ORDINAL);
	return check_summary();
}
