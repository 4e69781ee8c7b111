/*
 * ann_check_rows.c
 *		What an index says of the rows of its table, against the table.
 *
 * Exact answers rest on what the pages promise of each row: how far its vector
 * may be from the code, how long the part is that level 1 leaves out, which
 * cell's ranges it is in. The pages alone cannot tell whether that is true. So
 * the entries are sorted by TID, with their codes, and compared with the rows
 * in the order of the table; each row must have one entry.
 *
 * Codes are compared as bounds, not byte by byte: another processor's kernels
 * round otherwise. The vector is rotated in double precision, so that what is
 * granted is the rounding of whoever encoded the row, which every scan's slack
 * covers (codes.h).
 *
 * Rows that the snapshot sees have had their entry since before the walk, and
 * nobody can have used their TIDs for other rows. Entries that no such row
 * belongs to are of deleted rows, or of newer ones: where the snapshot sees a
 * row in such a place, the index's predicate leaves it out, or its expression is
 * NULL. No update can have made it so, since one that changes what these read
 * gives the row another TID.
 */
#include "postgres.h"

#include <math.h>

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"
#include "index/ann_check.h"
#include "math/vec.h"
#include "miscadmin.h"
#include "pg/pg_compat.h"
#include "type/vector.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/tuplesort.h"

typedef struct Entry
{
	BlockNumber block; /* of the head page */
	uint32 cell;
	int slot;
	ItemPointerData tid;
	bool has_row;
	CodeRow code; /* without the pointer to */
	uint8 codes[FLEXIBLE_ARRAY_MEMBER];
} Entry;

struct AnnRowCheck
{
	const AnnWalk *walk;
	Snapshot snapshot;
	IndexFetchTableData *fetch;
	TupleTableSlot *fetched;
	BlockNumber heap_blocks;
	Size entry_size;
	char *noted; /* (layout.rows) entries of a leaf */
	int n_noted;
	Tuplesortstate *sort;
	TupleTableSlot *in, *out;
	bytea *payload;
	bool more;         /* out has the next entry */
	BlockNumber block; /* of the table, whose entries are here */
	char *entry;
	int entries, entry_room;
	double missing, longest;
	float *x, *turned, *centroid, *r; /* of one row */
	double *exact;
};

static Entry *
entry_at(const AnnRowCheck *c, char *entries, int i)
{
	return (Entry *) (entries + c->entry_size * (Size) i);
}

AnnRowCheck *
ann_rows_begin(const AnnWalk *walk)
{
	const AnnLayout *layout = &walk->cache->layout;
	AnnRowCheck *c = palloc0(sizeof(AnnRowCheck));
	AttrNumber attribute = 1;
	Oid less = Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	int wide = walk->cache->dim + CODE_LANES;
	TupleDesc desc = CreateTemplateTupleDesc(2);

	TupleDescInitEntry(desc, 1, "tid", INT8OID, -1, 0);
	TupleDescInitEntry(desc, 2, "entry", BYTEAOID, -1, 0);
	c->walk = walk;
	c->entry_size =
		MAXALIGN(offsetof(Entry, codes) + code_row_size(&layout->shape));
	c->noted = palloc(c->entry_size * layout->rows);
	c->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	c->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	c->payload = palloc(VARHDRSZ + c->entry_size);
	SET_VARSIZE(c->payload, VARHDRSZ + c->entry_size);
	c->sort = tuplesort_begin_heap(desc, 1, &attribute, &less, &collation,
								   &nulls_first, maintenance_work_mem, NULL,
								   TUPLESORT_NONE);
	c->x = palloc(sizeof(float) * 4 * wide);
	c->turned = c->x + wide;
	c->centroid = c->turned + wide;
	c->r = c->centroid + wide;
	c->exact = palloc(sizeof(double) * wide);
	return c;
}

void
ann_rows_note(AnnRowCheck *c, const AnnRow *row, BlockNumber block, uint32 cell,
			  int slot)
{
	Entry *e = entry_at(c, c->noted, c->n_noted++);

	memset(e, 0, offsetof(Entry, codes));
	e->block = block;
	e->cell = cell;
	e->slot = slot;
	e->tid = row->tid;
	e->code = row->code;
	memcpy(e->codes, row->code.codes,
		   code_row_size(&c->walk->cache->layout.shape));
}

void
ann_rows_flush(AnnRowCheck *c)
{
	for (int i = 0; i < c->n_noted; i++)
	{
		Entry *e = entry_at(c, c->noted, i);
		int64 key = ((int64) ItemPointerGetBlockNumber(&e->tid) << 16) |
					ItemPointerGetOffsetNumber(&e->tid);

		memcpy(VARDATA(c->payload), e, c->entry_size);
		ExecClearTuple(c->in);
		c->in->tts_values[0] = Int64GetDatum(key);
		c->in->tts_values[1] = PointerGetDatum(c->payload);
		c->in->tts_isnull[0] = c->in->tts_isnull[1] = false;
		ExecStoreVirtualTuple(c->in);
		tuplesort_puttupleslot(c->sort, c->in);
	}
	c->n_noted = 0;
}

static void
next_entry(AnnRowCheck *c)
{
	c->more = tuplesort_gettupleslot(c->sort, true, false, c->out, NULL);
}

/* block of the table of the entry in c->out */
static BlockNumber
next_block(AnnRowCheck *c)
{
	bool null;

	return (BlockNumber) (DatumGetInt64(slot_getattr(c->out, 1, &null)) >> 16);
}

pg_noreturn static void
row_corrupted(const AnnRowCheck *c, const Entry *e, const char *what)
{
	ann_corrupted(c->walk->index, e->block,
				  psprintf("Slot %d, of row (%u,%u): %s", e->slot,
						   ItemPointerGetBlockNumber(&e->tid),
						   ItemPointerGetOffsetNumber(&e->tid), what));
}

/* an entry that no row of the index belongs to */
static void
check_stray(AnnRowCheck *c, const Entry *e)
{
	ItemPointerData tid = e->tid;
	bool again = false, dead = false;

	if (ItemPointerGetBlockNumberNoCheck(&tid) >= c->heap_blocks)
		row_corrupted(c, e, "It lies past the end of the table.");
	if (table_index_fetch_tuple(c->fetch, &tid, c->snapshot, c->fetched, &again,
								&dead))
		row_corrupted(c, e, "It does not belong in the index.");
}

static void
reserve_entry(AnnRowCheck *c)
{
	Size room = c->entry_room == 0 ? 256 : c->entry_room * 2;

	if (c->entries < c->entry_room)
		return;
	c->entry = c->entry == NULL ? palloc(c->entry_size * room)
								: repalloc_huge(c->entry, c->entry_size * room);
	c->entry_room = room;
}

/*
 * The entries of a block of the table into c->entry: blocks rise, all rows of
 * the one before have been seen, and those between have none.
 */
static void
take_block(AnnRowCheck *c, BlockNumber block)
{
	for (int i = 0; i < c->entries; i++)
		if (!entry_at(c, c->entry, i)->has_row)
			check_stray(c, entry_at(c, c->entry, i));
	c->block = block;
	c->entries = 0;
	for (; c->more && next_block(c) <= block; next_entry(c))
	{
		bool null;
		bytea *data;
		Entry *e;

		CHECK_FOR_INTERRUPTS();
		reserve_entry(c);
		e = entry_at(c, c->entry, c->entries);
		data = DatumGetByteaPP(slot_getattr(c->out, 2, &null));
		memcpy(e, VARDATA_ANY(data), c->entry_size);
		if (next_block(c) < block)
			check_stray(c, e);
		else
			c->entries++;
	}
}

/* what is stored of a row with bounds: of the rotated vector in c->x */
static void
compare_code(AnnRowCheck *c, const Entry *e)
{
	const AnnCache *cache = c->walk->cache;
	const CodeShape *shape = &cache->layout.shape;
	bool log = e->cell == (uint32) cache->cells;
	int dim = cache->dim;
	double length = sqrt(vec_squares_double(c->x, dim)), off;
	CodeRow code = e->code;

	code.codes = (uint8 *) e->codes;
	memset(c->centroid, 0, sizeof(float) * dim);
	if (!log)
		ann_cell_centroid(cache, e->cell, c->centroid);
	if (cache->rotated)
		rotation_apply_double(cache->rotation, dim, shape->head, c->x,
							  c->exact);
	for (int i = 0; i < dim; i++)
	{
		if (!cache->rotated)
			c->exact[i] = c->x[i];
		c->turned[i] = (float) c->exact[i];
		c->exact[i] -= c->centroid[i];
		c->r[i] = (float) c->exact[i];
	}
	off = code_off(dim, length + (log ? 0 : cache->cell[e->cell].norm));
	if (!code_holds(shape, c->exact, off, &code))
		row_corrupted(c, e, "Its code does not bound its vector.");
	if (log)
		c->longest = Max(c->longest, (length - 1e-30) / (1 + 1e-5));
	else if (!cell_holds(cache->cell + e->cell, cache->metric == ANN_L2,
						 c->turned, c->r, c->centroid, dim))
		row_corrupted(c, e, "Its vector is not within its cell's ranges.");
}

static void
compare_row(AnnRowCheck *c, const Entry *e, Datum value)
{
	const AnnCache *cache = c->walk->cache;
	Vector *v;
	bool bounded;

	/* every scan looks at it: a row in the log is (ann_check.c) */
	if (isinf(e->code.error))
		return;
	v = vector_from_datum(value);
	if (v->dim != cache->dim)
		row_corrupted(c, e, "Its vector has another dimension.");
	bounded = ann_prepare(cache->metric, v->x, cache->dim, c->x);
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	if (!bounded)
		row_corrupted(c, e, "No code can bound its vector.");
	compare_code(c, e);
}

static void
row_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull,
			 bool alive, void *state)
{
	AnnRowCheck *c = state;
	Entry *found = NULL;

	if (isnull[0])
		return;
	if (c->block != ItemPointerGetBlockNumber(tid))
		take_block(c, ItemPointerGetBlockNumber(tid));
	for (int i = 0; i < c->entries; i++)
	{
		Entry *e = entry_at(c, c->entry, i);

		if (!ItemPointerEquals(&e->tid, tid))
			continue;
		if (found != NULL)
			row_corrupted(c, e, "The row has two entries.");
		found = e;
	}
	if (found == NULL)
	{
		c->missing++;
		return;
	}
	found->has_row = true;
	compare_row(c, found, values[0]);
}

double
ann_rows_compare(AnnRowCheck *c, Relation heap, Snapshot snapshot)
{
	Relation index = c->walk->index;
	IndexInfo *info = BuildIndexInfo(index);
	TableScanDesc scan;
	Oid user;
	int context, level = NewGUCNestLevel();

	tuplesort_performsort(c->sort);
	next_entry(c);
	c->block = InvalidBlockNumber;
	c->snapshot = snapshot;
	c->heap_blocks = RelationGetNumberOfBlocks(heap);
	c->fetch = table_index_fetch_begin(heap);
	c->fetched = table_slot_create(heap, NULL);
	/* the index's functions run as the table's owner, as in CREATE INDEX */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(heap->rd_rel->relowner,
						   context | SECURITY_RESTRICTED_OPERATION);
	pg_restrict_search_path();
	/* as CREATE INDEX CONCURRENTLY reads it: by this snapshot; from block 0 */
	info->ii_Concurrent = true;
	info->ii_Unique = false;
	scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, false);
	/* whether a scan may begin anywhere is this scan's own, and is not asked */
	table_index_build_scan(heap, index, info, true, false, row_callback, c,
						   scan);
	take_block(c, InvalidBlockNumber); /* all that are left */
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, context);
	if (c->missing > 0)
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("index \"%s\" lacks %.0f rows of its table",
							   RelationGetRelationName(index), c->missing),
						errhint("REINDEX the index.")));
	table_index_fetch_end(c->fetch);
	ExecDropSingleTupleTableSlot(c->fetched);
	tuplesort_end(c->sort);
	ExecDropSingleTupleTableSlot(c->in);
	ExecDropSingleTupleTableSlot(c->out);
	return c->longest;
}
