/*
 * test_tower_query.c
 *		The users' tower alone: the last items of a user and their mean, the
 *		context, and gradients against finite differences.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model/tower_query.h"

#define USERS 40
#define ITEMS 30
#define DIM 4
#define COLUMNS 6
#define BATCH 12
#define MOST_ROWS (USERS * ITEMS)

static char block[1 << 20] __attribute__((aligned(64)));
static int64_t user_ptr[USERS + 1];
static int64_t user_end[USERS];
static int32_t item[MOST_ROWS];
static double moments[MOST_ROWS];
static Dataset ds = {.n_users = USERS,
					 .n_items = ITEMS,
					 .user_ptr = user_ptr,
					 .user_end = user_end,
					 .item = item,
					 .time = moments};

/* users 0 .. 3 have 0 .. 3 items; items rise, times do not, many are equal */
static void
make_data(void)
{
	Rng rng;

	rng_init(&rng, 4, 0);
	ds.n = 0;
	for (int u = 0; u < USERS; u++)
	{
		double share = u < 4 ? 1 : 0.5;
		int most = u < 4 ? u : ITEMS;

		user_ptr[u] = ds.n;
		for (int i = 0; i < ITEMS && ds.n - user_ptr[u] < most; i++)
			if (rng_uniform(&rng) < share)
			{
				item[ds.n] = i;
				moments[ds.n++] = (double) rng_below(&rng, 8);
			}
		user_end[u] = ds.n - (ds.n - user_ptr[u]) / 3;
	}
	user_ptr[USERS] = ds.n;
}

static TowerQuery
start(int n_history, int n_cols, bool all)
{
	static TeamShared shared;
	static JobShared job;
	Team team = {&shared, 0, 1};
	Arena arena;
	TowerQuery q;

	memset(&q, 0, sizeof(q));
	memset(block, 0, sizeof(block));
	memset(&job, 0, sizeof(job));
	job.input.n = ds.n;
	job.input.n_users = USERS;
	job.input.n_items = ITEMS;
	job.input.context.n_cols = n_cols;
	arena_init(&arena, block, sizeof(block));
	CHECK(tower_query_layout(&q, &arena, &job.input, DIM, n_history, BATCH));
	/* the context is laid out by the tests themselves */
	q.context.n_cols = 0;
	CHECK(tower_query_start(&q, &team, &job, &ds, all, 7) == RS_OK);
	q.context.n_cols = n_cols;
	return q;
}

/* is interaction a newer than b? */
static bool
newer(int64_t a, int64_t b)
{
	return moments[a] > moments[b] ||
		   (moments[a] == moments[b] && item[a] > item[b]);
}

static void
test_last(int n_history, bool all)
{
	TowerQuery q = start(n_history, 0, all);

	for (int u = 0; u < USERS; u++)
	{
		int64_t to = all ? user_ptr[u + 1] : user_end[u];
		int64_t n = to - user_ptr[u];
		const int32_t *last = q.last + (ptrdiff_t) u * (n_history + 1);

		CHECK(q.n_last[u] == (n > n_history ? n_history + 1 : n));
		for (int64_t r = user_ptr[u]; r < to; r++)
		{
			int place = 0;

			for (int64_t o = user_ptr[u]; o < to; o++)
				place += newer(o, r);
			CHECK(place > n_history || last[place] == item[r]);
		}
	}
}

/* the mean of the newest items but one, straight from the definition */
static void
mean_of_last(const TowerQuery *q, int u, int32_t without, float *out)
{
	const int32_t *last = q->last + (ptrdiff_t) u * (q->n_history + 1);
	int n = 0;

	memset(out, 0, sizeof(float) * DIM);
	for (int k = 0; k < q->n_last[u] && n < q->n_history; k++)
	{
		if (last[k] == without)
			continue;
		n++;
		for (int f = 0; f < DIM; f++)
			out[f] += q->history.x[last[k] * DIM + f];
	}
	for (int f = 0; f < DIM && n > 0; f++)
		out[f] /= (float) n;
}

static void
test_history_mean(void)
{
	TowerQuery none = start(0, 0, true);
	TowerQuery q = start(3, 0, true);

	for (int u = 0; u < USERS; u++)
		for (int32_t i = -1; i < ITEMS; i++)
		{
			float x[DIM] = {1, 2, 3, 4};
			float mean[DIM];

			mean_of_last(&q, u, i, mean);
			tower_add_history(&q, u, i, x);
			for (int f = 0; f < DIM; f++)
				CHECK(fabsf(x[f] - (float) (1 + f) - mean[f]) < 1e-5f);
			if (u == 0 || (u == 1 && i == item[user_ptr[1]]))
				CHECK(x[0] == 1 && x[3] == 4);
			memset(x, 0, sizeof(x));
			tower_add_history(&none, u, i, x);
			CHECK(x[0] == 0 && x[1] == 0 && x[2] == 0 && x[3] == 0);
		}
}

/* ---- gradients; the loss is weight . what comes out ---- */

static float weight[BATCH * DIM];
static float input[BATCH * DIM];
static uint32_t place[BATCH];

static void
draw(uint64_t seed)
{
	Rng rng;

	rng_init(&rng, seed, 1);
	for (int k = 0; k < BATCH * DIM; k++)
	{
		weight[k] = (float) rng_normal(&rng);
		input[k] = (float) rng_normal(&rng);
	}
}

static double
weighted(const float *y)
{
	double sum = 0;

	for (int k = 0; k < BATCH * DIM; k++)
		sum += (double) weight[k] * y[k];
	return sum;
}

/* asks k are of user 2 k for the k-th of their items */
static int32_t
wanted(int k)
{
	int64_t at = user_ptr[2 * k] + k;

	return at < user_ptr[2 * k + 1] ? item[at] : -1;
}

static double
history_loss(const TowerQuery *q)
{
	float x[BATCH * DIM];

	memcpy(x, input, sizeof(x));
	for (int k = 0; k < BATCH; k++)
		tower_add_history(q, 2 * k, wanted(k), x + (ptrdiff_t) k * DIM);
	return weighted(x);
}

static double
context_loss(TowerQuery *q)
{
	float y[BATCH * DIM];
	Rng rng;

	memcpy(y, input, sizeof(y));
	rng_init(&rng, 5, 5);
	tower_add_context(q, place, BATCH, y, &rng);
	return weighted(y);
}

/* the gradient by *at is `gradient` */
static void
check_gradient(TowerQuery *q, bool history, float *at, double gradient)
{
	const float step = 1e-2f;
	float before = *at;
	double up;
	double down;

	*at = before + step;
	up = history ? history_loss(q) : context_loss(q);
	*at = before - step;
	down = history ? history_loss(q) : context_loss(q);
	*at = before;
	CHECK(fabs((up - down) / (2 * step) - gradient) <
		  2e-3 * (1 + fabs(gradient)));
}

/* every row of a table: touched ones have a gradient, the others none */
static void
check_rows(TowerQuery *q, bool history, TowerRows *rows, int32_t now)
{
	int touched = 0;

	for (int64_t r = 0; r < rows->n; r++)
	{
		bool has = rows->stamp[r] == now;

		touched += has;
		for (int f = 0; f < DIM; f++)
			check_gradient(q, history, rows->x + r * DIM + f,
						   has ? (double) rows->g[r * DIM + f] : 0);
	}
	CHECK(touched == rows->n_touched);
}

static void
test_history_gradient(void)
{
	TowerQuery q = start(3, 0, true);

	draw(3);
	/* gradients of a batch before do not count */
	tower_gradient(&q.history, 5, 1)[2] = 1000;
	for (int32_t now = 2; now < 4; now++)
	{
		q.history.n_touched = 0;
		for (int k = 0; k < BATCH; k++)
			tower_scatter_history(&q, 2 * k, wanted(k),
								  weight + (ptrdiff_t) k * DIM, now);
		check_rows(&q, true, &q.history, now);
	}
}

/*
 * Contexts of input rows: row r has r % 3 entries; interaction k is that of
 * row BATCH - 1 - k, and the first one is of none.
 */
static TowerQuery
start_context(void)
{
	static int64_t ptr[BATCH + 1];
	static int32_t col[2 * BATCH];
	static float val[2 * BATCH];
	static uint32_t source[BATCH];
	TowerQuery q = start(0, COLUMNS, true);
	int64_t n = 0;

	tower_rows_start(&q.column, 7, 1, 0.5);
	for (int r = 0; r < BATCH; r++)
	{
		ptr[r] = n;
		for (int e = 0; e < r % 3; e++)
		{
			col[n] = (r + 2 * e) % COLUMNS;
			val[n++] = 0.5f + (float) e;
		}
		source[r] = r == 0 ? 0 : (uint32_t) (BATCH - 1 - r);
		place[r] = (uint32_t) r;
	}
	ptr[BATCH] = n;
	q.context.ptr = ptr;
	q.context.col = col;
	q.context.val = val;
	q.context.source = source;
	return q;
}

/* a vector of unit length, plus the context's columns or, if dropped, not */
static void
test_context_sum(void)
{
	TowerQuery q = start_context();
	const Context *c = &q.context;
	int with = 0;
	Rng rng;

	draw(8);
	rng_init(&rng, 6, 6);
	for (int round = 0; round < 500; round++)
	{
		float y[BATCH * DIM];

		memcpy(y, input, sizeof(y));
		tower_add_context(&q, place, BATCH, y, &rng);
		for (int k = 0; k < BATCH; k++)
		{
			double length = 0;

			with += q.with_context[k];
			for (int64_t e = context_from(c, k);
				 q.with_context[k] && e < context_to(c, k); e++)
				for (int f = 0; f < DIM; f++)
					y[k * DIM + f] -=
						c->val[e] * q.column.x[c->col[e] * DIM + f];
			for (int f = 0; f < DIM; f++)
				length += (double) y[k * DIM + f] * y[k * DIM + f];
			CHECK(fabs(length - 1) < 1e-5);
			/* in the direction of the input */
			CHECK(fabsf(y[k * DIM] * q.length[k] - input[k * DIM]) < 1e-5f);
		}
	}
	/* a fifth is dropped: five standard deviations */
	CHECK(abs(with - 4800) < 5 * 31);
}

static void
test_context_gradient(void)
{
	TowerQuery q = start_context();
	float y[BATCH * DIM];
	float dq[BATCH * DIM];
	Rng rng;

	draw(9);
	tower_gradient(&q.column, 1, 1)[0] = 1000;
	q.column.n_touched = 0;
	memcpy(y, input, sizeof(y));
	memcpy(dq, weight, sizeof(dq));
	rng_init(&rng, 5, 5);
	tower_add_context(&q, place, BATCH, y, &rng);
	tower_scatter_context(&q, place, BATCH, y, dq, 2);
	check_rows(&q, false, &q.column, 2);
	for (int k = 0; k < BATCH * DIM; k++)
		check_gradient(&q, false, input + k, dq[k]);
}

int
main(void)
{
	make_data();
	for (int all = 0; all < 2; all++)
		for (int n = 1; n <= 40; n = n * 2 + 1)
			test_last(n, all);
	test_history_mean();
	test_history_gradient();
	test_context_sum();
	test_context_gradient();
	return check_summary();
}
