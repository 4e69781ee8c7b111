/*
 * store_dimension.c
 *		Another dimension for a column of a model's vectors.
 *
 * A training may come to another dimension than the version before, whose
 * rows older snapshots go on to see. So the catalog changes and nothing else.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_rewrite.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "store/store_catalog.h"

static void
set_typmod(Relation attributes, Oid relation, AttrNumber attno, int32 typmod)
{
	HeapTuple tuple = SearchSysCacheCopy2(ATTNUM, ObjectIdGetDatum(relation),
										  Int16GetDatum(attno));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for attribute %d of relation %u",
			 attno, relation);
	((Form_pg_attribute) GETSTRUCT(tuple))->atttypmod = typmod;
	CatalogTupleUpdate(attributes, &tuple->t_self, tuple);
	heap_freetuple(tuple);
}

/*
 * Rows of another dimension, which an older snapshot sees, are not in the
 * index: REINDEX does not keep such a snapshot from it, as CREATE INDEX does.
 */
static void
keep_snapshots_away(Oid index)
{
	Relation rel = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	((Form_pg_index) GETSTRUCT(tuple))->indcheckxmin = true;
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	CacheInvalidateRelcacheByRelid(
		((Form_pg_index) GETSTRUCT(tuple))->indrelid);
	heap_freetuple(tuple);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/*
 * An index over the column: the dimension of its own column, and, since
 * entries of ann are of one dimension, new contents. The index that a training
 * made is about to be dropped.
 */
static void
set_index_dimension(Relation attributes, Oid index, Oid own, AttrNumber attno,
					int32 dim)
{
	Relation rel = index_open(index, AccessShareLock);
	bool ann = rel->rd_rel->relam == get_am_oid("ann", true) && index != own;
	char *name = store_quoted(get_rel_namespace(index),
							  RelationGetRelationName(rel), "");
	bool any = false;

	for (int i = 0; i < rel->rd_index->indnatts; i++)
		if (rel->rd_index->indkey.values[i] == attno &&
			TupleDescAttr(RelationGetDescr(rel), i)->atttypid ==
				store_vector_type())
		{
			set_typmod(attributes, index, (AttrNumber) (i + 1), dim);
			any = true;
		}
	index_close(rel, NoLock);
	CommandCounterIncrement();
	if (!any || !ann)
		return;
	store_run(psprintf("REINDEX INDEX %s", name));
	CommandCounterIncrement();
	keep_snapshots_away(index);
}

static void forget_in_view(Relation attributes, Oid view, int32 before);

/* the view of a rule; InvalidOid when it is gone */
static Oid
view_of_rule(Oid rule)
{
	Relation rel = table_open(RewriteRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid view = InvalidOid;

	ScanKeyInit(&key, Anum_pg_rewrite_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(rule));
	scan = systable_beginscan(rel, RewriteOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		view = ((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return view;
}

/*
 * Views that show the column have its dimension in their own columns, by which
 * the parser knows that a vector fits: there it becomes unknown.
 */
static void
forget_dimension(Relation attributes, Oid relation, AttrNumber attno,
				 int32 before)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	List *views = NIL;
	ListCell *cell;
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relation));
	ScanKeyInit(&key[2], Anum_pg_depend_refobjsubid, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(attno));
	scan =
		systable_beginscan(depend, DependReferenceIndexId, true, NULL, 3, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);

		if (d->classid == RewriteRelationId)
			views = list_append_unique_oid(views, view_of_rule(d->objid));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	foreach (cell, views)
		if (lfirst_oid(cell) != relation)
			forget_in_view(attributes, lfirst_oid(cell), before);
}

/* ... as many as have it, and views of those */
static void
forget_in_view(Relation attributes, Oid view, int32 before)
{
	for (AttrNumber a = 1; get_attname(view, a, true) != NULL; a++)
	{
		Oid type;
		int32 typmod;
		Oid collation;

		get_atttypetypmodcoll(view, a, &type, &typmod, &collation);
		if (type != store_vector_type() || typmod != before)
			continue;
		set_typmod(attributes, view, a, -1);
		CommandCounterIncrement();
		forget_dimension(attributes, view, a, before);
	}
}

/*
 * The dimension of a column of vectors whose rows are all deleted, in the
 * catalog alone. ALTER TABLE would write the table anew, and then readers with
 * a snapshot of before find it empty; it would lock them out, and refuse when
 * a view shows the column. No reader asks the catalog for a vector's length.
 */
void
store_set_dimension(Oid relation, AttrNumber attno, int32 dim)
{
	Relation attributes = table_open(AttributeRelationId, RowExclusiveLock);
	/* who writes would put in vectors of the dimension before */
	Relation rel = table_open(relation, ShareRowExclusiveLock);
	Oid own = store_own_index(relation);
	int32 before = TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypmod;
	ListCell *cell;

	forget_dimension(attributes, relation, attno, before);
	set_typmod(attributes, relation, attno, dim);
	CommandCounterIncrement();
	foreach (cell, RelationGetIndexList(rel))
		set_index_dimension(attributes, lfirst_oid(cell), own, attno, dim);
	table_close(rel, NoLock);
	table_close(attributes, RowExclusiveLock);
}
