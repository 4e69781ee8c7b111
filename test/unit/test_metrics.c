/*
 * test_metrics.c
 *		Metrics against slow ones straight from the definitions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "math/dense.h"
#include "math/rng.h"
#include "model/metrics.h"

#define USERS 30
#define ITEMS 70
#define DIM 5

static int64_t user_ptr[USERS + 1];
static int64_t user_end[USERS];
static int32_t item[USERS * ITEMS];
static float u[USERS * DIM];
static float v[ITEMS * DIM];
static char arena_block[1 << 18] __attribute__((aligned(64)));

static void
make_data(int ties)
{
	int64_t n = 0;
	Rng rng;

	rng_init(&rng, 2, 0);
	for (int k = 0; k < USERS; k++)
	{
		user_ptr[k] = n;
		for (int part = 0; part < 2; part++)
		{
			for (int i = part; i < ITEMS; i += 2)
				if (rng_uniform(&rng) < (part ? 0.1 : 0.4) && k % 7 != 3)
					item[n++] = i;
			if (part == 0)
				user_end[k] = n;
		}
	}
	user_ptr[USERS] = n;
	for (int k = 0; k < USERS * DIM; k++)
		u[k] = ties ? 1 : (float) rng_normal(&rng);
	for (int k = 0; k < ITEMS * DIM; k++)
		v[k] = ties ? (float) (k / DIM / 9) : (float) rng_normal(&rng);
}

static float
score(int user, int i)
{
	float s = 0;

	for (int k = 0; k < DIM; k++)
		s += u[user * DIM + k] * v[i * DIM + k];
	return s;
}

static int
rank_of(int user, int i, bool exclude)
{
	int rank = 0;

	for (int j = 0; j < ITEMS; j++)
	{
		bool seen = false;

		for (int64_t r = user_ptr[user]; r < user_end[user]; r++)
			seen |= item[r] == j;
		if (seen && exclude)
			continue;
		/* products differ in the last bit between the two ways */
		rank += score(user, j) > score(user, i) + 1e-5f ||
				(fabsf(score(user, j) - score(user, i)) <= 1e-5f && j < i);
	}
	return rank;
}

static void
test_one(int ties, bool exclude)
{
	MetricsSpec spec = {.exclude_seen = exclude, .n_k = 2, .k = {3, 10}};
	Dataset ds = {.n_users = USERS, .n_items = ITEMS};
	TeamShared shared = {0};
	Team team = {&shared, 0, 1};
	MetricsResult got;
	double accuracy = 0;
	double recall = 0;
	double ndcg = 0;
	double mrr = 0;
	int users = 0;
	int n_rows = 0;
	Arena arena;

	make_data(ties);
	ds.user_ptr = user_ptr;
	ds.user_end = user_end;
	ds.item = item;
	arena_init(&arena, arena_block, sizeof(arena_block));
	CHECK(metrics_size(USERS, ITEMS) <= sizeof(arena_block));
	CHECK(metrics_run(&team, &arena, &ds, &spec, u, v, DIM, &got) == RS_OK);
	CHECK(arena.used == 0);
	for (int k = 0; k < USERS; k++)
	{
		int n = (int) (user_ptr[k + 1] - user_end[k]);
		int hits = 0;
		int best = ITEMS;
		double gain = 0;
		double ideal = 0;

		for (int64_t r = user_end[k]; r < user_ptr[k + 1]; r++)
		{
			int rank = rank_of(k, item[r], exclude);

			hits += rank < 10;
			gain += rank < 10 ? 1 / log2(rank + 2) : 0;
			best = rank < best ? rank : best;
		}
		for (int j = 0; j < n && j < 10; j++)
			ideal += 1 / log2(j + 2);
		if (n == 0)
			continue;
		users++;
		n_rows += n;
		accuracy += hits;
		recall += (double) hits / n;
		ndcg += gain / ideal;
		mrr += 1.0 / (1 + best);
	}
	CHECK(got.users == users && got.rows == n_rows);
	CHECK(fabs(got.accuracy[1] - accuracy / n_rows) < 1e-9);
	CHECK(fabs(got.recall[1] - recall / users) < 1e-9);
	CHECK(fabs(got.precision[1] - 0.1 * accuracy / users) < 1e-9);
	CHECK(fabs(got.ndcg[1] - ndcg / users) < 1e-9);
	CHECK(fabs(got.mrr - mrr / users) < 1e-9);
	CHECK(got.recall[0] <= got.recall[1]);
}

int
main(void)
{
	for (int level = 0; level <= 2; level++)
		if (dense_init(level) == level)
			for (int k = 0; k < 4; k++)
				test_one(k & 1, k & 2);
	return check_summary();
}
