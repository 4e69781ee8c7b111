/*
 * test_ials.c
 *		Rows of implicit ALS against the normal equations in double, for rows
 *		with fewer and more interactions than dimensions, with weights, with
 *		a prior and with users whose zeros count for more; equal bytes for teams of every size.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/dense.h"
#include "math/rng.h"
#include "model/ials.h"

#define USERS 150
#define ITEMS 90
#define MOST 60000

#define ONE_PRIOR 4 /* the same for all rows */

static int passed;
static int failed;

static int64_t user_ptr[USERS + 1];
static int64_t item_ptr[ITEMS + 1];
static int32_t user_index[MOST];
static int32_t item_index[MOST];
static float user_weight[MOST];
static float item_weight[MOST];
static float user_prior[USERS * 64];
static float zeros[USERS];

static void
check(int ok, const char *what, double x)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s: %g\n", what, x);
	}
}

static void
make_data(void)
{
	static char has[USERS][ITEMS];
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, 5, 0);
	for (int u = 0; u < USERS; u++)
		for (int i = 0; i < ITEMS; i++)
			has[u][i] = rng_uniform(&rng) < (u % 10) * 0.1 && i != 7;
	for (int u = 0; u < USERS; u++)
	{
		user_ptr[u] = n;
		for (int i = 0; i < ITEMS; i++)
			if (has[u][i])
			{
				user_weight[n] = 0.5f + (float) ((u * 7 + i) % 5);
				user_index[n++] = i;
			}
	}
	user_ptr[USERS] = n;
	n = 0;
	for (int i = 0; i < ITEMS; i++)
	{
		item_ptr[i] = n;
		for (int u = 0; u < USERS; u++)
			if (has[u][i])
			{
				item_weight[n] = 0.5f + (float) ((u * 7 + i) % 5);
				item_index[n++] = u;
			}
	}
	item_ptr[ITEMS] = n;
}

static void
sides(int weighted, IalsSide *users, IalsSide *items)
{
	*users = (IalsSide){
		{USERS, ITEMS, user_ptr, user_ptr + 1, user_index}, NULL, NULL};
	*items = (IalsSide){
		{ITEMS, USERS, item_ptr, item_ptr + 1, item_index}, NULL, NULL};
	if (weighted)
	{
		users->weight = user_weight;
		items->weight = item_weight;
	}
}

/* zeros of users by their activity, of mean 1 */
static void
by_activity(IalsSide *users, IalsSide *items)
{
	double sum = 0;

	for (int u = 0; u < USERS; u++)
		sum += sqrt((double) (user_ptr[u + 1] - user_ptr[u]));
	for (int u = 0; u < USERS; u++)
		zeros[u] = (float) (sqrt((double) (user_ptr[u + 1] - user_ptr[u])) *
							USERS / sum);
	users->row_zeros = zeros;
	items->col_zeros = zeros;
}

/* largest residual of the normal equations of all rows, relative */
static double
residual(const Ials *als, const IalsSide *side, const float *target,
		 const float *source)
{
	const DatasetSide *data = &side->data;
	int d = als->config.dim;
	int ld = als->ld;
	double worst = 0;
	static double g[64][64];

	memset(g, 0, sizeof(g));
	for (int i = 0; i < data->n_cols; i++)
		for (int a = 0; a < d; a++)
			for (int b = 0; b < d; b++)
				g[a][b] +=
					(side->col_zeros != NULL ? (double) side->col_zeros[i]
											 : 1) *
					source[i * ld + a] * source[i * ld + b];
	for (int u = 0; u < data->n_rows; u++)
	{
		const float *w = target + u * ld;
		const float *prior = side->prior;
		double n = (double) (data->end[u] - data->ptr[u]);
		double alpha0 = als->config.alpha0 *
						(side->row_zeros != NULL ? side->row_zeros[u] : 1);
		double lambda =
			als->config.lambda * pow(n + alpha0 * data->n_cols, als->config.nu);

		if (prior != NULL && !side->one_prior)
			prior += u * ld;
		/* a row without interactions is its prior */
		for (int a = 0; a < d && n == 0; a++)
			worst = fmax(worst, fabs(w[a] - (prior != NULL ? prior[a] : 0)));
		for (int a = 0; a < d && n > 0; a++)
		{
			double left = lambda * w[a];
			double right = 0;
			double size = fabs(left);

			if (prior != NULL)
				right += lambda * prior[a];
			for (int b = 0; b < d; b++)
				left += alpha0 * g[a][b] * w[b];
			for (int64_t r = data->ptr[u]; r < data->end[u]; r++)
			{
				const float *h = source + data->index[r] * ld;
				double c = side->weight != NULL ? side->weight[r] : 1;
				double s = 0;

				for (int b = 0; b < d; b++)
					s += (double) h[b] * w[b];
				left += c * s * h[a];
				right += c * h[a];
				size += fabs(c * h[a]);
			}
			worst = fmax(worst, fabs(left - right) / (size + 1e-3));
		}
	}
	return worst;
}

static void
test_rows(int dim, int weighted, int prior, int activity)
{
	IalsConfig config = {dim, 0.1f, 0.05f, 1, 3};
	size_t size = ials_size(&config, USERS, ITEMS);
	void *block = aligned_alloc(64, (size + 63) / 64 * 64);
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	Arena arena;
	Ials als;
	IalsSide users;
	IalsSide items;
	double last = INFINITY;
	double x;
	int falls = 1;

	arena_init(&arena, block, size);
	sides(weighted, &users, &items);
	if (activity)
		by_activity(&users, &items);
	check(ials_init(&arena, &config, USERS, ITEMS, &als) == RS_OK, "init", 0);
	check(ials_restart(&team, &als, &config) == RS_OK, "start", 0);
	for (int e = 0; e < 4; e++)
	{
		check(ials_epoch(&team, &als, &users, &items) == RS_OK, "epoch", e);
		falls &= als.loss <= last + 1e-6;
		last = als.loss;
	}
	check(falls, "objective falls", last);
	x = residual(&als, &items, als.h, als.w);
	check(x < 2e-4, "normal equations of items", x);
	if (prior)
	{
		for (int k = 0; k < USERS * als.ld; k++)
			user_prior[k] = k % als.ld < dim ? 0.1f * sinf((float) k) : 0;
		users.prior = user_prior;
		users.one_prior = prior == ONE_PRIOR;
	}
	check(ials_half(&team, &als, &users, als.w, als.h) == RS_OK, "half", 0);
	x = residual(&als, &users, als.w, als.h);
	check(x < 2e-4, "normal equations", x);
	free(block);
}

/*
 * Block by block: every half lowers the objective, exact rows stay what they
 * are, and many halves against the same source end in the exact solution.
 */
static void
test_blocks(int dim, int weighted, int prior)
{
	IalsConfig config = {dim, 0.1f, 0.05f, 1, 3, 16};
	size_t size = ials_size(&config, USERS, ITEMS);
	void *block = aligned_alloc(64, (size + 63) / 64 * 64);
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	Arena arena;
	Ials als;
	IalsSide users;
	IalsSide items;
	double last = INFINITY;
	double x;
	int falls = 1;

	arena_init(&arena, block, size);
	sides(weighted, &users, &items);
	ials_init(&arena, &config, USERS, ITEMS, &als);
	ials_restart(&team, &als, &config);
	for (int e = 0; e < 3; e++)
	{
		check(ials_epoch(&team, &als, &users, &items) == RS_OK, "blocks", e);
		falls &= als.loss <= last + 1e-6;
		last = als.loss;
	}
	if (prior)
	{
		for (int k = 0; k < USERS * als.ld; k++)
			user_prior[k] = k % als.ld < dim ? 0.1f * sinf((float) k) : 0;
		users.prior = user_prior;
	}
	check(ials_half(&team, &als, &users, als.w, als.h) == RS_OK, "half", 0);
	x = residual(&als, &users, als.w, als.h);
	check(x > 5e-5, "one half is not the exact solution", x);
	last = als.loss;
	for (int e = 0; e < 200; e++)
	{
		ials_half(&team, &als, &users, als.w, als.h);
		falls &= als.loss <= last + 1e-6;
		last = als.loss;
	}
	check(falls, "objective falls by blocks", last);
	x = residual(&als, &users, als.w, als.h);
	check(x < 2e-4, "blocks end in the normal equations", x);
	als.config.block = 0;
	ials_half(&team, &als, &users, als.w, als.h);
	check(fabs(als.loss - last) < 1e-5 * last, "and in their objective",
		  als.loss - last);
	free(block);
}

typedef struct Member
{
	Team team;
	void *block;
	size_t size;
	int columns; /* of a block */
	Ials als;
	RsStatus st;
} Member;

static void *
member_main(void *arg)
{
	Member *m = arg;
	IalsConfig config = {24, 0.1f, 0.05f, 1, 3, m->columns};
	Arena arena;
	IalsSide users;
	IalsSide items;

	arena_init(&arena, m->block, m->size);
	sides(1, &users, &items);
	m->st = ials_init(&arena, &config, USERS, ITEMS, &m->als);
	if (m->st == RS_OK)
		m->st = ials_restart(&m->team, &m->als, &config);
	for (int e = 0; e < 3 && m->st == RS_OK; e++)
		m->st = ials_epoch(&m->team, &m->als, &users, &items);
	return NULL;
}

static void
test_teams(int columns)
{
	IalsConfig config = {24, 0.1f, 0.05f, 1, 3, columns};
	size_t size = (ials_size(&config, USERS, ITEMS) + 63) / 64 * 64;
	float *first = NULL;

	for (int n = 1; n <= 4; n++)
	{
		void *block = aligned_alloc(64, size);
		TeamShared shared = {0};
		Member m[4];
		pthread_t thread[4];

		memset(block, 0, size);
		for (int r = 0; r < n; r++)
		{
			memset(&m[r], 0, sizeof(m[r]));
			m[r].team = (Team){&shared, r, n};
			m[r].block = block;
			m[r].size = size;
			m[r].columns = columns;
			pthread_create(&thread[r], NULL, member_main, &m[r]);
		}
		for (int r = 0; r < n; r++)
			pthread_join(thread[r], NULL);
		check(m[0].st == RS_OK, "team", n);
		if (n == 1)
		{
			first = malloc(sizeof(float) * ITEMS * 32);
			memcpy(first, m[0].als.h, sizeof(float) * ITEMS * 32);
		}
		check(memcmp(first, m[0].als.h, sizeof(float) * ITEMS * 32) == 0,
			  "bytes of a team", n);
		free(block);
	}
	free(first);
}

int
main(void)
{
	make_data();
	for (int level = 0; level <= 2; level++)
	{
		if (dense_init(level) != level)
			continue;
		for (int kind = 0; kind < 6; kind++)
			for (int dim = 8; dim <= 64; dim = 2 * dim + (dim == 16))
			{
				test_rows(dim, kind & 1, kind & 6, 0);
				test_rows(dim, kind & 1, kind & 6, 1);
			}
		for (int kind = 0; kind < 4; kind++)
		{
			test_blocks(40, kind & 1, kind & 2);
			test_blocks(64, kind & 1, kind & 2);
		}
		test_teams(0);
		test_teams(16);
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
