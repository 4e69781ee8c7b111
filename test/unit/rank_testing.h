/*
 * rank_testing.h
 *		A whole job on threads, and ratings for the tests of the ranking stage.
 */
#ifndef RECSYS_RANK_TESTING_H
#define RECSYS_RANK_TESTING_H

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "model/job.h"
#include "model/predict.h"

typedef struct TestMember
{
	pthread_t thread;
	JobShared *job;
	int rank;
	RsStatus status;
} TestMember;

typedef struct TestRatings
{
	int64_t n;
	int32_t n_users;
	int32_t n_items;
	int32_t *user;
	int32_t *item;
	float *rating;
	int32_t n_places; /* categories of the context, 0: none */
	int32_t *place;   /* (n) -1: not known */
	int32_t n_kinds;  /* categories of items, 0: none */
	int32_t *kind;    /* (n_items) */
} TestRatings;

static inline void *
test_member(void *arg)
{
	TestMember *m = arg;
	Team team = {&m->job->team, m->rank, m->job->workers};

	m->status = job_run(&team, m->job);
	return NULL;
}

static inline JobConfig
test_config(void)
{
	JobConfig c = {0};

	c.ranking = true;
	c.n_hidden = c.patience = c.refit = c.implicit = -1;
	c.seed = 42;
	c.learning_rate = c.regularization = NAN;
	c.min_rating = c.max_rating = NAN;
	return c;
}

/* a category for each of n rows as encoded columns, from `at` in the block */
static inline size_t
test_features(int64_t n_rows, int32_t n_cols, const int32_t *category,
			  size_t at, JobFeatures *f)
{
	size_t n = (size_t) n_rows;

	memset(f, 0, sizeof(*f));
	if (n_cols == 0)
		return at;
	f->n_rows = (int32_t) n_rows;
	f->n_cols = n_cols;
	f->n_groups = 1;
	f->group_start[1] = n_cols;
	for (size_t r = 0; r < n; r++)
		f->nnz += category[r] >= 0;
	f->ptr = at;
	f->col = f->ptr + ((8 * (n + 1) + 63) & ~(size_t) 63);
	f->val = f->col + ((4 * n + 63) & ~(size_t) 63);
	return f->val + ((4 * n + 63) & ~(size_t) 63);
}

static inline void
test_fill_features(JobShared *job, const JobFeatures *f,
				   const int32_t *category)
{
	int64_t *ptr = job_at(job, f->ptr);
	int32_t *col = job_at(job, f->col);
	float *val = job_at(job, f->val);
	int64_t at = 0;

	for (int32_t r = 0; r < f->n_rows; r++)
	{
		ptr[r] = at;
		if (category[r] >= 0)
		{
			col[at] = category[r];
			val[at++] = 1;
		}
		ptr[r + 1] = at;
	}
}

/* the block of a job over these ratings; free it with free */
static inline JobShared *
test_job(const TestRatings *x, const JobConfig *config, int workers)
{
	JobInput in = {.n = x->n, .n_users = x->n_users, .n_items = x->n_items};
	size_t n = (size_t) x->n;
	size_t head = (sizeof(JobShared) + 63) & ~(size_t) 63;
	size_t column = (4 * n + 63) & ~(size_t) 63;
	size_t start;
	size_t arena;
	JobShared *job;

	in.user = head;
	in.item = head + column;
	in.rating = head + 2 * column;
	start = test_features(x->n, x->n_places, x->place, head + 3 * column,
						  &in.context);
	start = test_features(x->n_items, x->n_kinds, x->kind, start, &in.items);
	arena = job_arena_size(config, &in, workers);
	job = aligned_alloc(64, (start + arena + 63) & ~(size_t) 63);
	/* not zero: learners must not rely on it */
	memset(job, 0x5a, start + arena);
	memset(job, 0, head);
	job->magic = JOB_MAGIC;
	job->workers = workers;
	job->size = start + arena;
	job->arena = start;
	job->config = *config;
	job->input = in;
	memcpy(job_at(job, in.user), x->user, 4 * n);
	memcpy(job_at(job, in.item), x->item, 4 * n);
	memcpy(job_at(job, in.rating), x->rating, 4 * n);
	test_fill_features(job, &job->input.context, x->place);
	test_fill_features(job, &job->input.items, x->kind);
	return job;
}

/* what all members say, or they have not stopped together */
static inline RsStatus
test_run(JobShared *job)
{
	TestMember m[8];

	for (int w = 0; w < job->workers; w++)
	{
		m[w].job = job;
		m[w].rank = w;
		pthread_create(&m[w].thread, NULL, test_member, &m[w]);
	}
	for (int w = 0; w < job->workers; w++)
		pthread_join(m[w].thread, NULL);
	for (int w = 1; w < job->workers; w++)
		if (m[w].status != m[0].status)
			abort();
	return m[0].status;
}

/* prediction of a finished job; NAN when it gives none */
static inline float
test_predict(const JobShared *job, int32_t user, int32_t item)
{
	const JobOutput *out = &job->output;
	const float *users = job_at(job, out->user_ranking);
	const float *items = job_at(job, out->item_ranking);
	PredictParam params[JOB_MAX_PARAMS];
	Predictor p;
	float *scratch;
	float y;
	int n = predict_params_of_job(job, params);

	if (predict_init(&p, out->ranking, out->user_ranking_dim,
					 out->item_ranking_dim, params, n, NULL) != RS_OK)
		return NAN;
	scratch = malloc(sizeof(float) * (predict_scratch(&p) + 1));
	y = predict_one(&p, users + (size_t) user * (size_t) p.user_dim,
					items + (size_t) item * (size_t) p.item_dim, scratch);
	free(scratch);
	return y;
}

/* a low-rank table with noise: users x items, some of it seen, 1 to 5 */
static inline TestRatings
test_ratings(int32_t n_users, int32_t n_items, int64_t n, uint64_t seed,
			 bool rounded)
{
	TestRatings x = {.n = n, .n_users = n_users, .n_items = n_items};
	float *u = malloc(sizeof(float) * 3 * (size_t) n_users);
	float *v = malloc(sizeof(float) * 3 * (size_t) n_items);
	Rng rng;

	x.user = malloc(4 * (size_t) n);
	x.item = malloc(4 * (size_t) n);
	x.rating = malloc(4 * (size_t) n);
	rng_init(&rng, seed, 1);
	for (int k = 0; k < 3 * n_users; k++)
		u[k] = (float) rng_normal(&rng) * 0.7f;
	for (int k = 0; k < 3 * n_items; k++)
		v[k] = (float) rng_normal(&rng) * 0.7f;
	for (int64_t r = 0; r < n; r++)
	{
		int32_t a = (int32_t) rng_below(&rng, (uint64_t) n_users);
		int32_t b = (int32_t) rng_below(&rng, (uint64_t) n_items);
		double y = 3 + u[3 * a] * v[3 * b] + u[3 * a + 1] * v[3 * b + 1] +
				   0.5 * u[3 * a + 2] + 0.5 * v[3 * b + 2] +
				   0.3 * rng_normal(&rng);

		y = fmin(fmax(y, 1), 5);
		x.user[r] = a;
		x.item[r] = b;
		x.rating[r] = (float) (rounded ? rint(y) : y);
	}
	free(u);
	free(v);
	return x;
}

static inline void
test_free(TestRatings *x)
{
	free(x->user);
	free(x->item);
	free(x->rating);
	free(x->place);
	free(x->kind);
}

static inline double
test_metric(const JobShared *job, const char *name, bool baseline)
{
	for (int k = 0; k < job->output.n_metrics; k++)
		if (strcmp(job->output.metrics[k].name, name) == 0)
			return baseline ? job->output.metrics[k].baseline
							: job->output.metrics[k].value;
	return NAN;
}

/* the same vectors, byte for byte */
static inline bool
test_same_output(const JobShared *a, const JobShared *b)
{
	size_t nu = (size_t) a->input.n_users * (size_t) a->output.user_ranking_dim;
	size_t ni = (size_t) a->input.n_items * (size_t) a->output.item_ranking_dim;

	return a->output.user_ranking_dim == b->output.user_ranking_dim &&
		   memcmp(job_at(a, a->output.user_ranking),
				  job_at(b, b->output.user_ranking), nu * 4) == 0 &&
		   memcmp(job_at(a, a->output.item_ranking),
				  job_at(b, b->output.item_ranking), ni * 4) == 0;
}

#endif
