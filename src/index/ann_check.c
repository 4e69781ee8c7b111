/*
 * ann_check.c
 *		recsys_index_check: every invariant of the pages, and what the index
 *		says of the rows of the table (ann_check_rows.c).
 *
 * Reads pages one at a time under share locks, so it runs beside inserts
 * and vacuum and on a standby. The retrain lock keeps a new structure out where
 * heavyweight locks of that strength may be taken (not during recovery,
 * where nobody can retrain but replay, which the generation stamps show).
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "index/ann_check.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(recsys_index_check);

/* rows are bounded up to 1e15, and the log's length rises by an eighth more */
#define LOG_LENGTH_MAX 2e15

typedef struct Check
{
	AnnWalk walk;
	AnnRow row;
	float *r;          /* a decoded residual */
	AnnRowCheck *rows; /* of heapallindexed, or NULL */
	double longest;    /* row of the log, at least */
} Check;

Relation
ann_open_index(Oid oid, Relation *heap)
{
	Relation index;
	Oid table;
	char *name = get_rel_name(oid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("relation with OID %u does not exist", oid)));
	if (get_rel_relkind(oid) == RELKIND_PARTITIONED_INDEX)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("index \"%s\" is partitioned", name),
				 errhint("Ask for the indexes of its partitions: SELECT relid "
						 "FROM pg_partition_tree(%s) WHERE isleaf.",
						 quote_literal_cstr(quote_identifier(name)))));
	if (get_rel_relkind(oid) != RELKIND_INDEX)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not an index", name)));
	table = IndexGetRelation(oid, false);
	*heap = table_open(table, AccessShareLock);
	index = index_open(oid, AccessShareLock);
	if (index->rd_indam->ambuild != annbuild)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("index \"%s\" is not an ann index",
							   RelationGetRelationName(index))));
	if (!pg_owns_relation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX,
					   RelationGetRelationName(index));
	if (RELATION_IS_OTHER_TEMP(index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot read temporary tables of other "
							   "sessions")));
	if (!index->rd_index->indisvalid)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index \"%s\" is not valid",
							   RelationGetRelationName(index))));
	return index;
}

static void
walk_tail(AnnWalk *w, Page head_page, AnnHead *head, BlockNumber block,
		  uint32 cell, int t)
{
	const AnnLayout *layout = &w->cache->layout;
	int first = t * layout->tail_rows;
	Buffer buffer;
	AnnTail *tail;

	if (head->tail[t] == InvalidBlockNumber ||
		head->tail[t] >= w->blocks_now(w))
		ann_corrupted(w->index, block, "A tail page is missing.");
	buffer = ReadBuffer(w->index, head->tail[t]);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	tail = ann_tail_of(w->index, buffer, w->cache->generation, block);
	if (tail->cell != cell || tail->index != (uint32) t)
		ann_corrupted(w->index, head->tail[t],
					  "It is another tail page than its head says.");
	if (((PageHeader) BufferGetPage(buffer))->pd_lower !=
		ANN_TAIL_START + layout->tail_rows * layout->slot_size)
		ann_corrupted(w->index, head->tail[t], "It ends at another place.");
	w->pages++;
	for (int i = 0; i < layout->tail_rows && first + i < head->used; i++)
		w->row(w, head_page, BufferGetPage(buffer), block, cell, first + i, i);
	UnlockReleaseBuffer(buffer);
}

static BlockNumber
walk_leaf(AnnWalk *w, BlockNumber block, uint32 cell)
{
	const AnnLayout *layout = &w->cache->layout;
	Buffer buffer;
	AnnHead *head;
	BlockNumber next;
	uint64 dead = w->dead;

	if (block >= w->blocks_now(w))
		ann_corrupted(w->index, block, "A chain leads past the end.");
	buffer = ReadBuffer(w->index, block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	head = ann_head_of(w->index, buffer, layout, w->cache->generation, cell);
	/* the write-ahead log leaves out what lies behind */
	if (((PageHeader) BufferGetPage(buffer))->pd_lower !=
		layout->head_offset + layout->rows / CODE_LANES * layout->block_size)
		ann_corrupted(w->index, block, "It ends at another place.");
	w->pages++;
	w->leaves++;
	for (int t = 0; t * layout->tail_rows < head->used; t++)
		walk_tail(w, BufferGetPage(buffer), head, block, cell, t);
	if (w->dead - dead != head->dead)
		ann_corrupted(w->index, block, "Its count of dead rows is wrong.");
	for (int t = 0; t < layout->tails; t++)
		if (t * layout->tail_rows >= head->used &&
			head->tail[t] != InvalidBlockNumber)
			ann_corrupted(w->index, block, "It has a tail page too many.");
	next = head->next;
	UnlockReleaseBuffer(buffer);
	if (w->leaf != NULL)
		w->leaf(w);
	return next;
}

static BlockNumber
blocks_now(AnnWalk *w)
{
	return RelationGetNumberOfBlocks(w->index);
}

void
ann_walk_chain(AnnWalk *w, uint32 cell)
{
	BlockNumber block = cell == (uint32) w->cache->cells
							? w->meta.log_head
							: w->cache->cell[cell].first;
	BlockNumber n = 0;

	while (block != InvalidBlockNumber)
	{
		CHECK_FOR_INTERRUPTS();
		if (++n > blocks_now(w))
			ann_corrupted(w->index, block, "A chain of leaves is a loop.");
		block = walk_leaf(w, block, cell);
	}
}

void
ann_walk_begin(AnnWalk *w, Relation index)
{
	w->index = index;
	w->blocks_now = blocks_now;
	ann_read_meta(index, NULL, &w->meta);
	/* a copy of our own: the walk is long and may take locks */
	w->cache = ann_cache_make(index, &w->meta, CurrentMemoryContext);
}

/* codes, scales and errors that no encoder writes */
static bool
code_is_sound(const CodeRow *code, const CodeShape *shape)
{
	int n = code_row_size(shape);

	if (!(code->head_scale >= 0 && code->tail_scale >= 0 &&
		  code->sign_scale >= 0 && code->rest >= 0 && code->error >= 0) ||
		isinf(code->head_scale) || isinf(code->tail_scale) ||
		isinf(code->sign_scale) || !(code->sq >= 0) || isinf(code->sq))
		return false;
	for (int i = 0; i < n; i++)
		if (code->codes[i] == 0)
			return false;
	return true;
}

/* is the decoded row where its cell's ranges and its own norms say? */
static bool
row_is_sound(Check *c, uint32 cell)
{
	const CodeRow *code = &c->row.code;
	const AnnCache *cache = c->walk.cache;
	const CodeShape *shape = &cache->layout.shape;
	double sum = 0, most, radius;

	if (!code_is_sound(code, shape))
		return false;
	if (isinf(code->error))
		return cell == (uint32) cache->cells && isinf(code->rest);
	code_decode(shape, code, c->r);
	for (int i = 0; i < shape->dim; i++)
		sum += (double) c->r[i] * c->r[i];
	radius = sqrt(sum);
	/* the log's length may have risen since the walk began: check_log */
	most = cell == (uint32) cache->cells ? INFINITY : cache->cell[cell].r_max;
	if (cell == (uint32) cache->cells)
		c->longest =
			Max(c->longest, (radius - 1e-30) / (1 + 1e-5) - code->error);
	return fabs(code_decoded_rest(shape, code) - code->rest) <=
			   code->error * (1 + 1e-5) + 1e-5 * code->rest + 1e-30 &&
		   radius <= (most + code->error) * (1 + 1e-5) + 1e-30;
}

static void
check_row(AnnWalk *w, Page head, Page tail, BlockNumber block, uint32 cell,
		  int slot, int at)
{
	Check *c = (Check *) w;
	const AnnLayout *layout = &w->cache->layout;
	AnnTailRow *row = ann_tail_row(tail, layout, at);
	ItemPointer tid = &row->tid;
	const uint8 *codes = (uint8 *) head + layout->head_offset +
						 slot / CODE_LANES * layout->block_size;
	CodeRow *code = &c->row.code;

	if (!ItemPointerIsValid(tid))
	{
		w->dead++;
		return;
	}
	w->rows++;
	code_block_get(&layout->shape, codes, slot % CODE_LANES, code);
	code->tail_scale = row->scale;
	code->error = row->error;
	memcpy(code->codes + code_head_padded(&layout->shape), row->code,
		   layout->tail_size);
	if (ItemPointerGetOffsetNumberNoCheck(tid) > MaxHeapTuplesPerPage * 8 ||
		!code_block_signs_hold(&layout->shape, codes, slot % CODE_LANES,
							   code) ||
		!row_is_sound(c, cell))
		ann_corrupted(w->index, block, "A row's code is impossible.");
	if (c->rows != NULL)
	{
		c->row.tid = *tid;
		ann_rows_note(c->rows, &c->row, block, cell, slot);
	}
}

static void
leaf_done(AnnWalk *w)
{
	ann_rows_flush(((Check *) w)->rows);
}

/* no row of the log is longer than the metapage says, which is written first */
static void
check_log(const Check *c, Relation index)
{
	AnnMeta meta;

	ann_read_meta(index, NULL, &meta);
	if (meta.generation == c->walk.meta.generation &&
		c->longest > meta.log_length)
		ann_corrupted(index, meta.log_head, "A row's code is impossible.");
}

/* what scans, inserts and VACUUM take from the metapage */
static bool
meta_is_sound(const AnnMeta *meta, Relation index)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	if (meta->metric != (uint32) ann_metric(index)->kind ||
		meta->next_generation <= meta->generation ||
		meta->free_below > meta->generation ||
		(!RecoveryInProgress() && meta->retired_xid > next) ||
		!(meta->log_length >= 0 && meta->log_length <= LOG_LENGTH_MAX) ||
		(meta->log_head == InvalidBlockNumber) !=
			(meta->log_tail == InvalidBlockNumber))
		return false;
	for (int g = 0; g < ANN_GOALS; g++)
		for (int i = 0; i < ANN_RECALLS; i++)
			if (!(meta->z[g][i] >= 0 && meta->z[g][i] <= 1 &&
				  meta->share[g][i] >= 0 && meta->share[g][i] <= 1))
				return false;
	return true;
}

static void
check_meta(const Check *c, Relation index)
{
	const AnnMeta *meta = &c->walk.meta;
	Buffer buffer;

	if (!meta_is_sound(meta, index))
		ann_corrupted(index, ANN_META_BLOCK, "Its contents are impossible.");
	if (meta->log_tail == InvalidBlockNumber)
		return;
	/* where inserts begin to look for room */
	buffer = ann_read_stored(index, meta->log_tail);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	ann_head_of(index, buffer, &c->walk.cache->layout, meta->generation,
				meta->cells);
	UnlockReleaseBuffer(buffer);
}

Datum
recsys_index_check(PG_FUNCTION_ARGS)
{
	bool all = PG_GETARG_BOOL(1), lock = !RecoveryInProgress();
	Relation heap;
	Relation index = ann_open_index(PG_GETARG_OID(0), &heap);
	Check c;
	Snapshot snapshot = NULL;

	memset(&c, 0, sizeof(c));
	if (lock)
		LockPage(index, ANN_RETRAIN_LOCK, ShareLock);
	/* before the pages are read, so that no later row is missed */
	if (all)
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	ann_walk_begin(&c.walk, index);
	c.walk.row = check_row;
	c.row.code.codes = palloc0(code_row_size(&c.walk.cache->layout.shape));
	c.r = palloc(sizeof(float) * c.walk.cache->dim);
	check_meta(&c, index);
	if (all)
	{
		c.rows = ann_rows_begin(&c.walk);
		c.walk.leaf = leaf_done;
	}
	for (int cell = 0; cell <= c.walk.cache->cells; cell++)
		ann_walk_chain(&c.walk, cell);
	if (all)
	{
		double longest = ann_rows_compare(c.rows, heap, snapshot);

		c.longest = Max(c.longest, longest);
		UnregisterSnapshot(snapshot);
	}
	check_log(&c, index);
	if (lock)
		UnlockPage(index, ANN_RETRAIN_LOCK, ShareLock);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_VOID();
}
