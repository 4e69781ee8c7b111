/*
 * ann_stats.c
 *		recsys_index_stats: how full, how balanced, how fitting an index is.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/genam.h"
#include "access/table.h"
#include "funcapi.h"
#include "index/ann_check.h"
#include "index/ann_search.h"
#include "math/rng.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "pg/pg_module.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(recsys_index_stats);

#define QUERIES 24 /* rows that are searched for, for the recall */
#define TOP 10
#define DRIFT_LIMIT 1.3
#define DEAD_SHARE 0.3
#define DEAD_LEAST 2000 /* so few are read in no time */
#define COLUMNS 16

typedef struct Stats
{
	AnnWalk walk;
	CodeRow code;
	float *query; /* (QUERIES, dim) rows of the index, decoded, rotated */
	double offered;
	Rng rng;
	double radius_sum;
	double cell_rows;
} Stats;

static void
count_row(AnnWalk *w, Page head, Page tail, BlockNumber block, uint32 cell,
		  int slot, int at)
{
	Stats *s = (Stats *) w;
	const AnnLayout *layout = &w->cache->layout;
	AnnTailRow *row = ann_tail_row(tail, layout, at);
	ItemPointer tid = &row->tid;
	const uint8 *codes = (uint8 *) head + layout->head_offset +
						 slot / CODE_LANES * layout->block_size;
	int dim = w->cache->dim;
	float *r;
	uint64 take;

	if (!ItemPointerIsValid(tid))
	{
		w->dead++;
		return;
	}
	w->rows++;
	s->cell_rows++;
	code_block_get(&layout->shape, codes, slot % CODE_LANES, &s->code);
	s->code.tail_scale = row->scale;
	s->code.error = row->error;
	if (isinf(s->code.error))
		return;
	memcpy(s->code.codes + code_head_padded(&layout->shape), row->code,
		   layout->tail_size);
	/* the last place of query[] is scratch */
	r = s->query + (Size) QUERIES * dim;
	code_decode(&layout->shape, &s->code, r);
	s->radius_sum += sqrt((double) vec_dot(r, r, dim));
	take = s->offered < QUERIES ? (uint64) s->offered
								: rng_below(&s->rng, (uint64) s->offered + 1);
	s->offered++;
	if (take < QUERIES)
	{
		float *q = s->query + take * dim;

		memset(q, 0, sizeof(float) * dim);
		if (cell < (uint32) w->cache->cells)
			ann_cell_centroid(w->cache, cell, q);
		for (int i = 0; i < dim; i++)
			q[i] += r[i];
	}
}

/* the best TOP rows of a query by their full codes */
static int
search_top(Stats *s, AnnSearch *search, const float *q, bool proven,
		   ItemPointerData *found)
{
	int n = 0, dim = s->walk.cache->dim;

	MemoryContextReset(search->context);
	search->index = s->walk.index;
	search->meta = s->walk.meta;
	ann_search_target(search);
	if (proven)
		search->z = search->share = 1;
	search->unbounded = false;
	search->q_norm = sqrt((double) vec_dot(q, q, dim));
	search->tiny = 0;
	ann_search_begin(search, q, true);
	while (n < TOP)
	{
		AnnCandidate *top = ann_search_top(search);

		if (top == NULL)
		{
			if (!ann_search_round(search))
				break;
			continue;
		}
		if (top->key < INFINITY)
			found[n++] = top->tid;
		ann_search_pop(search);
	}
	return n;
}

/* share of the rows found at factor 1 that are found at the session's */
static double
sampled_recall(Stats *s)
{
	AnnSearch *search = palloc0(sizeof(AnnSearch));
	int queries = (int) Min(s->offered, QUERIES);
	double hit = 0, all = 0;

	search->context = AllocSetContextCreate(CurrentMemoryContext, "ann stats",
											ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < queries; i++)
	{
		const float *q = s->query + (Size) i * s->walk.cache->dim;
		ItemPointerData want[TOP], got[TOP];
		int nwant = search_top(s, search, q, true, want);
		int ngot = search_top(s, search, q, false, got);

		CHECK_FOR_INTERRUPTS();
		all += nwant;
		for (int a = 0; a < nwant; a++)
			for (int b = 0; b < ngot; b++)
				hit += ItemPointerEquals(want + a, got + b);
	}
	MemoryContextDelete(search->context);
	return all > 0 ? hit / all : 1;
}

static const char *
advice(const AnnWalk *w, double drift, double dead_share)
{
	double rows = (double) w->rows;
	bool outgrown = ann_outgrown(&w->meta, &w->cache->layout, rows);

	if (outgrown)
		return "VACUUM the table: the rows have outgrown the cells";
	if (ann_shrunk(&w->meta, rows))
		return "VACUUM the table: many of the rows that the cells were made "
			   "for are gone";
	if (drift > DRIFT_LIMIT)
		return "REINDEX the index: new rows fit the cells badly";
	if (dead_share > DEAD_SHARE && w->dead > DEAD_LEAST)
		return "REINDEX the index: many of its slots are without a row";
	return "nothing";
}

static Datum
stats_row(Stats *s, FunctionCallInfo fcinfo, double log_rows, double largest)
{
	AnnWalk *w = &s->walk;
	const CodeShape *shape = &w->cache->layout.shape;
	const char *names[] = {"inner product", "l2", "cosine"};
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {false};
	TupleDesc desc;
	double rows = Max((double) w->rows, 1);
	double bounded = Max(s->offered, 1);
	double mean = s->radius_sum / bounded;
	double drift =
		w->meta.residual > 0 && w->rows > 0 ? mean / w->meta.residual : 1;
	double dead = w->dead / Max((double) (w->rows + w->dead), 1);
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != COLUMNS)
		elog(ERROR, "return type must be a row of %d columns", COLUMNS);
	values[n++] = CStringGetTextDatum(names[w->meta.metric]);
	values[n++] = Int32GetDatum(w->meta.dim);
	values[n++] = Int64GetDatum(w->rows);
	values[n++] = Int64GetDatum(w->dead);
	values[n++] = Int32GetDatum(w->cache->cells);
	values[n++] = Float8GetDatum(
		w->cache->cells > 0 ? (rows - log_rows) / w->cache->cells : 0);
	values[n++] = Float8GetDatum(largest);
	values[n++] = Int64GetDatum((int64) log_rows);
	values[n++] = Int64GetDatum(w->pages + w->meta.static_pages + 1);
	values[n++] = Int64GetDatum(RelationGetNumberOfBlocks(w->index));
	values[n++] = Int32GetDatum(
		shape->dim + (shape->signs ? (shape->dim - shape->head + 7) / 8 : 0));
	values[n++] = Float8GetDatum(drift);
	values[n++] = Int32GetDatum(w->meta.generation);
	values[n++] = Float8GetDatum(sampled_recall(s));
	values[n++] = Int32GetDatum(w->meta.queries);
	values[n++] = CStringGetTextDatum(advice(w, drift, dead));
	Assert(n == COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
recsys_index_stats(PG_FUNCTION_ARGS)
{
	Relation heap;
	Relation index = ann_open_index(PG_GETARG_OID(0), &heap);
	Stats s;
	double largest = 0, log_rows = 0;
	Datum result;

	memset(&s, 0, sizeof(s));
	ann_walk_begin(&s.walk, index);
	s.walk.row = count_row;
	s.code.codes = palloc0(code_row_size(&s.walk.cache->layout.shape));
	s.query = palloc0(sizeof(float) * (QUERIES + 1) * (Size) s.walk.cache->dim);
	rng_init(&s.rng, 1, 3);
	for (int cell = 0; cell <= s.walk.cache->cells; cell++)
	{
		s.cell_rows = 0;
		ann_walk_chain(&s.walk, cell);
		if (cell == s.walk.cache->cells)
			log_rows = s.cell_rows;
		else
			largest = Max(largest, s.cell_rows);
	}
	result = stats_row(&s, fcinfo, log_rows, largest);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_DATUM(result);
}
