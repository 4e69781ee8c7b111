/*
 * test_softmax.c
 *		The deduplicated in-batch softmax against the loss row by row, its
 *		gradients (through one step of SGD) against the reference's, and the
 *		reference against finite differences.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/dense.h"
#include "math/rng.h"
#include "model/softmax.h"

#define USERS 12
#define ITEMS 9
#define DIM 6
#define ROWS 60
#define NEGATIVES 7

static int64_t user_ptr[USERS + 1];
static int64_t user_end[USERS];
static int64_t item_ptr[ITEMS + 1];
static int32_t item[ROWS * 2];
static int32_t row_user[ROWS * 2];
static int32_t row_item[ROWS * 2 + NEGATIVES]; /* of rows and negatives */
static Dataset ds;
static int n_rows;

static void
make_data(void)
{
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, 3, 0);
	n_rows = 0;
	for (int u = 0; u < USERS; u++)
	{
		user_ptr[u] = n;
		for (int i = 0; i < ITEMS && n < ROWS * 2 - 1; i++)
			if (rng_uniform(&rng) < 0.5)
			{
				item[n] = i;
				/* some pairs occur twice */
				for (int c = 0; c < 1 + (u + i) % 2; c++)
				{
					row_user[n_rows] = u;
					row_item[n_rows++] = i;
					item[n++] = i;
				}
			}
		user_end[u] = n;
	}
	user_ptr[USERS] = n;
	ds = (Dataset){.n_users = USERS,
				   .n_items = ITEMS,
				   .n = n,
				   .user_ptr = user_ptr,
				   .user_end = user_end,
				   .item = item,
				   .item_ptr = item_ptr};
}

/* the negatives of the first batch behind the rows' items, as the learner has
 * them, and the log of the sampling probability of each item */
static void
add_negatives(const SoftmaxConfig *c, double *log_q)
{
	double n[ITEMS] = {0};
	Rng rng;

	rng_init(&rng, c->seed, (1ULL << 42) + 1);
	for (int k = 0; k < c->negatives; k++)
		row_item[n_rows + k] = (int32_t) rng_below(&rng, ITEMS);
	for (int r = 0; r < n_rows; r++)
		n[row_item[r]]++;
	for (int i = 0; i < ITEMS; i++)
		log_q[i] = log(fmax((n[i] + (double) c->negatives / ITEMS) /
								(n_rows + c->negatives),
							1e-9));
}

static double
length(const float *x)
{
	double square = 0;

	for (int k = 0; k < DIM; k++)
		square += (double) x[k] * x[k];
	return sqrt(square);
}

/* unit rows of x (n) into to */
static void
unit_rows(float *to, const float *x, int n)
{
	for (int k = 0; k < n * DIM; k++)
		to[k] = (float) (x[k] / length(x + k / DIM * DIM));
}

/* from gradients of the unit rows of x (n) to those of x */
static void
chain_rule(double *grad, const float *x, int n)
{
	for (int r = 0; r < n; r++)
	{
		double l = length(x + r * DIM);
		double along = 0;

		for (int k = r * DIM; k < (r + 1) * DIM; k++)
			along += grad[k] * x[k] / l;
		for (int k = r * DIM; k < (r + 1) * DIM; k++)
			grad[k] = (grad[k] - along * x[k] / l) / l;
	}
}

/* loss and gradients of one batch of all rows; du, dv are overwritten */
static double
plain(const SoftmaxConfig *c, const float *u, const float *v, double *du,
	  double *dv)
{
	float unit_u[USERS * DIM];
	float unit_v[ITEMS * DIM];
	double log_q[ITEMS];
	double loss;

	add_negatives(c, log_q);
	memcpy(unit_u, u, sizeof(unit_u));
	memcpy(unit_v, v, sizeof(unit_v));
	memset(du, 0, sizeof(double) * USERS * DIM);
	memset(dv, 0, sizeof(double) * ITEMS * DIM);
	if (c->normalize)
	{
		unit_rows(unit_u, u, USERS);
		unit_rows(unit_v, v, ITEMS);
	}
	loss = softmax_plain(c, row_user, row_item, n_rows, unit_u, unit_v,
						 c->logq ? log_q : NULL, du, dv, ITEMS);
	if (c->normalize)
	{
		chain_rule(du, u, USERS);
		chain_rule(dv, v, ITEMS);
	}
	return loss;
}

/* the gradient of x[k] by a step to both sides */
static void
check_difference(const SoftmaxConfig *c, const float *u, const float *v,
				 float *x, double want)
{
	double du[USERS * DIM];
	double dv[ITEMS * DIM];
	float old = *x;
	double up;
	double down;

	*x = old + 1e-2f;
	up = plain(c, u, v, du, dv);
	*x = old - 1e-2f;
	down = plain(c, u, v, du, dv);
	*x = old;
	CHECK(fabs((up - down) / 2e-2 - want) < 2e-2 * (1 + fabs(want)));
}

static void
test_reference(const SoftmaxConfig *c)
{
	float u[USERS * DIM];
	float v[ITEMS * DIM];
	double du[USERS * DIM];
	double dv[ITEMS * DIM];
	Rng rng;

	rng_init(&rng, 8, 0);
	for (int k = 0; k < USERS * DIM; k++)
		u[k] = (float) rng_normal(&rng);
	for (int k = 0; k < ITEMS * DIM; k++)
		v[k] = (float) rng_normal(&rng);
	plain(c, u, v, du, dv);
	for (int k = 0; k < ITEMS * DIM; k += 5)
		check_difference(c, u, v, &v[k], dv[k]);
	for (int k = 0; k < USERS * DIM; k += 5)
		check_difference(c, u, v, &u[k], du[k]);
}

typedef struct Member
{
	Team team;
	const SoftmaxConfig *config;
	void *block;
	size_t size;
	float *u; /* what the first member has before the step */
	float *v;
	Softmax sm;
	double loss;
	RsStatus status;
} Member;

/* one epoch, one batch */
static void *
member_main(void *arg)
{
	Member *m = arg;
	JobProgress progress = {0};
	Arena arena;

	arena_init(&arena, m->block, m->size);
	m->status = softmax_init(&m->team, &arena, &ds, m->config, &m->sm);
	if (m->status == RS_OK && m->team.rank == 0)
	{
		memcpy(m->u, m->sm.u, sizeof(float) * USERS * DIM);
		memcpy(m->v, m->sm.v, sizeof(float) * ITEMS * DIM);
	}
	if (m->status == RS_OK)
		m->status = team_barrier(&m->team);
	if (m->status == RS_OK)
		m->status = softmax_epoch(&m->team, &m->sm, 1, &progress, &m->loss);
	return NULL;
}

/* one batch of all rows with SGD: the step is the gradient */
static void
test_step(SoftmaxConfig c, int members)
{
	float u[USERS * DIM];
	float v[ITEMS * DIM];
	double du[USERS * DIM];
	double dv[ITEMS * DIM];
	double want;
	TeamShared shared = {0};
	pthread_t thread[3];
	Member m[3];
	const Softmax *sm = &m[0].sm;
	size_t size;
	void *block;

	c.optimizer = OPTIMIZER_SGD;
	c.lr = 0.01f;
	size = softmax_size(&c, USERS, ITEMS, n_rows, members);
	block = aligned_alloc(64, (size + 63) / 64 * 64);
	memset(block, 0, size);
	for (int r = 1; r < members; r++)
	{
		m[r] = (Member){{&shared, r, members}, &c, block, size, .u = u, .v = v};
		pthread_create(&thread[r], NULL, member_main, &m[r]);
	}
	m[0] = (Member){{&shared, 0, members}, &c, block, size, .u = u, .v = v};
	member_main(&m[0]);
	for (int r = 1; r < members; r++)
		pthread_join(thread[r], NULL);
	CHECK(m[0].status == RS_OK);
	CHECK(sm->n_rows == n_rows);
	want = plain(&c, u, v, du, dv);
	CHECK(fabs(m[0].loss * n_rows - want) < 1e-4 * (1 + fabs(want)));
	for (int k = 0; k < USERS * DIM; k++)
		CHECK(fabs((u[k] - sm->u[k]) / 0.01 - du[k]) <
			  2e-3 * (1 + fabs(du[k])));
	for (int k = 0; k < ITEMS * DIM; k++)
		CHECK(fabs((v[k] - sm->v[k]) / 0.01 - dv[k]) <
			  2e-3 * (1 + fabs(dv[k])));
	for (int r = 0; r < members; r++)
		softmax_free(&m[r].sm);
	free(block);
}

static void
test_adagrad(void)
{
	float w[19];
	float a[19];
	float g[19];
	double worst = 0;

	for (int k = 0; k < 19; k++)
	{
		w[k] = 0.1f * (float) k;
		a[k] = 0.1f;
		g[k] = (float) (k - 9) * 0.3f;
	}
	dense.adagrad(w, a, g, 19, 0.1f, 1e-7f);
	for (int k = 0; k < 19; k++)
	{
		double sum = 0.1 + 0.09 * (k - 9) * (k - 9);

		worst = fmax(worst, fabs(a[k] - sum));
		worst = fmax(
			worst, fabs(w[k] - (0.1 * k - 0.03 * (k - 9) / sqrt(sum + 1e-7))));
	}
	CHECK(worst < 1e-5);
}

int
main(void)
{
	SoftmaxConfig base = {.dim = DIM,
						  .batch = ROWS * 2,
						  .temperature = 1,
						  .init = 0.5f,
						  .lr = 0.1f,
						  .seed = 1};

	make_data();
	for (int level = 0; level <= 2; level++)
	{
		if (dense_init(level) != level)
			continue;
		test_adagrad();
		for (int kind = 0; kind < 64; kind++)
		{
			SoftmaxConfig c = base;

			c.logq = kind & 1;
			c.remove_accidental = kind & 2;
			c.temperature = kind & 4 ? 0.3f : 1;
			c.all = kind & 8;
			c.negatives = kind & 16 ? NEGATIVES : 0;
			c.normalize = kind & 32;
			if (c.all && (c.logq || c.remove_accidental || c.negatives > 0))
				continue;
			test_reference(&c);
			for (int members = 1; members <= 3; members++)
				test_step(c, members);
			for (c.hard = 1; c.hard <= ITEMS; c.hard += 2)
				test_step(c, 1 + c.hard % 4 / 2);
		}
	}
	return check_summary();
}
