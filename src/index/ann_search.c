/*
 * ann_search.c
 *		Rounds of the search.
 *
 * A round has a goal, a number of rows. It opens cells best first, bounds
 * their rows by level 1 and reads the full codes of those that may be among
 * the best `goal`: whose bound is not below tau, the goal-th best lower
 * bound so far. At its end every row that is no candidate scores less than
 * tau, the frontier. When the executor wants rows below the frontier, the
 * next round has a goal ten times as large; it goes on where the last one
 * stopped, from the bounds of level 1 that were kept. When these arrays have
 * grown to the scan's limit, all rows that are left are sorted on disk
 * (ann_rest.c).
 *
 * Factors are known for 10 and 100 rows. A scan that wants more of them mostly
 * has a filter, and may want just the row that they miss, as far from the
 * others as it may lie: so they rise with the goal, and reach 1.
 *
 * Locks: a leaf's head is locked for share while its codes are read, and
 * under it one tail page at a time; memory is reserved before.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "index/ann_prefetch.h"
#include "index/ann_search.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "pg/pg_module.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

#define GOAL_GROWTH 10 /* what people ask for: 10, 100, 1000 */
#define MOST_FIRST_GOAL 1024
#define PROVEN_GOAL 10000 /* from so many rows on bounds are proven ones */
#define NO_TAU (-3e38f)   /* above DONE, below every bound */
#define DONE (-FLT_MAX)
#define FAR_BLOCKS 1024  /* of an index that a core's cache does not hold */
#define AHEAD 8          /* rows whose codes are on their way */
#define EXPECT_OFF 2.0F  /* how often by what it is off */
#define EXPECT_RATE 0.1F /* of running means */

/* where x lies between two goals, by their logarithms; 0 to 1 */
static double
between(Size x, double from, double to)
{
	double at = log(x / from) / log(to / from);

	return Max(0, Min(at, 1));
}

/* z and share for this goal and the session's target */
static void
set_factors(AnnSearch *s, Size goal)
{
	const AnnMeta *meta = &s->meta;
	double at = between(goal, ann_goals[0], ann_goals[1]);
	double proven = between(goal, ann_goals[1], PROVEN_GOAL);
	int i = 0;

	s->z = s->share = 1;
	while (i < ANN_RECALLS && (float) recsys_target_recall > ann_recalls[i])
		i++;
	if (recsys_target_recall >= 1 || i == ANN_RECALLS)
		return;
	s->z = meta->z[0][i] + at * (meta->z[1][i] - meta->z[0][i]);
	s->share = meta->share[0][i] + at * (meta->share[1][i] - meta->share[0][i]);
	s->z += proven * (1 - s->z);
	s->share += proven * (1 - s->share);
}

void
ann_search_target(AnnSearch *s)
{
	const AnnCache *cache = s->index->rd_amcache;

	s->first_goal = Max(ann_goals[0], cache == NULL ? 0 : cache->last_taken);
	set_factors(s, s->first_goal);
	s->of_session = true;
}

/* good until a relation may be locked: by the executor between rounds, and by
 * ann_rest_look, whose sort looks into catalogs */
static AnnCache *
cache_of(AnnSearch *s)
{
	AnnCache *cache = ann_cache(s->index, &s->meta);

	s->recent = &cache->recent;
	return cache;
}

/* s->index, context, meta, first_goal, z, share, q_norm, tiny and unbounded
 * are set */
void
ann_search_begin(AnnSearch *s, const float *q, bool rotated)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	AnnCache *cache = cache_of(s);
	const CodeShape *shape = &cache->layout.shape;
	int wide = s->meta.dim + CODE_LANES;

	ann_arrays(s);
	s->cells = s->leaves = 0;
	s->bounds = s->active = s->candidates = s->lows = s->goal = 0;
	s->frontier = INFINITY;
	s->floor = -INFINITY;
	s->far = s->meta.own_blocks >= FAR_BLOCKS;
	s->exhausted = false;
	s->rest = NULL;
	s->q = palloc0(sizeof(float) * wide);
	s->added = palloc(sizeof(float) * cache->layout.rows);
	if (rotated)
		memcpy(s->q, q, sizeof(float) * cache->dim);
	else if (!s->unbounded)
		ann_rotate(cache, q, s->q);
	code_query_init(&s->query, shape, palloc(code_query_size(shape)));
	if (!shape->l2)
		code_query_set(&s->query, shape, s->q, 1, s->share);
	ann_cells_list(s, cache);
	MemoryContextSwitchTo(old);
}

static void
put_low(AnnSearch *s, float low)
{
	float *heap = s->low;
	Size at;

	if (s->lows < s->goal)
	{
		for (at = s->lows++; at > 0 && heap[(at - 1) / 2] > low;
			 at = (at - 1) / 2)
			heap[at] = heap[(at - 1) / 2];
		heap[at] = low;
		return;
	}
	for (at = 0;;)
	{
		Size child = 2 * at + 1;

		if (child >= s->lows)
			break;
		if (child + 1 < s->lows && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= low)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = low;
}

/* most are not among the best; those below the floor do not raise tau to it */
static inline void
push_low(AnnSearch *s, float low)
{
	if (low >= s->floor && (s->lows < s->goal || low > s->low[0]))
		put_low(s, low);
}

static void
push_candidates(AnnSearch *s)
{
	s->low = ann_reserve(s, s->low, 0, Min(s->goal, s->candidates),
						 &s->low_room, sizeof(float));
	s->lows = 0;
	for (Size i = 0; i < s->candidates; i++)
		push_low(s, s->candidate[i].low);
}

static inline float
tau(const AnnSearch *s)
{
	/* rows that are infinitely far, or may be, have lows below it */
	return s->lows < s->goal ? NO_TAU : Max(s->low[0], NO_TAU);
}

/* what a row's or cell's bound must reach to be looked at now */
static inline float
least(const AnnSearch *s)
{
	return Max(tau(s), s->floor);
}

/* the next candidate but for its bounds */
static AnnCandidate *
new_candidate(AnnSearch *s, const ItemPointerData *tid, int cell,
			  AnnLevel1 level1)
{
	AnnCandidate *c = s->candidate + s->candidates++;

	c->level1 = level1;
	c->cell = cell;
	c->exact = false;
	c->tid = *tid;
	return c;
}

/* the full code of a row; est is its level-1 score. Without a TID it is dead */
static void
refine_row(AnnSearch *s, const AnnTailRow *row, int cell, AnnLevel1 level1,
		   float est, float slack)
{
	float error = row->error;
	AnnCandidate *c;
	float wide;

	if (!ItemPointerIsValid(&row->tid))
		return;
	c = new_candidate(s, &row->tid, cell, level1);
	if (s->unbounded || !(error < FLT_MAX))
	{
		c->key = INFINITY;
		c->low = -FLT_MAX;
		push_low(s, c->low);
		return;
	}
	if (s->query.tail > 0)
		est += s->query.tail_unit * row->scale *
			   code_tail_dot(&s->query, row->code);
	wide = s->query.norm * error + slack;
	c->key = (double) est + wide;
	c->low = est - wide;
	push_low(s, c->low);
}

/* the full code of row i of a leaf; tail: the tail page of the row before */
static inline void
prefetch_row(const AnnSearch *s, const AnnLayout *layout, const AnnHead *head,
			 int i, int *tail)
{
	int t = i / layout->tail_rows;
	const char *page = ann_recent_page(s->recent, head->tail[t]);

	if (page == NULL)
		return;
	if (t != *tail)
		ann_prefetch_check(page);
	*tail = t;
	ann_prefetch(page + ANN_TAIL_START +
					 (i - t * layout->tail_rows) * layout->slot_size,
				 layout->slot_size);
}

/* read the full codes of a leaf's rows whose bounds reach tau */
static void
refine_leaf(AnnSearch *s, const AnnCache *cache, Buffer buffer, AnnHead *head,
			AnnLeaf *leaf, const AnnCellTerms *terms)
{
	const AnnLayout *layout = &cache->layout;
	const uint8 *blocks = (uint8 *) BufferGetPage(buffer) + layout->head_offset;
	float *bound = s->bound + leaf->at;
	Buffer tail = InvalidBuffer;
	uint16 wanted[BLCKSZ / 8]; /* a row has 12 bytes of the head or more */
	int n = 0, ahead = -1;
	int first = 0, end = 0; /* rows of the tail page that is open */

	Assert(leaf->rows <= (int) lengthof(wanted));
	for (int from = 0; from < leaf->rows; from += CODE_LANES)
	{
		uint32 bits = code_at_least(bound + from, least(s));

		for (; bits != 0; bits &= bits - 1)
			wanted[n++] = from + pg_rightmost_one_pos32(bits);
	}
	for (int k = 0; s->far && k < Min(n, AHEAD); k++)
		prefetch_row(s, layout, head, wanted[k], &ahead);
	for (int k = 0; k < n; k++)
	{
		int i = wanted[k];
		AnnLevel1 level1;
		const float *floats; /* of the row: scale, t */
		float est;

		if (s->far && k + AHEAD < n)
			prefetch_row(s, layout, head, wanted[k + AHEAD], &ahead);
		if (bound[i] < least(s))
			continue; /* it has risen meanwhile */
		if (i >= end)
		{
			int t = i / layout->tail_rows;

			if (BufferIsValid(tail))
				UnlockReleaseBuffer(tail);
			tail = ann_read(s->index, s->recent, head->tail[t]);
			LockBuffer(tail, BUFFER_LOCK_SHARE);
			ann_tail_of(s->index, tail, cache->generation, leaf->block);
			first = t * layout->tail_rows;
			end = first + layout->tail_rows;
		}
		level1.bound = bound[i];
		floats = code_block_floats(
			&layout->shape, blocks + i / CODE_LANES * layout->block_size);
		floats += i % CODE_LANES;
		level1.tail = floats[CODE_LANES] * s->query.tail_norm;
		est = bound[i] - terms->slack - floats[0] * s->query.head_error -
			  level1.tail;
		if (layout->shape.signs)
			est -= s->added[i];
		refine_row(s, ann_tail_row(BufferGetPage(tail), layout, i - first),
				   leaf->cell, level1, est, terms->slack);
		bound[i] = DONE;
	}
	if (BufferIsValid(tail))
		UnlockReleaseBuffer(tail);
}

/* bounds of level 1 of the CODE_LANES rows of a leaf from `from` on, and s->added */
static inline void
bound_rows(const AnnSearch *s, const AnnLayout *layout, Page head, int from,
		   const AnnCellTerms *terms, float *bound)
{
	code_block_bounds(&layout->shape, &s->query,
					  (uint8 *) head + layout->head_offset +
						  from / CODE_LANES * layout->block_size,
					  terms->base, bound, s->added + from);
}

static BlockNumber
first_leaf(const AnnSearch *s, const AnnCache *cache, int cell)
{
	return cell == cache->cells ? s->meta.log_head : cache->cell[cell].first;
}

/*
 * Where the leaf lies that is probably read after this one: the next in its
 * chain, else the first of the next cell. NULL where that is not worth asking.
 */
static const char *
next_leaf(const AnnSearch *s, const AnnCache *cache, const AnnHead *head)
{
	BlockNumber block = head->next;

	if (!s->far)
		return NULL;
	if (block == InvalidBlockNumber && s->cells > 0)
		block = first_leaf(s, cache, s->cell[0].cell);
	return ann_recent_page(s->recent, block);
}

/* bounds of level 1 of all rows of a leaf, then refine; returns the next */
static BlockNumber
open_leaf(AnnSearch *s, const AnnCache *cache, BlockNumber block, int cell,
		  const AnnCellTerms *terms)
{
	const AnnLayout *layout = &cache->layout;
	Buffer buffer;
	AnnHead *head;
	AnnLeaf *leaf;
	BlockNumber next;
	const char *ahead;
	float *bound;

	s->leaf =
		ann_reserve(s, s->leaf, s->leaves, 1, &s->leaf_room, sizeof(AnnLeaf));
	s->bound = ann_reserve(s, s->bound, s->bounds, layout->rows, &s->bound_room,
						   sizeof(float));
	s->candidate = ann_reserve(s, s->candidate, s->candidates, layout->rows,
							   &s->candidate_room, sizeof(AnnCandidate));
	s->low = ann_reserve(s, s->low, s->lows, layout->rows, &s->low_room,
						 sizeof(float));
	buffer = ann_read(s->index, s->recent, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pg_test_for_old_snapshot(s->snapshot, s->index, BufferGetPage(buffer));
	head = ann_head_of(s->index, buffer, layout, cache->generation, cell);
	leaf = s->leaf + s->leaves++;
	leaf->block = block;
	leaf->cell = cell;
	leaf->rows = TYPEALIGN(CODE_LANES, head->used);
	leaf->at = s->bounds;
	bound = s->bound + leaf->at;
	ahead = next_leaf(s, cache, head);
	if (ahead != NULL)
		ann_prefetch_check(ahead);
	for (int i = 0; i < leaf->rows; i += CODE_LANES)
	{
		if (ahead != NULL)
			ann_prefetch(ahead + layout->head_offset +
							 i / CODE_LANES * layout->block_size,
						 layout->block_size);
		if (s->unbounded)
			for (int l = 0; l < CODE_LANES; l++)
				bound[i + l] = FLT_MAX; /* and no matter what was added */
		else
			bound_rows(s, layout, BufferGetPage(buffer), i, terms, bound + i);
	}
	for (int i = head->used; i < leaf->rows; i++)
		bound[i] = DONE;
	s->bounds += leaf->rows;
	refine_leaf(s, cache, buffer, head, leaf, terms);
	next = head->next;
	UnlockReleaseBuffer(buffer);
	return next;
}

static void
open_cell(AnnSearch *s, int cell)
{
	const AnnCache *cache = cache_of(s);
	AnnCellTerms terms = {0, 0};
	BlockNumber block, n = 0;

	if (!s->unbounded)
		terms = ann_cell_terms(s, cache, cell);
	block = first_leaf(s, cache, cell);
	while (block != InvalidBlockNumber)
	{
		if (++n % 1024 == 0 && n > RelationGetNumberOfBlocks(s->index))
			ann_corrupted(s->index, block, "A chain of leaves is a loop.");
		CHECK_FOR_INTERRUPTS();
		block = open_leaf(s, cache, block, cell, &terms);
		ann_rest_look(s);
		cache = cache_of(s);
	}
}

static void
refine_again(AnnSearch *s, const AnnCache *cache, AnnLeaf *leaf, bool raised)
{
	const AnnLayout *layout = &cache->layout;
	float *bound = s->bound + leaf->at;
	AnnCellTerms terms = {0, 0};
	/* other leaves have been looked at since s->added was set */
	bool again = !s->unbounded && (raised || layout->shape.signs);
	Buffer buffer;
	AnnHead *head;

	CHECK_FOR_INTERRUPTS();
	if (!s->unbounded)
		terms = ann_cell_terms(s, cache, leaf->cell);
	s->candidate = ann_reserve(s, s->candidate, s->candidates, leaf->rows,
							   &s->candidate_room, sizeof(AnnCandidate));
	s->low = ann_reserve(s, s->low, s->lows, leaf->rows, &s->low_room,
						 sizeof(float));
	buffer = ann_read(s->index, s->recent, leaf->block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pg_test_for_old_snapshot(s->snapshot, s->index, BufferGetPage(buffer));
	head = ann_head_of(s->index, buffer, layout, cache->generation, leaf->cell);
	for (int i = 0; again && i < leaf->rows; i += CODE_LANES)
	{
		float fresh[CODE_LANES];

		if (!raised && code_at_least(bound + i, least(s)) == 0)
			continue;
		bound_rows(s, layout, BufferGetPage(buffer), i, &terms, fresh);
		for (int l = 0; raised && l < CODE_LANES; l++)
			if (bound[i + l] != DONE)
				bound[i + l] = fresh[l];
	}
	refine_leaf(s, cache, buffer, head, leaf, &terms);
	UnlockReleaseBuffer(buffer);
}

/*
 * Rows of leaves read in earlier rounds whose bounds reach the new tau; the
 * factors may have been raised.
 */
static void
revisit_leaves(AnnSearch *s, bool raised)
{
	for (int i = 0; i < s->leaves; i++)
	{
		AnnLeaf *leaf = s->leaf + i;
		const float *bound = s->bound + leaf->at;
		float least = raised ? NO_TAU : tau(s);
		int any = 0;

		for (int r = 0; r < leaf->rows; r++)
			any += bound[r] >= least;
		if (any > 0)
		{
			refine_again(s, cache_of(s), leaf, raised);
			ann_rest_look(s);
		}
	}
}

/*
 * The scan ends; taken rows were returned, skipped ones were not visible. The
 * next scan of this index in this session is often of the same kind: a wrong
 * guess costs a round.
 */
void
ann_search_end(AnnSearch *s, double taken, double skipped)
{
	AnnCache *cache = s->index->rd_amcache;

	ann_rest_end(s);
	if (cache != NULL)
		cache->last_taken = (Size) Min(taken + 2 * skipped, MOST_FIRST_GOAL);
}

/* the factors for a greater goal; false when they stay as they are */
static bool
raise_factors(AnnSearch *s, Size goal)
{
	const AnnCache *cache = cache_of(s);
	double z = s->z, share = s->share;

	set_factors(s, goal);
	s->z = Max(s->z, z);
	s->share = Max(s->share, share);
	if (s->unbounded || (s->z == z && s->share == share))
		return false;
	if (s->meta.metric != ANN_L2)
		code_query_set(&s->query, &cache->layout.shape, s->q, 1, s->share);
	ann_cells_bound_again(s, cache);
	return true;
}

/* cells with the best bounds, as long as they reach tau */
static void
open_cells(AnnSearch *s)
{
	while (s->cells > 0 && s->cell[0].bound >= least(s))
		open_cell(s, ann_cells_pop(s));
}

/* by scans for about as many rows */
static AnnExpected *
expected_of(AnnSearch *s)
{
	return cache_of(s)->expected + (s->goal > 31) + (s->goal > 316);
}

/*
 * The first cells: tau rises only as they are opened, and what is looked at
 * until then is mostly below where it ends. That is much the same from query to
 * query, by the cells' bounds; so rows and cells below where it is expected
 * wait. Where it ends lower, they are looked at after all.
 */
static void
open_first(AnnSearch *s)
{
	AnnExpected *e = expected_of(s);
	bool expects = s->of_session && !s->unbounded && s->cells_deviation > 0;
	float ended;

	if (expects && e->known)
		s->floor =
			s->cells_mean + s->cells_deviation * (e->tau - EXPECT_OFF * e->off);
	if (!isfinite(s->floor))
		s->floor = -INFINITY;
	open_cells(s);
	if (tau(s) < s->floor)
	{
		s->floor = -INFINITY;
		push_candidates(s);
		revisit_leaves(s, false);
		open_cells(s);
	}
	s->floor = -INFINITY;
	if (!expects || tau(s) <= NO_TAU)
		return;
	ended = (tau(s) - s->cells_mean) / s->cells_deviation;
	if (!isfinite(ended))
		return;
	e = expected_of(s);
	if (!e->known)
		*e = (AnnExpected){true, ended, 0.1F * fabsf(ended)};
	e->off += EXPECT_RATE * (fabsf(ended - e->tau) - e->off);
	e->tau += EXPECT_RATE * (ended - e->tau);
}

bool
ann_search_round(AnnSearch *s)
{
	bool raised = false;

	if (s->exhausted)
		return false;
	if (s->goal > 0)
		raised = raise_factors(s, s->goal * GOAL_GROWTH);
	s->goal = s->goal == 0 ? s->first_goal : s->goal * GOAL_GROWTH;
	push_candidates(s);
	revisit_leaves(s, raised);
	if (s->leaves == 0)
		open_first(s);
	else
		open_cells(s);
	if (s->rest != NULL)
	{
		/* all others into it: tau says nothing now */
		revisit_leaves(s, false);
		open_cells(s);
		ann_rest_sort(s);
	}
	s->frontier = tau(s);
	if (s->lows < s->goal)
	{
		s->frontier = -INFINITY;
		s->exhausted = true;
	}
	ann_candidates_heap(s);
	return true;
}
