/*
 * test_dataset.c
 *		Canonical order whatever the input's order and the team's size,
 *		duplicates, positives, and the splits.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/rng.h"
#include "model/dataset.h"
#include "model/split.h"

#define USERS 40
#define ITEMS 60
#define N 3000

typedef struct Row
{
	int32_t user;
	int32_t item;
	float rating;
	double time;
} Row;

static Row rows[N];

/* distinct times, so that the order of the rows cannot matter */
static void
make_rows(void)
{
	Rng rng;

	rng_init(&rng, 1, 0);
	for (int k = 0; k < N; k++)
		rows[k] = (Row){(int32_t) rng_below(&rng, USERS - 1),
						(int32_t) rng_below(&rng, ITEMS - 1),
						(float) (1 + rng_below(&rng, 5)), 1000 + k};
}

static void
shuffle_rows(uint64_t seed)
{
	Rng rng;

	rng_init(&rng, seed, 0);
	for (int k = N - 1; k > 0; k--)
	{
		int j = (int) rng_below(&rng, (uint64_t) k + 1);
		Row t = rows[k];

		rows[k] = rows[j];
		rows[j] = t;
	}
}

static JobShared *
make_job(int64_t n, bool times)
{
	size_t size = sizeof(JobShared) + (size_t) n * 20 + (1 << 20);
	JobShared *job = aligned_alloc(64, (size + 63) / 64 * 64);
	char *at = (char *) job + sizeof(JobShared);
	double *time = (double *) at;
	int32_t *user = (int32_t *) (time + n);
	int32_t *item = user + n;
	float *rating = (float *) (item + n);

	memset(job, 0, size);
	job->size = size;
	for (int64_t k = 0; k < n; k++)
	{
		time[k] = rows[k].time;
		user[k] = rows[k].user;
		item[k] = rows[k].item;
		rating[k] = rows[k].rating;
	}
	job->input = (JobInput){.n = n,
							.n_users = USERS,
							.n_items = ITEMS,
							.user = job_offset(job, user),
							.item = job_offset(job, item),
							.rating = job_offset(job, rating),
							.time = times ? job_offset(job, time) : 0};
	job->arena =
		((size_t) ((char *) (rating + n) - (char *) job) + 63) & ~(size_t) 63;
	return job;
}

typedef struct Member
{
	Team team;
	JobShared *job;
	const DatasetOptions *opt;
	int split; /* -1: none */
	Dataset ds;
	RsStatus st;
} Member;

static void *
member_main(void *arg)
{
	Member *m = arg;
	Arena arena;

	arena_init(&arena, job_at(m->job, m->job->arena),
			   m->job->size - m->job->arena);
	m->st = dataset_build(&m->team, &arena, m->job, m->opt, &m->ds);
	if (m->st == RS_OK && m->split >= 0)
		m->st = dataset_split(&m->team, &m->ds, (JobSplit) m->split, 0.2, 7);
	return NULL;
}

/* the result of rank 0; the job's memory holds the arrays */
static RsStatus
build(JobShared *job, int n, const DatasetOptions *opt, int split, Dataset *ds)
{
	TeamShared shared = {0};
	Member m[4];
	pthread_t thread[4];

	for (int r = 0; r < n; r++)
	{
		m[r] = (Member){
			.team = {&shared, r, n}, .job = job, .opt = opt, .split = split};
		pthread_create(&thread[r], NULL, member_main, &m[r]);
	}
	for (int r = 0; r < n; r++)
		pthread_join(thread[r], NULL);
	*ds = m[0].ds;
	return m[0].st;
}

static bool
same(const Dataset *a, const Dataset *b)
{
	return a->n == b->n && a->n_held == b->n_held &&
		   memcmp(a->user_ptr, b->user_ptr, 8 * (USERS + 1)) == 0 &&
		   memcmp(a->user_end, b->user_end, 8 * USERS) == 0 &&
		   memcmp(a->item, b->item, 4 * (size_t) a->n) == 0 &&
		   memcmp(a->rating, b->rating, 4 * (size_t) a->n) == 0 &&
		   memcmp(a->item_ptr, b->item_ptr, 8 * (ITEMS + 1)) == 0 &&
		   memcmp(a->item_end, b->item_end, 8 * ITEMS) == 0 &&
		   memcmp(a->user, b->user, 4 * (size_t) a->n) == 0 &&
		   memcmp(a->row, b->row, 8 * (size_t) a->n) == 0;
}

/* both lists say the same, ascending within each part */
static void
check_lists(const Dataset *ds)
{
	int64_t held = 0;

	CHECK(ds->user_ptr[USERS] == ds->n && ds->item_ptr[ITEMS] == ds->n);
	for (int32_t u = 0; u < USERS; u++)
		for (int64_t r = ds->user_ptr[u]; r < ds->user_ptr[u + 1]; r++)
		{
			bool first = r == ds->user_ptr[u] || r == ds->user_end[u];

			CHECK(first || ds->item[r] > ds->item[r - 1]);
			held += r >= ds->user_end[u];
		}
	CHECK(held == ds->n_held);
	for (int32_t i = 0; i < ITEMS; i++)
		for (int64_t k = ds->item_ptr[i]; k < ds->item_ptr[i + 1]; k++)
		{
			int32_t u = ds->user[k];
			int64_t r = ds->row[k];

			CHECK(ds->item[r] == i && r >= ds->user_ptr[u] &&
				  r < ds->user_ptr[u + 1]);
			CHECK((k >= ds->item_end[i]) == (r >= ds->user_end[u]));
		}
}

/* the latest rating of a pair, by looking at all rows */
static void
check_latest(const Dataset *ds)
{
	for (int32_t u = 0; u < USERS; u++)
		for (int64_t r = ds->user_ptr[u]; r < ds->user_ptr[u + 1]; r++)
		{
			const Row *best = NULL;

			for (int k = 0; k < N; k++)
				if (rows[k].user == u && rows[k].item == ds->item[r] &&
					(best == NULL || rows[k].time >= best->time))
					best = &rows[k];
			CHECK(best != NULL && best->rating == ds->rating[r] &&
				  best->time == ds->time[r]);
		}
}

static void
test_order(void)
{
	DatasetOptions opt = {.ratings = true, .times = true, .rows = true};

	for (int split = -1; split <= SPLIT_LAST; split++)
	{
		JobShared *first = make_job(N, true);
		Dataset a;

		CHECK(build(first, 1, &opt, split, &a) == RS_OK);
		check_lists(&a);
		check_latest(&a);
		CHECK(a.n + a.n_duplicates == N && a.n_duplicates > 0);
		for (int n = 1; n <= 4; n++)
		{
			JobShared *job;
			Dataset b;

			shuffle_rows((uint64_t) n);
			job = make_job(N, true);
			opt.consume = n % 2 == 0;
			CHECK(build(job, n, &opt, split, &b) == RS_OK);
			CHECK((job_offset(job, b.user) == job->input.user) == opt.consume);
			CHECK(same(&a, &b));
			free(job);
		}
		free(first);
	}
}

static void
test_splits(void)
{
	DatasetOptions opt = {.ratings = true, .times = true, .rows = true};
	JobShared *job = make_job(N, true);
	double newest = 0;
	double oldest = 1e18;
	Dataset ds;
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};

	CHECK(build(job, 1, &opt, SPLIT_RANDOM, &ds) == RS_OK);
	CHECK(ds.n_held == (int64_t) ((double) ds.n * 0.2 + 0.5));
	CHECK(dataset_split(&team, &ds, SPLIT_TIME, 0.1, 7) == RS_OK);
	check_lists(&ds);
	CHECK(ds.n_held == (int64_t) ((double) ds.n * 0.1 + 0.5));
	for (int32_t u = 0; u < USERS; u++)
		for (int64_t r = ds.user_ptr[u]; r < ds.user_ptr[u + 1]; r++)
			if (r < ds.user_end[u])
				newest = ds.time[r] > newest ? ds.time[r] : newest;
			else
				oldest = ds.time[r] < oldest ? ds.time[r] : oldest;
	CHECK(newest < oldest);
	CHECK(dataset_split(&team, &ds, SPLIT_LAST, 0, 7) == RS_OK);
	check_lists(&ds);
	for (int32_t u = 0; u < USERS; u++)
	{
		int64_t n = ds.user_ptr[u + 1] - ds.user_ptr[u];

		CHECK(ds.user_ptr[u + 1] - ds.user_end[u] == (n > 1));
	}
	CHECK(dataset_unsplit(&team, &ds) == RS_OK);
	check_lists(&ds);
	CHECK(ds.n_held == 0);
	CHECK(dataset_split(&team, &ds, SPLIT_RANDOM, 1, 7) == RS_OK);
	CHECK(ds.n_held == ds.n - 1);
	CHECK(dataset_split(&team, &ds, SPLIT_RANDOM, -1, 7) == RS_INVALID);
	free(job);
	job = make_job(N, false);
	CHECK(build(job, 1, &opt, SPLIT_TIME, &ds) == RS_INVALID);
	free(job);
}

/* each comparison keeps what its opposite leaves out */
static void
check_positive(JobShared *job)
{
	static const JobPositive opposite[][2] = {{POSITIVE_GE, POSITIVE_LT},
											  {POSITIVE_GT, POSITIVE_LE},
											  {POSITIVE_EQ, POSITIVE_NE}};

	for (int k = 0; k < 3; k++)
	{
		int64_t kept = 0;

		for (int side = 0; side < 2; side++)
		{
			DatasetOptions opt = {.repeats = true,
								  .ratings = true,
								  .positive_kind = opposite[k][side],
								  .positive_value = 3};
			Dataset ds;

			CHECK(build(job, 2, &opt, -1, &ds) == RS_OK);
			CHECK(ds.n > 0);
			for (int64_t r = 0; r < ds.n; r++)
				CHECK(job_is_positive(opposite[k][side], 3, ds.rating[r]));
			kept += ds.n;
		}
		CHECK(kept == N);
	}
}

/* how often a pair occurs takes the place of ratings, where there are none */
static void
check_counts(void)
{
	DatasetOptions opt = {.counts = true, .rows = true};
	JobShared *job = make_job(N, false);
	int64_t total = 0;
	Dataset ds;

	CHECK(build(job, 2, &opt, -1, &ds) == RS_OK && ds.rating == NULL);
	job->input.rating = 0;
	for (int n = 1; n <= 3; n++)
	{
		CHECK(build(job, n, &opt, SPLIT_RANDOM, &ds) == RS_OK);
		CHECK(ds.n_duplicates > 0 && ds.n_held > 0);
		total = 0;
		for (int32_t u = 0; u < ds.n_users; u++)
			for (int64_t r = ds.user_ptr[u]; r < ds.user_ptr[u + 1]; r++)
			{
				int count = 0;

				for (int k = 0; k < N; k++)
					count += rows[k].user == u && rows[k].item == ds.item[r];
				CHECK(ds.rating[r] == (float) count);
				total += count;
			}
		CHECK(total == N);
	}
	opt.repeats = true;
	CHECK(build(job, 2, &opt, -1, &ds) == RS_OK && ds.rating == NULL);
	free(job);
}

static void
test_options(void)
{
	DatasetOptions opt = {.repeats = true};
	JobShared *job = make_job(N, true);
	Dataset ds;
	double sum = 0;

	CHECK(build(job, 2, &opt, -1, &ds) == RS_OK);
	CHECK(ds.n == N && ds.n_duplicates == 0);
	CHECK(ds.rating == NULL && ds.time == NULL);
	/* with ratings, and split: every row's own one */
	opt.ratings = true;
	CHECK(build(job, 2, &opt, SPLIT_RANDOM, &ds) == RS_OK);
	CHECK(ds.n == N && ds.n_held == (int64_t) (N * 0.2 + 0.5));
	for (int k = 0; k < N; k++)
		sum += (double) rows[k].rating * (rows[k].item + 1);
	for (int64_t r = 0; r < ds.n; r++)
		sum -= (double) ds.rating[r] * (ds.item[r] + 1);
	CHECK(fabs(sum) < 1e-6);
	opt = (DatasetOptions){
		.ratings = true, .positive_kind = POSITIVE_GE, .positive_value = 4};
	CHECK(build(job, 2, &opt, -1, &ds) == RS_OK);
	for (int64_t r = 0; r < ds.n; r++)
		CHECK(ds.rating[r] >= 4);
	CHECK(ds.n + ds.n_duplicates + ds.n_filtered == N && ds.n_filtered > 0);
	opt.positive_value = 6;
	CHECK(build(job, 2, &opt, -1, &ds) == RS_OK && ds.n == 0);
	check_positive(job);
	free(job);
	job = make_job(1, true);
	opt.positive_kind = POSITIVE_ALL;
	opt.times = true;
	CHECK(build(job, 3, &opt, SPLIT_LAST, &ds) == RS_OK);
	CHECK(ds.n == 1 && ds.n_held == 0);
	free(job);
}

int
main(void)
{
	make_rows();
	test_order();
	test_splits();
	test_options();
	check_counts();
	return check_summary();
}
