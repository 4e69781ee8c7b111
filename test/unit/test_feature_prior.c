/*
 * test_feature_prior.c
 *		Conjugate gradients against the normal equations, degenerate features,
 *		equal bytes for teams of every size.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/dense.h"
#include "math/rng.h"
#include "model/feature_prior.h"

#define ROWS 200
#define COLS 12
#define LD 16

static char block[1 << 20] __attribute__((aligned(64)));
static float factors[ROWS * LD];

/* a job with nothing but features: cols of one value and a numeric one */
static JobShared *
make_job(int kind)
{
	JobShared *job = (JobShared *) block;
	char *at = block + sizeof(JobShared);
	int64_t *ptr;
	int32_t *col;
	float *val;
	int64_t n = 0;
	Rng rng;

	memset(block, 0, sizeof(block));
	at = block + ((sizeof(JobShared) + 63) & ~(size_t) 63);
	ptr = (int64_t *) at;
	col = (int32_t *) (ptr + ROWS + 1);
	val = (float *) (col + ROWS * 3);
	rng_init(&rng, 9, (uint64_t) kind);
	for (int r = 0; r < ROWS; r++)
	{
		ptr[r] = n;
		if (kind == 1)
			continue; /* all NULL */
		col[n] = kind == 2 ? 0 : (int32_t) rng_below(&rng, COLS - 2);
		val[n++] = 1;
		col[n] = COLS - 2;
		val[n++] = kind == 3 ? 1e6f : (float) rng_normal(&rng);
	}
	ptr[ROWS] = n;
	job->input.items = (JobFeatures){.n_rows = ROWS,
									 .n_cols = COLS,
									 .n_groups = 1,
									 .nnz = n,
									 .ptr = job_offset(job, ptr),
									 .col = job_offset(job, col),
									 .val = job_offset(job, val)};
	job->arena =
		(size_t) ((char *) (val + ROWS * 3) - block + 63) & ~(size_t) 63;
	job->size = sizeof(block);
	return job;
}

static void
make_factors(void)
{
	Rng rng;

	rng_init(&rng, 4, 0);
	for (int k = 0; k < ROWS * LD; k++)
		factors[k] = (float) rng_normal(&rng) + (float) (k % LD) * 0.1f;
}

static double
feature(const FeaturePrior *fp, int r, int c)
{
	double x = c == COLS;

	for (int64_t k = fp->ptr[r]; k < fp->ptr[r + 1]; k++)
		if (fp->col[k] == c)
			x += fp->val[k];
	return x;
}

/* largest entry of F^T W (w - F A) - ridge A, ridge found from column 0 */
static double
residual(const FeaturePrior *fp, double ridge)
{
	double worst = 0;

	for (int c = 0; c <= COLS; c++)
		for (int k = 0; k < LD; k++)
		{
			double s = -ridge * fp->a[c * LD + k];
			double size = 1;

			for (int r = 0; r < ROWS; r++)
			{
				double f = fp->weight[r] * feature(fp, r, c);

				s += f * (factors[r * LD + k] - fp->prior[r * LD + k]);
				size += fabs(f);
			}
			worst = fmax(worst, fabs(s) / size);
		}
	return worst;
}

static void
test_fit(int kind)
{
	JobShared *job = make_job(kind);
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	Arena arena;
	FeaturePrior fp;
	double total = 0;

	arena_init(&arena, job_at(job, job->arena), job->size - job->arena);
	CHECK(feature_prior_init(&arena, job, &job->input.items, LD, &fp) == RS_OK);
	CHECK(arena.used <= feature_prior_size(&job->input.items, LD));
	for (int r = 0; r < ROWS; r++)
		total += fp.weight[r] = 1 + (float) (r % 7);
	CHECK(feature_prior_fit(&team, &fp, LD, factors) == RS_OK);
	for (int k = 0; k < ROWS * LD; k++)
		CHECK(isfinite(fp.prior[k]) && fabsf(fp.prior[k]) < 1e3f);
	/* the ridge is a multiple of the mean weight: see RIDGE */
	if (kind < 3)
		CHECK(residual(&fp, 30 * total / ROWS) < 2e-3);
	/* without features everything has the same prior */
	if (kind == 1)
		CHECK(memcmp(fp.prior, fp.prior + LD, LD * sizeof(float)) == 0);
}

typedef struct Member
{
	Team team;
	FeaturePrior fp;
} Member;

static void *
member_main(void *arg)
{
	Member *m = arg;

	feature_prior_fit(&m->team, &m->fp, LD, factors);
	return NULL;
}

static void
test_teams(void)
{
	static float first[ROWS * LD];

	for (int n = 1; n <= 4; n++)
	{
		JobShared *job = make_job(0);
		TeamShared shared = {0};
		Member m[4];
		pthread_t thread[4];
		Arena arena;

		for (int r = 0; r < n; r++)
		{
			arena_init(&arena, job_at(job, job->arena), job->size - job->arena);
			m[r].team = (Team){&shared, r, n};
			feature_prior_init(&arena, job, &job->input.items, LD, &m[r].fp);
		}
		for (int r = 0; r < ROWS; r++)
			m[0].fp.weight[r] = 1;
		for (int r = 0; r < n; r++)
			pthread_create(&thread[r], NULL, member_main, &m[r]);
		for (int r = 0; r < n; r++)
			pthread_join(thread[r], NULL);
		if (n == 1)
			memcpy(first, m[0].fp.prior, sizeof(first));
		CHECK(memcmp(first, m[0].fp.prior, sizeof(first)) == 0);
	}
}

int
main(void)
{
	make_factors();
	dense_init(-1);
	for (int kind = 0; kind < 4; kind++)
		test_fit(kind);
	test_teams();
	return check_summary();
}
