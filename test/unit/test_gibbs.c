/*
 * test_gibbs.c
 *		The Gibbs sampler: its small systems and random numbers against plain
 *		ones, its quality on made data, team sizes, degenerate ratings.
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

static void
test_quality(JobLoss loss, double at_most)
{
	TestRatings x = test_ratings(150, 200, 9000, 7, loss == LOSS_ORDINAL);
	JobConfig c = test_config();
	JobShared *job;

	c.ranking_loss = loss;
	c.valid_fraction = 0.2f;
	c.epochs = 120;
	c.dim = 4;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	CHECK(job->output.ranking == RANKING_FACTOR);
	/* the noise alone is 0.3; rounding adds to it */
	CHECK(test_metric(job, "rmse", false) < at_most);
	CHECK(test_metric(job, "rmse", false) <
		  0.8 * test_metric(job, "rmse", true));
	CHECK(test_metric(job, "mae", false) < 0.8 * test_metric(job, "mae", true));
	free(job);
	test_free(&x);
}

static void
test_teams(JobLoss loss)
{
	TestRatings x = test_ratings(50, 70, 1500, 8, true);
	JobConfig c = test_config();
	JobShared *job[3];

	c.ranking_loss = loss;
	c.epochs = 20;
	c.valid_fraction = 0.1f;
	for (int k = 0; k < 3; k++)
	{
		job[k] = test_job(&x, &c, k + 1);
		CHECK(test_run(job[k]) == RS_OK);
	}
	CHECK(test_same_output(job[0], job[1]));
	CHECK(test_same_output(job[0], job[2]));
	for (int k = 0; k < 3; k++)
		free(job[k]);
	c.seed = 43;
	job[0] = test_job(&x, &c, 1);
	job[1] = test_job(&x, &c, 1);
	job[1]->config.seed = 44;
	CHECK(test_run(job[0]) == RS_OK && test_run(job[1]) == RS_OK);
	CHECK(!test_same_output(job[0], job[1]));
	free(job[0]);
	free(job[1]);
	test_free(&x);
}

/* what is stored predicts as the average over the samples does */
static void
test_served(void)
{
	TestRatings x = test_ratings(80, 90, 3000, 9, false);
	JobConfig c = test_config();
	GibbsProbe probe = {.n = x.n, .user = x.user, .item = x.item};
	double worst = 0;
	JobShared *job;

	probe.sum = calloc((size_t) x.n, sizeof(double));
	probe.score = calloc((size_t) x.n, sizeof(double));
	probe.square = calloc((size_t) x.n, sizeof(double));
	c.ranking_loss = LOSS_GIBBS;
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
	}
	CHECK(probe.samples == 40);
	CHECK(worst < 0.02);
	free(probe.sum);
	free(probe.score);
	free(probe.square);
	free(job);
	test_free(&x);
}

static void
test_degenerate_one(TestRatings *x, JobLoss loss, double least, double most)
{
	JobConfig c = test_config();
	JobShared *job;
	bool good = true;

	c.ranking_loss = loss;
	c.epochs = 30;
	c.valid_fraction = 0;
	job = test_job(x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	for (int32_t u = 0; u < x->n_users; u++)
		for (int32_t i = 0; i < x->n_items; i++)
		{
			double y = test_predict(job, u, i);

			good = good && y >= least && y <= most;
		}
	CHECK(good);
	free(job);
}

static void
test_degenerate(JobLoss loss)
{
	TestRatings x = test_ratings(30, 40, 300, 12, true);
	TestRatings y = x;

	/* all equal; two values; 0 and 1; negative; huge; tiny */
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = 4;
	test_degenerate_one(&x, loss, 4, 4);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = r % 3 ? 1 : 5;
	test_degenerate_one(&x, loss, 1, 5);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = (float) (r & 1);
	test_degenerate_one(&x, loss, 0, 1);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = (float) -(r % 4);
	test_degenerate_one(&x, loss, -3, 0);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = r % 3 ? 1e30f : -1e30f;
	test_degenerate_one(&x, loss, -1.01e30, 1.01e30);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = (float) (r % 5) * 1e-30f;
	test_degenerate_one(&x, loss, 0, 5e-30);
	/* many distinct values */
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = (float) r;
	test_degenerate_one(&x, loss, 0, 300);
	/* one row; one user; one item; some without any */
	y.n = 1;
	test_degenerate_one(&y, loss, 0, 300);
	for (int64_t r = 0; r < x.n; r++)
	{
		x.user[r] = 0;
		x.rating[r] = (float) (r % 5);
	}
	test_degenerate_one(&x, loss, 0, 4);
	y.n = x.n;
	y.n_users = 1;
	test_degenerate_one(&y, loss, 0, 4);
	for (int64_t r = 0; r < x.n; r++)
	{
		x.user[r] = (int32_t) (r % 30);
		x.item[r] = 0;
	}
	y.n_users = 30;
	y.n_items = 1;
	test_degenerate_one(&y, loss, 0, 4);
	test_free(&x);
}

static void
test_refused(void)
{
	TestRatings x = test_ratings(10, 10, 50, 12, true);
	JobConfig c = test_config();
	JobShared *job;

	x.rating[7] = 3e38f;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_INVALID);
	CHECK(strstr(job->output.problem, "too large") != NULL);
	free(job);
	test_free(&x);
}

static void
test_cancelled(void)
{
	TestRatings x = test_ratings(100, 100, 3000, 12, true);
	JobConfig c = test_config();
	JobShared *job;

	c.epochs = 100000;
	c.ranking_loss = LOSS_GIBBS;
	c.max_seconds = 0.2;
	c.valid_fraction = 0;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	CHECK(job->output.epochs > 0 && job->output.epochs < 100000);
	free(job);
	/* stopped from the start: leaves at once and says so */
	job = test_job(&x, &c, 2);
	job->team.stop = RS_CANCELLED;
	CHECK(test_run(job) == RS_CANCELLED);
	free(job);
	test_free(&x);
}

int
main(void)
{
	test_lanes();
	test_semidefinite();
	test_normals();
	test_quality(LOSS_GIBBS, 0.40);
	test_quality(LOSS_ORDINAL, 0.52);
	test_teams(LOSS_GIBBS);
	test_teams(LOSS_ORDINAL);
	test_served();
	test_degenerate(LOSS_GIBBS);
	test_degenerate(LOSS_ORDINAL);
	test_degenerate(LOSS_MSE);
	test_refused();
	test_cancelled();
	return check_summary();
}
