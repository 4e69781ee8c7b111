/*
 * ann_retrain.c
 *		A new structure for an index whose rows no longer fit the old one:
 *		it was made on an empty or small table, or the rows have drifted.
 *
 * Holding the structure lock exclusively (inserts and bulk deletes wait,
 * scans do not), the TIDs in the index are listed, their vectors fetched
 * from the heap, and a new structure is written behind the old pages, each
 * page logged. One change of the metapage then makes it the present one.
 * A crash before that leaves pages that nobody refers to; their generation
 * number is never used again, so vacuum can tell them.
 *
 * Scans that began before go on in the old pages, which stay as they are
 * until no snapshot can be that old (meta.retired_xid, see ann_vacuum.c).
 *
 * Rows that are dead to everybody here may still be seen on a standby, whose
 * snapshots conflict with the pruning of the heap, not with us: an entry is
 * left out only when its row was pruned. Nothing is read from TOAST for a
 * dead row, because it may be gone: such an entry is kept without bounds.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "pg/pg_pause.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define LOG_ROWS 1024  /* rows of the log that are always fine */
#define LOG_SHARE 0.25 /* of the rows: VACUUM acts; an insert waits longer */
#define GROWTH 4       /* so many times the rows at build */
#define GROWTH_LEAST 2000
#define MEMORY_LEAST (64 * 1024 * 1024) /* for TIDs, bytes */

typedef struct Retrain
{
	AnnBuild build;
	Relation heap;
	AnnMeta old;
	ItemPointerData *tid;
	Size tids, room;
	BlockNumber heap_blocks;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	SnapshotData snapshot;
	IndexInfo *info;
	EState *estate;
} Retrain;

static bool
log_outgrown(const AnnMeta *meta, const AnnLayout *layout, double share)
{
	double rows = (double) (meta->log_leaves - meta->log_built) * layout->rows;

	return rows > Max(LOG_ROWS, share * meta->built_rows);
}

bool
ann_outgrown(const AnnMeta *meta, const AnnLayout *layout, double rows)
{
	return log_outgrown(meta, layout, LOG_SHARE) ||
		   rows > Max(GROWTH * (double) meta->built_rows, GROWTH_LEAST);
}

/*
 * Pages of the structures before come free at VACUUM only, and one
 * transaction may make several: so an insert waits for twice the rows.
 */
bool
ann_log_outgrown(const AnnMeta *meta, const AnnLayout *layout)
{
	return log_outgrown(meta, layout, 2 * LOG_SHARE);
}

Size
ann_retrain_limit(void)
{
	return Max((Size) maintenance_work_mem * 1024, MEMORY_LEAST) /
		   sizeof(ItemPointerData);
}

/* TIDs of the leaf at block; returns the next leaf's */
static BlockNumber
list_leaf(Retrain *r, BlockNumber block, uint32 cell)
{
	Relation index = r->build.index;
	const AnnLayout *layout = &r->build.layout;
	Buffer buffer = ann_read_stored(index, block);
	AnnHead *head;
	BlockNumber next;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	head = ann_head_of(index, buffer, layout, r->old.generation, cell);
	for (int t = 0; t * layout->tail_rows < head->used; t++)
	{
		Buffer tail = ann_read_stored(index, head->tail[t]);
		int used = Min(head->used - t * layout->tail_rows, layout->tail_rows);
		ItemPointer tids;

		LockBuffer(tail, BUFFER_LOCK_SHARE);
		ann_tail_of(index, tail, r->old.generation, block);
		tids = ann_tids_of(BufferGetPage(tail), layout);
		for (int i = 0; i < used && r->tids < r->room; i++)
			if (ItemPointerIsValid(tids + i))
			{
				if (ItemPointerGetBlockNumber(tids + i) >= r->heap_blocks)
					ann_corrupted(index, head->tail[t],
								  "A row lies past the end of the table.");
				r->tid[r->tids++] = tids[i];
			}
		UnlockReleaseBuffer(tail);
	}
	next = head->next;
	UnlockReleaseBuffer(buffer);
	return next;
}

/* false: more TIDs than memory allows */
static bool
list_chain(Retrain *r, BlockNumber block, uint32 cell)
{
	BlockNumber n = 0;

	while (block != InvalidBlockNumber)
	{
		CHECK_FOR_INTERRUPTS();
		if (++n > RelationGetNumberOfBlocks(r->build.index))
			ann_corrupted(r->build.index, block, "A chain is a loop.");
		if (r->tids + r->build.layout.rows > r->room)
		{
			Size bytes;

			r->room = r->room + r->room / 2 + 4096;
			bytes = r->room * sizeof(ItemPointerData);
			if (r->room > ann_retrain_limit())
				return false;
			r->tid = r->tid == NULL
						 ? MemoryContextAllocHuge(r->build.context, bytes)
						 : repalloc_huge(r->tid, bytes);
		}
		block = list_leaf(r, block, cell);
	}
	return true;
}

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

static bool
list_rows(Retrain *r)
{
	AnnCache *cache = ann_cache(r->build.index, &r->old);
	int cells = cache->cells;
	BlockNumber *first = MemoryContextAllocHuge(
		r->build.context, sizeof(BlockNumber) * (Size) (cells + 1));

	for (int c = 0; c < cells; c++)
		first[c] = cache->cell[c].first;
	first[cells] = r->old.log_head;
	for (int c = 0; c <= cells; c++)
		if (!list_chain(r, first[c], c))
			return false;
	if (r->tids > 0)
		qsort(r->tid, r->tids, sizeof(ItemPointerData), compare_tids);
	return true;
}

typedef enum Fetched
{
	ROW_GONE, /* no index needs an entry for it */
	ROW_LIVE,
	ROW_DEAD /* here dead to everybody, but perhaps not on a standby */
} Fetched;

static Fetched
fetch_dead(Retrain *r, ItemPointer tid, Datum *value)
{
	ItemPointerData at = *tid;
	AttrNumber column = r->info->ii_IndexAttrNumbers[0];
	bool again = false, dead = false, null;

	if (!RelationNeedsWAL(r->build.index) || !XLogStandbyInfoActive() ||
		!table_index_fetch_tuple(r->fetch, &at, SnapshotAny, r->slot, &again,
								 &dead))
		return ROW_GONE;
	if (column == 0)
		return ROW_DEAD;
	*value = slot_getattr(r->slot, column, &null);
	if (null)
		return ROW_GONE;
	return VARATT_IS_EXTERNAL(DatumGetPointer(*value)) ? ROW_DEAD : ROW_LIVE;
}

/* the indexed value of a row; only set when it is live */
static Fetched
fetch_row(Retrain *r, ItemPointer tid, Datum *value)
{
	ItemPointerData at = *tid;
	bool again = false, dead = false;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	ExecClearTuple(r->slot);
	if (!table_index_fetch_tuple(r->fetch, &at, &r->snapshot, r->slot, &again,
								 &dead))
		return fetch_dead(r, tid, value);
	ResetExprContext(GetPerTupleExprContext(r->estate));
	FormIndexDatum(r->info, r->slot, r->estate, values, nulls);
	*value = values[0];
	return nulls[0] ? ROW_GONE : ROW_LIVE;
}

static void
open_heap(Retrain *r)
{
	r->info = BuildIndexInfo(r->build.index);
	r->estate = CreateExecutorState();
	r->slot = table_slot_create(r->heap, NULL);
	GetPerTupleExprContext(r->estate)->ecxt_scantuple = r->slot;
	InitNonVacuumableSnapshot(r->snapshot, GlobalVisTestFor(r->heap));
	r->fetch = table_index_fetch_begin(r->heap);
}

static void
close_heap(Retrain *r)
{
	table_index_fetch_end(r->fetch);
	ExecDropSingleTupleTableSlot(r->slot);
	FreeExecutorState(r->estate);
}

static void
train_and_sort(Retrain *r)
{
	AnnBuild *build = &r->build;
	Size step = Max(r->tids / Max(build->sample_room, 1), 1);
	Datum value;

	for (Size i = 0; i < r->tids; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		if (fetch_row(r, r->tid + i, &value) == ROW_LIVE)
			ann_train_offer(build, value);
	}
	build->total = (double) build->seen * step;
	ann_sample_queries(build, r->heap, r->info);
	ann_train(build);
	ann_build_begin_sort(build, build->memory / 2, NULL);
	for (Size i = 0; i < r->tids; i++)
	{
		CHECK_FOR_INTERRUPTS();
		switch (fetch_row(r, r->tid + i, &value))
		{
			case ROW_LIVE:
				ann_build_row(build, r->tid + i, value);
				break;
			case ROW_DEAD:
				ann_build_odd_row(build, r->tid + i);
				break;
			case ROW_GONE:
				break;
		}
	}
	tuplesort_performsort(build->sort);
	ann_build_close_cells(build);
}

/* take a number for the new pages, before there are any */
static void
take_generation(Retrain *r)
{
	Relation index = r->build.index;
	Buffer buffer = ReadBuffer(index, ANN_META_BLOCK);
	GenericXLogState *state;
	AnnMeta *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(index);
	meta = ann_meta_of(GenericXLogRegisterBuffer(state, buffer, 0));
	r->build.meta.generation = meta->next_generation++;
	r->build.meta.next_generation = meta->next_generation;
	r->build.meta.free_below = meta->free_below;
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

static void
switch_over(Retrain *r)
{
	Relation index = r->build.index;
	Buffer buffer = ReadBuffer(index, ANN_META_BLOCK);
	GenericXLogState *state;

	r->build.meta.retired_xid =
		U64FromFullTransactionId(ReadNextFullTransactionId());
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(index);
	memcpy(ann_meta_of(GenericXLogRegisterBuffer(state, buffer, 0)),
		   &r->build.meta, sizeof(AnnMeta));
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

static bool
retrain_locked(Retrain *r, uint32 generation)
{
	AnnBuild *build = &r->build;

	ann_read_meta(build->index, &r->old);
	if (r->old.generation != generation)
		return false; /* somebody else was faster */
	if (!list_rows(r))
		return false;
	PAUSE_POINT("ann_retrain_listed");
	open_heap(r);
	train_and_sort(r);
	close_heap(r);
	take_generation(r);
	ann_write_all(build, true);
	ann_calibrate(build);
	PAUSE_POINT("ann_retrain_switch");
	switch_over(r);
	ann_build_end_sort(build);
	return true;
}

bool
ann_retrain(Relation index, Relation heap, uint32 generation, bool wait)
{
	MemoryContext context, old;
	Retrain *r;
	bool done;

	if (wait)
		LockPage(index, ANN_META_BLOCK, ExclusiveLock);
	else if (!ConditionalLockPage(index, ANN_META_BLOCK, ExclusiveLock))
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "ann retrain",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	r = palloc0(sizeof(Retrain));
	ann_build_init(&r->build, index);
	ann_train_begin(&r->build);
	r->heap = heap;
	/* the structure lock keeps newer rows out of the index */
	r->heap_blocks = RelationGetNumberOfBlocks(heap);
	done = retrain_locked(r, generation);
	UnlockPage(index, ANN_META_BLOCK, ExclusiveLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return done;
}
