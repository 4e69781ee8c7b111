/*
 * serve_pack.c
 *		A model table packed for scanning.
 *
 * serve_pack_load reads the table under the active snapshot into one matrix
 * and puts its rows into falling order of their norms, equal ones by key (or
 * all of them by key). By Cauchy and Schwarz no row after the one with norm n
 * can score more than |query| * n, so that a scan for the best rows may stop
 * early and is still exact.
 *
 * Most of the time goes into memory that is touched for the first time.
 * Hence the rows are ordered in place and not copied into a second matrix.
 */
#include "postgres.h"

#include <math.h>
#include <sys/mman.h>

#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "math/vec.h"
#include "serve/serve.h"

/* what is known of a row while the table is read; in the order of reading */
typedef struct Loader
{
	ServeTable *table;
	ServePack *pack;
	MemoryContext scratch; /* of all but the matrix; freed at the end */
	Size limit;
	bool fits;
	bool seen;          /* a row, be it without a vector */
	AttrNumber key_att; /* in the rows that are read */
	AttrNumber vector_att;
	AttrNumber interactions_att;
	int64 capacity;
	float *rows; /* (capacity, dim), the pack's in the end */
	float *norms;
	Datum *keys;
	int32 *interactions;
} Loader;

static Size
row_bytes(int dim)
{
	return (Size) dim * sizeof(float) + sizeof(float) + sizeof(Datum) +
		   4 * sizeof(int32);
}

/*
 * Memory for a matrix. Page faults are a good part of the time that packing
 * takes, so ask for large pages where the system has them.
 */
static void *
alloc_matrix(MemoryContext context, Size bytes)
{
	char *matrix = MemoryContextAllocHuge(context, bytes);
#ifdef MADV_HUGEPAGE
	const Size page = 2 * 1024 * 1024;
	char *first = (char *) TYPEALIGN(page, matrix);

	if (bytes >= 2 * page)
		(void) madvise(first, (bytes - (first - matrix)) / page * page,
					   MADV_HUGEPAGE);
#endif
	return matrix;
}

static void
grow(Loader *l, int64 capacity)
{
	MemoryContext old = MemoryContextSwitchTo(l->scratch);
	Size row = (Size) l->pack->dim * sizeof(float);

	if (l->capacity == 0)
	{
		l->rows = alloc_matrix(l->pack->context, capacity * row);
		l->norms = MemoryContextAllocHuge(l->scratch, capacity * sizeof(float));
		l->keys = MemoryContextAllocHuge(l->scratch, capacity * sizeof(Datum));
		l->interactions =
			MemoryContextAllocHuge(l->scratch, capacity * sizeof(int32));
	}
	else
	{
		l->rows = repalloc_huge(l->rows, capacity * row);
		l->norms = repalloc_huge(l->norms, capacity * sizeof(float));
		l->keys = repalloc_huge(l->keys, capacity * sizeof(Datum));
		l->interactions =
			repalloc_huge(l->interactions, capacity * sizeof(int32));
	}
	l->capacity = capacity;
	MemoryContextSwitchTo(old);
}

static void
add_key(Loader *l, Datum raw)
{
	ServePack *pack = l->pack;
	MemoryContext old = MemoryContextSwitchTo(pack->context);
	Datum key = serve_key_read(&pack->key, raw);

	if (key == raw)
		key = serve_key_copy(&pack->key, key);
	l->keys[pack->n] = key;
	if (pack->key.kind != KEY_INT)
		pack->bytes += GetMemoryChunkSpace(DatumGetPointer(key));
	MemoryContextSwitchTo(old);
}

/* false when the pack would become too large */
static bool
add_row(Loader *l, TupleTableSlot *slot)
{
	ServePack *pack = l->pack;
	bool isnull;
	Datum datum = slot_getattr(slot, l->vector_att, &isnull);
	Vector *v;
	float *row;

	l->seen = true;
	if (isnull)
		return true;
	if (pack->n == l->capacity)
		grow(l, Min(l->capacity * 2, PG_INT32_MAX / 2));
	v = vector_from_datum(datum);
	serve_table_check_dim(l->table, v->dim);
	row = l->rows + (Size) pack->n * pack->dim;
	memcpy(row, v->x, sizeof(float) * pack->dim);
	l->norms[pack->n] = sqrtf(vec_dot(row, row, pack->dim));
	if ((Pointer) v != DatumGetPointer(datum))
		pfree(v);
	datum = slot_getattr(slot, l->key_att, &isnull);
	if (isnull)
		return true;
	add_key(l, datum);
	l->interactions[pack->n] = 0;
	if (l->interactions_att != 0)
	{
		datum = slot_getattr(slot, l->interactions_att, &isnull);
		l->interactions[pack->n] = isnull ? 0 : DatumGetInt32(datum);
	}
	pack->n++;
	pack->bytes += row_bytes(pack->dim);
	l->fits = pack->bytes <= l->limit && pack->n < PG_INT32_MAX / 2;
	return l->fits;
}

static void
read_table(Loader *l)
{
	Relation rel = l->table->rel;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan =
		table_beginscan_strat(rel, GetActiveSnapshot(), 0, NULL, true, false);

	l->key_att = l->table->key_att;
	l->vector_att = l->table->vector_att;
	l->interactions_att = l->table->interactions_att;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot) &&
		   add_row(l, slot))
		CHECK_FOR_INTERRUPTS();
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

static bool
add_query_row(TupleTableSlot *slot, void *arg)
{
	return add_row(arg, slot);
}

/* a table with policies, or one that is no ordinary table */
static void
read_by_query(Loader *l)
{
	ServeTable *t = l->table;
	char *query = psprintf(
		"SELECT %s, %s%s%s FROM %s", serve_sql_column(t, t->key_att),
		serve_sql_column(t, t->vector_att),
		t->interactions_att != 0 ? ", " : "",
		t->interactions_att != 0 ? serve_sql_column(t, t->interactions_att)
								 : "",
		serve_table_name(RelationGetRelid(t->rel)));

	l->key_att = 1;
	l->vector_att = 2;
	l->interactions_att = t->interactions_att != 0 ? 3 : 0;
	serve_query(query, 0, NULL, NULL, add_query_row, l);
}

static int
compare_keys(const void *a, const void *b, void *arg)
{
	const Loader *l = arg;

	CHECK_FOR_INTERRUPTS();
	return serve_key_compare(&l->pack->key, l->keys[*(const int32 *) a],
							 l->keys[*(const int32 *) b]);
}

/* rows by rising key; mostly they are stored like that */
static int32 *
sort_by_key(Loader *l)
{
	int32 n = l->pack->n;
	int32 *by_key = palloc_extended(sizeof(int32) * Max(n, 1), MCXT_ALLOC_HUGE);
	bool sorted = true;

	for (int32 i = 0; i < n; i++)
	{
		by_key[i] = i;
		if (i > 0 && sorted)
			sorted = serve_key_compare(&l->pack->key, l->keys[i - 1],
									   l->keys[i]) <= 0;
	}
	if (!sorted)
		qsort_arg(by_key, n, sizeof(int32), compare_keys, l);
	return by_key;
}

/*
 * Stable radix sort of rows by a 32-bit number, falling. 11 bits a pass.
 */
static void
sort_falling(int32 *rows, const uint32 *numbers, int32 n)
{
	int32 *from = rows;
	int32 *to = palloc_extended(sizeof(int32) * Max(n, 1), MCXT_ALLOC_HUGE);
	int32 *spare = to;
	int32 count[2048];

	for (int shift = 0; shift < 33; shift += 11)
	{
		int32 at = 0;
		int32 *swap = from;

		memset(count, 0, sizeof(count));
		for (int32 i = 0; i < n; i++)
			count[(~numbers[from[i]] >> shift) & 2047]++;
		for (int b = 0; b < 2048; b++)
		{
			int32 c = count[b];

			count[b] = at;
			at += c;
		}
		for (int32 i = 0; i < n; i++)
			to[count[(~numbers[from[i]] >> shift) & 2047]++] = from[i];
		from = to;
		to = swap;
	}
	/* three passes end in the spare array */
	memcpy(rows, spare, sizeof(int32) * n);
	pfree(spare);
}

/*
 * Row i becomes what row from[i] was: along the cycles of the permutation,
 * whose places are marked by their complement on the way.
 */
static void
permute_rows(float *rows, int dim, int32 *from, int32 n)
{
	Size bytes = sizeof(float) * dim;
	float *first = palloc(bytes);

	for (int32 i = 0; i < n; i++)
	{
		int32 to = i;

		if (from[i] < 0)
			continue;
		memcpy(first, rows + (Size) i * dim, bytes);
		while (from[to] != i)
		{
			int32 next = from[to];

			memcpy(rows + (Size) to * dim, rows + (Size) next * dim, bytes);
			from[to] = ~next;
			to = next;
		}
		memcpy(rows + (Size) to * dim, first, bytes);
		from[to] = ~i;
	}
	for (int32 i = 0; i < n; i++)
		from[i] = ~from[i];
	pfree(first);
}

static void
arrange(Loader *l, bool by_key)
{
	ServePack *pack = l->pack;
	int32 n = pack->n;
	int32 *rows = sort_by_key(l);
	int32 *place = palloc_extended(sizeof(int32) * Max(n, 1), MCXT_ALLOC_HUGE);

	for (int32 i = 0; i < n; i++)
		place[rows[i]] = i;
	/* the bits of floats that are not negative sort like the floats */
	if (!by_key)
		sort_falling(rows, (uint32 *) l->norms, n);
	pack->rows = l->rows;
	permute_rows(pack->rows, pack->dim, rows, n);
	for (int32 i = 0; i < n; i++)
	{
		int32 from = rows[i];

		pack->norms[i] = l->norms[from];
		pack->keys[i] = l->keys[from];
		pack->order[i] = place[from];
		pack->by_key[place[from]] = i;
		pack->interactions[i] = l->interactions[from];
	}
}

static void
allocate_pack(ServePack *pack)
{
	Size n = Max(pack->n, 1);
	MemoryContext c = pack->context;

	pack->norms = MemoryContextAllocHuge(c, n * sizeof(float));
	pack->keys = MemoryContextAllocHuge(c, n * sizeof(Datum));
	pack->order = MemoryContextAllocHuge(c, n * sizeof(int32));
	pack->by_key = MemoryContextAllocHuge(c, n * sizeof(int32));
	pack->interactions = MemoryContextAllocHuge(c, n * sizeof(int32));
}

/*
 * The table shows no row though the model has some: somebody has emptied it,
 * or it was written anew after the snapshot was taken, by ALTER TABLE, as a
 * training does when the type of the keys has changed.
 */
static void
check_rewritten(const ServeTable *table)
{
	Snapshot snapshot;
	TupleTableSlot *slot;
	TableScanDesc scan;
	bool some;

	/* no new snapshot can be taken then */
	if (IsInParallelMode())
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(table->rel, NULL);
	scan = table_beginscan(table->rel, snapshot, 0, NULL);
	some = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	if (some)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" was rewritten after the snapshot was "
						"taken",
						RelationGetRelationName(table->rel)),
				 errhint("Run the transaction again.")));
}

ServePack *
serve_pack_load(ServeTable *table, Size limit, bool by_key)
{
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "recsys packed table", ALLOCSET_DEFAULT_SIZES);
	MemoryContext scratch = AllocSetContextCreate(
		CurrentMemoryContext, "recsys packing", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ServePack *pack = MemoryContextAllocZero(context, sizeof(ServePack));
	Loader l = {.table = table, .pack = pack, .limit = limit, .fits = true};

	if (table->dim < 1)
		serve_table_check_dim(table, 0);
	pack->context = context;
	pack->key = table->key;
	pack->dim = table->dim;
	l.scratch = scratch;
	grow(&l, Min(Max(table->rows, 64),
				 Max((int64) (limit / row_bytes(pack->dim)), 64)));
	if (table->plain)
	{
		read_table(&l);
		if (!l.seen && table->rows > 0)
			check_rewritten(table);
	}
	else
		read_by_query(&l);
	if (l.fits)
	{
		allocate_pack(pack);
		arrange(&l, by_key);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	if (l.fits)
		return pack;
	MemoryContextDelete(context);
	return NULL;
}

int32 *
serve_pack_popular(ServePack *pack)
{
	int32 *rows;
	MemoryContext old;

	if (pack->popular != NULL)
		return pack->popular;
	old = MemoryContextSwitchTo(pack->context);
	rows = palloc_extended(sizeof(int32) * Max(pack->n, 1), MCXT_ALLOC_HUGE);
	memcpy(rows, pack->by_key, sizeof(int32) * pack->n);
	/* a negative count cannot come from training; sorted behind the others */
	for (int32 i = 0; i < pack->n; i++)
		pack->interactions[i] = Max(pack->interactions[i], 0);
	sort_falling(rows, (uint32 *) pack->interactions, pack->n);
	pack->popular = rows;
	MemoryContextSwitchTo(old);
	return rows;
}

int32
serve_pack_find(ServePack *pack, Datum key)
{
	if (pack->map == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(pack->context);
		ServeMap *map = serve_map_new(&pack->key, pack->n);

		for (int32 i = 0; i < pack->n; i++)
			serve_map_add(map, pack->keys[i], i, false);
		pack->map = map;
		MemoryContextSwitchTo(old);
	}
	return serve_map_find(pack->map, key);
}
