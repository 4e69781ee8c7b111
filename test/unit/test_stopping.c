/*
 * test_stopping.c
 *		Every learner that is judged epoch by epoch, on data that it soon
 *		over-fits: it stops before its last epoch, and what is stored is the
 *		best one, measured here once more on the same held-out rows.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/curve.h"
#include "model/split.h"

#define USERS 400
#define ITEMS 150
#define EACH 14
#define GROUPS 5
#define EPOCHS 60
#define PATIENCE 3

/* users like their group's items somewhat more; each pair once, 1 to 5 */
static TestRatings
make_ratings(void)
{
	TestRatings x = {.n_users = USERS, .n_items = ITEMS};
	Rng rng;

	x.user = malloc(sizeof(int32_t) * USERS * ITEMS);
	x.item = malloc(sizeof(int32_t) * USERS * ITEMS);
	x.rating = malloc(sizeof(float) * USERS * ITEMS);
	rng_init(&rng, 31, 0);
	for (int32_t u = 0; u < USERS; u++)
		for (int32_t i = 0; i < ITEMS; i++)
		{
			bool same = u % GROUPS == i % GROUPS;

			if (rng_uniform(&rng) > (double) EACH / ITEMS * (same ? 2.2 : 0.7))
				continue;
			x.user[x.n] = u;
			x.item[x.n] = i;
			x.rating[x.n++] =
				(float) (1 + (int) rng_below(&rng, 2) + i % 3 + same);
		}
	return x;
}

static JobConfig
stopping_config(void)
{
	JobConfig c = test_config();

	c.ranking = false;
	c.retrieval = true;
	c.negatives = c.logq = c.accidental = c.normalize = -1;
	c.temperature = c.alpha0 = NAN;
	c.valid_fraction = 0.2f;
	c.epochs = EPOCHS;
	c.patience = PATIENCE;
	c.refit = 0;
	c.dim = 32;
	return c;
}

/* ---- the figures once more ---- */

typedef struct Held
{
	char *memory;
	JobShared *job; /* a copy: building the data may overwrite the input */
	TeamShared shared;
	Dataset ds;
} Held;

/* the rows that a job with this config holds out; free with held_free */
static void
held_find(Held *h, const TestRatings *x, const JobConfig *c)
{
	DatasetOptions opt = {.ratings = true};
	size_t size = (size_t) 1 << 22;
	Arena arena;
	Team team;

	memset(h, 0, sizeof(*h));
	h->job = test_job(x, c, 1);
	h->memory = aligned_alloc(64, size);
	team = (Team){&h->shared, 0, 1};
	arena_init(&arena, h->memory, size);
	CHECK(dataset_build(&team, &arena, h->job, &opt, &h->ds) == RS_OK);
	CHECK(dataset_split(&team, &h->ds, c->split, c->valid_fraction, c->seed) ==
		  RS_OK);
	CHECK(h->ds.n_held > 0);
}

static void
held_free(Held *h)
{
	free(h->memory);
	free(h->job);
}

/* NDCG@20 of a user; NAN without held-out items */
static double
user_ndcg(const Dataset *ds, const JobShared *job, int32_t u)
{
	const float *users = job_at(job, job->output.user_vector);
	const float *items = job_at(job, job->output.item_vector);
	int64_t n = ds->user_ptr[u + 1] - ds->user_end[u];
	bool seen[ITEMS] = {false};
	double score[ITEMS] = {0};
	double dcg = 0;
	double best = 0;

	for (int64_t r = ds->user_ptr[u]; r < ds->user_end[u]; r++)
		seen[ds->item[r]] = true;
	for (int i = 0; i < ITEMS; i++)
		for (int f = 0; f < job->output.dim; f++)
			score[i] += (double) users[u * job->output.dim + f] *
						items[i * job->output.dim + f];
	for (int64_t r = 0; r < n; r++)
	{
		int32_t item = ds->item[ds->user_end[u] + r];
		int rank = 0;

		for (int i = 0; i < ITEMS; i++)
			rank += !seen[i] && score[i] > score[item];
		dcg += rank < 20 ? 1 / log2(rank + 2) : 0;
		best += r < 20 ? 1 / log2((double) r + 2) : 0;
	}
	return n > 0 ? dcg / best : NAN;
}

static double
measured_ndcg(const Held *h, const JobShared *job)
{
	double sum = 0;
	int n = 0;

	for (int32_t u = 0; u < USERS; u++)
	{
		double x = user_ndcg(&h->ds, job, u);

		sum += isnan(x) ? 0 : x;
		n += !isnan(x);
	}
	return sum / n;
}

static double
measured_rmse(const Held *h, const JobShared *job)
{
	double sum = 0;

	for (int32_t u = 0; u < USERS; u++)
		for (int64_t r = h->ds.user_end[u]; r < h->ds.user_ptr[u + 1]; r++)
		{
			double e = h->ds.rating[r] - test_predict(job, u, h->ds.item[r]);

			sum += e * e;
		}
	return sqrt(sum / (double) h->ds.n_held);
}

static double
test_metric_at(const JobShared *job, const char *name, int k)
{
	for (int m = 0; m < job->output.n_metrics; m++)
		if (strcmp(job->output.metrics[m].name, name) == 0 &&
			job->output.metrics[m].k == k)
			return job->output.metrics[m].value;
	return NAN;
}

/* ---- the trainings ---- */

typedef struct Run
{
	int first; /* entries of the log */
	int last;
	int best;
} Run;

/* the first run that was measured epoch by epoch */
static Run
first_run(const JobShared *job, bool smaller)
{
	Run run = {0, 0, 0};

	while (job->log[run.first].metric[0] == '\0' && run.first < job->n_log)
		run.first++;
	run.best = run.last = run.first;
	for (int k = run.first; k < job->n_log; k++)
	{
		if (job->log[k].epoch < job->log[run.last].epoch)
			break;
		if (job->log[k].metric[0] == '\0')
			continue;
		run.last = k;
		if (smaller ? job->log[k].value < job->log[run.best].value
					: job->log[k].value > job->log[run.best].value)
			run.best = k;
	}
	return run;
}

/* refit 0: the best epoch is stored. 1: all rows, as many epochs */
static void
test_stops(const char *name, JobConfig c, int refit, int workers)
{
	TestRatings x = make_ratings();
	JobShared *job;
	const JobLog *best;
	const JobLog *last;
	double got = NAN;
	Run run;

	c.refit = refit;
	job = test_job(&x, &c, workers);
	CHECK(test_run(job) == RS_OK);
	run = first_run(job, c.ranking);
	best = &job->log[run.best];
	last = &job->log[run.last];
	CHECK(last->metric[0] != '\0');
	/* worse at the end than at the best epoch, and before the last one */
	CHECK(fabs(last->value - best->value) > CURVE_CHANGE * best->value);
	CHECK(best->epoch < last->epoch && last->epoch < EPOCHS);
	CHECK(job->output.epochs == best->epoch);
	if (refit == 0)
	{
		Held held;

		held_find(&held, &x, &c);
		got =
			c.retrieval ? measured_ndcg(&held, job) : measured_rmse(&held, job);
		CHECK(fabs(got - best->value) < 1e-4);
		held_free(&held);
	}
	else
	{
		char text[256];

		CHECK(curve_judge(job, c.retrieval ? "retrieval" : "ranking", text,
						  sizeof(text)) == CURVE_OVERFIT);
		/* a second run of all epochs would over-fit as the first did */
		if (strcmp(job->progress.phase, "refit") == 0)
			CHECK(job->progress.epochs <= best->epoch);
		else
			CHECK(strcmp(name, "towers") != 0);
	}
	/* and the figures that are told are those of the best epoch */
	CHECK(fabs(test_metric_at(job, c.retrieval ? "ndcg" : "rmse",
							  c.retrieval ? 20 : 0) -
			   best->value) < 1e-4);
	printf("%s, refit %d: best epoch %d (%.5f), last %d (%.5f); stored %d "
		   "(%.5f)\n",
		   name, refit, best->epoch, best->value, last->epoch, last->value,
		   job->output.epochs, got);
	free(job);
	test_free(&x);
}

static void
test_learners(int refit, int workers)
{
	JobConfig c = stopping_config();

	c.loss = LOSS_SOFTMAX;
	c.learning_rate = 0.1f;
	test_stops("towers", c, refit, workers);
	c.batch_size = 256;
	test_stops("batches", c, refit, workers);
	c.normalize = 1;
	c.temperature = 0.2f;
	test_stops("batches of unit rows", c, refit, workers);
	c = stopping_config();
	c.n_hidden = 1;
	c.hidden[0] = 32;
	c.learning_rate = 0.01f;
	test_stops("hidden", c, refit, workers);
	c = stopping_config();
	c.retrieval = false;
	c.ranking = true;
	c.ranking_loss = LOSS_MSE;
	c.learning_rate = 0.003f;
	test_stops("network", c, refit, workers);
}

int
main(void)
{
	for (int workers = 1; workers <= 2; workers++)
		for (int refit = 0; refit <= 1; refit++)
			test_learners(refit, workers);
	return check_summary();
}
