/*
 * test_mlp_features.c
 *		The rating network with features and context: with and without them,
 *		cross layers, clicks, teams, and rows without ratings.
 */
#include "check.h"
#include "rank_testing.h"

#define KINDS 8

/* users like kinds of items; most items have few ratings */
static TestRatings
kinds_of_items(uint64_t seed, bool clicks)
{
	TestRatings x = {.n = 6000, .n_users = 100, .n_items = 1500};
	float taste[100][KINDS];
	Rng rng;

	x.user = malloc(sizeof(int32_t) * 6000);
	x.item = malloc(sizeof(int32_t) * 6000);
	x.rating = malloc(sizeof(float) * 6000);
	x.n_kinds = KINDS;
	x.kind = malloc(sizeof(int32_t) * 1500);
	rng_init(&rng, seed, 3);
	for (int i = 0; i < 1500; i++)
		x.kind[i] = (int32_t) rng_below(&rng, KINDS);
	for (int u = 0; u < 100; u++)
		for (int k = 0; k < KINDS; k++)
			taste[u][k] = (float) rng_normal(&rng);
	for (int64_t r = 0; r < x.n; r++)
	{
		float y;

		x.user[r] = (int32_t) rng_below(&rng, 100);
		/* the last ones have none */
		x.item[r] = (int32_t) rng_below(&rng, 1400);
		y = taste[x.user[r]][x.kind[x.item[r]]] +
			0.3f * (float) rng_normal(&rng);
		x.rating[r] = clicks ? (float) (y > 0) : 3 + y;
	}
	return x;
}

static JobShared *
trained(const TestRatings *x, JobLoss loss, int cross, bool with, int workers)
{
	JobConfig c = test_config();
	TestRatings y = *x;
	JobShared *job;

	c.ranking_loss = loss;
	c.cross_layers = cross;
	c.valid_fraction = 0.2f;
	c.refit = 0;
	c.dim = 16;
	c.batch_size = 500;
	c.epochs = 30;
	c.optimizer = OPTIMIZER_ADAM;
	c.learning_rate = 0.02f;
	if (!with)
		y.n_kinds = 0;
	job = test_job(&y, &c, workers);
	CHECK(test_run(job) == RS_OK);
	CHECK(job->output.ranking == RANKING_MLP);
	CHECK((job->output.item_ranking_map != 0) == with);
	return job;
}

static void
test_gain(JobLoss loss, int cross, const char *metric, bool smaller,
		  double ratio)
{
	TestRatings x = kinds_of_items(11, loss == LOSS_BINARY);
	JobShared *with = trained(&x, loss, cross, true, 2);
	JobShared *without = trained(&x, loss, cross, false, 2);
	double a = test_metric(with, metric, false);
	double b = test_metric(without, metric, false);

	printf("%s %.4f with features, %.4f without (cross %d)\n", metric, a, b,
		   cross);
	CHECK(smaller ? a < ratio * b : a > ratio * b);
	free(with);
	free(without);
	test_free(&x);
}

static void
test_teams(int cross)
{
	TestRatings x = kinds_of_items(12, false);
	JobShared *job[2];
	const float *map[2];

	x.n_places = 3;
	x.place = malloc(sizeof(int32_t) * (size_t) x.n);
	for (int64_t r = 0; r < x.n; r++)
		x.place[r] = (int32_t) (r % 4) - 1;
	for (int k = 0; k < 2; k++)
	{
		job[k] = trained(&x, LOSS_MSE, cross, true, 1 + 2 * k);
		map[k] = job_at(job[k], job[k]->output.item_ranking_map);
		CHECK(job[k]->output.user_ranking_dim == 32);
		CHECK(job[k]->output.item_ranking_dim == 16);
		CHECK(job[k]->output.context_user_map != 0);
	}
	CHECK(test_same_output(job[0], job[1]));
	CHECK(memcmp(map[0], map[1], sizeof(float) * (KINDS + 1) * 16) == 0);
	free(job[0]);
	free(job[1]);
	test_free(&x);
}

/* an item without ratings is its kind's: map row of all and of the kind */
static void
test_unrated(void)
{
	TestRatings x = kinds_of_items(13, false);
	JobShared *job = trained(&x, LOSS_MSE, 0, true, 2);
	const float *map = job_at(job, job->output.item_ranking_map);
	const float *item = job_at(job, job->output.item_ranking);
	bool good = true;

	for (int i = 1400; i < 1500; i++)
		for (int f = 0; f < 16; f++)
			good = good && fabsf(item[i * 16 + f] - map[KINDS * 16 + f] -
								 map[x.kind[i] * 16 + f]) < 1e-5f;
	CHECK(good);
	free(job);
	test_free(&x);
}

int
main(void)
{
	test_gain(LOSS_MSE, 0, "rmse", true, 0.8);
	test_gain(LOSS_MSE, 2, "rmse", true, 0.8);
	test_gain(LOSS_BINARY, 0, "auc", false, 1.05);
	test_gain(LOSS_BINARY, 2, "log_loss", true, 0.9);
	test_teams(0);
	test_teams(2);
	test_unrated();
	return check_summary();
}
