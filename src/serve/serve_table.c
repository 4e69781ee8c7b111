/*
 * serve_table.c
 *		Opening a model's tables and reading one row.
 *
 * The rights of the caller are checked at every opening, since what follows
 * reads below the executor. A table is "plain" when that is allowed: an
 * ordinary table on which no row-level policy is in force for the caller.
 * Everything else is read by SQL (serve_sql.c). The lock on the table is
 * kept until the end of the transaction, as a query would keep it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "pg/pg_compat.h"
#include "serve/serve.h"
#include "store/store_catalog.h"

static void
refuse_table(const StoreModel *model, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("model \"%s\" is damaged", NameStr(model->name)),
					errdetail("%s", detail),
					errhint("Repair the table, or drop the model with "
							"recsys_drop and train it again.")));
}

static AttrNumber
column(const StoreModel *model, Relation rel, const char *name)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	refuse_table(model, psprintf("Table \"%s\" has no column \"%s\".",
								 RelationGetRelationName(rel), name));
	return 0;
}

/* SELECT on the table, or on each of the columns */
static void
check_rights(Relation rel, const AttrNumber *atts, int n)
{
	Oid relid = RelationGetRelid(rel);
	Oid role = GetUserId();

	if (pg_class_aclcheck(relid, role, ACL_SELECT) == ACLCHECK_OK)
		return;
	for (int i = 0; i < n; i++)
		if (atts[i] != 0 && pg_attribute_aclcheck(relid, atts[i], role,
												  ACL_SELECT) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
						   RelationGetRelationName(rel));
}

static void
check_vector_column(const StoreModel *model, Relation rel, AttrNumber attno)
{
	if (TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid !=
		store_vector_type())
		refuse_table(model, psprintf("Column \"%s\" of \"%s\" is not a vector.",
									 NameStr(*attnumAttName(rel, attno)),
									 RelationGetRelationName(rel)));
}

static Oid
type_of(Relation rel, AttrNumber attno)
{
	return getBaseType(
		TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid);
}

/*
 * Keys in hand are of the type that the catalog's row says; a training with
 * another one may have replaced the table since that row was read.
 */
static void
check_key_type(const StoreModel *model, Relation rel, AttrNumber attno,
			   Oid expected)
{
	Oid type = type_of(rel, attno);

	if (type == expected)
		return;
	if (IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" was rewritten after the snapshot was taken",
					RelationGetRelationName(rel)),
			 errhint("Run the transaction again.")));
	refuse_table(model,
				 psprintf("Column \"%s\" of \"%s\" is of type %s, not %s.",
						  NameStr(*attnumAttName(rel, attno)),
						  RelationGetRelationName(rel), format_type_be(type),
						  format_type_be(expected)));
}

static void
check_param_column(const StoreModel *model, Relation rel, AttrNumber attno,
				   Oid expected)
{
	if (TupleDescAttr(RelationGetDescr(rel), attno - 1)->atttypid != expected)
		refuse_table(model, psprintf("Column \"%s\" of \"%s\" is not of type "
									 "%s.",
									 NameStr(*attnumAttName(rel, attno)),
									 RelationGetRelationName(rel),
									 format_type_be(expected)));
}

static Relation
open_relation(const StoreModel *model, Oid relid, const char *what)
{
	Relation rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL)
		refuse_table(model, psprintf("Its table of %ss is gone.", what));
	return rel;
}

static bool
is_plain(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		   check_enable_rls(RelationGetRelid(rel), InvalidOid, false) !=
			   RLS_ENABLED;
}

void
serve_table_open(ServeTable *table, const StoreModel *model, bool item,
				 int columns)
{
	bool ranking = (columns & SERVE_RANKING) != 0;
	Relation rel =
		open_relation(model, item ? model->item_table : model->user_table,
					  item ? "item" : "user");
	AttrNumber atts[3] = {0};

	atts[0] = column(model, rel, item ? "item_id" : "user_id");
	atts[1] = column(model, rel, ranking ? "ranking" : "embedding");
	if (columns & SERVE_INTERACTIONS)
		atts[2] = column(model, rel, "interactions");
	check_rights(rel, atts, lengthof(atts));
	table->schema = store_extension_schema();
	check_key_type(model, rel, atts[0],
				   item ? model->item_type : model->user_type);
	check_vector_column(model, rel, atts[1]);
	if (atts[2] != 0 &&
		TupleDescAttr(RelationGetDescr(rel), atts[2] - 1)->atttypid != INT4OID)
		refuse_table(model, "Its interactions are not of type integer.");

	table->rel = rel;
	serve_key_init(&table->key,
				   TupleDescAttr(RelationGetDescr(rel), atts[0] - 1)->atttypid);
	table->key_att = atts[0];
	table->vector_att = atts[1];
	table->interactions_att = atts[2];
	table->params = false;
	table->plain = is_plain(rel);
	table->version = model->version;
	/* of the version that is read, not of the columns as they are now */
	table->dim = !ranking ? model->dim
				 : item   ? model->item_ranking_dim
						  : model->user_ranking_dim;
	table->rows = item ? model->items : model->users;
}

void
serve_table_open_params(ServeTable *table, const StoreModel *model)
{
	Relation rel = open_relation(model, model->param_table, "parameter");
	AttrNumber atts[3];

	memset(table, 0, sizeof(*table));
	atts[0] = column(model, rel, "name");
	atts[1] = column(model, rel, "shape");
	atts[2] = column(model, rel, "value");
	check_rights(rel, atts, lengthof(atts));
	check_param_column(model, rel, atts[0], TEXTOID);
	check_param_column(model, rel, atts[1], INT4ARRAYOID);
	check_param_column(model, rel, atts[2], FLOAT4ARRAYOID);
	table->rel = rel;
	table->schema = store_extension_schema();
	table->params = true;
	table->plain = is_plain(rel);
	table->version = model->version;
}

void
serve_table_close(ServeTable *table)
{
	relation_close(table->rel, NoLock);
}

char *
serve_table_name(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		return NULL;
	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(relid)), name);
}

char *
serve_operator(const ServeTable *table, const char *name)
{
	return psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(table->schema)), name);
}

void
serve_check_retrieval(const StoreModel *model)
{
	if (model->dim <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no retrieval stage",
						NameStr(model->name)),
				 errhint("Train it with stages => '{retrieval,ranking}'.")));
}

void
serve_check_ranking(const StoreModel *model)
{
	if (model->ranking == RANKING_NONE)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("model \"%s\" has no ranking stage", NameStr(model->name)),
			 errhint("Train it with a rating column and with stages => "
					 "'{retrieval,ranking}'.")));
}

/* the btree of the primary key, when that is the key column alone */
static Relation
open_key_index(ServeTable *table)
{
	Oid oid = pg_primary_key_index(table->rel);
	Relation index;

	if (!OidIsValid(oid))
		return NULL;
	index = index_open(oid, AccessShareLock);
	if (index->rd_rel->relam == BTREE_AM_OID &&
		index->rd_index->indnkeyatts == 1 &&
		index->rd_index->indkey.values[0] == table->key_att &&
		index->rd_index->indisvalid && !index->rd_index->indcheckxmin)
		return index;
	index_close(index, NoLock);
	return NULL;
}

void
serve_table_scan_key(ScanKey scan_key, Relation index,
					 const ServeKeyType *key_type, Datum key)
{
	Oid type = index->rd_opcintype[0];
	Oid eq = get_opfamily_member(index->rd_opfamily[0], type, type,
								 BTEqualStrategyNumber);

	if (!OidIsValid(eq))
		elog(ERROR, "no equality operator in an index");
	ScanKeyEntryInitialize(scan_key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   index->rd_indcollation[0], get_opcode(eq),
						   serve_key_native(key_type, key));
}

/* a copy that does not point into a page */
static Vector *
own_vector(Datum datum)
{
	Vector *v = vector_from_datum(datum);

	if ((Pointer) v == DatumGetPointer(datum))
	{
		v = palloc(VARSIZE(DatumGetPointer(datum)));
		memcpy(v, DatumGetPointer(datum), VARSIZE(DatumGetPointer(datum)));
	}
	return v;
}

static bool
fetch_by_index(ServeTable *table, Relation index, Datum key, Vector **vector)
{
	ScanKeyData scan_key;
	IndexScanDesc scan;
	TupleTableSlot *slot = table_slot_create(table->rel, NULL);
	bool found;

	serve_table_scan_key(&scan_key, index, &table->key, key);
	scan = pg_index_beginscan(table->rel, index, GetActiveSnapshot(), 1);
	index_rescan(scan, &scan_key, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
	{
		bool isnull;
		Datum datum = slot_getattr(slot, table->vector_att, &isnull);

		*vector = isnull ? NULL : own_vector(datum);
		if (table->interactions_att != 0)
		{
			datum = slot_getattr(slot, table->interactions_att, &isnull);
			table->interactions = isnull ? 0 : DatumGetInt32(datum);
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

bool
serve_table_vector(ServeTable *table, Datum key, Vector **vector)
{
	Relation index = table->plain ? open_key_index(table) : NULL;
	bool found;

	*vector = NULL;
	if (index == NULL)
		found = serve_sql_vector(table, key, vector);
	else
	{
		found = fetch_by_index(table, index, key, vector);
		index_close(index, NoLock);
	}
	if (*vector != NULL)
		serve_table_check_dim(table, (*vector)->dim);
	return found;
}

void
serve_table_check_dim(const ServeTable *table, int dim)
{
	if (dim != table->dim)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a vector in table \"%s\" has %d dimensions, its "
						"model has %d",
						RelationGetRelationName(table->rel), dim, table->dim),
				 errhint("Train the model again with recsys_train.")));
}
