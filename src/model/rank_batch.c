/*
 * rank_batch.c
 *		Shuffled batches of rated pairs, with their distinct users and items.
 */
#include "model/rank_batch.h"

#include <string.h>

#include "math/hooks.h"
#include "math/rng.h"

bool
rank_batches_layout(RankBatches *b, Arena *arena, int64_t n, int size,
					bool places)
{
	size_t rows = (size_t) n;
	size_t batches = rows / (size_t) (size > 0 ? size : 1) + 1;
	bool ok;

	b->size = size;
	b->target = arena_alloc(arena, rows, sizeof(float));
	b->n_distinct = arena_alloc(arena, 2 * batches, sizeof(int32_t));
	if (places)
		b->place = arena_alloc(arena, rows, sizeof(uint32_t));
	ok = b->target != NULL && b->n_distinct != NULL &&
		 (b->place != NULL || !places);
	for (int side = 0; side < 2; side++)
	{
		b->id[side] = arena_alloc(arena, rows, sizeof(int32_t));
		b->ptr[side] = arena_alloc(arena, rows + batches, sizeof(int32_t));
		b->row[side] = arena_alloc(arena, rows, sizeof(int32_t));
		b->local[side] = arena_alloc(arena, rows, sizeof(int32_t));
		ok = ok && b->id[side] != NULL && b->ptr[side] != NULL &&
			 b->row[side] != NULL && b->local[side] != NULL;
	}
	return ok;
}

void
rank_batch_get(const RankBatches *b, int k, RankBatch *batch)
{
	int64_t from = (int64_t) k * b->size;
	int64_t to = from + b->size < b->n ? from + b->size : b->n;

	batch->n = (int) (to - from);
	batch->target = b->target + from;
	batch->place = b->place != NULL ? b->place + from : NULL;
	for (int side = 0; side < 2; side++)
	{
		batch->side[side].n = b->n_distinct[2 * k + side];
		batch->side[side].id = b->id[side] + from;
		batch->side[side].ptr = b->ptr[side] + from + k;
		batch->side[side].row = b->row[side] + from;
		batch->side[side].local = b->local[side] + from;
	}
}

/*
 * rank 0: row[0], row[1] hold user and item of each row. A permutation says
 * into which batch a row goes; within a batch the rows lie by user, so that
 * sums over the rows of a user read memory in order.
 */
static RsStatus
shuffle_rows(RankBatches *b, const RankRun *run, double shift, double scale)
{
	const Dataset *ds = run->ds;
	int64_t *perm = math_alloc_array((size_t) b->n, sizeof(int64_t));
	int64_t *next = math_alloc_array((size_t) b->n_batches, sizeof(int64_t));
	RsStatus st = perm == NULL || next == NULL ? RS_NO_MEMORY : RS_OK;
	int64_t k = 0;
	Rng rng;

	rng_init(&rng, run->job->config.seed, 14);
	if (st == RS_OK)
		rng_permutation(&rng, perm, b->n);
	for (int i = 0; st == RS_OK && i < b->n_batches; i++)
		next[i] = (int64_t) i * b->size;
	for (int32_t u = 0; st == RS_OK && u < ds->n_users && !rank_stopped(run, u);
		 u++)
		for (int64_t r = ds->user_ptr[u]; r < rank_user_end(run, u); r++)
		{
			int64_t at = next[perm[k++] / b->size]++;

			b->row[0][at] = u;
			b->row[1][at] = ds->item[r];
			if (b->place != NULL)
				b->place[at] = (uint32_t) r;
			b->target[at] = (float) ((rank_target(run, r) - shift) / scale);
		}
	math_release(perm);
	math_release(next);
	return st;
}

/* local numbers of one side of a batch; seen (users or items) is -1 */
static void
number_group(RankGroup *g, int rows, int32_t *n_distinct, int32_t *seen)
{
	int32_t n = 0;
	int32_t sum = 0;

	for (int r = 0; r < rows; r++)
	{
		int32_t id = g->row[r];

		if (seen[id] < 0)
		{
			seen[id] = n;
			g->id[n] = id;
			g->ptr[n++] = 0;
		}
		g->local[r] = seen[id];
		g->ptr[seen[id]]++;
	}
	for (int32_t k = 0; k < n; k++)
	{
		int32_t count = g->ptr[k];

		seen[g->id[k]] = -1;
		g->ptr[k] = sum;
		sum += count;
	}
	for (int r = 0; r < rows; r++)
		g->row[g->ptr[g->local[r]]++] = r;
	for (int32_t k = n; k > 0; k--)
		g->ptr[k] = g->ptr[k - 1];
	g->ptr[0] = 0;
	*n_distinct = n;
}

static RsStatus
number_batches(RankBatches *b, RankRun *run)
{
	int32_t most = run->ds->n_users > run->ds->n_items ? run->ds->n_users
													   : run->ds->n_items;
	int32_t *seen = math_alloc_array((size_t) most, sizeof(int32_t));

	if (seen == NULL)
		return RS_NO_MEMORY;
	memset(seen, 0xff, sizeof(int32_t) * (size_t) most);
	for (int k = run->team->rank; k < b->n_batches; k += run->team->size)
	{
		RankBatch batch;

		rank_batch_get(b, k, &batch);
		for (int side = 0; side < 2; side++)
			number_group(&batch.side[side], batch.n,
						 &b->n_distinct[2 * k + side], seen);
		if (team_stopped(run->team) != RS_OK)
			break;
	}
	math_release(seen);
	return RS_OK;
}

RsStatus
rank_batches_build(RankBatches *b, RankRun *run, double shift, double scale)
{
	RsStatus st = RS_OK;

	b->n = rank_n_train(run);
	b->n_batches = (int) ((b->n + b->size - 1) / b->size);
	if (run->team->rank == 0)
		st = shuffle_rows(b, run, shift, scale);
	if (st != RS_OK)
		team_stop(run->team, st);
	if ((st = team_barrier(run->team)) != RS_OK)
		return st;
	if ((st = number_batches(b, run)) != RS_OK)
		team_stop(run->team, st);
	return team_barrier(run->team);
}

/* first k with ptr[k] >= want */
static int
lower_bound(const RankGroup *g, int64_t want)
{
	int lo = 0;
	int hi = g->n;

	while (lo < hi)
	{
		int mid = (lo + hi) / 2;

		if (g->ptr[mid] < want)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
rank_group_part(const RankGroup *g, int rows, const Team *team, int *from,
				int *to)
{
	int64_t a;
	int64_t b;

	team_range(team, rows, &a, &b);
	*from = lower_bound(g, a);
	*to = team->rank + 1 == team->size ? g->n : lower_bound(g, b);
}
