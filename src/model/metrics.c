/*
 * metrics.c
 *		Ranks of held-out items, and the usual sums over them.
 *
 * Users are cut into blocks of a size that does not depend on the team. Each
 * block has its own sums, which are added in the order of the blocks.
 */
#include "model/metrics.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "math/blas.h"
#include "math/dense.h"
#include "math/hooks.h"

#define BLOCK_FLOATS (8 * 1024 * 1024)
#define MAX_BLOCK 64
#define MAX_FLOP 2e8
#define RANK_CHUNK 2048 /* candidates between looks whether a rank matters */

typedef struct Sums
{
	int64_t rows;
	int64_t users;
	int64_t hits[METRICS_MAX_K];
	double recall[METRICS_MAX_K];
	double precision[METRICS_MAX_K];
	double ndcg[METRICS_MAX_K];
	double mrr;
} Sums;

typedef struct Eval
{
	Team *team;
	const Dataset *ds;
	const MetricsSpec *spec;
	const float *user;
	const float *item;
	int dim;
	int32_t *users; /* (n) to evaluate */
	int32_t n;
	int block;     /* users a block */
	Sums *sums;    /* one a block */
	float *q;      /* (block, dim) */
	float *scores; /* (block, n_items) */
} Eval;

/* users a block: the scores of a block stay small */
static int
block_users(int32_t n_items)
{
	int n = BLOCK_FLOATS / (n_items > 0 ? n_items : 1);

	return n < 4 ? 4 : n > MAX_BLOCK ? MAX_BLOCK : n;
}

size_t
metrics_size(int32_t n_users, int32_t n_items)
{
	size_t blocks = (size_t) n_users / (size_t) block_users(n_items) + 1;

	return arena_need((size_t) n_users + 1, sizeof(int32_t)) +
		   arena_need(blocks, sizeof(Sums));
}

static int32_t
missing(const MetricsSpec *spec, int32_t u)
{
	return spec->missing != NULL ? spec->missing[u] : 0;
}

/* rank 0: users with held-out items, evenly thinned out to max_users */
static void
list_users(Eval *e)
{
	const Dataset *ds = e->ds;
	int32_t n = 0;
	int32_t most = e->spec->max_users;

	for (int32_t u = 0; u < ds->n_users; u++)
		if (ds->user_end[u] < ds->user_ptr[u + 1] || missing(e->spec, u) > 0)
			e->users[n++] = u;
	if (most > 0 && n > most)
	{
		for (int32_t k = 0; k < most; k++)
			e->users[k] = e->users[(int64_t) k * n / most];
		n = most;
	}
	e->users[ds->n_users] = n;
}

static int
greatest_k(const MetricsSpec *spec)
{
	int most = 1;

	for (int k = 0; k < spec->n_k; k++)
		most = spec->k[k] > most ? spec->k[k] : most;
	return most;
}

/* the held-out item that ranks first, -1 when there is none */
static int32_t
best_held(const Dataset *ds, int32_t u, const float *s)
{
	int32_t best = -1;

	/* ascending, so of equal ones the first stays */
	for (int64_t r = ds->user_end[u]; r < ds->user_ptr[u + 1]; r++)
		if (best < 0 || s[ds->item[r]] > s[best])
			best = ds->item[r];
	return best;
}

/* the rank of item i, or some number >= most once it is known to be */
static int
rank_below(const float *s, int n, int32_t i, int most)
{
	int rank = 0;

	for (int from = 0; from < n && rank < most; from += RANK_CHUNK)
	{
		int size = n - from < RANK_CHUNK ? n - from : RANK_CHUNK;
		int before = i <= from ? 0 : i - from < size ? i - from : size;

		rank += dense.rank(s + from, size, s[i], before);
	}
	return rank;
}

static void
add_user(const Eval *e, int32_t u, float *s, Sums *sums)
{
	const Dataset *ds = e->ds;
	const MetricsSpec *spec = e->spec;
	int64_t held = ds->user_ptr[u + 1] - ds->user_end[u];
	int64_t n = held + missing(spec, u);
	int best = ds->n_items;
	int most = greatest_k(spec);
	int32_t first;
	int64_t hits[METRICS_MAX_K] = {0};
	double gain[METRICS_MAX_K] = {0};

	for (int64_t r = ds->user_ptr[u]; spec->exclude_seen && r < ds->user_end[u];
		 r++)
		s[ds->item[r]] = -INFINITY;
	first = best_held(ds, u, s);
	for (int64_t r = ds->user_end[u]; r < ds->user_ptr[u + 1]; r++)
	{
		int32_t i = ds->item[r];
		int rank = rank_below(s, ds->n_items, i, i == first ? INT_MAX : most);

		best = rank < best ? rank : best;
		for (int k = 0; k < spec->n_k; k++)
			if (rank < spec->k[k])
			{
				hits[k]++;
				gain[k] += 1 / log2(rank + 2.0);
			}
	}
	sums->rows += n;
	sums->users++;
	sums->mrr += held > 0 ? 1.0 / (1 + best) : 0;
	for (int k = 0; k < spec->n_k; k++)
	{
		double ideal = 0;

		for (int j = 0; j < spec->k[k] && j < n; j++)
			ideal += 1 / log2(j + 2.0);
		sums->hits[k] += hits[k];
		sums->recall[k] += (double) hits[k] / (double) n;
		sums->precision[k] += (double) hits[k] / spec->k[k];
		sums->ndcg[k] += gain[k] / ideal;
	}
}

static RsStatus
add_block(Eval *e, int32_t b)
{
	int32_t first = b * e->block;
	int m = e->n - first < e->block ? e->n - first : e->block;
	int32_t n_items = e->ds->n_items;
	size_t d = (size_t) e->dim;
	int step = (int) (MAX_FLOP / (2.0 * m * e->dim)) + 64;

	for (int r = 0; r < m; r++)
		memcpy(e->q + (size_t) r * d,
			   e->user + (size_t) e->users[first + r] * d, sizeof(float) * d);
	for (int32_t i = 0; i < n_items; i += step)
	{
		int n = n_items - i < step ? n_items - i : step;

		blas.sgemm(false, true, m, n, e->dim, 1, e->q, e->dim,
				   e->item + (size_t) i * d, e->dim, 0, e->scores + i, n_items);
		if (team_stopped(e->team) != RS_OK)
			return team_stopped(e->team);
	}
	for (int r = 0; r < m; r++)
		add_user(e, e->users[first + r],
				 e->scores + (size_t) r * (size_t) n_items, &e->sums[b]);
	return team_stopped(e->team);
}

static void
add_up(const Eval *e, MetricsResult *result)
{
	int32_t blocks = (e->n + e->block - 1) / e->block;
	Sums all = {0};

	memset(result, 0, sizeof(*result));
	for (int32_t b = 0; b < blocks; b++)
	{
		all.rows += e->sums[b].rows;
		all.users += e->sums[b].users;
		all.mrr += e->sums[b].mrr;
		for (int k = 0; k < e->spec->n_k; k++)
		{
			all.hits[k] += e->sums[b].hits[k];
			all.recall[k] += e->sums[b].recall[k];
			all.precision[k] += e->sums[b].precision[k];
			all.ndcg[k] += e->sums[b].ndcg[k];
		}
	}
	result->rows = all.rows;
	result->users = all.users;
	if (all.users == 0)
		return;
	result->mrr = all.mrr / (double) all.users;
	for (int k = 0; k < e->spec->n_k; k++)
	{
		result->accuracy[k] = (double) all.hits[k] / (double) all.rows;
		result->recall[k] = all.recall[k] / (double) all.users;
		result->precision[k] = all.precision[k] / (double) all.users;
		result->ndcg[k] = all.ndcg[k] / (double) all.users;
	}
}

static RsStatus
run_blocks(Eval *e)
{
	RsStatus st = RS_OK;
	int32_t blocks = (e->n + e->block - 1) / e->block;
	size_t m = (size_t) e->block;

	e->q = math_alloc_array(m * (size_t) e->dim, sizeof(float));
	e->scores = math_alloc_array(m * (size_t) e->ds->n_items, sizeof(float));
	if (e->q == NULL || e->scores == NULL)
		st = RS_NO_MEMORY;
	for (int32_t b = e->team->rank; b < blocks && st == RS_OK;
		 b += e->team->size)
	{
		memset(&e->sums[b], 0, sizeof(Sums));
		st = add_block(e, b);
	}
	math_release(e->q);
	math_release(e->scores);
	return st;
}

RsStatus
metrics_run(Team *team, Arena *arena, const Dataset *ds,
			const MetricsSpec *spec, const float *user, const float *item,
			int dim, MetricsResult *result)
{
	Eval e = {.team = team,
			  .ds = ds,
			  .spec = spec,
			  .user = user,
			  .item = item,
			  .dim = dim};
	size_t mark = arena_mark(arena);
	RsStatus st;

	e.block = block_users(ds->n_items);
	e.users = arena_alloc(arena, (size_t) ds->n_users + 1, sizeof(int32_t));
	e.sums = arena_alloc(arena, (size_t) ds->n_users / (size_t) e.block + 1,
						 sizeof(Sums));
	if (e.users == NULL || e.sums == NULL)
		return RS_NO_MEMORY;
	if (team->rank == 0)
		list_users(&e);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	e.n = e.users[ds->n_users];
	if ((st = run_blocks(&e)) != RS_OK)
		team_stop(team, st);
	if ((st = team_barrier(team)) != RS_OK)
		return st;
	add_up(&e, result);
	arena_reset(arena, mark);
	return team_barrier(team);
}
