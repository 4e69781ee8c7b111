/*
 * ann_insert.c
 *		One row into the leaf of its cell, or into the log.
 *
 * A row goes to the nearest cell whose ranges take it in, so that ranges,
 * which scans keep in memory, never change within a generation; else to the
 * log. The inserter holds the index's structure lock (a heavyweight lock on
 * the metapage) for share, which keeps a retrain out, and locks a head page
 * and one of its tail pages, in this order.
 */
#include "postgres.h"

#include <math.h>

#include "access/generic_xlog.h"
#include "index/ann.h"
#include "miscadmin.h"
#include "pg/pg_pause.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#define TRIES 4 /* cells that rounding may make refuse after all */

/*
 * An insert makes a new structure only while that takes well under a second;
 * beyond, VACUUM does, or a command that has inserted three times the rows that
 * the structure was made of: beside those the time is little, and so are the
 * pages of the structures that it leaves behind, which only VACUUM frees.
 */
#define RETRAIN_ROWS 50000
#define RETRAIN_FLOATS 6400000
#define OWN_LEAST 2000
#define OWN_GROWTH 3
#define LONG_CHAIN 8 /* leaves: the cell has outgrown its size at build */
#define GROWN_BLOCKS 64

/* what a command remembers from row to row */
typedef struct Command
{
	uint32 generation; /* that it last met */
	uint64 rows;       /* which it has put into that */
} Command;

typedef struct Inserter
{
	Relation index;
	AnnMeta meta;
	AnnMeta *future; /* of a structure that a retrain is making, or NULL */
	AnnCache *cache;
	AnnRow row;
	float *x; /* (dim) rotated */
	float *r; /* (dim) x - centroid */
	double length;
	BlockNumber steps; /* leaves that were full before one had room */
} Inserter;

/* the residual of x to a cell's centroid, or to zero for the log */
static void
set_residual(Inserter *in, int cell, float *centroid)
{
	int dim = in->cache->dim;

	if (cell == in->cache->cells)
		memset(centroid, 0, sizeof(float) * dim);
	else
		ann_cell_centroid(in->cache, cell, centroid);
	for (int i = 0; i < dim; i++)
		in->r[i] = in->x[i] - centroid[i];
}

/* the nearest cell that admits x, or the log; leaves the residual in r */
static int
choose_cell(Inserter *in)
{
	AnnCache *cache = in->cache;
	bool l2 = cache->metric == ANN_L2;
	float *dot = palloc(sizeof(float) * CODE_LANES * (cache->blocks + 1));
	float *centroid = palloc(sizeof(float) * (cache->dim + CODE_LANES));

	code_pack_dots(in->x, cache->centroid, cache->blocks, cache->dim, dot);
	for (int try = 0; try < TRIES; try++)
	{
		float nearest = -INFINITY;
		int best = -1;

		for (int c = 0; c < cache->cells; c++)
		{
			float near = dot[c] - cache->half[c];

			if (near > nearest &&
				cell_may_admit(cache->cell + c, l2, dot[c], in->length))
			{
				nearest = near;
				best = c;
			}
		}
		if (best < 0)
			break;
		set_residual(in, best, centroid);
		if (cell_admits(cache->cell + best, l2, in->x, in->r, centroid,
						cache->dim))
			return best;
		dot[best] = -INFINITY;
	}
	set_residual(in, cache->cells, centroid);
	return cache->cells;
}

/* a page to write a new leaf into, locked */
static Buffer
new_page(const Inserter *in)
{
	Relation index = in->index;
	Buffer buffer = ann_free_page(index, in->meta.free_below);

	if (BufferIsValid(buffer))
		return buffer;
	LockRelationForExtension(index, ExclusiveLock);
	buffer = ReadBuffer(index, P_NEW);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	UnlockRelationForExtension(index, ExclusiveLock);
	return buffer;
}

/* put the row into slot of a leaf whose head is locked exclusively */
static void
put_row(Inserter *in, Buffer head_buffer, int slot)
{
	const AnnLayout *layout = &in->cache->layout;
	BlockNumber block = BufferGetBlockNumber(head_buffer);
	AnnHead *head = (AnnHead *) PageGetContents(BufferGetPage(head_buffer));
	int t = slot / layout->tail_rows;
	bool fresh = head->tail[t] == InvalidBlockNumber;
	GenericXLogState *state;
	Buffer tail_buffer;
	Page page, tail;

	if (fresh)
		tail_buffer = new_page(in);
	else
	{
		tail_buffer = ann_read_stored(in->index, head->tail[t]);
		LockBuffer(tail_buffer, BUFFER_LOCK_EXCLUSIVE);
		ann_tail_of(in->index, tail_buffer, in->meta.generation, block);
	}
	state = GenericXLogStart(in->index);
	page = GenericXLogRegisterBuffer(state, head_buffer, 0);
	tail = GenericXLogRegisterBuffer(state, tail_buffer,
									 fresh ? GENERIC_XLOG_FULL_IMAGE : 0);
	head = (AnnHead *) PageGetContents(page);
	if (fresh)
	{
		ann_tail_init(tail, layout, in->meta.generation, head->cell, block, t);
		head->tail[t] = BufferGetBlockNumber(tail_buffer);
	}
	if (slot < head->used)
		head->dead--;
	else
		head->used = slot + 1;
	ann_put_head(page, layout, slot, &in->row.code);
	ann_put_tail(tail, layout, slot % layout->tail_rows, &in->row);
	GenericXLogFinish(state);
	UnlockReleaseBuffer(tail_buffer);
}

/* a slot without a row below head->used, or -1 */
static int
dead_slot(Inserter *in, Buffer head_buffer)
{
	const AnnLayout *layout = &in->cache->layout;
	AnnHead *head = (AnnHead *) PageGetContents(BufferGetPage(head_buffer));
	int found = -1;

	for (int t = 0; found < 0 && t * layout->tail_rows < head->used; t++)
	{
		Buffer buffer = ann_read_stored(in->index, head->tail[t]);
		int first = t * layout->tail_rows;
		Page page = BufferGetPage(buffer);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		ann_tail_of(in->index, buffer, in->meta.generation,
					BufferGetBlockNumber(head_buffer));
		for (int i = 0; i < layout->tail_rows && first + i < head->used; i++)
			if (!ItemPointerIsValid(&ann_tail_row(page, layout, i)->tid))
			{
				found = first + i;
				break;
			}
		UnlockReleaseBuffer(buffer);
	}
	return found;
}

/* a new leaf with the row in it; behind head_buffer when that is valid */
static BlockNumber
add_leaf(Inserter *in, Buffer head_buffer, uint32 cell)
{
	const AnnLayout *layout = &in->cache->layout;
	uint32 generation = in->meta.generation;
	Buffer new_head = new_page(in);
	Buffer new_tail = new_page(in);
	BlockNumber block = BufferGetBlockNumber(new_head);
	GenericXLogState *state = GenericXLogStart(in->index);
	Page page, tail;
	AnnHead *head;

	page = GenericXLogRegisterBuffer(state, new_head, GENERIC_XLOG_FULL_IMAGE);
	tail = GenericXLogRegisterBuffer(state, new_tail, GENERIC_XLOG_FULL_IMAGE);
	ann_head_init(page, layout, generation, cell);
	ann_tail_init(tail, layout, generation, cell, block, 0);
	head = (AnnHead *) PageGetContents(page);
	head->used = 1;
	head->tail[0] = BufferGetBlockNumber(new_tail);
	ann_put_head(page, layout, 0, &in->row.code);
	ann_put_tail(tail, layout, 0, &in->row);
	if (BufferIsValid(head_buffer))
	{
		Page last = GenericXLogRegisterBuffer(state, head_buffer, 0);

		((AnnHead *) PageGetContents(last))->next = block;
	}
	GenericXLogFinish(state);
	UnlockReleaseBuffer(new_tail);
	UnlockReleaseBuffer(new_head);
	return block;
}

/*
 * Put the row into the chain that starts at block; returns the block of a
 * leaf that had to be added, else InvalidBlockNumber.
 */
static BlockNumber
insert_into_chain(Inserter *in, BlockNumber block, uint32 cell)
{
	const AnnLayout *layout = &in->cache->layout;
	uint32 generation = in->meta.generation;
	BlockNumber added = InvalidBlockNumber;

	for (;;)
	{
		Buffer buffer = ann_read_stored(in->index, block);
		AnnHead *head;
		BlockNumber next;
		int slot = -1;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		head = ann_head_of(in->index, buffer, layout, generation, cell);
		next = head->next;
		if (head->used == layout->rows && head->dead == 0 &&
			next != InvalidBlockNumber)
		{
			UnlockReleaseBuffer(buffer);
			block = next;
			if (++in->steps % 1024 == 0 &&
				in->steps > RelationGetNumberOfBlocks(in->index))
				ann_corrupted(in->index, block, "A chain of leaves is a loop.");
			continue;
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		PAUSE_POINT("ann_insert_lock");
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		head = ann_head_of(in->index, buffer, layout, generation, cell);
		if (head->dead > 0)
			slot = dead_slot(in, buffer);
		if (slot < 0 && head->used < layout->rows)
			slot = head->used;
		if (slot >= 0)
			put_row(in, buffer, slot);
		else if (head->next == InvalidBlockNumber)
			added = add_leaf(in, buffer, cell);
		else
		{
			block = head->next;
			UnlockReleaseBuffer(buffer);
			continue;
		}
		UnlockReleaseBuffer(buffer);
		return added;
	}
}

static void
note_log(const Inserter *in, AnnMeta *meta, BlockNumber added, bool first)
{
	if (first)
		meta->log_head = added;
	if (added != InvalidBlockNumber)
	{
		meta->log_tail = added;
		meta->log_leaves++;
	}
	if (isfinite(in->row.code.error) && meta->log_length < in->length)
		meta->log_length = in->length * 1.125;
}

/*
 * Note in the metapage that the log has a leaf more and how long its rows
 * are. `added` invalid and no log yet: make its first leaf, with the row;
 * then true.
 */
static bool
log_update(Inserter *in, BlockNumber added, bool start)
{
	Buffer buffer = ReadBuffer(in->index, ANN_META_BLOCK);
	GenericXLogState *state;
	AnnMeta *meta;
	bool first;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	meta = in->future != NULL ? in->future : ann_meta_of(BufferGetPage(buffer));
	first = start && meta->log_head == InvalidBlockNumber;
	if (first)
		added = add_leaf(in, InvalidBuffer, in->cache->cells);
	if (in->future != NULL)
		note_log(in, meta, added, first);
	else
	{
		state = GenericXLogStart(in->index);
		meta = ann_meta_of(GenericXLogRegisterBuffer(state, buffer, 0));
		note_log(in, meta, added, first);
		GenericXLogFinish(state);
		meta = ann_meta_of(BufferGetPage(buffer));
	}
	memcpy(&in->meta, meta, sizeof(AnnMeta));
	UnlockReleaseBuffer(buffer);
	return first;
}

static void
insert_into_log(Inserter *in)
{
	bool start = in->meta.log_head == InvalidBlockNumber;
	bool longer =
		isfinite(in->row.code.error) && in->meta.log_length < in->length;
	BlockNumber added;

	/* the length first: scans take their slack from it */
	if ((start || longer) && log_update(in, InvalidBlockNumber, start))
		return;
	added = insert_into_chain(in, in->meta.log_tail, in->cache->cells);
	if (added != InvalidBlockNumber)
		log_update(in, added, false);
}

/* the code of the row, and where it goes; no value: a row without bounds */
static int
encode(Inserter *in, const Datum *value)
{
	int dim = in->meta.dim, wide = dim + CODE_LANES, cell;
	float *plain = palloc(sizeof(float) * wide);
	Pointer copy;
	double sum = 0;
	bool bounded =
		value != NULL &&
		ann_prepare(in->meta.metric, ann_datum(*value, dim, &copy), dim, plain);

	in->cache = ann_cache(in->index, &in->meta);
	in->row.code.codes = palloc(code_row_size(&in->cache->layout.shape));
	if (!bounded)
	{
		ann_encode_odd(&in->cache->layout.shape, &in->row.code);
		return in->cache->cells;
	}
	in->x = palloc(sizeof(float) * wide);
	in->r = palloc(sizeof(float) * wide);
	ann_rotate(in->cache, plain, in->x);
	for (int i = 0; i < dim; i++)
		sum += (double) in->x[i] * in->x[i];
	in->length = sqrt(sum);
	cell = choose_cell(in);
	code_encode(&in->cache->layout.shape, in->r, &in->row.code);
	return cell;
}

static void
insert_row(Inserter *in, const Datum *value)
{
	int cell = encode(in, value);

	PAUSE_POINT("ann_insert_chosen");
	if (cell == in->cache->cells)
		insert_into_log(in);
	else
		insert_into_chain(in, in->cache->cell[cell].first, cell);
}

void
ann_insert_late(Relation index, AnnMeta *future, ItemPointer tid,
				const Datum *value)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "ann insert", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Inserter in = {.index = index, .meta = *future, .future = future};

	in.row.tid = *tid;
	insert_row(&in, value);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* rows that the command of this insert has put into the present structure */
static double
own_rows(const Inserter *in, IndexInfo *info)
{
	Command *command = info->ii_AmCache;

	if (command == NULL)
		info->ii_AmCache = command =
			MemoryContextAllocZero(info->ii_Context, sizeof(Command));
	if (command->generation != in->meta.generation)
	{
		command->generation = in->meta.generation;
		command->rows = 0;
	}
	return (double) ++command->rows;
}

/* is it this insert's turn to make a new structure? */
static bool
retrain_due(const Inserter *in, double own)
{
	const AnnMeta *meta = &in->meta;
	double most = OWN_GROWTH * Max((double) meta->built_rows, OWN_LEAST);

	if (own >= most && own >= most * ann_failed_factor(meta))
		return true;
	if (meta->built_rows > RETRAIN_ROWS ||
		meta->built_rows * meta->dim > RETRAIN_FLOATS)
		return false;
	if (ann_log_outgrown(meta, &in->cache->layout))
		return true;
	if (in->steps < LONG_CHAIN)
		return false;
	return RelationGetNumberOfBlocks(in->index) >=
		   meta->built_blocks + ann_failed_factor(meta) *
									Max(GROWN_BLOCKS, 2 * meta->own_blocks);
}

bool
anninsert(Relation index, Datum *values, bool *isnull, ItemPointer tid,
		  Relation heap, IndexUniqueCheck check_unique, bool unchanged,
		  IndexInfo *info)
{
	MemoryContext context, old;
	Inserter in;
	bool due;

	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "ann insert",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	memset(&in, 0, sizeof(in));
	in.index = index;
	in.row.tid = *tid;
	LockPage(index, ANN_STRUCTURE_LOCK, ShareLock);
	ann_read_meta(index, NULL, &in.meta);
	insert_row(&in, &values[0]);
	due = retrain_due(&in, own_rows(&in, info));
	UnlockPage(index, ANN_STRUCTURE_LOCK, ShareLock);
	if (due)
		ann_retrain(index, heap, in.meta.generation, false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return false;
}
