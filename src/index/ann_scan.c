/*
 * ann_scan.c
 *		Index scans: the query, exact values from the heap, order of return.
 *
 * The search (ann_search.c) gives candidates by upper bound. The best one's
 * vector is fetched from the heap under the scan's snapshot and the operator
 * itself is called; a candidate whose exact value is at least every other
 * bound is the next row. A row that the snapshot does not see is dropped here.
 * At target_recall 1 bounds are proven, so rows come in the operator's true
 * order to the last one.
 *
 * Nothing keeps VACUUM from removing a TID that a scan has read but not yet
 * fetched, and an INSERT from using it again: the new row is not visible to
 * the scan's MVCC snapshot, which is older. Other snapshots are refused.
 *
 * Below target_recall 1 a row may turn up after worse rows were returned: its
 * bound was taken too low. It is held back until all others were returned, and
 * those held back then come in their own order. So a scan that stops before, as
 * for a LIMIT, sees true order; one that is read to its end sees every row once,
 * but the late ones after worse ones. The planner believes in the order all the
 * same; who needs it to the end sets target_recall to 1.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "index/ann_search.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "pg/pg_pause.h"
#include "pgstat.h"
#include "type/vector.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* beyond these a query's float32 bounds say nothing */
#define QUERY_LONGEST 1e15
#define QUERY_SHORTEST_COSINE 1e-12
/* of work_mem, before a scan goes to disk */
#define MEMORY_TIMES 16

typedef struct AnnScan
{
	AnnSearch search;
	bool started; /* since the last rescan */
	bool null_query;
	Datum query;    /* in the scan's context */
	double scale;   /* score = -value * scale, but for L2 */
	double last;    /* value returned last */
	double taken;   /* rows returned */
	double skipped; /* not visible */

	AnnCandidate *late; /* held back */
	Size lates, late_room, late_at;
	bool late_sorted;

	FmgrInfo *distance;
	Oid collation;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	IndexInfo *info; /* of an expression index, else NULL */
	EState *estate;
	BlockNumber heap_blocks; /* of the table, when last looked */
} AnnScan;

IndexScanDesc
annbeginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	AnnScan *so = palloc0(sizeof(AnnScan));

	so->search.index = index;
	so->search.context = AllocSetContextCreate(CurrentMemoryContext, "ann scan",
											   ALLOCSET_DEFAULT_SIZES);
	so->distance = index_getprocinfo(index, 1, ANN_DISTANCE_PROC);
	so->collation = index->rd_indcollation[0];
	scan->opaque = so;
	return scan;
}

void
annrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys,
		  int norderbys)
{
	AnnScan *so = scan->opaque;

	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys,
				scan->numberOfOrderBys * sizeof(ScanKeyData));
	if (so->started)
		ann_search_end(&so->search, so->taken, so->skipped);
	so->started = false;
	MemoryContextReset(so->search.context);
	so->late = NULL;
	so->lates = so->late_room = so->late_at = 0;
	so->late_sorted = false;
	if (so->fetch != NULL)
		table_index_fetch_reset(so->fetch);
}

void
annendscan(IndexScanDesc scan)
{
	AnnScan *so = scan->opaque;

	if (so->started)
		ann_search_end(&so->search, so->taken, so->skipped);
	if (so->slot != NULL)
		ExecDropSingleTupleTableSlot(so->slot);
	if (so->fetch != NULL)
		table_index_fetch_end(so->fetch);
	if (so->estate != NULL)
		FreeExecutorState(so->estate);
	MemoryContextDelete(so->search.context);
	pfree(so);
	scan->opaque = NULL;
}

/* the query into the search's terms; v has meta.dim coordinates */
static const float *
prepare_query(AnnScan *so, const float *v, float *out)
{
	AnnSearch *s = &so->search;
	double sum = 0, norm, scale;
	int dim = s->meta.dim;

	for (int i = 0; i < dim; i++)
		sum += (double) v[i] * v[i];
	norm = sqrt(sum);
	s->unbounded = !(norm <= QUERY_LONGEST) || (s->meta.metric == ANN_COSINE &&
												norm <= QUERY_SHORTEST_COSINE);
	scale = norm > 0 ? 1 / norm : 1;
	so->scale = s->meta.metric == ANN_IP ? scale : 1;
	if (s->meta.metric == ANN_L2)
		scale = 1;
	for (int i = 0; i < dim; i++)
		out[i] = (float) (v[i] * scale);
	s->q_norm = norm * scale * (1 + 1e-6);
	s->tiny = dim * 1e-44 * (s->meta.metric == ANN_IP ? 1 + so->scale : 1);
	return out;
}

static void
start_heap(IndexScanDesc scan)
{
	AnnScan *so = scan->opaque;

	so->fetch = table_index_fetch_begin(scan->heapRelation);
	so->slot = table_slot_create(scan->heapRelation, NULL);
	if (scan->indexRelation->rd_index->indkey.values[0] == 0)
	{
		so->info = BuildIndexInfo(scan->indexRelation);
		so->estate = CreateExecutorState();
		GetPerTupleExprContext(so->estate)->ecxt_scantuple = so->slot;
	}
}

static void
start(IndexScanDesc scan)
{
	AnnScan *so = scan->opaque;
	AnnSearch *s = &so->search;
	ScanKey key = scan->orderByData;
	float *q = NULL;
	MemoryContext old;

	if (scan->numberOfOrderBys != 1 || scan->numberOfKeys != 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("ann index can only be scanned in the order "
							   "of one distance")));
	if (!IsMVCCSnapshot(scan->xs_snapshot))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("ann index needs an MVCC snapshot for a scan")));
	pgstat_count_index_scan(scan->indexRelation);
	pg_count_search(scan);
	if (so->fetch == NULL)
		start_heap(scan);
	s->snapshot = scan->xs_snapshot;
	ann_read_meta(s->index, s->snapshot, &s->meta);
	ann_search_target(s);
	s->most = (Size) work_mem * 1024 * MEMORY_TIMES;
	so->null_query = (key->sk_flags & SK_ISNULL) != 0;
	so->last = -INFINITY;
	so->taken = so->skipped = 0;
	so->scale = 1;
	s->unbounded = so->null_query;
	s->q_norm = s->tiny = 0;
	old = MemoryContextSwitchTo(s->context);
	if (!so->null_query)
	{
		Vector *v = vector_from_datum(key->sk_argument);

		if (v->dim != (int) s->meta.dim)
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
							errmsg("different vector dimensions %u and %d",
								   s->meta.dim, (int) v->dim)));
		q = palloc(sizeof(float) * (v->dim + CODE_LANES));
		prepare_query(so, v->x, q);
		so->query = PointerGetDatum(v);
	}
	MemoryContextSwitchTo(old);
	ann_search_begin(s, q, false);
	so->started = true;
}

/* the indexed value of the row in so->slot */
static Datum
indexed_value(IndexScanDesc scan, bool *isnull)
{
	AnnScan *so = scan->opaque;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	if (so->info == NULL)
		return slot_getattr(
			so->slot, scan->indexRelation->rd_index->indkey.values[0], isnull);
	ResetExprContext(GetPerTupleExprContext(so->estate));
	FormIndexDatum(so->info, so->slot, so->estate, values, nulls);
	*isnull = nulls[0];
	return values[0];
}

/* A damaged row pointer is told as such, not as a missing file of the table. */
static void
check_pointer(IndexScanDesc scan, ItemPointer tid)
{
	AnnScan *so = scan->opaque;
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (likely(block < so->heap_blocks))
		return;
	so->heap_blocks = RelationGetNumberOfBlocks(scan->heapRelation);
	if (block >= so->heap_blocks)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" points to block %u of table \"%s\", "
						"which has %u",
						RelationGetRelationName(scan->indexRelation), block,
						RelationGetRelationName(scan->heapRelation),
						so->heap_blocks),
				 errhint("REINDEX the index.")));
}

/* the operator's value of a row; false: the snapshot does not see it */
static bool
exact_value(IndexScanDesc scan, ItemPointer tid, double *value)
{
	AnnScan *so = scan->opaque;
	ItemPointerData at = *tid;
	bool again = false, dead = false, isnull;
	Datum datum;
	Pointer mine;

	*value = 0;
	check_pointer(scan, tid);
	if (so->null_query)
		return true;
	PAUSE_POINT("ann_scan_fetch");
	if (!table_index_fetch_tuple(so->fetch, &at, scan->xs_snapshot, so->slot,
								 &again, &dead))
		return false;
	datum = indexed_value(scan, &isnull);
	if (isnull)
		return false;
	mine = (Pointer) vector_from_datum(datum);
	*value = DatumGetFloat8(FunctionCall2Coll(
		so->distance, so->collation, PointerGetDatum(mine), so->query));
	if (mine != DatumGetPointer(datum))
		pfree(mine);
	ExecClearTuple(so->slot);
	return true;
}

static double
score_of(const AnnScan *so, double value)
{
	if (so->search.meta.metric == ANN_L2)
		return -value * value;
	if (so->search.meta.metric == ANN_COSINE)
		return 1 - value;
	return -value * so->scale;
}

static void
hold_back(AnnScan *so, const AnnCandidate *c, double value)
{
	if (so->lates == so->late_room)
	{
		Size room = so->late_room == 0 ? 64 : so->late_room * 2;
		Size bytes = room * sizeof(AnnCandidate);

		so->late = so->late == NULL
					   ? MemoryContextAllocHuge(so->search.context, bytes)
					   : repalloc_huge(so->late, bytes);
		so->late_room = room;
	}
	so->late[so->lates] = *c;
	so->late[so->lates++].value = value;
}

/* by value, not a number last, then by TID */
static int
compare_late(const void *a, const void *b)
{
	const AnnCandidate *x = a, *y = b;

	if (isnan(x->value) != isnan(y->value))
		return isnan(x->value) ? 1 : -1;
	if (!isnan(x->value) && x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return ItemPointerCompare((ItemPointer) &x->tid, (ItemPointer) &y->tid);
}

static bool
next_late(AnnScan *so, ItemPointer tid)
{
	if (!so->late_sorted)
		qsort(so->late, so->lates, sizeof(AnnCandidate), compare_late);
	so->late_sorted = true;
	if (so->late_at >= so->lates)
		return false;
	*tid = so->late[so->late_at++].tid;
	return true;
}

static bool
next_row(IndexScanDesc scan, ItemPointer tid)
{
	AnnScan *so = scan->opaque;
	AnnSearch *s = &so->search;

	for (;;)
	{
		AnnCandidate *top = ann_search_top(s);
		double value;

		if (top == NULL)
		{
			if (!ann_search_round(s))
				return next_late(so, tid);
			continue;
		}
		/* to NULL all rows are equally far */
		if (top->exact || so->null_query)
		{
			*tid = top->tid;
			so->last = so->null_query ? 0 : top->value;
			ann_search_pop(s);
			return true;
		}
		CHECK_FOR_INTERRUPTS();
		if (!exact_value(scan, &top->tid, &value))
		{
			so->skipped++;
			ann_search_pop(s);
		}
		else if (isnan(value) || value < so->last)
		{
			hold_back(so, top, value);
			ann_search_pop(s);
		}
		else
			ann_search_settle(s, score_of(so, value), value);
	}
}

bool
anngettuple(IndexScanDesc scan, ScanDirection direction)
{
	AnnScan *so = scan->opaque;

	if (direction != ForwardScanDirection)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("ann index cannot be scanned backward")));
	if (!so->started)
		start(scan);
	if (!next_row(scan, &scan->xs_heaptid))
		return false;
	so->taken++;
	scan->xs_recheck = false;
	scan->xs_recheckorderby = false;
	return true;
}
