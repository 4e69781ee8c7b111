/*
 * test_ranking.c
 *		All learners of the ranking stage: quality on made data, team sizes,
 *		degenerate ratings, limits and cancelling.
 */
#include <math.h>

#include "check.h"
#include "model/clock.h"
#include "rank_testing.h"

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

/* implicit: with features, whose draw is a system that the team shares */
static void
test_teams(JobLoss loss, int implicit)
{
	TestRatings x = test_ratings(50, 70, 1500, 8, true);
	JobConfig c = test_config();
	JobShared *job[3];

	c.ranking_loss = loss;
	c.epochs = 20;
	c.implicit = implicit;
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

/* clicks: probabilities; a threshold on ratings gives the same targets */
static void
test_binary(void)
{
	TestRatings x = test_ratings(100, 120, 5000, 14, true);
	JobConfig c = test_config();
	JobShared *stars;
	JobShared *clicks;
	bool good = true;

	c.ranking_loss = LOSS_BINARY;
	c.valid_fraction = 0.2f;
	c.dim = 8;
	c.epochs = 30;
	c.batch_size = 256;
	c.n_hidden = 1;
	c.hidden[0] = 16;
	c.positive_kind = POSITIVE_GE;
	c.positive_value = 4;
	stars = test_job(&x, &c, 2);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = x.rating[r] >= 4;
	c.positive_kind = POSITIVE_ALL;
	clicks = test_job(&x, &c, 1);
	CHECK(test_run(stars) == RS_OK);
	CHECK(test_run(clicks) == RS_OK);
	CHECK(test_same_output(stars, clicks));
	CHECK(test_metric(clicks, "auc", false) > 0.75);
	CHECK(test_metric(clicks, "auc", true) > 0.6);
	CHECK(test_metric(clicks, "log_loss", false) < 0.6);
	for (int32_t u = 0; u < 100; u++)
		for (int32_t i = 0; i < 120; i++)
		{
			float y = test_predict(clicks, u, i);

			good = good && y >= 0 && y <= 1;
		}
	CHECK(good);
	free(stars);
	free(clicks);
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

/*
 * max_seconds: the run for the metrics and the last one share them, and where
 * they are over at once there is a model all the same.
 */
static void
test_hurried(JobLoss loss)
{
	TestRatings x = test_ratings(150, 200, 9000, 7, loss == LOSS_ORDINAL);
	static const double most[] = {0.5, 1e-6};

	for (int k = 0; k < 2; k++)
	{
		JobConfig c = test_config();
		JobShared *job;
		double start = clock_seconds();

		c.ranking_loss = loss;
		c.epochs = 1000000;
		c.patience = c.epochs;
		c.valid_fraction = 0.2f;
		c.max_seconds = most[k];
		job = test_job(&x, &c, 2);
		CHECK(test_run(job) == RS_OK);
		CHECK(clock_seconds() - start < most[k] + 5);
		CHECK(isfinite(test_metric(job, "rmse", false)));
		/* the others overfit in so many epochs, time or not */
		if (k == 0 && (loss == LOSS_GIBBS || loss == LOSS_ORDINAL))
			CHECK(test_metric(job, "rmse", false) <
				  test_metric(job, "rmse", true));
		CHECK(job->output.epochs > 0 && job->output.epochs < c.epochs);
		free(job);
	}
	test_free(&x);
}

int
main(void)
{
	test_quality(LOSS_GIBBS, 0.40);
	test_quality(LOSS_ORDINAL, 0.52);
	test_quality(LOSS_SGD, 0.50);
	for (int implicit = 0; implicit < 2; implicit++)
	{
		test_teams(LOSS_GIBBS, implicit);
		test_teams(LOSS_ORDINAL, implicit);
	}
	test_teams(LOSS_SGD, 0);
	test_degenerate(LOSS_GIBBS);
	test_degenerate(LOSS_ORDINAL);
	test_degenerate(LOSS_MSE);
	test_degenerate(LOSS_SGD);
	test_binary();
	test_refused();
	test_cancelled();
	test_hurried(LOSS_GIBBS);
	test_hurried(LOSS_ORDINAL);
	test_hurried(LOSS_SGD);
	test_hurried(LOSS_MSE);
	return check_summary();
}
