/*
 * ann_vacuum.c
 *		Removal of dead rows: page by page, without moving any row.
 *
 * The TID of a dead row is made invalid and its slot counted as dead; an
 * insert into the same cell uses it again. Ranges of cells stay: they are
 * bounds, and bounds stay true when rows go. When the rows no longer fit the
 * cells, grown, drifted or gone, a new structure is made (ann_retrain.c).
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/table.h"
#include "access/transam.h"
#include "commands/vacuum.h"
#include "index/ann.h"
#include "miscadmin.h"
#include "pg/pg_compat.h"
#include "pg/pg_pause.h"
#include "postmaster/autovacuum.h"
#include "storage/bufmgr.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

typedef struct Vacuum
{
	Relation index;
	AnnMeta meta;
	AnnLayout layout;
	IndexBulkDeleteCallback callback;
	void *state;
	BufferAccessStrategy strategy;
	IndexBulkDeleteResult *stats;
} Vacuum;

/* dead rows of a tail page into gone[]; returns their number */
static int
find_dead(Vacuum *v, Buffer buffer, int used, uint16 *gone)
{
	Page page = BufferGetPage(buffer);
	int n = 0;

	for (int i = 0; i < used; i++)
	{
		ItemPointer tid = &ann_tail_row(page, &v->layout, i)->tid;

		if (!ItemPointerIsValid(tid))
			continue;
		if (v->callback(tid, v->state))
			gone[n++] = (uint16) i;
		else
			v->stats->num_index_tuples++;
	}
	return n;
}

static void
clean_tail(Vacuum *v, Buffer head_buffer, int t, uint16 *gone)
{
	AnnHead *head = (AnnHead *) PageGetContents(BufferGetPage(head_buffer));
	int used = Min(head->used - t * v->layout.tail_rows, v->layout.tail_rows);
	Buffer buffer = ann_read_stored(v->index, head->tail[t]);
	GenericXLogState *state;
	Page page;
	int n;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	ann_tail_of(v->index, buffer, v->meta.generation,
				BufferGetBlockNumber(head_buffer));
	n = find_dead(v, buffer, used, gone);
	if (n > 0)
	{
		state = GenericXLogStart(v->index);
		head = (AnnHead *) PageGetContents(
			GenericXLogRegisterBuffer(state, head_buffer, 0));
		page = GenericXLogRegisterBuffer(state, buffer, 0);
		for (int i = 0; i < n; i++)
			ItemPointerSetInvalid(
				&ann_tail_row(page, &v->layout, gone[i])->tid);
		head->dead += n;
		GenericXLogFinish(state);
		v->stats->tuples_removed += n;
	}
	UnlockReleaseBuffer(buffer);
}

/* true when the page is of the present structure */
static bool
is_head(Vacuum *v, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	AnnOpaque *opaque;

	if (PageIsNew(page) ||
		PageGetSpecialSize(page) != MAXALIGN(sizeof(AnnOpaque)))
		return false;
	opaque = AnnPageOpaque(page);
	return opaque->page_id == ANN_PAGE_ID && opaque->kind == ANN_PAGE_HEAD &&
		   opaque->generation == v->meta.generation;
}

static void
clean_leaf(Vacuum *v, BlockNumber block, uint16 *gone)
{
	Buffer buffer = ReadBufferExtended(v->index, MAIN_FORKNUM, block,
									   RBM_NORMAL, v->strategy);
	AnnHead *head;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!is_head(v, buffer))
	{
		UnlockReleaseBuffer(buffer);
		return;
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	PAUSE_POINT("ann_vacuum_leaf");
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	head = (AnnHead *) PageGetContents(BufferGetPage(buffer));
	ann_head_of(v->index, buffer, &v->layout, v->meta.generation, head->cell);
	for (int t = 0; t * v->layout.tail_rows < head->used; t++)
		clean_tail(v, buffer, t, gone);
	UnlockReleaseBuffer(buffer);
}

IndexBulkDeleteResult *
annbulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
			  IndexBulkDeleteCallback callback, void *state)
{
	Vacuum v = {.index = info->index,
				.callback = callback,
				.state = state,
				.strategy = info->strategy};
	BlockNumber blocks;
	uint16 *gone;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	stats->num_index_tuples = 0;
	v.stats = stats;
	/* no retrain may move a row past us */
	LockPage(info->index, ANN_RETRAIN_LOCK, ShareLock);
	ann_read_meta(info->index, NULL, &v.meta);
	ann_layout(&v.layout, ann_meta_shape(&v.meta));
	gone = palloc(sizeof(uint16) * v.layout.tail_rows);
	blocks = RelationGetNumberOfBlocks(info->index);
	for (BlockNumber block = ANN_META_BLOCK + 1; block < blocks; block++)
	{
		pg_vacuum_delay_point();
		clean_leaf(&v, block, gone);
	}
	UnlockPage(info->index, ANN_RETRAIN_LOCK, ShareLock);
	pfree(gone);
	return stats;
}

/*
 * Rows in the index, when nothing is to be removed: the rows of the table that
 * VACUUM knows may be many more, where the index is partial or vectors are
 * NULL.
 */
static double
count_rows(IndexVacuumInfo *info, const AnnMeta *meta, const AnnLayout *layout)
{
	Vacuum v = {.index = info->index, .meta = *meta};
	BlockNumber blocks = RelationGetNumberOfBlocks(info->index);
	double rows = 0;

	for (BlockNumber block = ANN_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer;

		pg_vacuum_delay_point();
		buffer = ReadBufferExtended(info->index, MAIN_FORKNUM, block,
									RBM_NORMAL, info->strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (is_head(&v, buffer))
		{
			AnnHead *head = (AnnHead *) PageGetContents(BufferGetPage(buffer));

			ann_head_of(info->index, buffer, layout, meta->generation,
						head->cell);
			rows += head->used - head->dead;
		}
		UnlockReleaseBuffer(buffer);
	}
	return rows;
}

/*
 * Let the metapage say that pages below a generation are free: the free space
 * map may be of before a crash, and is believed only within this. None are left
 * of structures that were given up, so their numbers may be given anew.
 */
static void
release_generations(Relation index, uint32 below)
{
	Buffer buffer = ReadBuffer(index, ANN_META_BLOCK);
	GenericXLogState *state;
	AnnMeta *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(index);
	meta = ann_meta_of(GenericXLogRegisterBuffer(state, buffer, 0));
	meta->free_below = Max(meta->free_below, below);
	meta->next_generation = meta->generation + 1;
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

/* a page of a structure that was given up: as of one before all others */
static void
mark_free(Relation index, Buffer buffer)
{
	GenericXLogState *state;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(index);
	AnnPageOpaque(GenericXLogRegisterBuffer(state, buffer, 0))->generation = 0;
	GenericXLogFinish(state);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * Is the page free: new, of a generation below `below`, or above the present
 * one, that is of a structure whose making was given up?
 */
static bool
is_free(Relation index, const AnnMeta *meta, uint32 below, Buffer buffer)
{
	Page page = BufferGetPage(buffer);
	uint32 generation = meta->generation;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (PageIsNew(page))
		generation = 0;
	else if (PageGetSpecialSize(page) == MAXALIGN(sizeof(AnnOpaque)) &&
			 AnnPageOpaque(page)->page_id == ANN_PAGE_ID)
		generation = AnnPageOpaque(page)->generation;
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (generation <= meta->generation)
		return generation < below;
	mark_free(index, buffer);
	return true;
}

/*
 * Pages of older structures that no scan can be reading any more, and of
 * those that were given up, into the free space map. The metapage says last
 * that they are free: what was interrupted is done again.
 */
static void
recycle(IndexVacuumInfo *info, const AnnMeta *meta, Relation heap)
{
	Relation index = info->index;
	BlockNumber blocks, n = 0;
	FullTransactionId retired = FullTransactionIdFromU64(meta->retired_xid);
	bool given_up = meta->next_generation > meta->generation + 1;
	uint32 below = Max(meta->free_below, 1);

	if (meta->retired_xid != 0 && GlobalVisCheckRemovableFullXid(heap, retired))
		below = meta->generation;
	if (!given_up && below <= Max(meta->free_below, 1))
		return;
	/* who adds a page locks it before this lock is let go: no new one is seen
	 * below that somebody is about to use */
	LockRelationForExtension(index, ExclusiveLock);
	blocks = RelationGetNumberOfBlocks(index);
	UnlockRelationForExtension(index, ExclusiveLock);
	for (BlockNumber block = ANN_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer;

		pg_vacuum_delay_point();
		buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL,
									info->strategy);
		if (is_free(index, meta, below, buffer))
		{
			RecordFreeIndexPage(index, block);
			n++;
		}
		ReleaseBuffer(buffer);
	}
	if (n > 0)
		IndexFreeSpaceMapVacuum(index);
	release_generations(index, below);
}

static void
recycle_locked(IndexVacuumInfo *info, Relation heap)
{
	AnnMeta meta;

	/* nobody makes a structure meanwhile, or takes pages from the map for one */
	LockPage(info->index, ANN_RETRAIN_LOCK, ShareLock);
	ann_read_meta(info->index, NULL, &meta);
	recycle(info, &meta, heap);
	UnlockPage(info->index, ANN_RETRAIN_LOCK, ShareLock);
}

/*
 * Before 17 autovacuum runs functions of an index with an empty search path,
 * which they need not bear.
 */
static bool
may_retrain(Relation index)
{
	return PG_SAFE_MAINTENANCE || !pg_is_autovacuum() ||
		   RelationGetIndexExpressions(index) == NIL;
}

/* were the cells made for far fewer rows, for others, or for far more? */
static bool
is_unfit(const AnnMeta *meta, const AnnLayout *layout, double rows)
{
	return ann_outgrown(meta, layout, rows) || ann_shrunk(meta, rows);
}

IndexBulkDeleteResult *
annvacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	AnnMeta meta;
	AnnLayout layout;
	Relation heap;

	if (info->analyze_only)
		return stats;
	if (stats == NULL)
	{
		stats = palloc0(sizeof(IndexBulkDeleteResult));
		stats->num_index_tuples = info->num_heap_tuples;
		stats->estimated_count = true;
	}
	heap = table_open(info->index->rd_index->indrelid, NoLock);
	ann_read_meta(info->index, NULL, &meta);
	ann_layout(&layout, ann_meta_shape(&meta));
	if (stats->estimated_count &&
		is_unfit(&meta, &layout, stats->num_index_tuples))
	{
		stats->num_index_tuples = count_rows(info, &meta, &layout);
		stats->estimated_count = false;
	}
	if (is_unfit(&meta, &layout, stats->num_index_tuples))
	{
		/* the new structure goes where older ones were */
		recycle_locked(info, heap);
		if (may_retrain(info->index))
			ann_retrain(info->index, heap, meta.generation, true);
	}
	recycle_locked(info, heap);
	table_close(heap, NoLock);
	stats->num_pages = RelationGetNumberOfBlocks(info->index);
	return stats;
}
