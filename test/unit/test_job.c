/*
 * test_job.c
 *		Whole trainings by teams of threads: bounds of the arena, quality on
 *		data with structure, equal bytes, odd data, cancellation.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "math/rng.h"
#include "model/clock.h"
#include "model/job.h"

typedef struct Data
{
	int64_t n;
	int32_t users;
	int32_t items;
	int32_t *user;
	int32_t *item;
	float *rating;
} Data;

/* users like the items of their own group, and popular ones */
static Data
make_data(int32_t users, int32_t items, int each, int groups, float ratings)
{
	Data d = {(int64_t) users * each, users, items, NULL, NULL, NULL};
	Rng rng;

	d.user = malloc(sizeof(int32_t) * (size_t) d.n);
	d.item = malloc(sizeof(int32_t) * (size_t) d.n);
	d.rating = malloc(sizeof(float) * (size_t) d.n);
	rng_init(&rng, 6, 0);
	for (int64_t k = 0; k < d.n; k++)
	{
		int32_t u = (int32_t) (k / each);
		double x = rng_uniform(&rng);
		int32_t i = (int32_t) (x * x * items);

		if (rng_uniform(&rng) < 0.8)
			i = i / groups * groups + u % groups;
		d.user[k] = u;
		d.item[k] = i < items ? i : items - 1;
		d.rating[k] = ratings > 0 ? ratings : (float) (1 + rng_below(&rng, 5));
	}
	return d;
}

static void
free_data(Data *d)
{
	free(d->user);
	free(d->item);
	free(d->rating);
}

static JobConfig
default_config(void)
{
	JobConfig c;

	memset(&c, 0, sizeof(c));
	c.retrieval = true;
	c.n_hidden = c.negatives = c.patience = -1;
	c.logq = c.accidental = c.normalize = c.refit = c.implicit = -1;
	c.seed = 42;
	c.valid_fraction = c.learning_rate = c.temperature = NAN;
	c.regularization = c.alpha0 = c.min_rating = c.max_rating = NAN;
	return c;
}

typedef struct Member
{
	Team team;
	JobShared *job;
	RsStatus st;
} Member;

static void *
member_main(void *arg)
{
	Member *m = arg;

	m->st = job_run(&m->team, m->job);
	return NULL;
}

#define GUARD 4096

static JobShared *
make_job(const Data *d, const JobConfig *c, int workers)
{
	JobInput in = {.n = d->n,
				   .n_users = d->users,
				   .n_items = d->items,
				   .rating = d->rating != NULL};
	size_t head = (sizeof(JobShared) + (size_t) d->n * 12 + 127) & ~(size_t) 63;
	size_t size = head + job_arena_size(c, &in, workers);
	JobShared *job = aligned_alloc(64, ((size + 63) & ~(size_t) 63) + GUARD);
	int32_t *user = (int32_t *) (job + 1);
	int32_t *item = user + d->n;
	float *rating = (float *) (item + d->n);

	memset(job, 0, size);
	memset((char *) job + size, 0x5a, GUARD);
	job->magic = JOB_MAGIC;
	job->workers = workers;
	job->size = size;
	job->arena = head;
	job->config = *c;
	job->input = in;
	memcpy(user, d->user, sizeof(int32_t) * (size_t) d->n);
	memcpy(item, d->item, sizeof(int32_t) * (size_t) d->n);
	memcpy(rating, d->rating, sizeof(float) * (size_t) d->n);
	job->input.user = job_offset(job, user);
	job->input.item = job_offset(job, item);
	job->input.rating = d->rating != NULL ? job_offset(job, rating) : 0;
	return job;
}

/* run with a team; cancel after so many ms (-1: never) */
static RsStatus
run(JobShared *job, int n, int cancel_ms, double *late)
{
	Member m[4];
	pthread_t thread[4];
	double t;

	for (int r = 0; r < n; r++)
	{
		m[r] = (Member){{&job->team, r, n}, job, RS_OK};
		pthread_create(&thread[r], NULL, member_main, &m[r]);
	}
	if (cancel_ms >= 0)
	{
		usleep((useconds_t) cancel_ms * 1000);
		team_stop(&m[0].team, RS_CANCELLED);
	}
	t = clock_seconds();
	for (int r = 0; r < n; r++)
		pthread_join(thread[r], NULL);
	if (late != NULL)
		*late = clock_seconds() - t;
	for (int r = 1; r < n; r++)
		CHECK(m[r].st == m[0].st);
	for (int k = 0; k < GUARD; k++)
		if (((char *) job)[job->size + (size_t) k] != 0x5a)
		{
			CHECK(!"nothing is written past the arena");
			break;
		}
	return m[0].st;
}

static bool
finite_vectors(const JobShared *job)
{
	const JobOutput *out = &job->output;
	const float *u = job_at(job, out->user_vector);
	const float *v = job_at(job, out->item_vector);

	if (u == NULL || v == NULL || out->dim < 1)
		return false;
	for (int64_t k = 0; k < (int64_t) job->input.n_users * out->dim; k++)
		if (!isfinite(u[k]))
			return false;
	for (int64_t k = 0; k < (int64_t) job->input.n_items * out->dim; k++)
		if (!isfinite(v[k]))
			return false;
	return true;
}

static double
metric(const JobShared *job, const char *name, int k, bool baseline)
{
	for (int i = 0; i < job->output.n_metrics; i++)
		if (strcmp(job->output.metrics[i].name, name) == 0 &&
			job->output.metrics[i].k == k)
			return baseline ? job->output.metrics[i].baseline
							: job->output.metrics[i].value;
	return NAN;
}

static void
test_learners(void)
{
	static const struct
	{
		JobPreset preset;
		JobLoss loss;
	} kind[] = {{PRESET_DEFAULT, LOSS_AUTO},
				{PRESET_TFRS, LOSS_AUTO},
				{PRESET_DEFAULT, LOSS_IALS},
				{PRESET_DEFAULT, LOSS_SOFTMAX}};
	Data d = make_data(300, 200, 30, 5, 0);

	for (int k = 0; k < 4; k++)
		for (int n = 1; n <= 3; n++)
		{
			JobConfig c = default_config();
			JobShared *job;

			c.preset = kind[k].preset;
			c.loss = kind[k].loss;
			c.valid_fraction = 0.2f;
			c.epochs = k == 1 ? 20 : 0;
			job = make_job(&d, &c, n);
			CHECK(run(job, n, -1, NULL) == RS_OK);
			CHECK(finite_vectors(job));
			CHECK(job->output.n_interactions + job->output.n_duplicates == d.n);
			CHECK(job->n_log > 0 && job->output.choice[0] != '\0');
			if (k != 1)
				CHECK(metric(job, "recall", 20, false) >
					  1.2 * metric(job, "recall", 20, true));
			free(job);
		}
	free_data(&d);
}

/* closed form: any team; all: the same team twice */
static void
test_bytes(void)
{
	Data d = make_data(300, 200, 30, 5, 0);

	for (int preset = PRESET_DEFAULT; preset <= PRESET_TFRS; preset++)
	{
		JobConfig c = default_config();
		JobShared *first;

		c.preset = (JobPreset) preset;
		first = make_job(&d, &c, 2);
		CHECK(run(first, 2, -1, NULL) == RS_OK);
		for (int n = 1; n <= 3; n++)
		{
			JobShared *job;
			size_t bytes;

			if (preset == PRESET_TFRS && n != 2)
				continue;
			job = make_job(&d, &c, n);
			CHECK(run(job, n, -1, NULL) == RS_OK);
			bytes = sizeof(float) * 200 * (size_t) job->output.dim;
			CHECK(memcmp(job_at(job, job->output.item_vector),
						 job_at(first, first->output.item_vector), bytes) == 0);
			free(job);
		}
		free(first);
	}
	free_data(&d);
}

static void
test_odd_data(void)
{
	static const struct
	{
		int32_t users;
		int32_t items;
		int each;
		float rating;
	} odd[] = {{1, 1, 1, 0},   {1, 50, 30, 0}, {50, 1, 1, 3},      {2, 2, 2, 1},
			   {3, 500, 4, 0}, {60, 40, 5, 3}, {5, 5, 200, -1e30f}};

	for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++)
		for (int preset = PRESET_DEFAULT; preset <= PRESET_BEST; preset++)
			for (int loss = LOSS_AUTO; loss <= LOSS_IALS; loss++)
			{
				Data d = make_data(odd[k].users, odd[k].items, odd[k].each, 1,
								   odd[k].rating);
				JobConfig c = default_config();
				JobShared *job;

				if (odd[k].rating < 0)
					for (int64_t r = 0; r < d.n; r++)
						d.rating[r] = r % 2 ? 3e38f : -3e38f;
				c.preset = (JobPreset) preset;
				c.loss = (JobLoss) loss;
				job = make_job(&d, &c, 2);
				CHECK(run(job, 2, -1, NULL) == RS_OK);
				CHECK(finite_vectors(job));
				free(job);
				free_data(&d);
			}
}

/*
 * What a training of tens of millions of interactions takes: the input, one
 * list by user and row numbers while that is made, and the parameters.
 */
static void
test_memory(void)
{
	JobConfig c = default_config();
	JobInput in = {
		.n = 20000000, .n_users = 140000, .n_items = 27000, .rating = 1};
	double parameters;
	double each;

	c.loss = LOSS_IALS;
	c.dim = 64;
	parameters = 4.0 * c.dim * (in.n_users + in.n_items);
	each = 8 + (double) job_arena_size(&c, &in, 2) / (double) in.n;
	CHECK(each - parameters / (double) in.n < 16);
	CHECK(!job_reads_ratings(&c, &in) && !job_reads_times(&c, &in));
	/* what the result depends on is read */
	c.positive_kind = POSITIVE_GE;
	CHECK(job_reads_ratings(&c, &in) && !job_reads_times(&c, &in));
	c.positive_kind = POSITIVE_ALL;
	c.split = SPLIT_TIME;
	CHECK(job_reads_times(&c, &in));
	c.split = SPLIT_RANDOM;
	c.ranking = true;
	CHECK(job_reads_ratings(&c, &in) && job_reads_times(&c, &in));
	c.ranking = false;
	in.n = 100000; /* few: weighted by rating */
	CHECK(job_reads_ratings(&c, &in) && job_reads_times(&c, &in));
}

static void
test_refusals(void)
{
	Data d = make_data(20, 20, 5, 1, 2);
	JobConfig c = default_config();
	JobShared *job;

	c.positive_kind = POSITIVE_GE;
	c.positive_value = 3;
	job = make_job(&d, &c, 1);
	CHECK(run(job, 1, -1, NULL) == RS_NO_DATA);
	CHECK(job->output.problem[0] != '\0');
	free(job);
	c.positive_kind = POSITIVE_ALL;
	c.split = SPLIT_TIME;
	c.valid_fraction = 0.1f;
	job = make_job(&d, &c, 2);
	CHECK(run(job, 2, -1, NULL) == RS_INVALID);
	free(job);
	/* a block that is too small is an error, not an overrun */
	c = default_config();
	job = make_job(&d, &c, 2);
	job->size = job->arena + 1000;
	CHECK(job_run(&(Team){&job->team, 0, 1}, job) == RS_NO_MEMORY);
	free(job);
	free_data(&d);
}

static void
test_cancel(void)
{
	Data d = make_data(4000, 3000, 60, 7, 0);
	double worst = 0;

	for (int k = 0; k < 8; k++)
	{
		JobConfig c = default_config();
		JobShared *job;
		double late;

		c.loss = k % 2 ? LOSS_SOFTMAX : LOSS_IALS;
		c.epochs = 200;
		job = make_job(&d, &c, 2);
		CHECK(run(job, 2, 5 + 60 * k, &late) == RS_CANCELLED);
		CHECK(strstr(job->output.problem, "cancel") != NULL);
		worst = late > worst ? late : worst;
		free(job);
	}
	printf("slowest reaction to a cancel: %.0f ms\n", worst * 1000);
	CHECK(worst < 0.5);
	free_data(&d);
}

/* a bound of the time gives a model, only an earlier one */
static void
test_time(void)
{
	Data d = make_data(4000, 3000, 60, 7, 0);

	for (int loss = LOSS_SOFTMAX; loss <= LOSS_IALS; loss++)
	{
		JobConfig c = default_config();
		JobShared *job;

		c.loss = (JobLoss) loss;
		c.epochs = 500;
		c.refit = 0;
		c.max_seconds = 0.05;
		job = make_job(&d, &c, 2);
		CHECK(run(job, 2, -1, NULL) == RS_OK);
		CHECK(finite_vectors(job) && job->output.epochs <= 500);
		CHECK(job->n_log < 20);
		free(job);
	}
	free_data(&d);
}

/*
 * Where nobody chose the learner, the time may end while towers are still bad:
 * then implicit ALS is what is left.
 */
static void
test_time_of_choice(void)
{
	Data d = make_data(6000, 3000, 28, 7, 0);
	JobConfig c = default_config();
	JobShared *job;

	c.loss = LOSS_AUTO;
	c.valid_fraction = 0.1f;
	c.max_seconds = 0.2;
	job = make_job(&d, &c, 2);
	CHECK(run(job, 2, -1, NULL) == RS_OK);
	printf("%s\n", job->output.choice);
	CHECK(finite_vectors(job));
	CHECK(metric(job, "ndcg", 20, false) > metric(job, "ndcg", 20, true));
	free(job);
	free_data(&d);
}

/*
 * However early the time ends, implicit ALS is three epochs of each start with
 * the usual values, as by somebody who asks for that.
 */
static void
test_time_of_ials(void)
{
	Data d = make_data(2000, 1000, 20, 7, 0);
	JobShared *job[2];
	size_t size;

	for (int asked = 0; asked < 2; asked++)
	{
		JobConfig c = default_config();

		c.loss = LOSS_IALS;
		if (asked)
		{
			c.epochs = 3;
			c.regularization = 0.02f;
			c.alpha0 = 0.2f;
			c.refit = 0;
		}
		else
			c.max_seconds = 1e-6;
		job[asked] = make_job(&d, &c, 2);
		CHECK(run(job[asked], 2, -1, NULL) == RS_OK);
		CHECK(job[asked]->output.epochs == 3);
	}
	CHECK(job[0]->output.dim == job[1]->output.dim);
	size = sizeof(float) * (size_t) d.users * (size_t) job[0]->output.dim;
	CHECK(memcmp(job_at(job[0], job[0]->output.user_vector),
				 job_at(job[1], job[1]->output.user_vector), size) == 0);
	free(job[0]);
	free(job[1]);
	free_data(&d);
}

/* mean score that the model gives the interactions it was made from */
static double
mean_score(const Data *d, JobShared *job)
{
	int dim = job->output.dim;
	const float *u = job_at(job, job->output.user_vector);
	const float *v = job_at(job, job->output.item_vector);
	double sum = 0;

	for (int64_t k = 0; k < d->n; k++)
		for (int c = 0; c < dim; c++)
			sum += u[d->user[k] * dim + c] * v[d->item[k] * dim + c];
	return sum / (double) d->n;
}

/*
 * The towers' second run takes in what was held out of the first: as high in
 * all scores as a model that nothing was held out of.
 */
static void
test_refit(void)
{
	Data d = make_data(1000, 700, 20, 7, 0);
	double score[3];

	for (int k = 0; k < 3; k++)
	{
		JobConfig c = default_config();
		JobShared *job;

		c.loss = LOSS_SOFTMAX;
		c.valid_fraction = k == 2 ? 0 : 0.3f;
		c.refit = k;
		job = make_job(&d, &c, 2);
		CHECK(run(job, 2, -1, NULL) == RS_OK);
		score[k] = mean_score(&d, job);
		free(job);
	}
	printf("mean score: part %.3f, refit %.3f, all %.3f\n", score[0], score[1],
		   score[2]);
	CHECK(score[1] > score[0] + 0.7 * (score[2] - score[0]));
	free_data(&d);
}

/* where nothing but popularity can be learnt, the default has it */
static void
test_noise(void)
{
	Data d = make_data(40000, 6000, 8, 1, 1);
	JobConfig c = default_config();
	JobShared *job;
	double ndcg[2] = {0, 0};

	c.dim = 16;
	c.epochs = 4; /* given up at half */
	c.refit = 0;
	c.valid_fraction = 0.1f;
	c.regularization = 0.02f;
	c.alpha0 = 0.2f;
	job = make_job(&d, &c, 2);
	CHECK(run(job, 2, -1, NULL) == RS_OK);
	CHECK(strstr(job->output.choice, "towers stayed below") != NULL);
	for (int m = 0; m < job->output.n_metrics; m++)
		if (strcmp(job->output.metrics[m].name, "ndcg") == 0 &&
			job->output.metrics[m].k == 20)
		{
			ndcg[0] = job->output.metrics[m].value;
			ndcg[1] = job->output.metrics[m].baseline;
		}
	printf("noise: ndcg@20 %.4f, most popular %.4f\n", ndcg[0], ndcg[1]);
	CHECK(ndcg[1] > 0 && ndcg[0] >= 0.97 * ndcg[1]);
	free(job);
	free_data(&d);
}

/* epochs that only overfit are left out, unless they were asked for */
static void
test_overfit(void)
{
	Data d = make_data(600, 400, 20, 1, 1);

	for (int asked = 0; asked < 2; asked++)
	{
		JobConfig c = default_config();
		JobShared *job;

		c.loss = LOSS_IALS;
		c.regularization = 1e-3f;
		c.alpha0 = 0.1f;
		c.epochs = asked ? 8 : 0;
		job = make_job(&d, &c, 2);
		CHECK(run(job, 2, -1, NULL) == RS_OK);
		CHECK(finite_vectors(job));
		CHECK((job->output.epochs < 8) == !asked);
		free(job);
	}
	free_data(&d);
}

/*
 * Large sparse data where nobody asked for a learner: which of the two is
 * better differs, and the default is never far below the better one.
 */
static void
test_compared(void)
{
	static const struct
	{
		int32_t users;
		int32_t items;
		int groups;
	} shape[] = {{4000, 3000, 4}, {6000, 4000, 400}};
	int towers = 0;

	for (size_t k = 0; k < sizeof(shape) / sizeof(shape[0]); k++)
	{
		Data d =
			make_data(shape[k].users, shape[k].items, 16, shape[k].groups, 1);
		double ndcg[3];

		for (int loss = LOSS_AUTO; loss <= LOSS_IALS; loss++)
		{
			JobConfig c = default_config();
			JobShared *job;

			c.loss = (JobLoss) loss;
			c.dim = 16;
			c.refit = 0;
			job = make_job(&d, &c, 2);
			CHECK(run(job, 2, -1, NULL) == RS_OK);
			CHECK(finite_vectors(job));
			ndcg[loss] = metric(job, "ndcg", 20, false);
			if (loss == LOSS_AUTO)
			{
				CHECK(strstr(job->output.choice, "NDCG@20 on held-out") !=
					  NULL);
				towers += strncmp(job->output.choice, "cosine towers", 13) == 0;
			}
			free(job);
		}
		printf("ndcg@20: default %.4f, towers %.4f, ALS %.4f\n", ndcg[0],
			   ndcg[1], ndcg[2]);
		CHECK(ndcg[0] > 0.97 * ndcg[1] && ndcg[0] > 0.97 * ndcg[2]);
		free_data(&d);
	}
	CHECK(towers == 1);
}

int
main(void)
{
	test_overfit();
	test_compared();
	test_time();
	test_time_of_choice();
	test_time_of_ials();
	test_noise();
	test_refit();
	test_learners();
	test_bytes();
	test_odd_data();
	test_memory();
	test_refusals();
	test_cancel();
	return check_summary();
}
