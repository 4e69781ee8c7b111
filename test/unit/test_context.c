/*
 * test_context.c
 *		Features of the occasion: which row counts, by column, the mean, and
 *		ratings that the place decides.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/context.h"

/* a third of the variance is of items in places, a third of users in places */
static TestRatings
placed_ratings(int32_t places, uint64_t seed, bool useful, bool rounded)
{
	TestRatings x = test_ratings(120, 100, 6000, seed, false);
	float *at_item = malloc(sizeof(float) * 100 * (size_t) places);
	float *at_user = malloc(sizeof(float) * 120 * (size_t) places);
	Rng rng;

	x.n_places = places;
	x.place = malloc(sizeof(int32_t) * 6000);
	rng_init(&rng, seed, 2);
	for (int32_t k = 0; k < 100 * places; k++)
		at_item[k] = (float) rng_normal(&rng);
	for (int32_t k = 0; k < 120 * places; k++)
		at_user[k] = (float) rng_normal(&rng);
	for (int64_t r = 0; r < x.n; r++)
	{
		int32_t p = (int32_t) rng_below(&rng, (uint64_t) places);

		x.place[r] = p;
		if (useful)
			x.rating[r] += at_item[x.item[r] * places + p] +
						   at_user[x.user[r] * places + p] +
						   (p == 0 ? 0.5f : 0);
		if (rounded)
			x.rating[r] = rintf(fminf(fmaxf(x.rating[r], 0), 7));
	}
	free(at_item);
	free(at_user);
	return x;
}

static double
rmse_of(TestRatings *x, JobLoss loss, bool with, int workers, JobShared **keep)
{
	JobConfig c = test_config();
	TestRatings y = *x;
	JobShared *job;
	double rmse;

	c.ranking_loss = loss;
	c.valid_fraction = 0.2f;
	c.refit = 0;
	c.epochs = loss == LOSS_SGD ? 30 : 100;
	c.dim = 8;
	if (loss == LOSS_MSE)
	{
		c.optimizer = OPTIMIZER_ADAM;
		c.learning_rate = 0.01f;
		c.batch_size = 500;
	}
	if (!with)
		y.n_places = 0;
	job = test_job(&y, &c, workers);
	CHECK(test_run(job) == RS_OK);
	rmse = test_metric(job, "rmse", false);
	if (keep != NULL)
		*keep = job;
	else
		free(job);
	return rmse;
}

static void
test_decides(JobLoss loss, double share)
{
	TestRatings x = placed_ratings(2, 5, true, loss == LOSS_ORDINAL);
	double with = rmse_of(&x, loss, true, 2, NULL);
	double without = rmse_of(&x, loss, false, 2, NULL);

	printf("rmse %.4f with context, %.4f without\n", with, without);
	CHECK(with < share * without);
	test_free(&x);
}

/* a place that adds to every rating: what biases can say */
static void
test_adds(JobLoss loss, double share)
{
	TestRatings x = placed_ratings(3, 9, false, false);
	double with;
	double without;

	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] += (float) x.place[r];
	with = rmse_of(&x, loss, true, 2, NULL);
	without = rmse_of(&x, loss, false, 2, NULL);
	printf("rmse %.4f with context, %.4f without\n", with, without);
	CHECK(with < share * without);
	test_free(&x);
}

/* no harm, and little to add */
static void
test_useless(JobLoss loss, double harm)
{
	TestRatings x = placed_ratings(3, 6, false, loss == LOSS_ORDINAL);
	double with = rmse_of(&x, loss, true, 2, NULL);
	double without = rmse_of(&x, loss, false, 2, NULL);

	printf("rmse %.4f with useless context, %.4f without\n", with, without);
	CHECK(with < without + harm);
	test_free(&x);
}

static void
test_teams(JobLoss loss)
{
	TestRatings x = placed_ratings(3, 7, true, loss == LOSS_ORDINAL);
	JobShared *job[2];
	size_t n;

	/* of some nothing is known */
	for (int64_t r = 0; r < x.n; r += 5)
		x.place[r] = -1;
	for (int k = 0; k < 2; k++)
		rmse_of(&x, loss, true, k + 1, &job[k]);
	CHECK(test_same_output(job[0], job[1]));
	n = 3 * (size_t) job[0]->output.user_ranking_dim;
	CHECK(job[0]->output.context_user_map != 0);
	CHECK(memcmp(job_at(job[0], job[0]->output.context_user_map),
				 job_at(job[1], job[1]->output.context_user_map),
				 sizeof(float) * n) == 0);
	free(job[0]);
	free(job[1]);
	test_free(&x);
}

/* of two rows of one pair the later one's context counts */
static void
test_sources(void)
{
	int32_t user[] = {0, 1, 0, 0, 1, 0};
	int32_t item[] = {1, 0, 0, 1, 0, 1};
	float rating[] = {1, 2, 3, 4, 5, 6};
	int32_t place[] = {0, 1, 2, 0, 2, 1};
	TestRatings x = {.n = 6,
					 .n_users = 2,
					 .n_items = 2,
					 .user = user,
					 .item = item,
					 .rating = rating,
					 .n_places = 3,
					 .place = place};
	JobConfig c = test_config();
	JobShared *job;
	Team team;
	Arena arena;
	Dataset ds;
	DatasetOptions opt = {.ratings = true, .sources = true};
	Context context;
	ContextColumns by;

	c.ranking_loss = LOSS_SGD;
	job = test_job(&x, &c, 1);
	team = (Team){&job->team, 0, 1};
	arena_init(&arena, job_at(job, job->arena), job->size - job->arena);
	CHECK(dataset_build(&team, &arena, job, &opt, &ds) == RS_OK);
	CHECK(ds.n == 3);
	context_find(job, &ds, &context);
	for (int64_t r = 0; r < ds.n; r++)
		CHECK(rating[context.source[r]] == ds.rating[r]);
	CHECK(context.source[0] == 2 && context.source[1] == 5 &&
		  context.source[2] == 4);
	CHECK(context_columns_layout(&by, &arena, &job->input.context));
	context_columns_fill(&by, &context, &ds, true);
	CHECK(by.ptr[0] == 0 && by.ptr[1] == 0 && by.ptr[2] == 1 && by.ptr[3] == 3);
	CHECK(by.row[0] == 1 && by.row[1] == 0 && by.row[2] == 2);
	free(job);
}

/* one value for all, a column for each row, none at all */
static void
test_degenerate(JobLoss loss)
{
	for (int kind = 0; kind < 3; kind++)
	{
		TestRatings x = placed_ratings(2, 8, false, loss == LOSS_ORDINAL);
		JobShared *job;
		const float *map;
		bool finite = true;

		x.n_places = kind == 1 ? (int32_t) x.n : kind == 2 ? 2 : 1;
		for (int64_t r = 0; r < x.n; r++)
			x.place[r] = kind == 0 ? 0 : kind == 1 ? (int32_t) r : -1;
		CHECK(rmse_of(&x, loss, true, 2, &job) < 1);
		map = job_at(job, job->output.context_user_map);
		for (int64_t k = 0;
			 k < (int64_t) x.n_places * job->output.user_ranking_dim; k++)
			finite = finite && isfinite(map[k]);
		CHECK(finite);
		free(job);
		test_free(&x);
	}
}

int
main(void)
{
	static const JobLoss losses[] = {LOSS_GIBBS, LOSS_ORDINAL, LOSS_SGD,
									 LOSS_MSE};

	test_sources();
	for (int k = 0; k < 4; k++)
	{
		if (losses[k] != LOSS_SGD)
			test_decides(losses[k], losses[k] == LOSS_MSE ? 0.8 : 0.6);
		test_adds(losses[k], losses[k] == LOSS_MSE ? 0.8 : 0.6);
		test_useless(losses[k], losses[k] == LOSS_MSE ? 0.03 : 0.01);
		test_teams(losses[k]);
		test_degenerate(losses[k]);
	}
	return check_summary();
}
