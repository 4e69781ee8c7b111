/*
 * ann_retrain.c
 *		A new structure for an index whose rows no longer fit the old one:
 *		it was made on an empty or small table, or the rows have drifted, or
 *		many of them are gone.
 *
 * The TIDs in the index are listed (in a sort, which may spill), their
 * vectors fetched from the heap, and a new structure is written behind the
 * old pages, each page logged. Scans and inserts go on meanwhile in the old
 * structure. What was inserted since is found by walking the leaves again
 * and put into the new structure row by row; for the last of it inserts
 * wait. One change of the metapage then makes the new structure the present
 * one. The retrain lock keeps bulk deletes out all along, so that no slot
 * that was listed may get another row.
 *
 * A training that has put a model's next version into its table without index
 * entries has them made so, too (ann_load): nobody is locked out, as by a new
 * index in place of the old one.
 *
 * A crash before the change of the metapage leaves pages that nobody refers
 * to; their generation number is not used again before vacuum has freed them.
 *
 * Scans that began before go on in the old pages, which stay as they are
 * until no snapshot can be that old (meta.retired_xid, see ann_vacuum.c).
 *
 * Rows that are dead to everybody here may still be seen on a standby, whose
 * snapshots conflict with the pruning of the heap, not with us: an entry is
 * left out only when its row was pruned. Nothing is read from TOAST for a row
 * that is deleted, because it may be gone, and neither VACUUM's nor an insert's
 * own snapshot keeps it: such an entry is kept without bounds.
 *
 * Memory: maintenance_work_mem, half of it for the sample, a quarter each for the
 * sorts of TIDs and of codes; and some 80 bytes a leaf for which slots were listed.
 */
#include "postgres.h"

#include <math.h>

#include "access/generic_xlog.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "index/ann_build.h"
#include "miscadmin.h"
#include "pg/pg_pause.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define LOG_ROWS 1024  /* rows of the log that are always fine */
#define LOG_SHARE 0.25 /* of the rows: VACUUM acts; an insert waits longer */
#define GROWTH 1.5     /* so many times the rows at build, or so few */
#define GROWTH_LEAST 2000
#define LATE_ROWS 1000 /* so few that inserts may wait for them */
#define LATE_WALKS 8   /* to get that few */

/* which slots of a leaf were listed; only inserts change leaves meanwhile */
typedef struct Listed
{
	BlockNumber block;
	int rows;
	uint8 slot[FLEXIBLE_ARRAY_MEMBER]; /* bits */
} Listed;

typedef struct Retrain
{
	AnnBuild build;
	Relation heap;
	AnnMeta old;
	AnnLayout layout;       /* of its pages */
	BlockNumber *first;     /* (old.cells) first leaves */
	HTAB *leaf;             /* of Listed */
	Tuplesortstate *sort;   /* of TIDs, as int64 */
	bool load;              /* list the table's rows without entries as well */
	bool late;              /* rows go into the new structure at once */
	double tids;            /* listed by the present walk */
	int64 last;             /* of the list, given out: none twice */
	ItemPointerData *fresh; /* (layout.rows) of one leaf */
	BlockNumber heap_blocks;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	SnapshotData not_vacuumable;
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

bool
ann_shrunk(const AnnMeta *meta, double rows)
{
	return meta->built_rows > GROWTH_LEAST &&
		   rows * GROWTH < (double) meta->built_rows;
}

double
ann_failed_factor(const AnnMeta *meta)
{
	uint32 failed = meta->next_generation - meta->generation - 1;

	return pow(2, Min(failed, 30));
}

/*
 * Pages of the structures before come free at VACUUM only, and one
 * transaction may make several: so an insert waits for twice the rows. After
 * every attempt that failed, by a timeout say, for twice as many again.
 */
bool
ann_log_outgrown(const AnnMeta *meta, const AnnLayout *layout)
{
	return log_outgrown(meta, layout, 2 * LOG_SHARE * ann_failed_factor(meta));
}

/*
 * A damaged row pointer is told as such. The table may have grown since we
 * looked.
 */
static void
check_pointer(Retrain *r, ItemPointer tid, BlockNumber tail)
{
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(tid);

	if (block >= r->heap_blocks)
		r->heap_blocks = RelationGetNumberOfBlocks(r->heap);
	if (block >= r->heap_blocks)
		ann_corrupted(r->build.index, tail,
					  "A row lies past the end of the table.");
}

/* rows of a tail page that are not listed yet, into r->fresh */
static int
fresh_of_tail(Retrain *r, Listed *listed, BlockNumber block, BlockNumber head,
			  int first, int used, int n)
{
	Buffer buffer = ann_read_stored(r->build.index, block);
	Page page = BufferGetPage(buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	ann_tail_of(r->build.index, buffer, r->old.generation, head);
	for (int i = 0; i < used; i++)
	{
		uint8 *bits = listed->slot + (first + i) / 8;
		uint8 bit = 1 << (first + i) % 8;
		ItemPointer tid = &ann_tail_row(page, &r->layout, i)->tid;

		if (!ItemPointerIsValid(tid) || (*bits & bit))
			continue;
		check_pointer(r, tid, block);
		*bits |= bit;
		r->fresh[n++] = *tid;
	}
	UnlockReleaseBuffer(buffer);
	return n;
}

/* the same of the leaf at block; *next: the next one's */
static int
fresh_of_leaf(Retrain *r, BlockNumber block, uint32 cell, BlockNumber *next)
{
	Relation index = r->build.index;
	const AnnLayout *layout = &r->layout;
	Buffer buffer;
	AnnHead *head;
	bool known;
	Listed *listed = hash_search(r->leaf, &block, HASH_ENTER, &known);
	int n = 0;

	if (!known)
	{
		listed->rows = 0;
		memset(listed->slot, 0, (layout->rows + 7) / 8);
	}
	buffer = ann_read_stored(index, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	head = ann_head_of(index, buffer, layout, r->old.generation, cell);
	/* as many rows as before: the same ones */
	for (int t = 0; head->used - head->dead > listed->rows &&
					t * layout->tail_rows < head->used;
		 t++)
		n = fresh_of_tail(
			r, listed, head->tail[t], block, t * layout->tail_rows,
			Min(head->used - t * layout->tail_rows, layout->tail_rows), n);
	listed->rows += n;
	*next = head->next;
	UnlockReleaseBuffer(buffer);
	return n;
}

typedef enum Fetched
{
	ROW_GONE, /* no index needs an entry for it */
	ROW_LIVE,
	ROW_DEAD /* somebody may see it still: an entry without bounds */
} Fetched;

static bool
fetch_by(Retrain *r, ItemPointer tid, Snapshot snapshot)
{
	ItemPointerData at = *tid;
	bool again = false, dead = false;

	return table_index_fetch_tuple(r->fetch, &at, snapshot, r->slot, &again,
								   &dead);
}

/* by this transaction: its end is not yet, nor is that of the row's TOAST */
static bool
deleted_by_us(Retrain *r)
{
	HeapTupleHeader row = ExecFetchSlotHeapTuple(r->slot, false, NULL)->t_data;

	return !(row->t_infomask & (HEAP_XMAX_IS_MULTI | HEAP_XMAX_INVALID)) &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(row));
}

/* a row that is deleted, but some snapshot, here or on a standby, may see */
static Fetched
fetch_dead(Retrain *r, ItemPointer tid, Datum *value)
{
	AttrNumber column = r->info->ii_IndexAttrNumbers[0];
	bool null;

	if (!fetch_by(r, tid, &r->not_vacuumable) &&
		(!RelationNeedsWAL(r->build.index) || !XLogStandbyInfoActive() ||
		 !fetch_by(r, tid, SnapshotAny)))
		return ROW_GONE;
	if (column == 0)
		return ROW_DEAD;
	*value = slot_getattr(r->slot, column, &null);
	if (null)
		return ROW_GONE;
	return VARATT_IS_EXTERNAL(DatumGetPointer(*value)) && !deleted_by_us(r)
			   ? ROW_DEAD
			   : ROW_LIVE;
}

/* the indexed value of a row; only set when it is live */
static Fetched
fetch_row(Retrain *r, ItemPointer tid, Datum *value)
{
	SnapshotData present;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	ExecClearTuple(r->slot);
	InitDirtySnapshot(present);
	if (!fetch_by(r, tid, &present))
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
	InitNonVacuumableSnapshot(r->not_vacuumable, GlobalVisTestFor(r->heap));
	r->fetch = table_index_fetch_begin(r->heap);
}

static void
close_heap(Retrain *r)
{
	table_index_fetch_end(r->fetch);
	ExecDropSingleTupleTableSlot(r->slot);
	FreeExecutorState(r->estate);
}

static int64
tid_key(ItemPointer tid)
{
	return ((int64) ItemPointerGetBlockNumber(tid) << 16) |
		   ItemPointerGetOffsetNumber(tid);
}

/* a row that was inserted after the first walk */
static void
add_late(Retrain *r, ItemPointer tid)
{
	Datum value;

	switch (fetch_row(r, tid, &value))
	{
		case ROW_LIVE:
			ann_insert_late(r->build.index, &r->build.meta, tid, &value);
			break;
		case ROW_DEAD:
			ann_insert_late(r->build.index, &r->build.meta, tid, NULL);
			break;
		case ROW_GONE:
			break;
	}
}

static void
list_chain(Retrain *r, BlockNumber block, uint32 cell)
{
	BlockNumber n = 0;

	while (block != InvalidBlockNumber)
	{
		BlockNumber here = block;
		int fresh = fresh_of_leaf(r, here, cell, &block);

		CHECK_FOR_INTERRUPTS();
		if (++n % 1024 == 0 && n > RelationGetNumberOfBlocks(r->build.index))
			ann_corrupted(r->build.index, here, "A chain is a loop.");
		for (int i = 0; i < fresh; i++)
			if (r->late)
				add_late(r, r->fresh + i);
			else
				tuplesort_putdatum(r->sort,
								   Int64GetDatum(tid_key(r->fresh + i)), false);
		r->tids += fresh;
	}
}

/* all rows that were not listed yet; returns their number */
static double
list_rows(Retrain *r)
{
	AnnMeta now;

	/* the log may have begun since */
	ann_read_meta(r->build.index, NULL, &now);
	r->tids = 0;
	for (uint32 c = 0; c < r->old.cells; c++)
		list_chain(r, r->first[c], c);
	list_chain(r, now.log_head, r->old.cells);
	return r->tids;
}

/* rows that this transaction has put into the table without entries */
static void
list_table(Retrain *r)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(r->heap, NULL);
	TableScanDesc scan = table_beginscan(r->heap, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool null;
		Datum xmin =
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &null);

		CHECK_FOR_INTERRUPTS();
		if (!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
			continue;
		tuplesort_putdatum(r->sort, Int64GetDatum(tid_key(&slot->tts_tid)),
						   false);
		r->tids++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
}

static void
begin_list(Retrain *r)
{
	AnnBuild *build = &r->build;
	AnnCache *cache = ann_cache(build->index, &r->old);
	HASHCTL control = {.keysize = sizeof(BlockNumber),
					   .entrysize = offsetof(Listed, slot) +
									(cache->layout.rows + 7) / 8,
					   .hcxt = build->context};

	r->layout = cache->layout;
	r->first = MemoryContextAllocHuge(
		build->context, sizeof(BlockNumber) * (Size) (cache->cells + 1));
	for (int c = 0; c < cache->cells; c++)
		r->first[c] = cache->cell[c].first;
	r->leaf = hash_create("ann leaves", 1024, &control,
						  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	r->fresh = palloc(sizeof(ItemPointerData) * r->layout.rows);
	r->sort = tuplesort_begin_datum(
		INT8OID, Int8LessOperator, InvalidOid, false,
		(int) Max(build->memory / 4 / 1024, 64), NULL, TUPLESORT_RANDOMACCESS);
}

/* the next TID of the list, in the table's order */
static bool
next_tid(Retrain *r, ItemPointer tid)
{
	Datum key;
	bool null;

	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!pg_tuplesort_getdatum(r->sort, &key, &null))
			return false;
	} while (DatumGetInt64(key) == r->last);
	r->last = DatumGetInt64(key);
	ItemPointerSet(tid, (BlockNumber) (DatumGetInt64(key) >> 16),
				   (OffsetNumber) (DatumGetInt64(key) & 0xffff));
	return true;
}

static void
train(Retrain *r)
{
	AnnBuild *build = &r->build;
	int64 step = (int64) Max(r->tids / Max(build->sample_room, 1), 1), i = 0;
	ItemPointerData tid;
	Datum value;

	while (next_tid(r, &tid))
		if (i++ % step == 0 && fetch_row(r, &tid, &value) == ROW_LIVE)
			ann_train_offer(build, value);
	tuplesort_rescan(r->sort);
	r->last = -1;
	build->total = (double) build->seen * step;
	ann_sample_queries(build, r->heap, r->info);
	ann_train(build);
}

static void
train_and_sort(Retrain *r)
{
	AnnBuild *build = &r->build;
	ItemPointerData tid;
	Datum value;

	tuplesort_performsort(r->sort);
	r->last = -1;
	train(r);
	ann_build_begin_sort(build, build->memory / 4, NULL);
	while (next_tid(r, &tid))
		switch (fetch_row(r, &tid, &value))
		{
			case ROW_LIVE:
				ann_build_row(build, &tid, value);
				break;
			case ROW_DEAD:
				ann_build_odd_row(build, &tid);
				break;
			case ROW_GONE:
				break;
		}
	tuplesort_end(r->sort);
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

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	/* with the lock: no scan with a newer snapshot has read the old metapage */
	r->build.meta.retired_xid =
		U64FromFullTransactionId(ReadNextFullTransactionId());
	state = GenericXLogStart(index);
	memcpy(ann_meta_of(GenericXLogRegisterBuffer(state, buffer, 0)),
		   &r->build.meta, sizeof(AnnMeta));
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

/*
 * Rows inserted since, while more are: every walk takes less time than the
 * one before and so leaves fewer. Then the last, and the change.
 */
static void
catch_up(Retrain *r)
{
	r->late = true;
	for (int i = 0; i < LATE_WALKS && list_rows(r) > LATE_ROWS; i++)
		;
	PAUSE_POINT("ann_retrain_caught_up");
	LockPage(r->build.index, ANN_STRUCTURE_LOCK, ExclusiveLock);
	list_rows(r);
	PAUSE_POINT("ann_retrain_switch");
	switch_over(r);
	UnlockPage(r->build.index, ANN_STRUCTURE_LOCK, ExclusiveLock);
}

static bool
retrain_locked(Retrain *r, uint32 generation)
{
	AnnBuild *build = &r->build;

	if (!r->load && r->old.generation != generation)
		return false; /* somebody else was faster */
	/* first of all: attempts that fail can be told from it */
	take_generation(r);
	begin_list(r);
	list_rows(r);
	if (r->load)
		list_table(r);
	PAUSE_POINT("ann_retrain_listed");
	open_heap(r);
	train_and_sort(r);
	ann_write_all(build, true);
	ann_calibrate(build);
	ann_build_end_sort(build);
	catch_up(r);
	close_heap(r);
	return true;
}

/* the retrain lock is held, and let go here */
static bool
retrain(Relation index, Relation heap, uint32 generation, bool load)
{
	MemoryContext context, old;
	Retrain *r;
	bool done;

	context = AllocSetContextCreate(CurrentMemoryContext, "ann retrain",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	r = palloc0(sizeof(Retrain));
	/* all entries have this one; the column may have lost its typmod since */
	ann_read_meta(index, NULL, &r->old);
	ann_build_init(&r->build, index, (int) r->old.dim);
	ann_train_begin(&r->build);
	r->heap = heap;
	r->load = load;
	done = retrain_locked(r, generation);
	UnlockPage(index, ANN_RETRAIN_LOCK, ExclusiveLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return done;
}

bool
ann_retrain(Relation index, Relation heap, uint32 generation, bool wait)
{
	if (wait)
		LockPage(index, ANN_RETRAIN_LOCK, ExclusiveLock);
	else if (!ConditionalLockPage(index, ANN_RETRAIN_LOCK, ExclusiveLock))
		return false;
	return retrain(index, heap, generation, false);
}

bool
ann_load(Relation index, Relation heap, int dim)
{
	AnnMeta meta;

	if (!index->rd_index->indisvalid || !ann_is_current(index))
		return false;
	ann_read_meta(index, NULL, &meta);
	if ((int) meta.dim != dim || ann_declared_dim(index) != dim)
		return false;
	LockPage(index, ANN_RETRAIN_LOCK, ExclusiveLock);
	return retrain(index, heap, 0, true);
}
