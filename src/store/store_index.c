/*
 * store_index.c
 *		The ann indexes that trainings make on a model's tables of vectors.
 *
 * SQL run with the caller's rights, as in store_tables.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "index/ann.h"
#include "pg/pg_compat.h"
#include "store/store_catalog.h"

/* from how many rows on an index pays */
#define INDEX_MIN_ROWS 20000
/* ms: for one lock; between attempts */
#define LONGEST_WAIT 500
#define FIRST_PAUSE 20
#define LAST_PAUSE 60000

static Oid
ann_method(void)
{
	Oid method = get_am_oid("ann", true);

	if (OidIsValid(method) &&
		SearchSysCacheExists3(CLAAMNAMENSP, ObjectIdGetDatum(method),
							  CStringGetDatum("vector_ip_ops"),
							  ObjectIdGetDatum(store_extension_schema())))
		return method;
	return InvalidOid;
}

/* the name that trainings give to their index, and find it by */
static char *
index_name(Oid relation)
{
	return makeObjectName(get_rel_name(relation), NULL, "ann");
}

static Oid
access_method_of(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid method;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	method = ((Form_pg_class) GETSTRUCT(tuple))->relam;
	ReleaseSysCache(tuple);
	return method;
}

/* the index that a training made on this table; InvalidOid when none */
Oid
store_own_index(Oid relation)
{
	Oid index =
		get_relname_relid(index_name(relation), get_rel_namespace(relation));

	if (OidIsValid(index) && access_method_of(index) == ann_method() &&
		OidIsValid(ann_method()) && IndexGetRelation(index, true) == relation)
		return index;
	return InvalidOid;
}

static void
create_index(Oid relation, const char *name)
{
	store_run(psprintf(
		"CREATE INDEX %s ON %s USING ann (embedding %s.vector_ip_ops)",
		quote_identifier(name), store_quoted_relation(relation),
		quote_identifier(get_namespace_name(store_extension_schema()))));
}

/* the new rows into the index that is there; false: it must be made anew */
static bool
load_index(Oid relation, Oid index, int dim)
{
	Relation heap = table_open(relation, RowExclusiveLock);
	Relation rel = index_open(index, RowExclusiveLock);
	/* somebody may have made another one under our name */
	bool done =
		RelationGetIndexPredicate(rel) == NIL && rel->rd_index->indnatts == 1 &&
		rel->rd_index->indkey.values[0] == get_attnum(relation, "embedding") &&
		ann_metric(rel)->kind == ANN_IP && ann_load(rel, heap, dim);

	index_close(rel, NoLock);
	table_close(heap, NoLock);
	return done;
}

/* an index whose place another one takes; next InvalidOid: none does */
typedef struct Leaving
{
	Oid table;
	Oid index;
	Oid next;
} Leaving;

/*
 * No row of this version was inserted into the index yet: building is faster
 * than inserting. True when an index must go, because the dimension has
 * changed or the rows are few now.
 */
static bool
renew_index(Oid relation, int64 rows, int dim, Leaving *leaving)
{
	Oid schema = get_rel_namespace(relation);
	Oid before = store_own_index(relation);
	char *name = index_name(relation);
	char *next = makeObjectName(get_rel_name(relation), "new", "ann");
	bool wanted = dim > 0 && rows >= INDEX_MIN_ROWS && OidIsValid(ann_method());

	if (!OidIsValid(before))
	{
		if (wanted && !OidIsValid(get_relname_relid(name, schema)))
			create_index(relation, name);
		return false;
	}
	if (wanted && load_index(relation, before, dim))
		return false;
	*leaving = (Leaving){relation, before, InvalidOid};
	if (wanted)
	{
		create_index(relation, next);
		leaving->next = get_relname_relid(next, schema);
	}
	return true;
}

/* false: not within half of the time after which the server looks for deadlocks */
static bool
try_lock(const Leaving *leaving, int n)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;
	TimestampTz until = TimestampTzPlusMilliseconds(
		GetCurrentTimestamp(), Min(LONGEST_WAIT, DeadlockTimeout / 2));
	int usual = LockTimeout;
	volatile bool locked = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		for (int i = 0; i < 2 * n; i++)
		{
			const Leaving *one = leaving + i / 2;

			LockTimeout = (int) Max(1, TimestampDifferenceMilliseconds(
										   GetCurrentTimestamp(), until));
			LockRelationOid(i % 2 == 0 ? one->table : one->index,
							AccessExclusiveLock);
		}
		LockTimeout = usual;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		LockTimeout = usual;
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		locked = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return locked;
}

/*
 * ACCESS EXCLUSIVE on the tables and their indexes, all or none. Readers come to
 * the two tables in any order, so whoever waits for one and holds the other is in
 * a deadlock with them, which could cost the training: the locks are given back in
 * time and taken again later. Pauses grow, since all others wait behind an attempt.
 */
static void
lock_out(const Leaving *leaving, int n)
{
	TimestampTz started = GetCurrentTimestamp();

	for (long pause = FIRST_PAUSE; !try_lock(leaving, n);
		 pause = Min(2 * pause, LAST_PAUSE))
	{
		if (LockTimeout > 0 && TimestampDifferenceExceeds(
								   started, GetCurrentTimestamp(), LockTimeout))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("canceling statement due to lock timeout"),
					 errdetail("Index \"%s\" must go, and its table is being "
							   "read.",
							   get_rel_name(leaving->index))));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
replace_index(const Leaving *leaving)
{
	char *name = get_rel_name(leaving->index);

	store_run(psprintf("DROP INDEX %s", store_quoted_relation(leaving->index)));
	if (OidIsValid(leaving->next))
		store_run(psprintf("ALTER INDEX %s RENAME TO %s",
						   store_quoted_relation(leaving->next),
						   quote_identifier(name)));
}

void
store_build_indexes(const StoreModel *model)
{
	Leaving leaving[2];
	int n = 0;

	n += renew_index(model->item_table, model->items, model->dim, leaving);
	n += renew_index(model->user_table, model->users, model->dim, leaving + n);
	/* the last thing, since readers are locked out from here to the commit */
	if (n > 0)
		lock_out(leaving, n);
	for (int i = 0; i < n; i++)
		replace_index(leaving + i);
}
