/*
 * test_sgd.c
 *		Biased matrix factorization by gradient against a plain one: the same
 *		first vectors, cells and order, every step in double precision.
 */
#include "check.h"
#include "rank_testing.h"

#include "model/normals.h"

#define USERS 60
#define ITEMS 47
#define DIM 5
#define SIDES 16 /* as rank_sgd.c cuts users and items */
#define MOST (USERS * ITEMS)

/* each pair at most once, in order of users and items, as trainings have it */
static TestRatings
make_ratings(bool wild)
{
	TestRatings x = {.n_users = USERS, .n_items = ITEMS};
	Rng rng;

	x.user = malloc(sizeof(int32_t) * MOST);
	x.item = malloc(sizeof(int32_t) * MOST);
	x.rating = malloc(sizeof(float) * MOST);
	rng_init(&rng, 4, 0);
	for (int32_t u = 0; u < USERS; u++)
		for (int32_t i = 0; i < ITEMS; i++)
			if (rng_uniform(&rng) < 0.1 + 0.01 * i && u != 7 && i != 3)
			{
				x.user[x.n] = u;
				x.item[x.n] = i;
				x.rating[x.n++] =
					(float) (1 + u % 3 + i % 2 + (int) rng_below(&rng, 2));
			}
	/* 20 deviations from the mean: a step is cut off there */
	if (wild)
		x.rating[x.n / 2] = 1000;
	return x;
}

typedef struct Plain
{
	double p[USERS][DIM + 1]; /* the bias last */
	double q[ITEMS][DIM + 1];
	double mean;
	double scale;
	int64_t order[MOST]; /* of the rows, in an epoch */
} Plain;

/* part of a row: where the ratings before it reach that share of all */
static int
part_of(const int64_t *before, int32_t row, int64_t n)
{
	int part = 0;

	for (int s = 1; s < SIDES; s++)
		if (before[row] >= n * s / SIDES)
			part = s;
	return part;
}

/* by diagonals of cells, shuffled within each */
static void
find_order(Plain *m, const TestRatings *x, uint64_t seed)
{
	int64_t users[USERS + 1] = {0};
	int64_t items[ITEMS + 1] = {0};
	int64_t n = 0;

	for (int64_t r = 0; r < x->n; r++)
	{
		for (int u = x->user[r] + 1; u <= USERS; u++)
			users[u]++;
		for (int i = x->item[r] + 1; i <= ITEMS; i++)
			items[i]++;
	}
	for (int d = 0; d < SIDES; d++)
		for (int s = 0; s < SIDES; s++)
		{
			int k = (s + d) % SIDES;
			int64_t first = n;
			Rng rng;

			for (int64_t r = 0; r < x->n; r++)
				if (part_of(users, x->user[r], x->n) == s &&
					part_of(items, x->item[r], x->n) == k)
					m->order[n++] = r;
			rng_init(&rng, seed, (uint64_t) (1000 + s * SIDES + k));
			for (int64_t r = n - 1; r > first; r--)
			{
				int64_t o = first + (int64_t) rng_below(
										&rng, (uint64_t) (r - first + 1));
				int64_t keep = m->order[r];

				m->order[r] = m->order[o];
				m->order[o] = keep;
			}
		}
}

static void
start(Plain *m, const TestRatings *x, uint64_t seed)
{
	float normal[DIM];

	memset(m, 0, sizeof(*m));
	for (int64_t r = 0; r < x->n; r++)
		m->mean += x->rating[r] / (double) x->n;
	for (int64_t r = 0; r < x->n; r++)
		m->scale += (x->rating[r] - m->mean) * (x->rating[r] - m->mean);
	m->scale = sqrt(m->scale / (double) x->n);
	for (int u = 0; u < USERS; u++)
	{
		normals_fill(seed, (uint64_t) u, normal, DIM);
		for (int f = 0; f < DIM; f++)
			m->p[u][f] = 0.1 * normal[f];
	}
	for (int i = 0; i < ITEMS; i++)
	{
		normals_fill(seed, 1ULL << 40 | (uint64_t) i, normal, DIM);
		for (int f = 0; f < DIM; f++)
			m->q[i][f] = 0.1 * normal[f];
	}
}

static void
plain_step(Plain *m, const TestRatings *x, int64_t r, double rate,
		   double lambda)
{
	double *p = m->p[x->user[r]];
	double *q = m->q[x->item[r]];
	double e = (x->rating[r] - m->mean) / m->scale - p[DIM] - q[DIM];

	for (int f = 0; f < DIM; f++)
		e -= p[f] * q[f];
	e = fmin(fmax(e, -10), 10);
	for (int f = 0; f < DIM; f++)
	{
		double old = p[f];

		p[f] += rate * (e * q[f] - lambda * p[f]);
		q[f] += rate * (e * old - lambda * q[f]);
	}
	/* biases are pulled a fifth as strongly */
	p[DIM] += rate * (e - 0.2 * lambda * p[DIM]);
	q[DIM] += rate * (e - 0.2 * lambda * q[DIM]);
}

static void
plain_train(Plain *m, const TestRatings *x, const JobConfig *c)
{
	double rate = isnan(c->learning_rate) ? 0.03 : c->learning_rate;
	double lambda = isnan(c->regularization) ? 0.08 : c->regularization;

	start(m, x, c->seed);
	find_order(m, x, c->seed);
	for (int e = 0; e < c->epochs; e++)
		for (int64_t k = 0; k < x->n; k++)
			plain_step(m, x, m->order[k], rate * (1 - 0.9 * e / c->epochs),
					   lambda);
}

/* the stored rows: factors in the ratings' unit on the users' side, biases */
static double
worst_difference(const Plain *m, const JobShared *job)
{
	const float *u = job_at(job, job->output.user_ranking);
	const float *v = job_at(job, job->output.item_ranking);
	double worst = 0;

	for (int r = 0; r < USERS; r++, u += DIM + 2)
	{
		for (int f = 0; f < DIM; f++)
			worst = fmax(worst, fabs(u[f] / m->scale - m->p[r][f]));
		worst = fmax(worst, fabs((u[DIM] - m->mean) / m->scale - m->p[r][DIM]));
		CHECK(u[DIM + 1] == 1);
	}
	for (int r = 0; r < ITEMS; r++, v += DIM + 2)
	{
		for (int f = 0; f < DIM; f++)
			worst = fmax(worst, fabs(v[f] - m->q[r][f]));
		worst = fmax(worst, fabs(v[DIM + 1] / m->scale - m->q[r][DIM]));
		CHECK(v[DIM] == 1);
	}
	return worst;
}

static void
test_against_plain(const JobConfig *c, bool wild)
{
	static Plain plain;
	TestRatings x = make_ratings(wild);

	plain_train(&plain, &x, c);
	for (int workers = 1; workers <= 2; workers++)
	{
		JobShared *job = test_job(&x, c, workers);
		double worst;

		CHECK(test_run(job) == RS_OK);
		CHECK(job->output.user_ranking_dim == DIM + 2 &&
			  job->output.item_ranking_dim == DIM + 2);
		worst = worst_difference(&plain, job);
		printf("%d epochs, %d workers: off by %.1e at most\n", c->epochs,
			   workers, worst);
		CHECK(worst < 5e-6);
		free(job);
	}
	test_free(&x);
}

int
main(void)
{
	JobConfig c = test_config();

	c.ranking_loss = LOSS_SGD;
	c.valid_fraction = 0;
	c.dim = DIM;
	for (c.epochs = 1; c.epochs <= 25; c.epochs += 12)
		test_against_plain(&c, false);
	c.learning_rate = 0.1f;
	c.regularization = 0.3f;
	c.epochs = 4;
	test_against_plain(&c, false);
	test_against_plain(&c, true);
	return check_summary();
}
