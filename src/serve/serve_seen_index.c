/*
 * serve_seen_index.c
 *		What has been seen, straight from a btree of the ratings table.
 *
 * The query of serve_seen.c costs as much as all the rest of a call. Where
 * it would be a plain index scan with an equality on the first column, the
 * scan is done here without the executor: an ordinary table without
 * children and without policies in force, and columns of the very types of
 * the model's keys. The caller has checked the rights.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "pg/pg_compat.h"
#include "serve/serve.h"

static bool
fits(Relation rel, AttrNumber att, Oid type)
{
	return att > 0 &&
		   getBaseType(
			   TupleDescAttr(RelationGetDescr(rel), att - 1)->atttypid) == type;
}

static bool
usable(Relation index, AttrNumber att)
{
	return index->rd_rel->relam == BTREE_AM_OID &&
		   index->rd_index->indkey.values[0] == att &&
		   index->rd_index->indisvalid && !index->rd_index->indcheckxmin &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/* an index whose first column is att, locked; NULL when there is none */
static Relation
open_index(Relation rel, AttrNumber att)
{
	List *list = RelationGetIndexList(rel);
	Relation found = NULL;
	ListCell *cell;

	foreach (cell, list)
	{
		found = index_open(lfirst_oid(cell), AccessShareLock);
		if (usable(found, att))
			break;
		index_close(found, AccessShareLock);
		found = NULL;
	}
	list_free(list);
	return found;
}

static void
scan(Relation rel, Relation index, const ServeKeyType *type, Datum key,
	 AttrNumber att, ServeMap *map)
{
	ScanKeyData scan_key;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc desc;

	serve_table_scan_key(&scan_key, index, type, key);
	desc = pg_index_beginscan(rel, index, GetActiveSnapshot(), 1);
	index_rescan(desc, &scan_key, 1, NULL, 0);
	while (index_getnext_slot(desc, ForwardScanDirection, slot))
	{
		bool isnull;
		Datum raw = slot_getattr(slot, att, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			serve_map_add(map, serve_key_read(&map->type, raw), 0, true);
	}
	index_endscan(desc);
	ExecDropSingleTupleTableSlot(slot);
}

bool
serve_seen_by_index(const StoreModel *model, bool of_item,
					const ServeKeyType *type, Datum key, ServeMap *map)
{
	Relation rel = try_relation_open(model->ratings, AccessShareLock);
	AttrNumber by;
	AttrNumber wanted;
	Relation index = NULL;

	if (rel == NULL)
		return false;
	by = get_attnum(model->ratings, of_item ? NameStr(model->item_col)
											: NameStr(model->user_col));
	wanted = get_attnum(model->ratings, of_item ? NameStr(model->user_col)
												: NameStr(model->item_col));
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		!rel->rd_rel->relhassubclass &&
		check_enable_rls(model->ratings, InvalidOid, false) != RLS_ENABLED &&
		fits(rel, by, type->type) && fits(rel, wanted, map->type.type))
		index = open_index(rel, by);
	if (index != NULL)
	{
		scan(rel, index, type, key, wanted, map);
		index_close(index, NoLock);
	}
	relation_close(rel, NoLock);
	return index != NULL;
}
