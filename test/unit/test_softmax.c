/*
 * test_softmax.c
 *		The deduplicated in-batch softmax against the loss row by row, its
 *		gradients (through one step of SGD) against the reference's, and the
 *		reference against finite differences.
 */
#include <math.h>
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

static int64_t user_ptr[USERS + 1];
static int64_t user_end[USERS];
static int64_t item_ptr[ITEMS + 1];
static int32_t item[ROWS * 2];
static int32_t row_user[ROWS * 2];
static int32_t row_item[ROWS * 2];
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

/* log of the sampling probability of each item, as the learner has it */
static void
log_probability(double *log_q)
{
	double n[ITEMS] = {0};

	for (int r = 0; r < n_rows; r++)
		n[row_item[r]]++;
	for (int i = 0; i < ITEMS; i++)
		log_q[i] = log(fmax(n[i] / n_rows, 1e-9));
}

static void
test_reference(const SoftmaxConfig *c)
{
	float u[USERS * DIM];
	float v[ITEMS * DIM];
	double du[USERS * DIM] = {0};
	double dv[ITEMS * DIM] = {0};
	double none[(USERS + ITEMS) * DIM];
	double log_q[ITEMS];
	Rng rng;

	rng_init(&rng, 8, 0);
	log_probability(log_q);
	for (int k = 0; k < USERS * DIM; k++)
		u[k] = (float) rng_normal(&rng);
	for (int k = 0; k < ITEMS * DIM; k++)
		v[k] = (float) rng_normal(&rng);
#define LOSS()                                                                 \
	softmax_plain(c, row_user, row_item, n_rows, u, v, c->logq ? log_q : NULL, \
				  none, none, ITEMS)
	softmax_plain(c, row_user, row_item, n_rows, u, v, c->logq ? log_q : NULL,
				  du, dv, ITEMS);
	for (int k = 0; k < ITEMS * DIM; k += 5)
	{
		float old = v[k];
		double up;
		double down;

		v[k] = old + 1e-2f;
		up = LOSS();
		v[k] = old - 1e-2f;
		down = LOSS();
		v[k] = old;
		CHECK(fabs((up - down) / 2e-2 - dv[k]) < 2e-2 * (1 + fabs(dv[k])));
	}
	for (int k = 0; k < USERS * DIM; k += 5)
	{
		float old = u[k];
		double up;
		double down;

		u[k] = old + 1e-2f;
		up = LOSS();
		u[k] = old - 1e-2f;
		down = LOSS();
		u[k] = old;
		CHECK(fabs((up - down) / 2e-2 - du[k]) < 2e-2 * (1 + fabs(du[k])));
	}
}

/* one batch of all rows with SGD: the step is the gradient */
static void
test_step(SoftmaxConfig c)
{
	size_t size;
	void *block;
	float u[USERS * DIM];
	float v[ITEMS * DIM];
	double du[USERS * DIM] = {0};
	double dv[ITEMS * DIM] = {0};
	double log_q[ITEMS];
	double want;
	double loss;
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	JobProgress progress = {0};
	Arena arena;
	Softmax sm;

	c.optimizer = OPTIMIZER_SGD;
	c.lr = 0.01f;
	size = softmax_size(&c, USERS, ITEMS, n_rows, 1);
	block = aligned_alloc(64, (size + 63) / 64 * 64);
	memset(block, 0, size);
	arena_init(&arena, block, size);
	CHECK(softmax_init(&team, &arena, &ds, &c, &sm) == RS_OK);
	CHECK(sm.n_rows == n_rows);
	memcpy(u, sm.u, sizeof(u));
	memcpy(v, sm.v, sizeof(v));
	log_probability(log_q);
	want = softmax_plain(&c, row_user, row_item, n_rows, u, v,
						 c.logq ? log_q : NULL, du, dv, ITEMS);
	CHECK(softmax_epoch(&team, &sm, 1, &progress, &loss) == RS_OK);
	CHECK(fabs(loss * n_rows - want) < 1e-4 * (1 + fabs(want)));
	for (int k = 0; k < USERS * DIM; k++)
		CHECK(fabs((u[k] - sm.u[k]) / 0.01 - du[k]) < 2e-3 * (1 + fabs(du[k])));
	for (int k = 0; k < ITEMS * DIM; k++)
		CHECK(fabs((v[k] - sm.v[k]) / 0.01 - dv[k]) < 2e-3 * (1 + fabs(dv[k])));
	softmax_free(&sm);
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
		for (int kind = 0; kind < 16; kind++)
		{
			SoftmaxConfig c = base;

			c.logq = kind & 1;
			c.remove_accidental = kind & 2;
			c.temperature = kind & 4 ? 0.3f : 1;
			c.all = kind & 8;
			if (c.all && (c.logq || c.remove_accidental))
				continue;
			test_reference(&c);
			test_step(c);
			for (c.hard = 1; c.hard <= ITEMS; c.hard += 2)
				test_step(c);
		}
	}
	return check_summary();
}
