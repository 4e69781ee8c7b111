/*
 * test_scales.c
 *		Ratings on any scale: every learner predicts within the range seen,
 *		better than the biases where there is structure, and hardly worse
 *		where there is none.
 */
#include "check.h"
#include "rank_testing.h"

#define N 4000
#define USERS 90
#define ITEMS 80

typedef struct Scale
{
	const char *name;
	bool structure;
	float (*of)(double z, Rng *rng); /* from a standardised taste */
} Scale;

static float
share(double z, Rng *rng)
{
	(void) rng;
	return (float) fmin(fmax(0.5 + 0.2 * z, 0), 1);
}

static float
ten(double z, Rng *rng)
{
	(void) rng;
	return (float) fmin(fmax(rint(5 + 2 * z), 0), 10);
}

static float
halves(double z, Rng *rng)
{
	(void) rng;
	return (float) fmin(fmax(rint(2 * (3 + z)) / 2, 0.5), 5);
}

static float
signs(double z, Rng *rng)
{
	(void) rng;
	return (float) rint(4 * z);
}

static float
percent(double z, Rng *rng)
{
	(void) rng;
	return (float) fmin(fmax(rint(50 + 20 * z), 1), 100);
}

static float
two(double z, Rng *rng)
{
	(void) rng;
	return z > 0.5;
}

static float
huge(double z, Rng *rng)
{
	(void) rng;
	return (float) (1e20 * (3 + z));
}

static float
tiny(double z, Rng *rng)
{
	(void) rng;
	return (float) (1e-18 * z);
}

static float
far(double z, Rng *rng)
{
	(void) rng;
	return (float) (1e5 + z);
}

static float
nearly_whole(double z, Rng *rng)
{
	return (float) (rint(3 + z) + 1e-4 * rng_normal(rng));
}

static float
constant(double z, Rng *rng)
{
	(void) z;
	(void) rng;
	return 4;
}

static float
dice(double z, Rng *rng)
{
	(void) z;
	return (float) (1 + rng_below(rng, 6));
}

/* counts with a long tail: nothing is promised but a sane answer */
static float
counts(double z, Rng *rng)
{
	(void) rng;
	return (float) fmin(floor(exp(4 + 2 * z)), 1e6);
}

static const Scale scales[] = {
	{"0 to 1", true, share},        {"0, 1 .. 10", true, ten},
	{"halves", true, halves},       {"negative", true, signs},
	{"1, 2 .. 100", true, percent}, {"two levels", true, two},
	{"huge", true, huge},           {"tiny", true, tiny},
	{"far from 0", true, far},      {"noise of floats", true, nearly_whole},
	{"constant", false, constant},  {"dice", false, dice},
	{"counts", false, counts}};

static JobConfig
config_of(JobLoss loss)
{
	JobConfig c = test_config();

	c.ranking_loss = loss;
	c.epochs = loss == LOSS_AUTO ? 80 : 15;
	if (loss != LOSS_AUTO)
	{
		/* layers would be asking for the network */
		c.dim = 8;
		c.n_hidden = 1;
		c.hidden[0] = 16;
	}
	return c;
}

static TestRatings
make(const Scale *s)
{
	TestRatings x = test_ratings(USERS, ITEMS, N, 8, false);
	Rng rng;

	rng_init(&rng, 9, 0);
	for (int64_t r = 0; r < x.n; r++)
		x.rating[r] = s->of((x.rating[r] - 3) / 1.1, &rng);
	return x;
}

static void
check_predictions(const JobShared *job, const TestRatings *x)
{
	float low = INFINITY;
	float high = -INFINITY;
	int wrong = 0;

	for (int64_t r = 0; r < x->n; r++)
	{
		low = fminf(low, x->rating[r]);
		high = fmaxf(high, x->rating[r]);
	}
	for (int u = 0; u < USERS; u += 7)
		for (int i = 0; i < ITEMS; i += 3)
		{
			float y = test_predict(job, u, i);

			wrong += !(y >= low && y <= high);
		}
	CHECK(wrong == 0);
}

static void
test_scale(const Scale *s, JobLoss loss)
{
	TestRatings x = make(s);
	JobConfig c = config_of(loss);
	JobShared *job;
	double base;
	double rmse;

	c.valid_fraction = 0.2f;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	check_predictions(job, &x);
	rmse = test_metric(job, "rmse", false);
	base = test_metric(job, "rmse", true);
	CHECK(isfinite(rmse) && isfinite(base));
	if (s->structure && loss == LOSS_AUTO)
		CHECK(rmse < 0.85 * base);
	/* a tenth for the factors of few ratings that fit nothing */
	if (!(rmse <= 1.1 * base + 1e-6))
	{
		printf("%s, loss %d: %g beside %g\n", s->name, (int) loss, rmse, base);
		CHECK(loss != LOSS_AUTO);
	}
	free(job);
	test_free(&x);
}

/* one wild value among levels must not spoil all expected ratings */
static void
test_outlier(JobLoss loss)
{
	TestRatings x = make(&scales[1]);
	JobConfig c = config_of(loss);
	JobShared *job;
	int wrong = 0;

	x.rating[N / 2] = 1e6f;
	job = test_job(&x, &c, 2);
	CHECK(test_run(job) == RS_OK);
	for (int64_t r = 0; r < N; r += 40)
		wrong += r != N / 2 && x.user[r] != x.user[N / 2] &&
				 x.item[r] != x.item[N / 2] &&
				 !(fabsf(test_predict(job, x.user[r], x.item[r]) -
						 x.rating[r]) < 500);
	CHECK(wrong <= (loss == LOSS_AUTO ? 0 : 50));
	free(job);
	test_free(&x);
}

/* a handful of ratings, no split, more factors than ratings */
static void
test_few(JobLoss loss)
{
	TestRatings x = test_ratings(USERS, ITEMS, N, 8, true);
	JobConfig c = config_of(loss);
	JobShared *job;

	for (int n = 1; n <= 51; n += 10)
	{
		x.n = n;
		job = test_job(&x, &c, 2);
		CHECK(test_run(job) == RS_OK);
		for (int k = 0; k < 20; k++)
			CHECK(isfinite(test_predict(job, k, 3 * k)));
		free(job);
	}
	test_free(&x);
}

int
main(void)
{
	static const JobLoss losses[] = {LOSS_AUTO, LOSS_SGD, LOSS_MSE};

	for (int l = 0; l < 3; l++)
	{
		for (size_t k = 0; k < sizeof(scales) / sizeof(scales[0]); k++)
			test_scale(&scales[k], losses[l]);
		test_outlier(losses[l]);
		test_few(losses[l]);
	}
	return check_summary();
}
