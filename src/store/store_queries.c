/*
 * store_queries.c
 *		Who will ask an index on a model's table: the index calibrates its
 *		recall on vectors of the model's other side.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "index/ann.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "store/store_catalog.h"
#include "store/store_queries.h"

/* the model that has table in a column of recsys_model */
static bool
find_by_table(Relation rel, int column, Oid table, Snapshot snapshot,
			  StoreModel *model)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		store_read(tuple, rel, model);
	systable_endscan(scan);
	return found;
}

static Oid
queries_of(Oid table, AttrNumber indexed, AttrNumber *column)
{
	Relation rel;
	Snapshot snapshot;
	StoreModel model;
	Oid other = InvalidOid;

	if (indexed != get_attnum(table, "embedding"))
		return InvalidOid;
	rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	/* a VACUUM with parallel workers may take no new one, but has one */
	snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot()
												   : GetLatestSnapshot());
	if (find_by_table(rel, MODEL_ITEM_TABLE, table, snapshot, &model))
		other = model.user_table;
	else if (find_by_table(rel, MODEL_USER_TABLE, table, snapshot, &model))
		other = model.item_table;
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	if (!OidIsValid(other))
		return InvalidOid;
	*column = get_attnum(other, "embedding");
	return *column != InvalidAttrNumber ? other : InvalidOid;
}

void
store_install_query_source(void)
{
	ann_query_source = queries_of;
}
