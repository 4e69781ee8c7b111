/*
 * ann_check.c
 *		recsys_index_check: every invariant of the pages, and that every row
 *		of the table is in the index.
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
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "index/ann_check.h"
#include "lib/bloomfilter.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(recsys_index_check);

typedef struct Check
{
	AnnWalk walk;
	AnnRow row;
	float *r;              /* a decoded residual */
	bloom_filter *present; /* TIDs in the index, or NULL */
	double missing;
	double longest; /* row of the log, at least */
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
	w->pages++;
	w->leaves++;
	for (int t = 0; t * layout->tail_rows < head->used; t++)
		walk_tail(w, BufferGetPage(buffer), head, block, cell, t);
	if (w->dead - dead != head->dead)
		ann_corrupted(w->index, block, "Its count of dead rows is wrong.");
	next = head->next;
	UnlockReleaseBuffer(buffer);
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
	ann_read_meta(index, &w->meta);
	/* a copy of our own: the walk is long and may take locks */
	w->cache = ann_cache_make(index, &w->meta, CurrentMemoryContext);
}

/* codes, scales and errors that no encoder writes */
static bool
code_is_sound(const CodeRow *code, const CodeShape *shape)
{
	int n = code_row_size(shape);

	if (!(code->head_scale >= 0 && code->tail_scale >= 0 &&
		  code->tail_norm >= 0 && code->error >= 0) ||
		isinf(code->head_scale) || isinf(code->tail_scale) || isnan(code->sq) ||
		code->sq < 0)
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
	double sum = 0, tail = 0, most, radius;

	if (!code_is_sound(code, shape))
		return false;
	if (isinf(code->error))
		return cell == (uint32) cache->cells && isinf(code->tail_norm);
	code_decode(shape, code, c->r);
	for (int i = 0; i < shape->dim; i++)
	{
		sum += (double) c->r[i] * c->r[i];
		if (i >= shape->head)
			tail += (double) c->r[i] * c->r[i];
	}
	radius = sqrt(sum);
	/* the log's length may have risen since the walk began: check_log */
	most = cell == (uint32) cache->cells ? INFINITY : cache->cell[cell].r_max;
	if (cell == (uint32) cache->cells)
		c->longest =
			Max(c->longest, (radius - 1e-30) / (1 + 1e-5) - code->error);
	return fabs(sqrt(tail) - code->tail_norm) <=
			   code->error + 1e-5 * code->tail_norm + 1e-30 &&
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
	if (c->present != NULL)
		bloom_add_element(c->present, (unsigned char *) tid,
						  sizeof(ItemPointerData));
	code_block_get(&layout->shape, codes, slot % CODE_LANES, code);
	code->tail_scale = row->scale;
	code->error = row->error;
	memcpy(code->codes + code_head_padded(&layout->shape), row->code,
		   layout->tail_size);
	if (ItemPointerGetOffsetNumberNoCheck(tid) > MaxHeapTuplesPerPage * 8 ||
		!row_is_sound(c, cell))
		ann_corrupted(w->index, block, "A row's code is impossible.");
}

static void
check_present(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			  bool alive, void *state)
{
	Check *c = state;

	if (!isnull[0] && bloom_lacks_element(c->present, (unsigned char *) tid,
										  sizeof(ItemPointerData)))
		c->missing++;
}

/* every row that a new snapshot sees must have an entry */
static void
check_heap(Check *c, Relation heap, Snapshot snapshot)
{
	IndexInfo *info = BuildIndexInfo(c->walk.index);
	TableScanDesc scan;

	/* as CREATE INDEX CONCURRENTLY reads it: by this snapshot */
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);
	table_index_build_scan(heap, c->walk.index, info, true, false,
						   check_present, c, scan);
	if (c->missing > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INDEX_CORRUPTED),
				 errmsg("index \"%s\" lacks %.0f rows of its table",
						RelationGetRelationName(c->walk.index), c->missing),
				 errhint("REINDEX the index.")));
}

/* no row of the log is longer than the metapage says, which is written first */
static void
check_log(const Check *c, Relation index)
{
	AnnMeta meta;

	ann_read_meta(index, &meta);
	if (meta.generation == c->walk.meta.generation &&
		c->longest > meta.log_length)
		ann_corrupted(index, meta.log_head, "A row's code is impossible.");
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
	if (all)
		c.present =
			bloom_create((int64) Max(c.walk.meta.built_rows * 2, 100000),
						 maintenance_work_mem, 0);
	for (int cell = 0; cell <= c.walk.cache->cells; cell++)
		ann_walk_chain(&c.walk, cell);
	check_log(&c, index);
	if (all)
	{
		check_heap(&c, heap, snapshot);
		UnregisterSnapshot(snapshot);
		bloom_free(c.present);
	}
	if (lock)
		UnlockPage(index, ANN_RETRAIN_LOCK, ShareLock);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_VOID();
}
