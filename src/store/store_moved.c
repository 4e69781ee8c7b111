/*
 * store_moved.c
 *		Models whose tables are in another schema than their rows say.
 *
 * A schema was renamed, or the tables were moved. Readers find such a model by
 * its item table (store_row). But its name may be given anew where it was, and
 * two schemas may have changed names, so before a model is written all rows
 * get the names that are true now: those of the log go by the model's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "store/store_catalog.h"

/* a row that goes, and the schema that it comes back with */
typedef struct Moved
{
	HeapTuple row;
	NameData from;
	NameData name;
	NameData to;
} Moved;

static Name
name_at(HeapTuple row, Relation rel, int att)
{
	bool isnull;

	return DatumGetName(heap_getattr(row, att, RelationGetDescr(rel), &isnull));
}

/* rows of recsys_model or recsys_model_old */
static List *
find_moved(Relation rel)
{
	SysScanDesc scan =
		systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List *moved = NIL;
	HeapTuple row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		StoreModel model;
		char *now;
		Moved *m;

		store_read(row, rel, &model);
		now = get_namespace_name(get_rel_namespace(model.item_table));
		if (now == NULL ||
			strcmp(now, NameStr(*name_at(row, rel, MODEL_SCHEMA))) == 0)
			continue;
		m = palloc(sizeof(Moved));
		m->row = heap_copytuple(row);
		m->from = *name_at(row, rel, MODEL_SCHEMA);
		m->name = *name_at(row, rel, MODEL_NAME);
		namestrcpy(&m->to, now);
		moved = lappend(moved, m);
	}
	systable_endscan(scan);
	return moved;
}

/* rows under a name; schema and name come first in all three tables */
static SysScanDesc
scan_name(Relation rel, const NameData *schema, const NameData *name)
{
	ScanKeyData key[2];

	list_free(RelationGetIndexList(rel));
	ScanKeyInit(&key[0], LOG_SCHEMA, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(schema));
	ScanKeyInit(&key[1], LOG_NAME, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(name));
	return systable_beginscan(rel, rel->rd_pkindex, true, NULL, 2, key);
}

/* the log of models that have moved */
static List *
find_log(Relation rel, List *models)
{
	List *moved = NIL;
	ListCell *cell;

	foreach (cell, models)
	{
		const Moved *model = lfirst(cell);
		SysScanDesc scan = scan_name(rel, &model->from, &model->name);
		HeapTuple row;

		while (HeapTupleIsValid(row = systable_getnext(scan)))
		{
			Moved *m = palloc(sizeof(Moved));

			*m = *model;
			m->row = heap_copytuple(row);
			moved = lappend(moved, m);
		}
		systable_endscan(scan);
	}
	return moved;
}

static void
delete_rows(Relation rel, List *moved)
{
	ListCell *cell;

	foreach (cell, moved)
		CatalogTupleDelete(rel, &((Moved *) lfirst(cell))->row->t_self);
}

static void
insert_rows(Relation rel, List *moved, int schema_att)
{
	ListCell *cell;

	foreach (cell, moved)
	{
		Moved *m = lfirst(cell);
		Datum values[MODEL_NATTS] = {0};
		bool nulls[MODEL_NATTS] = {false};
		bool replace[MODEL_NATTS] = {false};

		values[schema_att - 1] = NameGetDatum(&m->to);
		replace[schema_att - 1] = true;
		CatalogTupleInsert(rel, heap_modify_tuple(m->row, RelationGetDescr(rel),
												  values, nulls, replace));
	}
}

static bool
has_table(HeapTuple row, Relation rel)
{
	StoreModel model;

	store_read(row, rel, &model);
	return OidIsValid(get_rel_namespace(model.item_table));
}

/* what is left under a name that is wanted now: of a model that is gone */
static void
clear_names(Relation rel, List *moved, bool of_models)
{
	ListCell *cell;

	foreach (cell, moved)
	{
		const Moved *m = lfirst(cell);
		SysScanDesc scan = scan_name(rel, &m->to, &m->name);
		HeapTuple row;

		while (HeapTupleIsValid(row = systable_getnext(scan)))
			if (!of_models || !has_table(row, rel))
				CatalogTupleDelete(rel, &row->t_self);
		systable_endscan(scan);
	}
	CommandCounterIncrement();
}

static bool
some_moved(Relation rel, Relation old_rel)
{
	return find_moved(rel) != NIL || find_moved(old_rel) != NIL;
}

void
store_settle_moved(void)
{
	Relation rel = table_open(store_table_oid(STORE_MODEL), AccessShareLock);
	Relation old_rel =
		table_open(store_table_oid(STORE_MODEL_OLD), AccessShareLock);
	Relation log_rel;
	List *moved;
	List *old;
	List *log;
	bool some = some_moved(rel, old_rel);

	table_close(old_rel, AccessShareLock);
	table_close(rel, AccessShareLock);
	if (!some)
		return;
	/* one at a time, after whoever is writing a model */
	rel = table_open(store_table_oid(STORE_MODEL), ShareRowExclusiveLock);
	old_rel = table_open(store_table_oid(STORE_MODEL_OLD), RowExclusiveLock);
	log_rel = table_open(store_table_oid(STORE_LOG), RowExclusiveLock);
	moved = find_moved(rel);
	old = find_moved(old_rel);
	log = find_log(log_rel, moved);
	/* all first: two may change names with each other */
	delete_rows(rel, moved);
	delete_rows(old_rel, old);
	delete_rows(log_rel, log);
	CommandCounterIncrement();
	clear_names(rel, moved, true);
	clear_names(old_rel, old, true);
	clear_names(log_rel, moved, false);
	insert_rows(rel, moved, MODEL_SCHEMA);
	insert_rows(old_rel, old, MODEL_SCHEMA);
	insert_rows(log_rel, log, LOG_SCHEMA);
	CommandCounterIncrement();
	table_close(log_rel, NoLock);
	table_close(old_rel, NoLock);
	table_close(rel, NoLock);
}
