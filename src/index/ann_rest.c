/*
 * ann_rest.c
 *		The rows of a search whose arrays have grown to their limit.
 *
 * A filter that hardly any row passes makes a scan go through all of a table.
 * From the limit on every row that is no candidate yet, of leaves that were
 * opened and of all others, goes into a sort on disk by the bound of its full
 * code. The candidates stay where they are, and rows come back from the sort
 * among them when no candidate has a better bound: the order of return is what
 * it would have been.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "index/ann_search.h"
#include "miscadmin.h"
#include "pg/pg_pause.h"
#include "utils/tuplesort.h"

typedef struct AnnRest
{
	Tuplesortstate *sort; /* (-bound, TID) */
	TupleTableSlot *in, *out;
	Size candidates, bounds; /* when it began */
	int leaves;
	AnnCandidate next; /* of the sort */
	bool has_next;
} AnnRest;

static Size
used(const AnnSearch *s)
{
	return s->candidates * sizeof(AnnCandidate) + s->bounds * sizeof(float) +
		   s->lows * sizeof(float) + s->leaves * sizeof(AnnLeaf);
}

static void
start(AnnSearch *s)
{
	AttrNumber attribute = 1;
	Oid operator= Float8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	TupleDesc desc;
	AnnRest *rest;
	MemoryContext old = MemoryContextSwitchTo(s->context);

	PAUSE_POINT("ann_rest_begin");
	desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(desc, 1, "bound", FLOAT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "row", INT8OID, -1, 0);
	rest = palloc0(sizeof(AnnRest));
	rest->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	rest->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	rest->sort =
		tuplesort_begin_heap(desc, 1, &attribute, &operator, & collation,
							 &nulls_first, work_mem, NULL, TUPLESORT_NONE);
	rest->candidates = s->candidates;
	rest->bounds = s->bounds;
	rest->leaves = s->leaves;
	s->rest = rest;
	MemoryContextSwitchTo(old);
	/* from here on every row is read */
	s->goal = SIZE_MAX;
	s->lows = 0;
	s->floor = -INFINITY;
}

void
ann_rest_look(AnnSearch *s)
{
	AnnRest *rest = s->rest;

	if (rest == NULL)
	{
		/* arrays have up to twice the room that is used */
		if (s->most > 0 && used(s) > s->most / 2)
			start(s);
		return;
	}
	for (Size i = rest->candidates; i < s->candidates; i++)
	{
		const AnnCandidate *c = s->candidate + i;
		int64 row = ((int64) ItemPointerGetBlockNumberNoCheck(&c->tid) << 16) |
					ItemPointerGetOffsetNumberNoCheck(&c->tid);

		ExecClearTuple(rest->in);
		rest->in->tts_values[0] = Float8GetDatum(-c->key);
		rest->in->tts_values[1] = Int64GetDatum(row);
		rest->in->tts_isnull[0] = rest->in->tts_isnull[1] = false;
		ExecStoreVirtualTuple(rest->in);
		tuplesort_puttupleslot(rest->sort, rest->in);
	}
	s->candidates = rest->candidates;
	s->bounds = rest->bounds;
	s->leaves = rest->leaves;
	s->lows = 0;
}

static void
fetch_next(AnnRest *rest)
{
	bool isnull;
	int64 row;

	rest->has_next =
		tuplesort_gettupleslot(rest->sort, true, false, rest->out, NULL);
	if (!rest->has_next)
		return;
	memset(&rest->next, 0, sizeof(AnnCandidate));
	rest->next.key = -DatumGetFloat8(slot_getattr(rest->out, 1, &isnull));
	row = DatumGetInt64(slot_getattr(rest->out, 2, &isnull));
	ItemPointerSet(&rest->next.tid, (BlockNumber) (row >> 16),
				   (OffsetNumber) (row & 0xFFFF));
}

void
ann_rest_sort(AnnSearch *s)
{
	tuplesort_performsort(s->rest->sort);
	fetch_next(s->rest);
}

void
ann_rest_feed(AnnSearch *s)
{
	AnnRest *rest = s->rest;
	const AnnCandidate *top = s->candidate;

	if (rest == NULL || !rest->has_next)
		return;
	/* one at a time: all bounds may be alike, as for a query that says nothing */
	if (s->active == 0 || rest->next.key > top->key ||
		(rest->next.key == top->key && top->exact))
	{
		ann_candidates_push(s, &rest->next);
		fetch_next(rest);
	}
}

void
ann_rest_end(AnnSearch *s)
{
	if (s->rest != NULL)
		tuplesort_end(s->rest->sort);
	s->rest = NULL;
}
